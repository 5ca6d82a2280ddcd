"""Rewriting history: files are replaced in every commit of a branch, and what nothing leads to any more is removed.

For erasure, retention and archives of traces. A commit keeps its author, its committer, their times and its message;
it gets another tree and parent, and is signed anew. A commit that would change nothing any more is left out.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, Protocol, TypeAlias

from llmos_lite.engines.git_lock import RepositoryLock, temporary_files
from llmos_lite.engines.git_objects import BLOB, COMMIT, FOLDER_MODE, TREE, Lines, NewObject, new_object
from llmos_lite.engines.git_odb import Objects
from llmos_lite.engines.git_pack import sync_folder, write_pack
from llmos_lite.engines.git_refs import HEADS, Refs, check_branch
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import NotFound, StorageFailed, Unavailable, storage_error

FLUSH = 32 << 20
"""Bytes of new objects that are held before they become a pack."""
BLOCK = 1 << 20
PRUNES = 3
"""Times that pruning is tried, should somebody else's git pack an object again meanwhile."""
_LONGEST = 3600.0
_GIT = ("-c", "core.fsync=all", "-c", "gc.auto=0", "-c", "safe.directory=*", "-c", "pack.threads=1")
_PLAIN = ("-c", "core.compression=0", "-c", "pack.compression=0", "-c", "pack.window=0")
BUNDLE = b"# v2 git bundle\n"

Content: TypeAlias = "tuple[str, bytes] | None"
"""New name and content of a file in its folder; None removes it."""


class Writable(Protocol):
    """Takes bytes."""

    def write(self, data: bytes, /) -> object:
        """Take some."""


class File(NamedTuple):
    """A file as it lies in a branch now."""

    path: str
    oid: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a rewrite did; `new` is None when nothing was left and the branch is gone."""

    branch: str
    old: str
    new: str | None
    files: tuple[File, ...] = ()
    """The replaced files that still hold something."""


class History:
    """The history of one bare repository.

    Args:
        gitdir: the repository.
        signer: signs the new commits.
        namespace: where its branches are; see `Refs`.
    """

    def __init__(self, gitdir: Path, signer: Signer, namespace: str = HEADS) -> None:
        self.gitdir = gitdir
        self._signer = signer
        self._objects = Objects(gitdir, None)
        self._refs = Refs(gitdir, namespace)
        self._lock = RepositoryLock(gitdir)

    def lock(self) -> AbstractContextManager[object]:
        """Hold all other writers off, in threads and processes."""
        return self._lock

    def close(self) -> None:
        """Give files and memory back."""
        self._objects.close()
        self._lock.close()

    def branches(self) -> dict[str, str]:
        """Return every branch with its commit."""
        return self._refs.all()

    def files(self, branch: str) -> Iterator[File]:
        """Yield every file of a branch; nothing when there is none."""
        head = self._refs.read(check_branch(branch))
        return iter(()) if head is None else self.files_at(head)

    def files_at(self, commit: str) -> Iterator[File]:
        """Yield every file of a commit."""
        for path, item in self._objects.files(self._objects.head_root(commit)):
            yield File(path, item.oid.hex())

    def blob(self, oid: str) -> bytes:
        """Return a file's content."""
        return self._objects.blob(oid)

    def rewrite(self, branch: str, paths: Collection[str], change: Callable[[str, bytes], Content]) -> Rewritten:
        """Replace files in every commit of a branch, durably; the branch moves at once, or not at all.

        Args:
            branch: which.
            paths: the files; each has the same content in every commit that has it.
            change: gets a path and its content, and returns what becomes of it.

        Raises:
            NotFound: `branch.unknown`.
            StorageFailed: nothing was changed.
        """
        with _writing("rewrite the history"), self._lock:
            old = self._head(branch)
            work = _Rewrite(self._objects, self.gitdir / "objects" / "pack", self._signer, frozenset(paths), change)
            new = work.run(old)
            if new is None:
                self._refs.delete(branch, old)
            elif new != old:
                self._refs.update(branch, new, old)
            return Rewritten(branch, old, new, tuple(work.files.values()))

    def drop(self, branch: str) -> str:
        """Remove a branch, and return the commit that it was at.

        Raises:
            NotFound: `branch.unknown`.
        """
        with _writing("remove the branch"), self._lock:
            old = self._head(branch)
            self._refs.delete(branch, old)
            return old

    def point(self, branch: str, new: str, old: str | None) -> None:
        """Move a branch from `old` (None: it must not exist) to a commit that is there.

        Raises:
            Conflict: `volume.moved`.
        """
        with _writing("move the branch"), self._lock:
            self._refs.update(check_branch(branch), new, old)

    def _head(self, branch: str) -> str:
        found = self._refs.read(check_branch(branch))
        if found is None:
            raise NotFound("branch.unknown", f"There is no branch {branch[:80]!r}.")
        return found

    # Objects that nothing leads to

    def prune(self) -> int:
        """Remove every object that no ref leads to, loose or packed, and return how many these were.

        Readers go on: a pack that they have open stays readable to them until they close it.

        Raises:
            StorageFailed: `storage.prune`, when some are still there: a pack with a `.keep` beside it, as an example.
            Unavailable: `git.missing`, `git.slow`.
        """
        with _writing("remove objects"), self._lock:
            before = self._all()
            for _ in range(PRUNES):
                self._prune()
                left = self._all()
                if left <= self._reachable():
                    return len(before - left)
        raise StorageFailed(
            "storage.prune",
            f"Objects that nothing leads to are still in {self.gitdir}.",
            hint="Remove the .keep files beside its packs, then erase again.",
        )

    def _prune(self) -> None:
        self._objects.close()
        self._forget()
        self._git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
        self._git("repack", "-q", "-a", "-d", "-n", "--no-write-bitmap-index")
        self._git("prune", "--expire=now")
        sync_folder(self.gitdir / "objects" / "pack")

    def _forget(self) -> None:
        """Remove what is only derived from packs and would speak of objects that are gone, and temporary files."""
        objects = self.gitdir / "objects"
        derived = [*objects.glob("pack/multi-pack-index*"), objects / "info" / "commit-graph"]
        for path in [*derived, *temporary_files(self.gitdir), *self.gitdir.glob("*_HEAD")]:
            if not path.is_dir():
                path.unlink(missing_ok=True)
        for folder in (objects / "info" / "commit-graphs", *objects.glob("tmp_objdir-*")):
            shutil.rmtree(folder, ignore_errors=True)

    def _all(self) -> set[str]:
        return set(self._git("cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)").split())

    def _reachable(self) -> set[str]:
        return set(self._git("rev-list", "--objects", "--no-object-names", "--all").split())

    # Bundles

    def bundle(self, branch: str, target: Writable, *, plain: bool = True) -> str:
        """Write a branch with its history as a bundle that stock git reads, and return its commit.

        Args:
            branch: which.
            target: takes the bundle.
            plain: without compression, so that whoever packs the bundle as a whole finds what its objects share.
        """
        tip = self._head(branch)
        target.write(BUNDLE + f"{tip} refs/heads/{branch}\n\n".encode())
        words = ("pack-objects", "--revs", "--stdout", "-q", "--no-reuse-object", "--no-reuse-delta")
        with _writing("write the bundle"), self._lock:
            process = self._popen(*(_PLAIN if plain else ()), "--git-dir", str(self.gitdir), *words)
            with process, contextlib.closing(_pipe(process.stdout)) as out:
                _pipe(process.stdin).write(f"{tip}\n".encode())
                _pipe(process.stdin).close()
                while block := out.read(BLOCK):
                    target.write(block)
            if process.returncode:
                raise StorageFailed("storage.bundle", f"git could not pack the branch {branch} of {self.gitdir}.")
        return tip

    def unbundle(self, source: IO[bytes], tip: str) -> None:
        """Store the objects of a bundle durably; no branch moves.

        Raises:
            StorageFailed: `storage.bundle`, when it is damaged or holds something else.
        """
        header = source.readline(BLOCK)
        while (line := source.readline(BLOCK)) not in {b"\n", b""}:
            header += line
        if not header.startswith(BUNDLE + tip.encode()):
            raise StorageFailed("storage.bundle", f"The bundle does not hold the commit {tip}.")
        with _writing("read the bundle"), self._lock:
            process = self._popen("--git-dir", str(self.gitdir), "index-pack", "--stdin", "--fix-thin", "--strict")
            with process, contextlib.suppress(BrokenPipeError):
                while block := source.read(BLOCK):
                    _pipe(process.stdin).write(block)
                _pipe(process.stdin).close()
                _pipe(process.stdout).read()
            if process.returncode:
                raise StorageFailed("storage.bundle", "The bundle is damaged.", hint="Restore it from a backup.")
            self._objects.close()
            self._objects.commit(tip)

    # Stock git

    def _popen(self, *words: str) -> subprocess.Popen[bytes]:
        pipe, fds = subprocess.PIPE, self._lock.shared()
        command = ["git", *_GIT, *words]
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, pass_fds=fds)  # noqa: S603 - our own words, no shell

    def _git(self, *words: str) -> str:
        command = ["git", *_GIT, "--git-dir", str(self.gitdir), *words]
        try:
            done = subprocess.run(  # noqa: S603 - our own words, no shell
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LONGEST,
                check=False,
                pass_fds=self._lock.shared(),
            )
        except FileNotFoundError as error:
            raise Unavailable("git.missing", "There is no git on this machine.", hint="Install git.") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable("git.slow", f"git {words[0]} took more than {_LONGEST:.0f} s.") from error
        if done.returncode:
            said = done.stderr.strip()[-300:] or f"it ended with {done.returncode}"
            raise StorageFailed("storage.git", f"git {words[0]} of {self.gitdir} failed: {said}")
        return done.stdout


@dataclass(slots=True)
class _Rewrite:
    """One rewrite on its way: what each old folder and commit became."""

    objects: Objects
    packs: Path
    signer: Signer
    paths: frozenset[str]
    change: Callable[[str, bytes], Content]
    files: dict[str, File] = field(default_factory=dict)
    trees: dict[tuple[str, bytes], bytes] = field(default_factory=dict)
    commits: dict[str, str | None] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    done: dict[str, tuple[bytes, bytes] | None] = field(default_factory=dict)
    fresh: list[NewObject] = field(default_factory=list)
    held: int = 0

    def run(self, tip: str) -> str | None:
        """Rewrite everything that leads to a commit; return what became of it."""
        self.folders = frozenset(above for path in self.paths for above in _above(path))
        for commit in reversed(list(self.objects.walk(tip))):
            self.commits[commit.oid] = self._commit(commit.oid, commit.tree, commit.parents)
        self._flush()
        return self.commits[tip]

    def _commit(self, oid: str, old_tree: str, old_parents: Sequence[str]) -> str | None:
        """Return the new id of a commit; that of its parent, or None, when it changes nothing any more."""
        tree = self._tree("", bytes.fromhex(old_tree))
        parents = list(dict.fromkeys(new for old in old_parents if (new := self.commits[old]) is not None))
        if tree.hex() == old_tree and parents == list(old_parents):
            return oid
        if not tree:
            return None
        if len(parents) == 1 and self._tree_of(old_parents, parents[0]) == tree:
            return parents[0]
        data = _recommitted(self.objects.raw(oid), tree.hex(), parents, self.signer)
        return self._store(new_object(COMMIT, data)).hex()

    def _tree_of(self, old_parents: Sequence[str], new: str) -> bytes:
        """Return the new tree of a parent."""
        old = next(one for one in old_parents if self.commits[one] == new)
        return self._tree("", self.objects.root(old))

    def _tree(self, folder: str, oid: bytes) -> bytes:
        """Return what a folder became; empty when nothing is left in it."""
        if folder and folder not in self.folders:
            return oid
        key = folder, oid
        if key not in self.trees:
            self.trees[key] = self._new_tree(folder, self.objects.tree(oid))
        return self.trees[key]

    def _new_tree(self, folder: str, lines: Lines) -> bytes:
        new = dict[bytes, tuple[bytes, bytes]]()
        for name, (mode, oid) in lines.items():
            path = f"{folder}/{_text(name)}" if folder else _text(name)
            if mode == FOLDER_MODE:
                tree = self._tree(path, oid)
                if tree:
                    new[name] = mode, tree
            elif path not in self.paths:
                new[name] = mode, oid
            elif (file := self._file(path, oid)) is not None:
                new[file[0]] = mode, file[1]
        return self._store(_tree_object(new)) if new else b""

    def _file(self, path: str, oid: bytes) -> tuple[bytes, bytes] | None:
        """Return new name and id of a file."""
        if path not in self.done:
            content = self.change(path, self.objects.blob(oid.hex()))
            if content is None:
                self.done[path] = None
            else:
                blob = self._store(new_object(BLOB, content[1]))
                self.done[path] = content[0].encode(), blob
                self.files[path] = File(path.rpartition("/")[0] + "/" + content[0], blob.hex())
        return self.done[path]

    def _store(self, made: NewObject) -> bytes:
        self.fresh.append(made)
        self.held += len(made.data)
        if self.held > FLUSH:
            self._flush()
        return made.oid

    def _flush(self) -> None:
        if self.fresh:
            write_pack(self.fresh, self.packs)
        self.fresh, self.held = [], 0


def _tree_object(lines: Lines) -> NewObject:
    order = sorted(lines, key=lambda name: name + b"/" if lines[name][0] == FOLDER_MODE else name)
    return new_object(TREE, b"".join(b"%b %b\0%b" % (lines[name][0], name, lines[name][1]) for name in order))


def _recommitted(data: bytes, tree: str, parents: Sequence[str], signer: Signer) -> bytes:
    """Return a commit with another tree and other parents, signed anew; everything else stays as it is."""
    head, _, message = data.partition(b"\n\n")
    joined = head.replace(b"\n ", b"\0").split(b"\n")  # a continued line is one
    kept = [line.replace(b"\0", b"\n ") for line in joined if not line.startswith((b"tree ", b"parent ", b"gpgsig"))]
    lines = [f"tree {tree}".encode(), *(f"parent {parent}".encode() for parent in parents), *kept]
    header = b"\n".join(lines) + b"\n"
    signature = signer.sign(header + b"\n" + message).rstrip("\n").replace("\n", "\n ")
    return header + f"gpgsig {signature}\n".encode() + b"\n" + message


def _above(path: str) -> Iterator[str]:
    """Yield the folders that a path lies in."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("both ends were asked for")
    return stream


@contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(error, what) from error
