"""Files on their way to the server: a tar stream, made as it is sent."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.errors import Conflict, NotFound

BLOCK = 1 << 16
RECORD = 512
LEFT_OUT = frozenset({".git", "node_modules", "__pycache__", ".venv"})


@dataclass(frozen=True, slots=True)
class Member:
    """A file to send, and its name in the archive; or a part of one, from `start`, with `head` before it."""

    name: str
    path: Path
    size: int
    start: int = 0
    head: bytes = b""


def members(paths: Iterable[Path]) -> Iterator[Member]:
    """Yield every regular file at or below the paths, sorted; links and caches are left out.

    Raises:
        NotFound: `path.missing`.
    """
    for path in paths:
        if path.is_dir():
            root = path.resolve()
            for found in _below(root):
                yield Member(str(Path(root.name) / found.relative_to(root)), found, found.stat().st_size)
        elif path.is_file():
            yield Member(path.name, path, path.stat().st_size)
        else:
            raise NotFound("path.missing", f"There is no file or folder {path}.", hint="Correct the path.")


def _below(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        for name in sorted(files):
            path = Path(where, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def links(paths: Iterable[Path]) -> list[Path]:
    """Return the symbolic links below the paths, which are left out."""
    found = list[Path]()
    for root in (path.resolve() for path in paths if path.is_dir()):
        for where, folders, files in os.walk(root):
            folders[:] = sorted(set(folders) - LEFT_OUT)
            found += [Path(where, name) for name in (*folders, *sorted(files)) if Path(where, name).is_symlink()]
    return found


def links_left_out(paths: Iterable[Path]) -> str:
    """Return a sentence about the links below the paths; empty when there are none."""
    found = links(paths)
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"Symbolic links are left out: {found[0]}{more}." if found else ""


def tar_stream(files: Iterable[Member]) -> Iterator[bytes]:
    """Yield a tar archive of the files, in constant memory.

    Raises:
        Conflict: `file.shrank`, when a file got shorter while it was read.
    """
    for member in files:
        info = tarfile.TarInfo(member.name)
        info.size, info.mode = member.size, 0o755 if member.path.stat().st_mode & stat.S_IXUSR else 0o644
        yield info.tobuf(tarfile.PAX_FORMAT)
        yield from _content(member)
        yield bytes(-member.size % RECORD)
    yield bytes(2 * RECORD)


def _content(member: Member) -> Iterator[bytes]:
    left = member.size - len(member.head)
    yield member.head
    with member.path.open("rb") as file:
        file.seek(member.start)
        while left:
            block = file.read(min(BLOCK, left))
            if not block:
                raise Conflict("file.shrank", f"{member.path} got shorter while it was read.", hint="Try again.")
            left -= len(block)
            yield block
