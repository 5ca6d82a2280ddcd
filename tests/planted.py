"""Looks for a text in everything that a data folder holds, decoded: the proof that something was erased."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import sqlite3
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

GIT = ("git", "-c", "safe.directory=*")


def traces_of(data: Path, marker: str) -> list[str]:
    """Return every place below a folder where a text stands: files, Git's objects, rows, pages, archives."""
    wanted = marker.encode()
    return [place for place, content in _contents(data) if wanted in content]


def objects_of(gitdir: Path) -> dict[str, bytes]:
    """Return every object of a repository, reachable or not, loose or packed, with deltas resolved."""
    listing = subprocess.run(
        [*GIT, "--git-dir", gitdir, "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    ).stdout
    found, at = {}, 0
    while at < len(listing):
        end = listing.index(b"\n", at)
        oid, _, size = listing[at:end].decode().split()
        found[oid] = listing[end + 1 : end + 1 + int(size)]
        at = end + 2 + int(size)
    return found


def fsck(gitdir: Path) -> str:
    """Return what stock git has against a repository, unreachable objects too."""
    command = [*GIT, "--git-dir", gitdir, "fsck", "--full", "--strict", "--unreachable", "--no-progress"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "".join(
        line for line in (done.stdout + done.stderr).splitlines(keepends=True) if not line.startswith("notice")
    )
    return said + (f"rc {done.returncode}" if done.returncode else "")


def _contents(data: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(data.rglob("*")):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        name = str(path.relative_to(data))
        yield name, raw
        yield from ((f"{name} {how}", content) for how, content in _decoded(path, raw))
    for head in sorted(data.rglob("HEAD")):
        if (head.parent / "objects").is_dir():
            yield from (
                (f"{head.parent.relative_to(data)} {oid}", body) for oid, body in objects_of(head.parent).items()
            )


def _decoded(path: Path, raw: bytes) -> Iterator[tuple[str, bytes]]:
    if raw.startswith(b"SQLite format 3"):
        yield from _rows(path)
    for how, opener in (("xz", lzma.decompress), ("gzip", gzip.decompress)):
        try:
            unpacked = opener(raw)
        except (lzma.LZMAError, OSError, EOFError, zlib.error):
            continue
        yield how, unpacked
        raw = unpacked
    if path.suffix == ".pack" or raw.startswith(b"# v2 git bundle") or path.parent.name.isalnum():
        yield from _streams(raw)


def _rows(path: Path) -> Iterator[tuple[str, bytes]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a table's own name
                yield f"table {table}", repr(row).encode()
    finally:
        database.close()


def _streams(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Decompress wherever a zlib stream may begin: deltas and whole objects, in packs that no index names, too."""
    for first in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        at = raw.find(first)
        while at >= 0:
            with contextlib.suppress(zlib.error):
                yield f"zlib at {at}", zlib.decompressobj().decompress(raw[at:])
            at = raw.find(first, at + 1)
