"""A second store, as an example of how one is added: everything in dictionaries, and gone with the process.

It shares Git's object formats (`llmos_lite.engines.git_objects`), so its ids are Git's; a store that keeps objects
elsewhere replaces `_objects` and `_refs`, and makes `_move` a compare-and-swap.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence

from llmos_lite.engines.git import MAIN, PLATFORM, Author, Change, Commit, Entry, VolumeInterface
from llmos_lite.engines.git_objects import (
    BLOB,
    COMMIT,
    FOLDER_MODE,
    PROGRAM_MODE,
    TREE,
    Draft,
    Lines,
    NewObject,
    TreeEdit,
    apply_changes,
    check_path,
    new_object,
    now_seconds,
    parse_commit,
)
from llmos_lite.engines.git_refs import check_branch
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, NotFound


class MemoryStore(VolumeInterface):
    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._objects: dict[bytes, NewObject] = {}
        self._refs: dict[str, str] = {}
        self._lock = threading.RLock()

    def head(self, branch: str = MAIN) -> str | None:
        return self._refs.get(branch)

    def tree(self, prefix: str = "", *, at: str | None = None) -> list[Entry]:
        root = self._root(at)
        mode, oid = self._line(root, prefix) if root and prefix else (FOLDER_MODE, root)
        if mode != FOLDER_MODE or not oid:
            return []
        lead = f"{prefix}/" if prefix else ""
        lines = self._lines(oid).items()
        return [
            Entry(lead + name.decode(), oid.hex(), mode == FOLDER_MODE, mode == PROGRAM_MODE)
            for name, (mode, oid) in lines
        ]

    def differing(self, prefix: str, old: str, *, at: str | None = None) -> tuple[list[Entry], list[Entry]]:
        before, after = self.tree(prefix, at=old), self.tree(prefix, at=at)
        return [one for one in before if one not in after], [one for one in after if one not in before]

    def entry(self, path: str, *, at: str | None = None) -> Entry | None:
        root = self._root(at)
        mode, oid = self._line(root, path) if root else (b"", b"")
        return Entry(path, oid.hex(), mode == FOLDER_MODE, mode == PROGRAM_MODE) if oid else None

    def read(self, path: str, *, at: str | None = None) -> bytes:
        found = self.entry(path, at=at)
        if found is None or found.is_tree:
            raise NotFound("file.unknown", f"There is no file {path!r}.")
        return self.blob(found.oid)

    def blob(self, oid: str) -> bytes:
        return self._get(oid, BLOB, "object.unknown").data

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
        check_branch(branch)
        with self._lock:
            old = self._refs.get(branch)
            if expect is not None and expect != (old or ""):
                raise Conflict("volume.moved", "The branch has moved.")
            root = self._root(old) if old else b""
            fresh: list[NewObject] = []
            edit = TreeEdit(root, self._lines)
            apply_changes(edit, changes, fresh.append)
            tree = edit.write(fresh.append)
            if old and tree == root and not merges:
                return self._commit(old)
            parents = [*([old] if old else []), *merges]
            draft = Draft(tree, parents, author, committer, now_seconds(at), message)
            made = new_object(COMMIT, draft.signed(self._signer.sign(draft.payload())))
            self._objects |= {item.oid: item for item in (*fresh, made)}
            self._refs[branch] = made.oid.hex()
            return self._commit(made.oid.hex())

    def log(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        path: str | Sequence[str] | None = None,
        branch: str = MAIN,
    ) -> list[Commit]:
        start = branch if len(branch) == 40 else self._refs.get(branch)
        paths = (path,) if isinstance(path, str) else path
        commits = iter([commit for commit in self._walk(start) if not paths or self._touches(commit, paths)])
        if before is not None and all(commit.oid != before for commit in commits):
            raise NotFound("commit.unknown", "There is no such commit in this history.")
        return list(itertools.islice(commits, limit))

    def branches(self) -> dict[str, str]:
        return dict(sorted(self._refs.items()))

    def create_branch(self, name: str, at: str | None = None) -> str:
        check_branch(name)
        with self._lock:
            oid = (self._refs.get(MAIN if at is None else at) or at) if at != "" else None
            if oid is None or len(oid) != 40:
                raise NotFound("branch.unknown", "There is nothing to start at.")
            if name in self._refs:
                raise Conflict("branch.exists", f"There is a branch {name} already.")
            self._refs[name] = oid
            return oid

    def delete_branch(self, name: str) -> None:
        if name == MAIN:
            raise Conflict("branch.protected", "The branch main cannot be deleted.")
        with self._lock:
            if self._refs.pop(name, None) is None:
                raise NotFound("branch.unknown", f"There is no branch {name}.")

    def merge_base(self, one: str, other: str) -> str | None:
        mine = {commit.oid for commit in self._walk(one)}
        return next((commit.oid for commit in self._walk(other) if commit.oid in mine), None)

    def lock(self) -> threading.RLock:
        return self._lock

    def count(self, path: str | Sequence[str] | None = None) -> int:
        return len(self.log(limit=1 << 30, path=path))

    def size(self) -> int:
        return sum(len(item.data) for item in self._objects.values())

    def close(self) -> None:
        pass

    def _get(self, oid: str, kind: int, code: str) -> NewObject:
        found = self._objects.get(bytes.fromhex(oid)) if set(oid) <= set("0123456789abcdef") else None
        if found is None or found.kind != kind:
            raise NotFound(code, f"There is no object {oid!r}.")
        return found

    def _commit(self, oid: str) -> Commit:
        return parse_commit(oid, self._get(oid, COMMIT, "commit.unknown").data)

    def _lines(self, oid: bytes) -> Lines:
        return self._objects[oid].lines or {}

    def _root(self, at: str | None) -> bytes:
        oid = self._refs.get(MAIN if at is None else at, at)
        if oid is None:
            return b""
        found = self._objects.get(bytes.fromhex(oid)) if len(oid) == 40 else None
        if found is not None and found.kind == TREE:
            return found.oid
        return bytes.fromhex(self._commit(oid).tree)

    def _line(self, root: bytes, path: str) -> tuple[bytes, bytes]:
        mode, oid = FOLDER_MODE, root
        for name in check_path(path):
            mode, oid = self._lines(oid).get(name, (b"", b"")) if mode == FOLDER_MODE else (b"", b"")
        return mode, oid

    def _walk(self, start: str | None) -> Iterator[Commit]:
        """Newest first: a commit after all of its children (dictionaries keep the order of writing)."""
        wanted = {start}
        for item in reversed(list(self._objects.values())):
            if item.oid.hex() in wanted:
                commit = self._commit(item.oid.hex())
                wanted.update(commit.parents)
                yield commit

    def _touches(self, commit: Commit, paths: Sequence[str]) -> bool:
        mine = [self.entry(path, at=commit.oid) for path in paths]
        if not commit.parents:
            return any(mine)
        return all([self.entry(path, at=parent) for path in paths] != mine for parent in commit.parents)
