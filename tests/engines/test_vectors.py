"""What the store of vectors in files does beside its contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llmos_lite.engines import vectors as module
from llmos_lite.engines.cache_file import read_cache, write_cache
from llmos_lite.engines.vectors import Entry, LocalVectors


def entry(skill_id: str) -> Entry:
    return Entry(skill_id, "v1", np.array([0.6, 0.8], dtype=np.float32))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_file_that_is_cut_or_changed_is_empty_and_written_again(tmp_path: Path) -> None:
    LocalVectors(tmp_path, "one").update("system", [entry("tea"), entry("soup")])
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:3], whole[:-1], whole[:20] + b"?" + whole[21:], b"garbage" * 9):
        path.write_bytes(damaged)
        opened = LocalVectors(tmp_path, "one")
        assert opened.versions("system") == {}
    opened.update("system", [entry("tea")])
    assert LocalVectors(tmp_path, "one").versions("system") == {"tea": "v1"}


def test_the_vectors_of_another_embedder_are_removed(tmp_path: Path) -> None:
    LocalVectors(tmp_path, "one").update("system", [entry("tea")])
    assert LocalVectors(tmp_path, "two").versions("system") == {}
    assert files(tmp_path) == []


def test_nothing_of_a_removed_skill_stays_on_the_disk(tmp_path: Path) -> None:
    store = LocalVectors(tmp_path, "one")
    store.update("system", [entry("tea"), entry("secret-plan")])
    store.update("system", [], gone=["secret-plan"])
    (path,) = files(tmp_path)
    assert b"secret-plan" not in path.read_bytes()
    assert b"system" not in path.name.encode()
    store.update("system", [], gone=["tea"])
    assert files(tmp_path) == []


def test_a_folder_that_takes_no_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "vectors").write_text("in the way")
    store = LocalVectors(tmp_path / "vectors", "one")
    store.update("system", [entry("tea")])
    assert store.versions("system") == {"tea": "v1"}
    store.forget("system")


def test_a_volume_that_is_not_in_memory_any_more_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VOLUMES", 2)
    store = LocalVectors(tmp_path, "one")
    for number in range(5):
        store.update(f"user:u{number}", [entry("tea")])
    assert len(store._shelves) == 2
    assert all(store.versions(f"user:u{number}") == {"tea": "v1"} for number in range(5))


def test_a_cache_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    assert read_cache(path) is None
    assert write_cache(path, b"content")
    assert read_cache(path) == b"content"
    assert write_cache(path, b"")
    assert read_cache(path) == b""
    assert not write_cache(path / "below", b"x")
    assert [one.name for one in path.parent.iterdir()] == ["file"]
