"""A store that can be read and not written: what a handle opened for reading holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from llmos_lite.engines.git import MAIN, PLATFORM, Author, Change, Commit, Entry, VolumeInterface
from llmos_lite.errors import Forbidden


def refuse(name: object) -> NoReturn:
    """Refuse to write through a handle that was opened for reading.

    Raises:
        Forbidden: `volume.readonly`.
    """
    raise Forbidden(
        "volume.readonly",
        f"The volume {name} was opened for reading.",
        hint="Write the skill into your own volume, then promote it.",
    )


class ReadOnlyStore(VolumeInterface):
    """Passes reads on and refuses the rest.

    Args:
        store: the store behind.
        name: of the volume, for the sentence of the refusal.
    """

    def __init__(self, store: VolumeInterface, name: str) -> None:
        self._store, self._name = store, name

    def head(self, branch: str = MAIN) -> str | None:  # noqa: D102 - the protocol says it
        return self._store.head(branch)

    def tree(self, prefix: str = "", *, at: str | None = None) -> Sequence[Entry]:  # noqa: D102
        return self._store.tree(prefix, at=at)

    def differing(  # noqa: D102
        self, prefix: str, old: str, *, at: str | None = None
    ) -> tuple[Sequence[Entry], Sequence[Entry]]:
        return self._store.differing(prefix, old, at=at)

    def entry(self, path: str, *, at: str | None = None) -> Entry | None:  # noqa: D102
        return self._store.entry(path, at=at)

    def read(self, path: str, *, at: str | None = None) -> bytes:  # noqa: D102
        return self._store.read(path, at=at)

    def blob(self, oid: str) -> bytes:  # noqa: D102
        return self._store.blob(oid)

    def log(  # noqa: D102
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        path: str | Sequence[str] | None = None,
        branch: str = MAIN,
    ) -> list[Commit]:
        return self._store.log(limit=limit, before=before, path=path, branch=branch)

    def branches(self) -> dict[str, str]:  # noqa: D102
        return self._store.branches()

    def merge_base(self, one: str, other: str) -> str | None:  # noqa: D102
        return self._store.merge_base(one, other)

    def count(self, path: str | Sequence[str] | None = None) -> int:  # noqa: D102
        return self._store.count(path)

    def size(self) -> int:  # noqa: D102
        return self._store.size()

    def close(self) -> None:
        """Leave the store open: others use it."""

    def commit(  # noqa: D102
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
        del changes, message, author, branch, at, expect, merges, committer
        refuse(self._name)

    def create_branch(self, name: str, at: str | None = None) -> str:  # noqa: D102
        del name, at
        refuse(self._name)

    def delete_branch(self, name: str) -> None:  # noqa: D102
        del name
        refuse(self._name)

    def lock(self) -> AbstractContextManager[object]:  # noqa: D102
        refuse(self._name)
