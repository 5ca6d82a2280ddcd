"""The files of a work tree: brought in step after a commit, and compared to find what somebody edited.

Three things are compared for each path: HEAD, the commit that the files were last brought to (the *base*, kept in
`.git/llmos-checkout`), and the file. file = HEAD needs nothing; file = base means that HEAD went on (or a checkout was
interrupted), so the file may follow; only what differs from both is somebody's edit. Git's index would serve as the
base but for `git add`: a staged edit would look like a file that may be overwritten.

No symbolic link is ever followed: each folder is opened relative to the one above it, with `O_NOFOLLOW`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from llmos_lite.engines.durable import sync_folder
from llmos_lite.engines.git_index import Busy, IndexFile, Staged, Unreadable
from llmos_lite.engines.git_objects import FOLDER_MODE, PROGRAM_MODE, SERVED_MODES, File, Item, blob_id
from llmos_lite.engines.git_odb import Objects
from llmos_lite.errors import Invalid, NotFound

LARGEST_EDIT = 1 << 20
"""Bytes: a larger file is left where it is, and reported."""

METADATA = "metadata.json"
_ADOPTED = ("skills/", "memory/", "templates/")
_EDITOR_ENDINGS = ("~", ".swp", ".swo", ".swx", ".tmp", ".bak", ".part", ".crdownload", ".lock")
_BUSY_MARKS = frozenset({"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply"})
_FILE_MODES = SERVED_MODES - {FOLDER_MODE}
_MANY = 64
"""Files after which one `sync` of the whole system is cheaper than an fsync for each."""


class LeftAlone(Exception):
    """A path that is neither served nor adopted; the text says why."""


@dataclass(slots=True)
class Comparison:
    """What was found in a work tree.

    Args:
        edits: somebody's new content (None: deleted), to be committed on HEAD.
        conflicts: the same, where HEAD changed the file too.
        behind: files that may follow HEAD.
        in_step: files that are as in HEAD, while the base or Git's index is not.
        left: what is left alone, and why.
    """

    edits: dict[str, File | None] = field(default_factory=dict)
    conflicts: dict[str, File | None] = field(default_factory=dict)
    behind: list[str] = field(default_factory=list)
    in_step: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)


def is_adopted(path: str) -> bool:
    """Tell whether a new file at this path is somebody's work, and not an editor's or a system's."""
    names = path.split("/")
    if path != METADATA and not path.startswith(_ADOPTED):
        return False
    return not any(name.startswith((".", "#")) or name.lower().endswith(_EDITOR_ENDINGS) for name in names)


class WorkTree:
    """The files beside a repository.

    Args:
        root: the folder of the volume.
        objects: its repository's objects.
    """

    def __init__(self, root: Path, objects: Objects) -> None:
        self.root = root
        self._gitdir = root / ".git"
        self._objects = objects
        self._index_file = IndexFile(self._gitdir, self._has)
        self._modes: bool | None = None
        self._stamps: dict[str, tuple[int, int, int]] | None = None

    # What the files were last brought to

    def active(self) -> bool:
        """Tell whether the work tree shows `main`, with no merge or rebase of a person going on in it."""
        try:
            head = (self._gitdir / "HEAD").read_text("utf-8", "replace").strip()
            names = os.listdir(self._gitdir)  # noqa: PTH208 - names are all that is needed
        except OSError:
            return False
        return head == "ref: refs/heads/main" and _BUSY_MARKS.isdisjoint(names)

    def base(self) -> str | None:
        """Return the commit that the files were last brought to."""
        try:
            text = (self._gitdir / "llmos-checkout").read_text("ascii", "replace").strip()
            self._objects.root(text)
        except (OSError, NotFound):
            return None
        return text

    def set_base(self, oid: str) -> None:
        """Remember, durably, the commit that the files are at; the files are durable by then (`settle`).

        Were it ahead of the files after a cut of power, or behind them by more than a commit, the platform's own old
        text would look like somebody's edit.
        """
        path, text = self._gitdir / "llmos-checkout", f"{oid}\n".encode()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            known = os.pread(handle, len(text), 0)
            if known == text:
                return
            os.pwrite(handle, text, 0)  # always as long, and inside one sector: never torn
            os.fsync(handle)
        finally:
            os.close(handle)
        if not known:
            sync_folder(self._gitdir)

    def settle(self, paths: Collection[str]) -> None:
        """Make durable what somebody wrote here, which nobody may have synced."""
        if len(paths) > _MANY:
            os.sync()
            return
        for path in paths:
            *parents, name = path.split("/")
            for size in range(len(parents), -1, -1):
                with contextlib.suppress(OSError, LeftAlone), self._folder(parents[:size]) as folder:
                    if size == len(parents):
                        _sync_file(name, folder)
                    os.fsync(folder)

    # Comparing

    def compare(self, base: bytes, head: bytes, prefixes: Iterable[str] | None) -> Comparison:
        """Compare files with two root trees.

        Args:
            base: tree of the commit that the files were last brought to.
            head: tree of HEAD.
            prefixes: paths to look at, with what is below and above them; None looks at all files. What differs
                between the two trees is always looked at.
        """
        found = Comparison()
        suspects = set(self._objects.changed(base, head))
        suspects |= self._dirty(found, head) if prefixes is None else set()
        paths = suspects if prefixes is None else suspects | self._near(base, head, prefixes)
        whole = self._exists(METADATA)
        for path in sorted(paths):
            self._compare_one(path, base, head, found, whole=whole)
        found.in_step = [path for path in found.in_step if path in suspects]
        return found

    def _compare_one(self, path: str, base: bytes, head: bytes, found: Comparison, *, whole: bool) -> None:
        try:
            was, now = (_shown(self._objects.item(root, path)) for root in (base, head))
        except Invalid:
            found.left[path] = "its name is not one that a volume takes"
            return
        if was is None and now is None and not is_adopted(path):
            return
        try:
            file = self._look_at(path, now or was)
        except LeftAlone as reason:
            found.left[path] = str(reason)
            return
        here = None if file is None else (blob_id(file.data), file.executable)
        if was is None and now is None and here is None:
            return
        if here == now:
            found.in_step.append(path)
        elif here == was or (file is None and not whole):
            found.behind.append(path)
        elif was == now:
            found.edits[path] = file
        else:
            found.conflicts[path] = file

    def _look_at(self, path: str, known: tuple[str, bool] | None) -> File | None:
        """Return a file; where the file system keeps no executable bits, the one that Git has."""
        file = self.read(path)
        if file is None or self._keeps_modes():
            return file
        return file._replace(executable=known is not None and known[1])

    def _keeps_modes(self) -> bool:
        """Tell whether the file system keeps executable bits, as Git found when the repository was made."""
        if self._modes is None:
            with self._objects.repository() as repo:
                self._modes = "core.filemode" not in repo.config or repo.config.get_bool("core.filemode")
        return self._modes

    def _dirty(self, found: Comparison, head: bytes) -> set[str]:
        """Return the paths that Git's status names; it keeps file times, so unchanged files are not read."""
        with self._objects.repository() as repo:
            try:
                names = repo.status(untracked_files="all")
            except (OSError, pygit2.GitError):  # the index is torn, as after a cut of power
                self._open_index(repo, head).write()
                names = repo.status(untracked_files="all")
        for name in [name for name in names if name.endswith("/")]:
            found.left[name] = "it is a repository of its own"
        return {name for name in names if not name.endswith("/")}

    def _near(self, base: bytes, head: bytes, prefixes: Iterable[str]) -> set[str]:
        paths: set[str] = set()
        for prefix in prefixes:
            for root in (base, head):
                paths.update(path for path, _ in self._objects.files(root, prefix))
            paths.update(self._on_disk(prefix))
            names = prefix.split("/")
            paths.update("/".join(names[:size]) for size in range(2, len(names) + 1))
        return paths

    def _on_disk(self, prefix: str) -> Iterator[str]:
        top = self.root / prefix
        if top.is_symlink() or not top.is_dir():
            return
        for folder, _, names in os.walk(top):
            base = os.path.relpath(folder, self.root)
            yield from (f"{base}/{name}" for name in names)

    # Reading and writing files

    def read(self, path: str) -> File | None:
        """Return a file, or None when there is none.

        Raises:
            LeftAlone: a link or a special file stands there, or the file is too large.
        """
        *parents, name = path.split("/")
        try:
            with self._folder(parents) as folder:
                handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            why = "it is a symbolic link" if error.errno == errno.ELOOP else f"it cannot be read ({error.strerror})"
            raise LeftAlone(why) from None
        try:
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                return None
            if not stat.S_ISREG(found.st_mode):
                raise LeftAlone("it is not a regular file")
            if found.st_size > LARGEST_EDIT:
                raise LeftAlone(f"it is larger than {LARGEST_EDIT >> 20} MiB")
            with os.fdopen(handle, "rb", closefd=False) as file:
                return File(file.read(), bool(found.st_mode & stat.S_IXUSR))
        finally:
            os.close(handle)

    def holds(self, path: str, item: Item | None) -> bool:
        """Tell whether a file is what a tree says."""
        try:
            file = self.read(path)
        except LeftAlone:
            return False
        return file is None if item is None else file is not None and blob_id(file.data) == item.oid.hex()

    def bring(self, paths: Iterable[str], head: bytes) -> list[str]:
        """Make files what they are in HEAD, and Git's index with them.

        Returns:
            The paths that something stands in the way of; they are left alone.
        """
        wanted = {path: self._objects.item(head, path) for path in paths}
        if not wanted:
            return []
        left = [path for path, item in wanted.items() if _shown(item) is None and not self._remove(path)]
        files = {path: item for path, item in wanted.items() if item is not None and _shown(item)}
        many = len(files) > _MANY
        fresh = {path: self._temporary(item, sync=not many) for path, item in files.items()}
        if many:
            os.sync()
        placed = {path: self._place(*made, path) for path, made in fresh.items()}
        left += [path for path, found in placed.items() if found is None]
        self._sync_names(wanted)
        self._index(wanted, placed, head)
        return left

    def _temporary(self, item: Item, *, sync: bool) -> tuple[Path, os.stat_result]:
        path = self._gitdir / f"llmos-tmp-{os.urandom(6).hex()}"
        mode = 0o755 if item.mode == PROGRAM_MODE else 0o644
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            file.write(self._objects.blob(item.oid.hex()))
            file.flush()
            if sync:
                os.fsync(file.fileno())
            return path, os.fstat(file.fileno())

    def _place(self, temporary: Path, made: os.stat_result, path: str) -> os.stat_result | None:
        """Move a file to its place and return its times there; None when something stands in the way."""
        *parents, name = path.split("/")
        try:
            with self._folder(parents, create=True) as folder:
                os.rename(temporary, name, dst_dir_fd=folder)
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (LeftAlone, IsADirectoryError, NotADirectoryError):
            temporary.unlink(missing_ok=True)
            return None
        # Whose times these are: a file that somebody put in its place meanwhile is theirs.
        return found if _same_file(found, made) else made

    def _remove(self, path: str) -> bool:
        """Remove a file and the folders that it leaves empty."""
        *parents, name = path.split("/")
        try:
            with self._folder(parents) as folder:
                os.unlink(name, dir_fd=folder)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (LeftAlone, IsADirectoryError, PermissionError):
            return False
        for size in range(len(parents), 1, -1):
            with contextlib.suppress(OSError, LeftAlone), self._folder(parents[: size - 1]) as folder:
                os.rmdir(parents[size - 1], dir_fd=folder)
        return True

    def _sync_names(self, paths: Iterable[str]) -> None:
        """Make durable that files were moved to their places, or removed."""
        folders = {tuple(path.split("/")[:-1]) for path in paths}
        if len(folders) > _MANY:
            os.sync()
            return
        for names in folders:
            self._sync_deepest(list(names))

    def _sync_deepest(self, names: list[str]) -> None:
        try:
            with self._folder(names) as folder:
                os.fsync(folder)
        except (FileNotFoundError, NotADirectoryError, LeftAlone):
            self._sync_deepest(names[:-1])

    @contextmanager
    def _folder(self, names: list[str], *, create: bool = False) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self.root, flags & ~os.O_NOFOLLOW)
        try:
            for name in names:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=handle)
                        os.fsync(handle)
                inner = self._enter(name, handle, flags)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def _enter(self, name: str, above: int, flags: int) -> int:
        try:
            return os.open(name, flags, dir_fd=above)
        except FileNotFoundError:
            raise
        except OSError:
            if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
                raise LeftAlone(f"{name!r} is a symbolic link") from None
            raise

    def _exists(self, path: str) -> bool:
        return os.path.lexists(self.root / path)

    # Git's index, so that `git status` is right

    def index(self, paths: Collection[str], head: bytes) -> None:
        """Make Git's index say what HEAD says at these paths; a person's `git add` elsewhere stays."""
        items = {path: self._objects.item(head, path) for path in paths}
        self._index(items, {path: self._times(path, item) for path, item in items.items() if item}, head)

    def _index(self, items: Mapping[str, Item | None], times: Mapping[str, os.stat_result | None], head: bytes) -> None:
        """Do that, with the times of those files that have the content of HEAD."""
        if not items:
            return
        try:
            self._index_file.update({path: _staged(item, times.get(path)) for path, item in items.items()})
        except Unreadable:
            self._index_by_library(items, head)
        except (Busy, OSError):
            return  # it stays behind, and the next comparison brings it in step

    def _times(self, path: str, item: Item) -> os.stat_result | None:
        """Return the times of a file that has this content, so that Git need not read it again."""
        before = self._lstat(path)
        if before is None or not self._has(path, item.oid):
            return None
        after = self._lstat(path)
        return after if after is not None and _same_file(before, after) else None

    def _lstat(self, path: str) -> os.stat_result | None:
        *parents, name = path.split("/")
        try:
            with self._folder(parents) as folder:
                return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (OSError, LeftAlone):
            return None

    def _has(self, path: str, oid: bytes) -> bool:
        try:
            file = self.read(path)
        except LeftAlone:
            return False
        return file is not None and bytes.fromhex(blob_id(file.data)) == oid

    def _index_by_library(self, items: Mapping[str, Item | None], head: bytes) -> None:
        """Leave an index of another kind, or a torn one, to libgit2."""
        with self._objects.repository() as repo:
            index = self._open_index(repo, head)
            kept = {path: item for path, item in items.items() if item is not None and item.mode != FOLDER_MODE}
            for path in items.keys() - kept.keys():
                with contextlib.suppress(OSError):
                    index.remove(path)
            for path, item in kept.items():
                self._index_one(index, path, item)
            try:
                index.write()
            except (OSError, pygit2.GitError):
                index.read(force=True)

    def _open_index(self, repo: pygit2.Repository, head: bytes) -> pygit2.Index:
        """Return Git's index; one that cannot be read holds nothing of anybody, and is made again."""
        try:
            index: pygit2.Index = repo.index
            index.read(force=False)
        except (OSError, pygit2.GitError):
            (self._gitdir / "index").unlink(missing_ok=True)
            index = repo.index
            index.read(force=True)
            index.read_tree(pygit2.Oid(raw=head))
        return index

    def _index_one(self, index: pygit2.Index, path: str, item: Item) -> None:
        """Take a file with its times, when it is what HEAD has, so that Git need not read it again."""
        with contextlib.suppress(OSError, KeyError, pygit2.GitError):
            index.add(path)
            if index[path].id.raw == item.oid:
                return
        index.add(pygit2.IndexEntry(path, pygit2.Oid(raw=item.oid), FileMode(int(item.mode, 8))))

    # A cheap answer to "did anything change?"

    def remember(self) -> None:
        """Note the times of all files, before they are compared."""
        self._stamps = dict(self._look())

    def touched(self) -> bool:
        """Tell whether a file changed since `remember`: one `stat` for each known file and folder."""
        if self._stamps is None:
            return True
        return any(_stamp(f"{self.root}/{path}") != seen for path, seen in self._stamps.items())

    def _look(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        yield METADATA, _stamp(f"{self.root}/{METADATA}")
        for top in _ADOPTED:
            yield from self._look_below(top.rstrip("/"))

    def _look_below(self, folder: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
        yield folder, _stamp(f"{self.root}/{folder}")
        try:
            entries = list(os.scandir(self.root / folder))
        except OSError:
            return
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from self._look_below(path)
            elif is_adopted(path):
                yield path, _stamp(f"{self.root}/{path}")


def _stamp(path: str) -> tuple[int, int, int]:
    """Return what changes when a file or a folder does."""
    try:
        found = os.lstat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns ^ found.st_ctime_ns << 1, found.st_ino, found.st_size)


def _sync_file(name: str, folder: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _same_file(one: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether this is the same file with the same content; a rename changes the third time, which is not asked."""
    return (one.st_ino, one.st_mtime_ns, one.st_size) == (other.st_ino, other.st_mtime_ns, other.st_size)


def _staged(item: Item | None, times: os.stat_result | None) -> Staged | None:
    """Return what Git's index says of a line of a tree; it knows two modes of files."""
    if item is None or item.mode == FOLDER_MODE:
        return None
    mode = int(item.mode, 8)
    if stat.S_ISREG(mode):
        mode = 0o100755 if mode & stat.S_IXUSR else 0o100644
    return Staged(mode, item.oid, times)


def _shown(item: Item | None) -> tuple[str, bool] | None:
    """Return id and executable bit of a file that may stand in the work tree; links and submodules never do."""
    return (item.oid.hex(), item.mode == PROGRAM_MODE) if item is not None and item.mode in _FILE_MODES else None


def describe_plainly(changes: Mapping[str, bytes | None], existed: Iterable[str]) -> str:
    """Return the message of an adopted edit, for a store that knows nothing of skills."""
    del existed
    return f"Adopt hand edits: {', '.join(sorted(changes)[:3])}{', ...' if len(changes) > 3 else ''}"  # noqa: PLR2004
