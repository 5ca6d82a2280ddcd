"""What a push brought, read while it is in quarantine: in the repository's objects and in those of the push."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from llmos_lite.engines.git_objects import FOLDER_MODE, Commit, Item
from llmos_lite.engines.git_odb import Objects
from llmos_lite.errors import LlmosError, TooLarge

_ABANDONED = 2 * 3600
"""Seconds after which the quarantine of a push is nobody's: a push may take half as long."""

MOST_CHANGED = 300_000
"""Files and folders that differ between the commits of one push, each counted as often as it is looked at."""
DEEPEST = 100
"""Folders in one another."""


class _Visits:
    """Counts the files and folders that differ."""

    def __init__(self) -> None:
        self._left = MOST_CHANGED

    def __call__(self, path: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooLarge("push.too_many_files", "That changes too many files and folders.")
        if path.count("/") > DEEPEST:
            raise TooLarge("push.too_deep", f"Folders lie {DEEPEST} deep at most.")


class Incoming:
    """The objects of a repository and of a push to it.

    Args:
        gitdir: the repository's own folder.
        quarantine: the folder of the push's objects; None when it brought none.
    """

    def __init__(self, gitdir: Path, quarantine: Path | None) -> None:
        self._objects, self._visits = Objects(gitdir, None), _Visits()
        if quarantine is not None:
            with self._objects.repository() as repo:
                repo.odb.add_disk_alternate(str(quarantine))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._objects.close()

    def is_commit(self, oid: str) -> bool:
        """Tell whether an id is that of a commit, and not of a tag or a file."""
        try:
            self._objects.commit(oid)
        except LlmosError:
            return False
        return True

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor of two commits."""
        return self._objects.merge_base(one, other)

    def ahead_behind(self, one: str, other: str) -> tuple[int, int]:
        """Count the commits that one has and the other has not, and the other way round."""
        with self._objects.repository() as repo:
            ahead, behind = repo.ahead_behind(one, other)
        return ahead, behind

    def new_commits(self, new: str, known: str) -> Iterator[Commit]:
        """Yield the commits that a push brought, the newest first."""
        with self._objects.repository() as repo:
            walker = repo.walk(new)
            walker.hide(known)
            ids = [str(commit.id) for commit in walker]
        return map(self._objects.commit, ids)

    def changed(self, old: str, new: str) -> list[str]:
        """Return the paths of the files that differ between two commits; an empty id is an empty tree.

        Raises:
            TooLarge: `push.too_many_files`, `push.too_deep`.
        """
        roots = [self._objects.root(oid) if oid else b"" for oid in (old, new)]
        found = list[str]()
        for path in self._objects.changed(roots[0], roots[1], visit=self._visits):
            self._visits(path)
            found.append(path)
        return found

    def item(self, commit: str, path: str) -> Item | None:
        """Return what stands at a path, whatever its kind.

        Raises:
            Invalid: `file.invalid_path`.
        """
        return self._objects.item(self._objects.root(commit), path)

    def names(self, commit: str, folder: str) -> list[str]:
        """Return the names in a folder, of whatever kind."""
        root = self._objects.root(commit)
        item = self._objects.item(root, folder) if folder else Item(FOLDER_MODE, root)
        if item is None or item.mode != FOLDER_MODE:
            return []
        return [name.decode("utf-8", "surrogateescape") for name in self._objects.tree(item.oid)]

    def files(self, commit: str, folder: str) -> list[tuple[str, Item]]:
        """Return all files below a folder, links and submodules too."""
        return list(self._objects.files(self._objects.root(commit), folder))

    def size(self, item: Item) -> int:
        """Return the bytes of a file, without reading it."""
        with self._objects.repository() as repo:
            return int(repo.odb.read_header(item.oid.hex())[1])

    def blob(self, item: Item) -> bytes:
        """Return the content of a file."""
        return self._objects.blob(item.oid.hex())


def inside(gitdir: Path, quarantine: Path | None) -> Path | None:
    """Return the folder of a push's objects, None when it is none of this repository."""
    if quarantine is None:
        return None
    folder, objects = (gitdir / quarantine).resolve(), (gitdir / "objects").resolve()
    return folder if folder != objects and folder.is_relative_to(objects) else None


def clear_quarantine(gitdir: Path, quarantine: Path | None) -> None:
    """Remove what a push left that was killed; one that ended by itself leaves nothing."""
    folder = inside(gitdir, quarantine)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def clear_abandoned(gitdir: Path) -> None:
    """Remove the quarantines of pushes whose process was killed."""
    for path in (*gitdir.glob("objects/tmp_objdir-*"), *gitdir.glob("objects/incoming-*")):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True)
