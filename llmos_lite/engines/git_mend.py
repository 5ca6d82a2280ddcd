"""Mending a repository without losing anything: what is replaced is kept beside it, in `llmos-broken`."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pygit2

from llmos_lite.engines.git_audit import all_refs, contains
from llmos_lite.engines.git_objects import blob_id
from llmos_lite.engines.git_pack import sync_folder
from llmos_lite.engines.git_refs import OID
from llmos_lite.errors import Conflict, LlmosError

KEPT = "llmos-broken"
_MONTH = re.compile(r"refs/heads/\d{4}-\d{2}")
_MAIN = "refs/heads/main"
_METADATA = "metadata.json"
_LONGEST = 900.0


def broken_refs(gitdir: Path) -> dict[str, str]:
    """Return the refs that lead to no commit, with what they say."""
    return {name: text for name, text in all_refs(gitdir).items() if not _leads(gitdir, text)}


def _leads(gitdir: Path, oid: str) -> bool:
    try:
        return bool(OID.fullmatch(oid)) and contains(gitdir, oid, oid)
    except (pygit2.GitError, LlmosError, OSError):
        return False


def last_good(gitdir: Path, name: str) -> str | None:
    """Return the newest commit that a ref is known to have been at, and whose history is whole; None when none is."""
    known = dict.fromkeys(oid for oid in _known(gitdir, name) if _leads(gitdir, oid) and _is_whole(gitdir, oid))
    found = known or dict.fromkeys(oid for oid in _lost(gitdir, name) if _is_whole(gitdir, oid))
    newest: str | None = None
    for oid in found:
        if newest is None or _is_newer(gitdir, oid, newest):
            newest = oid
    return newest


def _is_newer(gitdir: Path, oid: str, than: str) -> bool:
    if contains(gitdir, oid, than):
        return True
    return not contains(gitdir, than, oid) and _time(gitdir, oid) > _time(gitdir, than)


def _known(gitdir: Path, name: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for line in (gitdir / "packed-refs").read_text("utf-8", "replace").splitlines():
            oid, _, packed = line.partition(" ")
            if packed == name:
                yield oid
    with contextlib.suppress(OSError):
        for line in (gitdir / "logs" / name).read_text("utf-8", "replace").splitlines():
            yield from line.split(" ")[1:2]
    if name == _MAIN:
        with contextlib.suppress(OSError):
            yield (gitdir / "llmos-checkout").read_text("ascii", "replace").strip()


def _lost(gitdir: Path, name: str) -> list[str]:
    """Return commits that nothing leads to, and that look as if they had been on a branch of this name."""
    repo = pygit2.Repository(str(gitdir))
    try:
        kind = pygit2.enums.ObjectType.COMMIT
        commits = [repo[oid].peel(pygit2.Commit) for oid in repo.odb if repo.odb.read_header(oid)[0] == kind]
        held = {str(parent) for one in commits for parent in one.parent_ids} | set(all_refs(gitdir).values())
        return [str(one.id) for one in commits if str(one.id) not in held and _fits(one, name)]
    except (pygit2.GitError, KeyError):
        return []
    finally:
        repo.free()


def _fits(commit: pygit2.Commit, name: str) -> bool:
    try:
        names = {item.name for item in commit.tree}
    except (pygit2.GitError, KeyError):
        return False
    if name == _MAIN:
        return _METADATA in names
    month = name.removeprefix("refs/heads/")
    return bool(_MONTH.fullmatch(name)) and names == {"traces"} and f"traces/{month.replace('-', '/')}" in commit.tree


def _time(gitdir: Path, oid: str) -> int:
    repo = pygit2.Repository(str(gitdir))
    try:
        return int(repo[oid].peel(pygit2.Commit).commit_time)
    finally:
        repo.free()


def _is_whole(gitdir: Path, oid: str) -> bool:
    words = ("rev-list", "--objects", "--quiet", oid)
    command = ["git", "-c", "safe.directory=*", "--git-dir", str(gitdir), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LONGEST, check=False)  # noqa: S603 - our own words, no shell
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def set_ref(gitdir: Path, name: str, oid: str) -> Path:
    """Point a ref to a commit, and return where its old value is kept; the caller holds the repository lock."""
    path = gitdir / name
    kept = keep(gitdir, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, f"{oid}\n")
    return kept


def set_head(gitdir: Path) -> Path:
    """Let HEAD be `main` again, and return where its old value is kept; the caller holds the repository lock."""
    kept = keep(gitdir, gitdir / "HEAD")
    _write(gitdir / "HEAD", f"ref: {_MAIN}\n")
    return kept


def head_problem(gitdir: Path) -> str:
    """Return what is wrong with HEAD; nothing when it is a branch or a commit."""
    try:
        text = (gitdir / "HEAD").read_text("utf-8", "replace").strip()
    except OSError as error:
        return f"HEAD cannot be read ({error.strerror})"
    return "" if re.fullmatch(r"ref: refs/heads/\S+|[0-9a-f]{40}", text) else f"HEAD says {text[:60]!r}"


def keep(gitdir: Path, path: Path) -> Path:
    """Move a file of git's aside; nothing happens when there is none."""
    folder = gitdir / KEPT
    folder.mkdir(mode=0o700, exist_ok=True)
    stem = path.relative_to(gitdir).as_posix().replace("/", "_")
    kept = folder / f"{stem}-{time.time_ns()}"
    with contextlib.suppress(FileNotFoundError):
        path.rename(kept)
        sync_folder(folder)
    return kept


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f"{path.name}.lock")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


# Git's index


def index_problem(gitdir: Path) -> str:
    """Return what is wrong with the index of a work tree, as half a sentence; nothing when it is as it should be."""
    if not _leads(gitdir, all_refs(gitdir).get(_MAIN, "")):
        return ""  # there is nothing to compare it with
    try:
        repo = pygit2.Repository(str(gitdir))
    except pygit2.GitError:
        return ""  # that is told of the repository
    try:
        stale = _stale(repo, gitdir)
    except (pygit2.GitError, OSError) as error:
        return f"cannot be read ({error})"
    finally:
        repo.free()
    return f"says something else than HEAD and the file of {', '.join(stale[:5])}" if stale else ""


def _stale(repo: pygit2.Repository, gitdir: Path) -> list[str]:
    """Return the paths whose file is as in HEAD, while the index says something else."""
    index = repo.index
    index.read(True)  # noqa: FBT003 - the library's signature
    if repo.is_bare or not repo.references.get(_MAIN):
        return []
    tree = repo.references[_MAIN].peel(pygit2.Commit).tree
    found = []
    for delta in tree.diff_to_index(index).deltas:
        path = delta.old_file.path
        file = gitdir.parent / path
        if (
            path in tree
            and not file.is_symlink()
            and file.is_file()
            and blob_id(file.read_bytes()) == str(tree[path].id)
        ):
            found.append(path)
    return found


def rebuild_index(gitdir: Path) -> Path:
    """Write the index anew from `main`, and return where the old one is; the caller holds the repository lock."""
    kept = keep(gitdir, gitdir / "index")
    repo = pygit2.Repository(str(gitdir))
    try:
        index = repo.index
        index.read(True)  # noqa: FBT003 - the library's signature
        index.read_tree(repo.references[_MAIN].peel(pygit2.Commit).tree)
        index.write()
    except pygit2.GitError as error:
        hint = "Stop other git commands there, then try again."
        raise Conflict("git.index_locked", f"Git's index cannot be written: {error}.", hint=hint) from error
    finally:
        repo.free()
    return kept
