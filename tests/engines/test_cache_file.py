"""A file of the cache is there or it is not, and nobody else reads it."""

from __future__ import annotations

from pathlib import Path

from llmos_lite.engines.cache_file import read_cache, write_cache


def test_a_file_is_read_as_written_however_many_folders_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "vectors" / "space" / "team"
    assert write_cache(path, b"rows")
    assert read_cache(path) == b"rows"
    assert [folder.stat().st_mode & 0o777 for folder in path.parents[:3]] == [0o700] * 3


def test_what_was_cut_off_or_cannot_be_written_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    assert read_cache(path) is None
    write_cache(path, b"rows of a volume")
    path.write_bytes(path.read_bytes()[:-1])
    assert read_cache(path) is None
    assert not write_cache(path / "below a file", b"rows")
