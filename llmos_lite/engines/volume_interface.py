"""The storage seam: the seed's `VolumeInterface`.

A person who adds a store (the seed: "implement VolumeInterface for S3, etc.") implements this protocol and runs
`tests/contract/volume_interface.py` on it; `docs/engines.md` says how. The embedded engine is `LocalGitStore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from llmos_lite.engines.git_objects import Author, Change, Commit, Entry

MAIN = "main"
PLATFORM = Author("llmos-lite", "llmos@localhost")
"""Committer of every commit that llmos writes."""

LOCAL_FILES = Author("local-files", "local-files@localhost")
"""Committer of an adopted hand edit: a file system names nobody."""


class VolumeInterface(Protocol):
    """A versioned store of files with branches: what a volume needs from whatever keeps it.

    Paths are relative, of plain names joined by `/`. An `at` is the name of a branch, the id of a commit, or the
    id of a folder's entry (paths then start in that folder); None is `main`. All methods may be called from any thread.
    """

    def head(self, branch: str = MAIN) -> str | None:
        """Return the commit of a branch, None when there is none yet. Cheap: it is asked on every request."""

    def tree(self, prefix: str = "", *, at: str | None = None) -> Sequence[Entry]:
        """Return one level of files and folders, in Git's order; empty where there is no folder.

        Raises:
            NotFound: `commit.unknown` or `branch.unknown`.
        """

    def differing(self, prefix: str, old: str, *, at: str | None = None) -> tuple[Sequence[Entry], Sequence[Entry]]:
        """Return what of one level stands at `old` alone, and what stands at `at` alone, in Git's order.

        Raises:
            NotFound: `commit.unknown` or `branch.unknown`.
        """

    def entry(self, path: str, *, at: str | None = None) -> Entry | None:
        """Return what stands at a path: its object's id is its version."""

    def read(self, path: str, *, at: str | None = None) -> bytes:
        """Return a file's content.

        Raises:
            NotFound: `file.unknown`.
        """

    def blob(self, oid: str) -> bytes:
        """Return a file's content by its object's id.

        Raises:
            NotFound: `object.unknown`.
        """

    def commit(
        self,
        changes: Mapping[str, Change],
        message: str,
        author: Author,
        *,
        branch: str = MAIN,
        at: int | None = None,
        expect: str | None = None,
        merges: Sequence[str] = (),
        committer: Author = PLATFORM,
    ) -> Commit:
        """Change files, durably, as one commit; when nothing would change, return the commit that is there.

        Args:
            changes: new content of a file; or an `Entry`, an object that the store already has; or None, which
                removes a file or a folder.
            message: see `compose_message`.
            author: who wanted it.
            branch: is made when it does not exist.
            at: time of the commit in milliseconds since the epoch; now when None.
            expect: the head that the caller saw (empty: no branch yet).
            merges: further parents.
            committer: who wrote it down.

        Raises:
            Conflict: `volume.moved`, when the head is not `expect`; `file.in_the_way`.
            Invalid: `file.invalid_path`, `branch.invalid`.
            StorageFailed: the disk is full, read-only or broken; nothing was changed.
        """

    def log(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        path: str | Sequence[str] | None = None,
        branch: str = MAIN,
    ) -> list[Commit]:
        """Return commits, newest first.

        Args:
            limit: at most so many.
            before: the last commit of the page before.
            path: only commits that changed this entry, or one of these.
            branch: whose history; the name of a branch, or a commit.

        Raises:
            NotFound: `commit.unknown`, when `before` is not in this history.
        """

    def branches(self) -> dict[str, str]:
        """Return every branch with its commit."""

    def create_branch(self, name: str, at: str | None = None) -> str:
        """Make a branch and return its commit.

        Raises:
            Conflict: `branch.exists`.
        """

    def delete_branch(self, name: str) -> None:
        """Remove a branch.

        Raises:
            NotFound: `branch.unknown`.
            Conflict: `branch.protected`, for `main`.
        """

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor of two commits."""

    def lock(self) -> AbstractContextManager[object]:
        """Hold all other writers off, in threads and processes; the holder may commit, and lock again."""

    def count(self, path: str | Sequence[str] | None = None) -> int:
        """Return the number of commits of `main`; those that `log` would give, when a path is named."""

    def size(self) -> int:
        """Return the bytes that the store takes."""

    def close(self) -> None:
        """Give files back to the system; the next use opens them again."""
