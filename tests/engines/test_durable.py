"""What is made durable; that it is, the power-cut tests show."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmos_lite.engines.durable import make_folder, sync_tree


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b" / "c", 0o700)
    make_folder(tmp_path / "a" / "b" / "c", 0o700)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b", "a/b/c")] == [0o700] * 3
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_a_tree_is_synced_whatever_stands_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "a" / "link").symlink_to("/nowhere")
    synced: list[int] = []
    real = os.fsync

    def sync(handle: int) -> None:
        synced.append(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    sync_tree(tmp_path)
    assert synced == [path.stat().st_ino for path in (tmp_path / "a" / "file", tmp_path / "a", tmp_path)]
