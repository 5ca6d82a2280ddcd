"""Objects of one repository: read through libgit2, written as packs of our own.

libgit2 is asked under a mutex, since one `Repository` serves all threads; it looks for new packs by itself when an
object is not in the ones it knows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pygit2
from pygit2.enums import SortMode

from llmos_lite.engines.git_level import Level
from llmos_lite.engines.git_log import History
from llmos_lite.engines.git_objects import (
    BLOB,
    COMMIT,
    FOLDER_MODE,
    TREE,
    Commit,
    Item,
    Lines,
    NewObject,
    ParsedTree,
    check_path,
    parse_commit,
    parse_tree,
)
from llmos_lite.engines.git_pack import write_pack
from llmos_lite.engines.git_refs import OID, broken
from llmos_lite.errors import NotFound, Unavailable

T = TypeVar("T")

# libgit2 reads this option when a repository is opened: set later, a ref is silently not synced.
pygit2.settings.enable_fsync_gitdir(True)  # noqa: FBT003 - the library's signature
# The data folder is named by whoever runs llmos; it may belong to another user, as a mounted folder does.
pygit2.settings.owner_validation = False
# A thousand volumes of fifty packs would use up the process's open files.
pygit2.settings.mwindow_file_limit = 256

_TREES_REMEMBERED = 1000
_LARGEST_KEPT = 1 << 20
"""Bytes of the files of the last commit that are kept, since its checkout asks for them."""

_STANDING_KEPT = 4000
_FEW = 8
"""Paths of one tree after which its folders are parsed: 10,000 lines take 5 ms, and looking one up 1."""

_LINES_KEPT = 40_000
"""Lines of parsed trees that are kept: about 12 MB of a very large repository, next to nothing of a usual one."""
_LARGE_KEPT = 2
"""Trees of more lines than that, which are kept beside them: a commit's and the one's before. Every path of a checkout
leads through its `skills/`; parsed for each of them, 100,000 would take hours."""


class Objects:
    """What a repository holds.

    Args:
        gitdir: the repository's own folder.
        work_tree: the folder of its files; None for a bare repository.
    """

    def __init__(self, gitdir: Path, work_tree: Path | None) -> None:
        self._gitdir = gitdir
        self._root = work_tree or gitdir
        self._repo: pygit2.Repository | None = None
        self._mutex = threading.RLock()
        self._trees: OrderedDict[bytes, Lines] = OrderedDict()
        self._large: OrderedDict[bytes, Lines] = OrderedDict()
        self._kept = 0
        self._roots: dict[str, bytes] = {}
        self._stood: dict[tuple[str, str], str] = {}
        self._asked: dict[bytes, int] = {}
        self._fresh: dict[str, bytes] = {}

    @contextmanager
    def repository(self) -> Iterator[pygit2.Repository]:
        """Lend the libgit2 repository to this thread; opens it when it is closed.

        Raises:
            Unavailable: `volume.broken`, for whatever libgit2 cannot read.
        """
        with self._mutex:
            try:
                if self._repo is None:
                    self._repo = pygit2.Repository(str(self._root))
                yield self._repo
            except (pygit2.GitError, KeyError) as error:
                raise broken(self._gitdir, str(error).strip("'\"") or type(error).__name__) from error

    def reopen(self) -> None:
        """Look at the packs anew: those that upkeep rolled up are gone, and take no room when they are closed."""
        with self._mutex:
            if self._repo is not None:
                self._repo.free()  # it is in a cycle, and keeps all packs mapped until the collector comes by
                self._repo = None

    def _ask(self, question: Callable[[pygit2.Repository], T]) -> T:
        """Ask the repository; once more, opened anew, when a pack that it knew went away."""
        with self._mutex:
            try:
                with self.repository() as repo:
                    return question(repo)
            except Unavailable:
                self.reopen()
            with self.repository() as repo:
                return question(repo)

    def close(self) -> None:
        """Close the packs; the next use opens them again."""
        with self._mutex:
            if self._repo is not None:
                self._repo.free()
                self._repo = None
            self._trees.clear()
            self._large.clear()
            self._kept = 0
            self._fresh, self._roots, self._stood = {}, {}, {}

    def write(self, objects: Sequence[NewObject]) -> None:
        """Store objects durably, as one pack."""
        write_pack(objects, self._gitdir / "objects" / "pack")
        blobs = {item.oid.hex(): item.data for item in objects if item.kind == BLOB}
        self._fresh = blobs if sum(map(len, blobs.values())) <= _LARGEST_KEPT else {}
        for item in objects:
            if item.lines is not None:
                self._keep(item.oid, item.lines)

    def write_commit(self, objects: Sequence[NewObject], made: NewObject) -> Commit:
        """Store a commit with its objects, durably, and read it back without going to the disk."""
        self.write([*objects, made])
        commit = parse_commit(made.oid.hex(), made.data)
        self._remember(commit.oid, bytes.fromhex(commit.tree))
        return commit

    def raw(self, oid: str) -> bytes:
        """Return an object's content."""
        return self._ask(lambda repo: bytes(repo.odb.read(oid)[1]))

    def blob(self, oid: str) -> bytes:
        """Return a file's content.

        Raises:
            NotFound: `object.unknown`.
        """
        kept = self._fresh.get(oid)
        if kept is not None:
            return kept
        kind, data = self._get(oid)
        if kind != BLOB:
            raise NotFound("object.unknown", f"There is no file with the id {oid[:40]!r}.")
        return data

    def commit(self, oid: str) -> Commit:
        """Read a commit.

        Raises:
            NotFound: `commit.unknown`.
        """
        kind, data = self._get(oid)
        if kind != COMMIT:
            raise NotFound("commit.unknown", f"There is no commit {oid[:40]!r} in this volume.")
        return parse_commit(oid, data)

    def _get(self, oid: str) -> tuple[int, bytes]:
        """Return an object's kind and content; kind 0 when there is none."""
        if not OID.fullmatch(oid):
            return 0, b""
        found = self._ask(partial(_read, oid))
        if not found[0]:
            self.reopen()
            found = self._ask(partial(_read, oid))
        return found

    def root(self, oid: str) -> bytes:
        """Return the id of the tree that a commit (or a tree) has at its root; the last ones are kept.

        Raises:
            NotFound: `commit.unknown`.
        """
        tree = self._roots.get(oid)
        if tree is None:
            kind, data = self._get(oid)
            if kind not in (COMMIT, TREE):
                raise NotFound("commit.unknown", f"There is no commit {oid[:40]!r} in this volume.")
            tree = bytes.fromhex(oid if kind == TREE else parse_commit(oid, data).tree)
            self._remember(oid, tree)
        return tree

    def _remember(self, oid: str, tree: bytes) -> None:
        if len(self._roots) > _TREES_REMEMBERED:
            self._roots.clear()
        self._roots[oid] = tree

    def head_root(self, oid: str) -> bytes:
        """Return the same of a commit that a branch names.

        Raises:
            Unavailable: `volume.broken`, when it is missing.
        """
        try:
            return self.root(oid)
        except NotFound:
            raise broken(self._gitdir, f"the commit {oid} is missing") from None

    def tree(self, oid: bytes) -> Lines:
        """Return a tree's lines, which nobody may change; the last ones are kept."""
        with self._mutex:
            kept = self._held(oid)
            if kept is not None:
                return kept
            lines = parse_tree(self.raw(oid.hex()))
            self._keep(oid, lines)
            return lines

    def item(self, root: bytes, path: str) -> Item | None:
        """Return the line of a tree that a path leads to, whatever its kind; `root` is the id of the root tree."""
        found = Item(FOLDER_MODE, root)
        for name in check_path(path):
            line = self.tree(found.oid).get(name) if found.mode == FOLDER_MODE else None
            if line is None:
                return None
            found = Item(*line)
        return found

    def entries(self, root: bytes, prefix: str) -> Level:
        """Return one level of a tree, without links and submodules."""
        return Level.of(self.level(root, prefix), f"{prefix}/" if prefix else "")

    def level(self, root: bytes, prefix: str) -> bytes:
        """Return one level of a tree as Git keeps it; empty where there is no folder."""
        item = self.item(root, prefix) if prefix else Item(FOLDER_MODE, root)
        if item is None or item.mode != FOLDER_MODE:
            return b""
        with self._mutex:
            kept = self._held(item.oid)
        return kept.raw if isinstance(kept, ParsedTree) else self.raw(item.oid.hex())

    def files(self, root: bytes, prefix: str = "") -> Iterator[tuple[str, Item]]:
        """Walk all files below a path, links and submodules too."""
        item = Item(FOLDER_MODE, root) if not prefix else self.item(root, prefix)
        if item is None:
            return
        if item.mode != FOLDER_MODE:
            yield prefix, item
            return
        for raw, line in self.tree(item.oid).items():
            name, child = raw.decode("utf-8", "surrogateescape"), Item(*line)
            path = f"{prefix}/{name}" if prefix else name
            if child.mode == FOLDER_MODE:
                yield from self.files(root, path)
            else:
                yield path, child

    def changed(
        self, old: bytes, new: bytes, prefix: str = "", visit: Callable[[str], None] = lambda _: None
    ) -> Iterator[str]:
        """Yield the files that differ between two trees (empty ids are empty trees).

        `visit` hears of every folder that is looked into: a few equal ones in one another have no end of paths.
        """
        if old == new:
            return
        visit(prefix)
        before, after = (self.tree(oid) if oid else {} for oid in (old, new))
        for name in sorted({name for name, _ in before.items() ^ after.items()}):
            was, now = before.get(name), after.get(name)
            path = prefix + name.decode("utf-8", "surrogateescape")
            folders = [item[1] if item and item[0] == FOLDER_MODE else b"" for item in (was, now)]
            if any(folders):
                yield from self.changed(folders[0], folders[1], path + "/", visit)
            if any(item and item[0] != FOLDER_MODE for item in (was, now)):
                yield path

    def merge_base(self, one: str, other: str) -> str | None:
        """Return the best common ancestor of two commits."""
        base = self._ask(lambda repo: repo.merge_base(one, other))
        return None if base is None else str(base)

    def walk(self, start: str, paths: Sequence[str] = ()) -> Iterator[Commit]:
        """Walk the history of a commit without its graph; see `git_log.History`."""
        return map(self.commit, History(self, start, paths))

    def standing(self, tree: str, paths: Sequence[str]) -> tuple[str, ...]:
        """Return mode and id at each path of a root tree, empty for nothing.

        What is found is kept, the trees are not: those of a history seldom come again.
        """
        with self._mutex:
            found = [self._stood.get((tree, path)) for path in paths]
        if None in found:
            found = list(self._ask(partial(_standing, tree, paths)))
            with self._mutex:
                if len(self._stood) > _STANDING_KEPT:
                    self._stood.clear()
                self._stood |= {(tree, path): one for path, one in zip(paths, found, strict=True) if one is not None}
        return tuple(one or "" for one in found)

    def item_once(self, root: bytes, path: str) -> Item | None:
        """Return the same as `item`; the folders of a tree are parsed when it is asked again and again."""
        check_path(path)
        with self._mutex:
            if len(self._asked) > _TREES_REMEMBERED:
                self._asked.clear()
            self._asked[root] = asked = self._asked.get(root, 0) + 1
        if asked > _FEW or not path.isascii():
            return self.item(root, path)
        mode, _, oid = self.standing(root.hex(), (path,))[0].partition(" ")
        return Item(mode.encode(), bytes.fromhex(oid)) if mode else None

    def count(self, start: str, hide: str | None = None) -> int:
        """Count the commits of a history, without those of another."""

        def work(repo: pygit2.Repository) -> int:
            walker = repo.walk(start, SortMode.NONE)
            if hide is not None:
                walker.hide(hide)
            return sum(1 for _ in walker)

        return self._ask(work)

    def _held(self, oid: bytes) -> Lines | None:
        """Return a tree that is kept; it is the last to go now."""
        for trees in (self._trees, self._large):
            if oid in trees:
                trees.move_to_end(oid)
                return trees[oid]
        return None

    def _keep(self, oid: bytes, lines: Lines) -> None:
        with self._mutex:
            if len(lines) > _LINES_KEPT:
                self._large[oid] = lines
                while len(self._large) > _LARGE_KEPT:
                    self._large.popitem(last=False)
                return
            self._kept += len(lines) - len(self._trees.get(oid, ()))
            self._trees[oid] = lines
            while self._kept > _LINES_KEPT and len(self._trees) > 1:
                self._kept -= len(self._trees.popitem(last=False)[1])


def _read(oid: str, repo: pygit2.Repository) -> tuple[int, bytes]:
    try:
        kind, data = repo.odb.read(oid)
    except KeyError:
        return 0, b""
    return int(kind), bytes(data)


def _standing(tree: str, paths: Sequence[str], repo: pygit2.Repository) -> tuple[str, ...]:
    folders: dict[str, pygit2.Object | None] = {"": repo[tree]}
    return tuple(_stands(folders, path) for path in paths)


def _stands(folders: dict[str, pygit2.Object | None], path: str) -> str:
    found = _child(folders, path)
    return f"{found.filemode:o} {found.id}" if found is not None else ""


def _child(folders: dict[str, pygit2.Object | None], path: str) -> pygit2.Object | None:
    """Return what stands at a path; each folder is looked up once."""
    above, _, name = path.rpartition("/")
    if above not in folders:
        folders[above] = _child(folders, above)
    folder = folders[above]
    try:
        return folder[name] if isinstance(folder, pygit2.Tree) else None
    except KeyError:
        return None
