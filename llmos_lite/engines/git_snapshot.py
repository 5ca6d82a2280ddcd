"""One commit of somebody else's repository, without its history: what an import looks at.

It is fetched by stock git as `git_peer` does it, into a bare repository of its own that goes away. Files are read from
the objects: no checkout, so no filter, attribute or link of theirs is obeyed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pygit2

from llmos_lite.engines.git_objects import File
from llmos_lite.engines.git_peer import THEIRS, Peer
from llmos_lite.engines.git_refs import OID, check_branch
from llmos_lite.errors import TooLarge, UpstreamFailed

MOST_ENTRIES, DEEPEST = 200_000, 24
_PROGRAM, _PLAIN = 0o100755, frozenset({0o100644, 0o100664})


class Listed(NamedTuple):
    """A regular file: its path, its object, whether it may be run."""

    path: str
    oid: str
    executable: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A commit, and its regular files; links and submodules are left out."""

    commit: str
    files: list[Listed]
    _repository: pygit2.Repository

    def size(self, file: Listed) -> int:
        """Return the bytes of a file, without reading it."""
        return int(self._repository.odb.read_header(pygit2.Oid(hex=file.oid))[1])

    def read(self, file: Listed) -> File:
        """Return a file."""
        return File(self._repository[file.oid].read_raw(), file.executable)


@contextmanager
def snapshot(peer: Peer, ref: str, scratch: Path, *, most: int, patience: float) -> Iterator[Snapshot]:
    """Fetch a commit and lend it.

    Args:
        peer: the repository.
        ref: a branch, a tag or the 40 digits of a commit; empty for what the other side shows first.
        scratch: folder where it may lie meanwhile.
        most: bytes that it may bring.
        patience: seconds that it has.

    Raises:
        Invalid: `branch.invalid`.
        TooLarge: `remote.too_large`, `source.too_large`.
        UpstreamFailed: `remote.failed`, `source.failed`.
        UpstreamTimeout: `remote.timeout`.
    """
    wanted = ref if OID.fullmatch(ref) else check_branch(ref) if ref else "HEAD"
    scratch.mkdir(mode=0o700, exist_ok=True)
    gitdir = Path(tempfile.mkdtemp(prefix="import-", dir=scratch))
    try:
        _lay_out(gitdir)
        peer.snapshot(gitdir, wanted, most=most, patience=patience)
        yield _opened(gitdir)
    finally:
        shutil.rmtree(gitdir, ignore_errors=True)


def _lay_out(gitdir: Path) -> None:
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/llmos"):
        (gitdir / folder).mkdir(parents=True)
    (gitdir / "HEAD").write_text("ref: refs/heads/none\n")
    (gitdir / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")


def _opened(gitdir: Path) -> Snapshot:
    try:
        repository = pygit2.Repository(str(gitdir))
        commit = repository[(gitdir / THEIRS).read_text().strip()].peel(pygit2.Commit)
        files = list(_walk(commit.tree))
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise UpstreamFailed("source.failed", f"What was fetched cannot be read: {error}.") from error
    return Snapshot(str(commit.id), files, repository)


def _walk(root: pygit2.Tree) -> Iterator[Listed]:
    waiting, count = [("", root, 0)], 0
    while waiting:
        lead, tree, depth = waiting.pop()
        for entry in tree:
            count += 1
            if count > MOST_ENTRIES:
                raise TooLarge("source.too_large", f"The repository has more than {MOST_ENTRIES:,} files.")
            path = f"{lead}{entry.name}"
            if isinstance(entry, pygit2.Tree) and depth < DEEPEST:
                waiting.append((f"{path}/", entry, depth + 1))
            elif entry.filemode == _PROGRAM or entry.filemode in _PLAIN:
                yield Listed(path, str(entry.id), entry.filemode == _PROGRAM)
