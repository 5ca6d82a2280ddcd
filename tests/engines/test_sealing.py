"""Secrets that are kept sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_lite.engines.sealing import FILE, Seals
from llmos_lite.errors import Unavailable


def test_a_seal_opens_with_its_key_for_what_it_was_made(tmp_path: Path) -> None:
    sealed = Seals(tmp_path / "keys").seal("hunter2 ✓", "one https://host:443")
    assert "hunter2" not in sealed
    assert Seals(tmp_path / "keys").open(sealed, "one https://host:443") == "hunter2 ✓"
    assert sealed != Seals(tmp_path / "keys").seal("hunter2 ✓", "one https://host:443")
    assert (tmp_path / "keys" / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("about", ["two https://host:443", "one https://evil:443", ""])
def test_a_seal_opens_for_nothing_else(tmp_path: Path, about: str) -> None:
    seals = Seals(tmp_path)
    with pytest.raises(Unavailable) as caught:
        seals.open(seals.seal("hunter2", "one https://host:443"), about)
    assert caught.value.code == "seal.broken"


@pytest.mark.parametrize("sealed", ["", "x", "AAAA", "ä", "A" * 64])
def test_what_is_no_seal(tmp_path: Path, sealed: str) -> None:
    with pytest.raises(Unavailable):
        Seals(tmp_path).open(sealed, "x")


@pytest.mark.parametrize("text", ["not base64!", "AAAA"])
def test_a_broken_key_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(Unavailable) as caught:
        Seals(tmp_path)
    assert caught.value.code == "seal.key"
