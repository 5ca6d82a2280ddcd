"""A repository as it lies on the disk, for whoever does not trust it: every ref, every commit with its signature."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import pygit2
from pygit2.enums import SortMode

from llmos_lite.engines import git_odb  # noqa: F401 - sets libgit2's options before a repository is opened
from llmos_lite.engines.git_objects import COMMIT, new_object
from llmos_lite.engines.git_refs import OID
from llmos_lite.errors import Unavailable

_COMMITTER = re.compile(rb"^committer (.*?) ?<([^>\n]*)> (-?\d+) [+-]\d{4}$", re.MULTILINE)
_SIGNATURE = re.compile(rb"^(gpgsig(?:-sha256)?) (.*(?:\n .*)*)\n", re.MULTILINE)


class SignedCommit(NamedTuple):
    """A commit as it is signed; `signature` is empty when it is not. `time` is the committer's, in seconds."""

    oid: str
    committer: str
    email: str
    time: int
    payload: bytes
    signature: str


class Missing(Exception):
    """A commit that something leads to is not there, or is not what its name says; the text says which."""


def all_refs(gitdir: Path) -> dict[str, str]:
    """Return what every file below `refs/` and every line of `packed-refs` says, whatever it is; locks are left out."""
    found: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (gitdir / "packed-refs").read_text("utf-8", "replace").splitlines():
            oid, _, name = line.partition(" ")
            if name and not line.startswith(("#", "^")):
                found[name] = oid
    for folder, _, names in os.walk(gitdir / "refs"):
        for name in names:
            path = Path(folder, name)
            if not name.endswith(".lock"):
                found[path.relative_to(gitdir).as_posix()] = _read(path)
    return dict(sorted(found.items()))


def _read(path: Path) -> str:
    if path.is_symlink():
        return f"a link to {os.readlink(path)}"  # noqa: PTH115 - as text
    try:
        return path.read_text("utf-8", "replace").strip()[:200]
    except OSError as error:
        return f"unreadable: {error.strerror}"


def history(gitdir: Path, tips: Collection[str], hidden: Collection[str] = ()) -> Iterator[SignedCommit]:
    """Walk every commit that some commits lead to, each once.

    Args:
        gitdir: the repository's own folder.
        tips: where to begin.
        hidden: commits that are left out, with everything that leads to them; those that are not there are passed over.

    Raises:
        Missing: one cannot be read, or its content does not hash to its name.
        Unavailable: `volume.broken`, for what is no repository.
    """
    try:
        repo = pygit2.Repository(str(gitdir))
    except pygit2.GitError as error:
        raise Unavailable("volume.broken", f"{gitdir} is no Git repository: {error}.") from error
    try:
        yield from _walk(repo, tips, hidden)
    finally:
        repo.free()


def _walk(repo: pygit2.Repository, tips: Collection[str], hidden: Collection[str]) -> Iterator[SignedCommit]:
    walker = repo.walk(None, SortMode.NONE)
    for tip in tips:
        if not _is_commit(repo, tip):
            raise Missing(f"the commit {tip} is missing")
        walker.push(tip)
    for one in hidden:
        if _is_commit(repo, one):
            walker.hide(one)
    while True:
        try:
            commit = next(walker, None)
        except (pygit2.GitError, KeyError) as error:
            raise Missing(f"a commit is missing: {error}") from error
        if commit is None:
            return
        data = commit.read_raw()
        if new_object(COMMIT, data).oid.hex() != str(commit.id):
            raise Missing(f"the commit {commit.id} is not what its name says")
        yield parse(str(commit.id), data)


def _is_commit(repo: pygit2.Repository, oid: str) -> bool:
    try:
        return bool(OID.fullmatch(oid)) and isinstance(repo.get(oid), pygit2.Commit)
    except (pygit2.GitError, ValueError):
        return False


def contains(gitdir: Path, tip: str, ancestor: str) -> bool:
    """Tell whether a commit leads to another one that is there."""
    repo = pygit2.Repository(str(gitdir))
    try:
        return _is_commit(repo, ancestor) and (tip == ancestor or bool(repo.descendant_of(tip, ancestor)))
    finally:
        repo.free()


def parse(oid: str, data: bytes) -> SignedCommit:
    """Split a commit into what is signed and the signature."""
    head, gap, message = data.partition(b"\n\n")
    head += b"\n"
    found = next((item[2] for item in _SIGNATURE.finditer(head) if item[1] == b"gpgsig"), b"")
    payload = _SIGNATURE.sub(b"", head) + gap[1:] + message
    who = _COMMITTER.search(head)
    name, email = (who[1], who[2]) if who else (b"", b"")
    signature = found.replace(b"\n ", b"\n").decode("ascii", "replace")
    return SignedCommit(oid, _text(name), _text(email), int(who[3]) if who else 0, payload, signature)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
