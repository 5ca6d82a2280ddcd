"""The embedded engine of the storage seam: a Git repository in a folder."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pygit2
from pygit2.enums import RepositoryInitFlag

from llmos_lite.engines.durable import make_folder, sync_folder, sync_tree
from llmos_lite.engines.git_graph import GRAPH_ERRORS, DamagedGraph, OpenGraph
from llmos_lite.engines.git_level import differing
from llmos_lite.engines.git_lock import RepositoryLock
from llmos_lite.engines.git_log import History
from llmos_lite.engines.git_objects import (
    COMMIT,
    FOLDER_MODE,
    PROGRAM_MODE,
    SERVED_MODES,
    Author,
    Change,
    Commit,
    Draft,
    Entry,
    File,
    NewObject,
    TreeEdit,
    apply_changes,
    compose_message,
    new_object,
    now_seconds,
)
from llmos_lite.engines.git_odb import Objects
from llmos_lite.engines.git_refs import OID, Refs, broken, check_branch
from llmos_lite.engines.git_upkeep import Upkeep, is_due, maintain
from llmos_lite.engines.git_worktree import METADATA, Comparison, WorkTree, describe_plainly
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.volume_interface import LOCAL_FILES, MAIN, PLATFORM, VolumeInterface
from llmos_lite.errors import Conflict, LlmosError, NotFound, Unavailable, storage_error

__all__ = [
    "LOCAL_FILES",
    "MAIN",
    "METADATA",
    "PLATFORM",
    "Author",
    "Change",
    "Commit",
    "Entry",
    "File",
    "HandEdits",
    "LocalGitStore",
    "Upkeep",
    "VolumeInterface",
    "compose_message",
]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HandEdits:
    """How edits of the work tree by hand become commits.

    Args:
        author: the person whose volume it is.
        describe: gives the message for the changes, and the paths of them that existed before.
    """

    author: Author = LOCAL_FILES
    describe: Callable[[Mapping[str, bytes | None], Collection[str]], str] = describe_plainly


class LocalGitStore(VolumeInterface):
    """A Git repository in a folder, made when the folder does not exist or is empty.

    Args:
        path: the work tree, or the bare repository.
        signer: signs every commit.
        bare: no files beside the repository.
        work_tree: keep the files of `main` in step with it; only when not bare.
        hand_edits: how edits by hand become commits.

    Raises:
        Unavailable: `volume.broken`, when the folder holds something else than a repository.
        StorageFailed: it cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        signer: Signer,
        bare: bool = False,
        work_tree: bool = True,
        hand_edits: HandEdits | None = None,
    ) -> None:
        self.path = path
        self.gitdir = path if bare else path / ".git"
        self._signer = signer
        self._hand_edits = hand_edits or HandEdits()
        with self._writing("make the repository"):
            _make(path, self.gitdir, bare=bare)
        self._objects = Objects(self.gitdir, None if bare else path)
        self._refs = Refs(self.gitdir)
        self._lock = RepositoryLock(self.gitdir)
        self.work_tree = WorkTree(path, self._objects) if work_tree and not bare else None
        self.left_alone: dict[str, str] = {}
        """Paths of the work tree that the last full comparison did not adopt, and why."""
        self._counted: tuple[str, int] = ("", 0)

    def namespace(self, name: str) -> LocalGitStore:
        """Return this repository, under the same lock, with the refs `refs/<name>/` for branches.

        Stock git neither clones nor shows them, and nobody pushes to them.
        """
        found = copy.copy(self)
        found._refs, found.work_tree = Refs(self.gitdir, f"refs/{check_branch(name)}/"), None  # noqa: SLF001 - our own copy
        return found

    # Reading

    def head(self, branch: str = MAIN) -> str | None:  # noqa: D102 - the protocol says it
        return self._refs.read(branch)

    def tree(self, prefix: str = "", *, at: str | None = None) -> Sequence[Entry]:  # noqa: D102
        root = self._root(at)
        return self._objects.entries(root, prefix) if root else []

    def differing(  # noqa: D102
        self, prefix: str, old: str, *, at: str | None = None
    ) -> tuple[Sequence[Entry], Sequence[Entry]]:
        roots = self._root(old), self._root(at)
        before, after = (self._objects.level(root, prefix) if root else b"" for root in roots)
        return differing(before, after, f"{prefix}/" if prefix else "")

    def entry(self, path: str, *, at: str | None = None) -> Entry | None:  # noqa: D102
        root = self._root(at)
        once = at is not None and OID.fullmatch(at) and at != self._refs.read(MAIN)
        find = self._objects.item_once if once else self._objects.item
        item = find(root, path) if root else None
        if item is None or item.mode not in SERVED_MODES:
            return None
        return Entry(path, item.oid.hex(), item.mode == FOLDER_MODE, item.mode == PROGRAM_MODE)

    def read(self, path: str, *, at: str | None = None) -> bytes:  # noqa: D102
        found = self.entry(path, at=at)
        if found is None or found.is_tree:
            raise NotFound("file.unknown", f"There is no file {path[:200]!r} in this volume.")
        return self._objects.blob(found.oid)

    def blob(self, oid: str) -> bytes:  # noqa: D102
        return self._objects.blob(oid)

    def log(  # noqa: D102
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        path: str | Sequence[str] | None = None,
        branch: str = MAIN,
    ) -> list[Commit]:
        start = self._objects.commit(branch).oid if OID.fullmatch(branch) else self._refs.read(check_branch(branch))
        if start is None:
            return []
        paths = (path,) if isinstance(path, str) else tuple(path or ())
        return self._history(start, paths, lambda history: self._commits(history.page(limit, before)))

    def _commits(self, oids: Sequence[str]) -> list[Commit]:
        try:
            return [self._objects.commit(oid) for oid in oids]
        except NotFound as error:
            raise DamagedGraph(error.message) from error

    def _history(self, start: str, paths: Sequence[str], asked: Callable[[History], T]) -> T:
        """Ask a history, by the commit-graph where there is one that holds."""
        with contextlib.suppress(*GRAPH_ERRORS, Unavailable), OpenGraph(self.gitdir) as graph:
            return asked(History(self._objects, start, paths, graph))
        return asked(History(self._objects, start, paths))

    def branches(self) -> dict[str, str]:  # noqa: D102
        return self._refs.all()

    def merge_base(self, one: str, other: str) -> str | None:  # noqa: D102
        return self._objects.merge_base(one, other)

    def count(self, path: str | Sequence[str] | None = None) -> int:
        """Return the number of commits of `main`; without a path, only what is new since the last time is walked."""
        head = self.head()
        if head is None:
            return 0
        if path is not None:
            return self._history(head, (path,) if isinstance(path, str) else path, lambda found: sum(1 for _ in found))
        known, number = self._counted
        if known and known != head and self._leads_to(head, known):
            number += self._objects.count(head, known)
        elif known != head:
            number = self._objects.count(head)
        self._counted = (head, number)
        return number

    def _leads_to(self, head: str, known: str) -> bool:
        """Tell whether a commit has another one before it, which may be gone since history was rewritten."""
        try:
            return self.merge_base(known, head) == known
        except LlmosError:
            return False

    def size(self) -> int:  # noqa: D102
        folders = os.walk(self.gitdir / "objects")
        return sum((Path(folder) / name).lstat().st_size for folder, _, names in folders for name in names)

    # Writing

    def lock(self) -> AbstractContextManager[object]:  # noqa: D102
        return self._lock

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
        check_branch(branch)
        with self._writing("store the change"), self._lock:
            if branch == MAIN:
                self._adopt(changes)
            old = self._refs.read(branch)
            if expect is not None and expect != (old or ""):
                raise Conflict("volume.moved", f"The branch {branch} has moved meanwhile.", hint="Read it again.")
            made = self._write(changes, message, author, committer, old, merges=merges, at=at)
            if made.oid != old:
                self._refs.update(branch, made.oid, old)
                if branch == MAIN:
                    self._check_out(old, made)
            return made

    def create_branch(self, name: str, at: str | None = None) -> str:  # noqa: D102
        check_branch(name)
        with self._writing("make the branch"), self._lock:
            oid = self._commit_id(at)
            if oid is None:
                raise NotFound("branch.unknown", "There is no commit yet to start a branch at.")
            if self._refs.read(name) is not None:
                raise Conflict("branch.exists", f"There is a branch {name} already.")
            self._refs.update(name, oid, None)
            return oid

    def delete_branch(self, name: str) -> None:  # noqa: D102
        if check_branch(name) == MAIN:
            raise Conflict("branch.protected", "The branch main cannot be deleted.")
        with self._writing("delete the branch"), self._lock:
            old = self._refs.read(name)
            if old is None:
                raise _unknown_branch(name)
            self._refs.delete(name, old)

    def adopt(
        self, message: str | None = None, author: Author | None = None, *, paths: Collection[str] | None = None
    ) -> Commit | None:
        """Commit what was edited by hand in the work tree, and finish an interrupted checkout.

        Args:
            paths: look only here, as before a change of these paths; None looks everywhere.
            message: instead of the one that `HandEdits.describe` gives.
            author: instead of the person whose volume it is.

        Returns:
            The new commit, or None when nobody edited anything.
        """
        with self._writing("adopt the edited files"), self._lock:
            return self._adopt(paths, message, author)

    def touched(self) -> bool:
        """Tell whether `adopt` might find something: a file changed, or `main` moved. Cheap, for a poller."""
        tree = self.work_tree
        return tree is not None and (tree.touched() or self.head() != self._brought)

    def follow(self, old: str) -> None:
        """Bring the files along when `main` was rewritten; what somebody edited by hand stays their edit.

        Args:
            old: the commit that `main` was at, which need not lead to it.
        """
        with self._writing("bring the files in step"), self._lock:
            self.close_objects()
            tree, head = self.work_tree, self._refs.read(MAIN)
            if tree is None or head is None or not tree.active():
                return
            before, after = self._objects.root(old), self._objects.root(head)
            changed = list(self._objects.changed(before, after))
            tree.bring([path for path in changed if tree.holds(path, self._objects.item(before, path))], after)
            self._reach(tree, head)

    def close_objects(self) -> None:
        """Let go of what is in memory; the next use reads it anew."""
        self._objects.close()

    def upkeep_due(self) -> bool:
        """Tell whether `upkeep` would do anything; cheap."""
        return is_due(self.gitdir)

    def upkeep(self, *, always: bool = False) -> Upkeep | None:
        """Roll packs up and bring the commit-graph up to date, when that is due; safe beside readers and writers.

        Returns:
            What was done; None when nothing was due.

        Raises:
            Unavailable: `git.missing`, `git.slow`.
            StorageFailed: `storage.upkeep`, when git failed; nothing is lost.
        """
        if not always and not is_due(self.gitdir):
            return None
        with self._writing("look after the repository"):
            done = maintain(self.gitdir, self._lock)
        self._objects.reopen()
        return done

    def close(self) -> None:  # noqa: D102
        self._objects.close()
        self._lock.close()

    # Below

    _brought: str | None = None

    def _commit_id(self, at: str | None) -> str | None:
        if at is None:
            return self._refs.read(MAIN)
        if OID.fullmatch(at):
            return self._objects.commit(at).oid
        oid = self._refs.read(check_branch(at))
        if oid is None:
            raise _unknown_branch(at)
        return oid

    def _root(self, at: str | None) -> bytes:
        """Return the id of the root tree; empty for a `main` without a commit."""
        if at is not None and OID.fullmatch(at):
            return self._objects.root(at)
        oid = self._commit_id(at)
        return self._objects.head_root(oid) if oid else b""

    def _write(
        self,
        changes: Mapping[str, Change],
        message: str,
        author: Author,
        committer: Author,
        parent: str | None,
        *,
        merges: Sequence[str] = (),
        at: int | None = None,
    ) -> Commit:
        """Store the objects of a commit; the branch does not move."""
        root = self._objects.head_root(parent) if parent else b""
        edit, fresh = TreeEdit(root, self._objects.tree), list[NewObject]()
        apply_changes(edit, changes, fresh.append)
        tree = edit.write(fresh.append)
        if parent and tree == root and not merges:
            return self._objects.commit(parent)
        parents = [*([parent] if parent else []), *merges]
        draft = Draft(tree, parents, author, committer, now_seconds(at), message)
        made = new_object(COMMIT, draft.signed(self._signer.sign(draft.payload())))
        return self._objects.write_commit(fresh, made)

    def _check_out(self, old: str | None, made: Commit) -> None:
        """Bring the files in step; the commit stands whatever happens here, and `adopt` finishes it."""
        if self.work_tree is None or not self.work_tree.active():
            return
        try:
            before, after = self._objects.root(old) if old else b"", bytes.fromhex(made.tree)
            self.work_tree.bring(list(self._objects.changed(before, after)), after)
            self._reach(self.work_tree, made.oid)
        except OSError:
            self._brought = None

    def _reach(self, tree: WorkTree, oid: str) -> None:
        tree.set_base(oid)
        self._brought = oid

    def _adopt(
        self, prefixes: Collection[str] | None, message: str | None = None, author: Author | None = None
    ) -> Commit | None:
        tree = self.work_tree
        if tree is None:
            return None
        head = self._refs.read(MAIN)
        if head is None or not tree.active():
            self._brought = head
            return None
        if prefixes is None:
            tree.remember()
        base = tree.base() or head
        found = tree.compare(self._objects.head_root(base), self._objects.head_root(head), prefixes)
        if prefixes is None:
            self.left_alone = found.left
        if found.conflicts:
            self._keep_aside(found.conflicts, base, author)
        tree.bring([*found.behind, *found.conflicts], self._objects.root(head))
        tree.index(found.in_step, self._objects.root(head))
        if base != head or self._brought != head:
            tree.settle(found.in_step)
            self._reach(tree, head)
        return self._commit_edits(tree, found, head, message, author) if found.edits else None

    def _commit_edits(
        self, tree: WorkTree, found: Comparison, head: str, message: str | None, author: Author | None
    ) -> Commit:
        root = self._objects.root(head)
        existed = {path for path in found.edits if self._objects.item(root, path) is not None}
        contents = {path: file and file.data for path, file in found.edits.items()}
        text = message or self._hand_edits.describe(contents, existed)
        made = self._write(found.edits, text, author or self._hand_edits.author, LOCAL_FILES, head)
        self._refs.update(MAIN, made.oid, head)
        tree.index(found.edits, bytes.fromhex(made.tree))
        tree.settle(found.edits)
        self._reach(tree, made.oid)
        return made

    def _keep_aside(self, conflicts: Mapping[str, File | None], base: str, author: Author | None) -> None:
        """Commit edits of files that HEAD changed too on a branch of their own, which is proposed."""
        writer = author or self._hand_edits.author
        branch = f"pr/{writer.name}/local-files-{base[:8]}"
        old = self._refs.read(branch)
        made = self._write(conflicts, "Edits by hand that main moved away from", writer, LOCAL_FILES, old or base)
        if made.oid != old:
            self._refs.update(branch, made.oid, old)

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(error, what) from error


def _make(path: Path, gitdir: Path, *, bare: bool) -> None:
    if (gitdir / "HEAD").is_file() and (gitdir / "objects").is_dir():
        return
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise broken(gitdir, "the folder is not a Git repository")
    make_folder(path)
    flags = RepositoryInitFlag.MKPATH | RepositoryInitFlag.NO_REINIT
    try:
        pygit2.init_repository(str(path), bare=bare, flags=flags, initial_head=MAIN)
    except pygit2.GitError as error:
        raise broken(gitdir, str(error)) from error
    hooks = gitdir / "hooks"
    for sample in hooks.glob("*.sample"):
        sample.unlink()
    (gitdir / "objects" / "pack").mkdir(parents=True, exist_ok=True)
    if not bare:
        (gitdir / "info").mkdir(exist_ok=True)
        (gitdir / "info" / "exclude").write_text("/traces.git/\n.*.swp\n*~\n")
    sync_tree(gitdir)  # libgit2 syncs nothing of it, and a repository whose HEAD is lost is none
    if not bare:
        sync_folder(path)


def _unknown_branch(name: str) -> NotFound:
    return NotFound("branch.unknown", f"There is no branch {name[:80]!r}.")
