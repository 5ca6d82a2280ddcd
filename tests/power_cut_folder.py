"""A folder whose power can be cut: what a program did to it is recorded, and played back up to any moment.

The rules are those of POSIX, and stricter than any one file system: only `fsync` (of the file for its content, of the
folder for its names) makes a thing durable. Whatever was not made durable is there after the cut, or is not, each by
itself: names come in any order, content whole, as zeros, in part or not at all. A rename is never half done.

What a C library writes (libgit2 makes a repository) is found by looking, and taken as never synced.
"""

# ruff: noqa: ANN401 - what os takes is passed on

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass(eq=False)
class Node:
    """A file (content) or a folder (names)."""

    mode: int
    names: dict[str, Node] | None = None
    data: bytearray = field(default_factory=bytearray)
    where: str = ""

    @classmethod
    def folder(cls, where: str, mode: int = 0o755) -> Node:
        return cls(mode, {}, where=where)


@dataclass(frozen=True, eq=False)
class Step:
    """Something that was done.

    Attributes:
        kind: `names` (entries of folders), `data` and `size` (of a file), `sync`, `said` (by the program under test).
        upto: of a `sync`: the steps before this number are durable.
    """

    kind: str
    node: Node | None = None
    names: tuple[tuple[Node, str, Node | None], ...] = ()
    offset: int = 0
    data: bytes = b""
    upto: int = 0
    only: int | None = None
    said: object = None


Choose = Callable[[Step], float]
"""Chance decides what of a step that was not made durable is there: 0 is nothing, 1 all of it."""


class Recorder:
    """Records what is done below a folder, which is durable as it is when the recording begins.

    Args:
        root: the folder.
        ignored: names of files that are not looked at, as those of SQLite.
    """

    def __init__(self, root: Path, ignored: Collection[str] = ()) -> None:
        self.root = str(root)
        self.steps: list[Step] = []
        self._ignored = tuple(ignored)
        self._open: dict[int, tuple[Node, bool, bool]] = {}
        self._lock = threading.RLock()
        self.top = Node.folder("")
        self._look(self.top, root, note=False)
        self._before = {node: (dict(node.names or {}), bytes(node.data)) for node in _nodes(self.top)}

    def said(self, what: object) -> None:
        """Note that the program said something, as that an event is durable."""
        self._note(Step("said", said=what))

    # Playing back

    def after(self, upto: int, choose: Choose, *, forget: Callable[[Step], bool] = lambda _: False) -> Node:
        """Return the folder as a cut before step `upto` may leave it.

        Args:
            upto: number of steps that were done.
            choose: decides over each step that was not durable.
            forget: syncs that are taken as never called, to see what they are for.
        """
        done = self.steps[:upto]
        durable = self._durable([step for step in done if not (step.kind == "sync" and forget(step))], done)
        after: dict[Node, Node] = {}

        def copy(node: Node) -> Node:
            if node not in after:
                after[node] = Node(node.mode, {} if node.names is not None else None, where=node.where)
            return after[node]

        for node, (names, data) in self._before.items():
            fresh = copy(node)
            if fresh.names is not None:
                fresh.names.update({name: copy(child) for name, child in names.items()})
            fresh.data[:] = data
        for step in done:
            self._play(step, copy, 1.0 if step in durable else choose(step))
        return copy(self.top)

    def _durable(self, kept: list[Step], done: list[Step]) -> set[Step]:
        number = {step: at for at, step in enumerate(done)}
        synced: dict[Node | None, int] = {}
        alone: set[int] = set()
        for step in kept:
            if step.kind == "sync" and step.only is not None:
                alone.add(step.only)
            elif step.kind == "sync":
                synced[step.node] = max(synced.get(step.node, 0), step.upto)
        everything = synced.get(None, 0)

        def safe(step: Step) -> bool:
            at = number[step]
            nodes = [folder for folder, _, _ in step.names] if step.kind == "names" else [step.node]
            return at in alone or at < max(everything, *(synced.get(node, 0) for node in nodes))

        return {step for step in done if step.kind in {"names", "data", "size"} and safe(step)}

    def _play(self, step: Step, copy: Callable[[Node], Node], share: float) -> None:
        if share <= 0 or step.kind not in {"names", "data", "size"}:
            return
        if step.kind == "names":
            for folder, name, child in step.names:
                names = copy(folder).names
                assert names is not None
                names.pop(name, None)
                if child is not None:
                    names[name] = copy(child)
            return
        assert step.node is not None
        data = copy(step.node).data
        if step.kind == "size":
            data[:] = data[: step.offset].ljust(step.offset, b"\0")
            return
        _write(data, step.offset, _some(step.data, share))

    # Recording

    @contextmanager
    def recording(self, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record until the block ends."""
        for name in _RECORDED:
            patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        patch.setattr(os, "remove", os.unlink)
        patch.setattr(io, "open", self._io_open(io.open))
        try:
            yield
        finally:
            patch.undo()

    def check(self) -> None:
        """Fail when the folder is not what the steps make of it: then something escaped the recorder."""
        real = Node.folder("")
        self._look(real, Path(self.root), note=False)
        there, known = dict(_files(real)), dict(_files(self.top))
        past = [path for path in there.keys() | known.keys() if there.get(path, "") != known.get(path, "")]
        assert not past, f"written past the recorder: {past}"

    def found(self, folder: Path) -> None:
        """Look below a folder for what a library made there."""
        with self._lock:
            node = self._at(str(folder))
            assert node is not None, folder
            self._look(node, folder, note=True)

    def _note(self, step: Step) -> int:
        with self._lock:
            self.steps.append(step)
            return len(self.steps) - 1

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        handler = getattr(self, "_os_open" if name == "open" else f"_{name}")

        def call(*arguments: Any, **given: Any) -> Any:
            return handler(real, *arguments, **given)

        return call

    def _at(self, path: object, dir_fd: int | None = None) -> Node | None:
        found = self._parent(path, dir_fd)
        if found is None:
            return None
        folder, name = found
        return folder if not name else (folder.names or {}).get(name)

    def _parent(self, path: object, dir_fd: int | None = None) -> tuple[Node, str] | None:
        """Return the folder and the name that a path means; None when it is not ours."""
        text = os.fsdecode(path)  # type: ignore[arg-type]  # as os takes it
        if dir_fd is not None and not text.startswith("/"):
            node = self._open[dir_fd][0] if dir_fd in self._open else None
            parts = text.split("/")
        elif (text + "/").startswith(self.root + "/"):
            node, parts = self.top, text[len(self.root) :].strip("/").split("/")
        else:
            return None
        for part in parts[:-1]:
            node = (node.names or {}).get(part) if node is not None else None
        if node is None or node.names is None or parts[-1].startswith(self._ignored or ("\0",)):
            return None
        return node, parts[-1]

    def _named(self, parent: tuple[Node, str] | None, child: Node | None, *more: tuple[Node, str, Node | None]) -> None:
        if parent is None:
            return
        folder, name = parent
        assert folder.names is not None
        changes = ((folder, name, child), *more)
        for where, what, node in changes:
            assert where.names is not None
            where.names.pop(what, None)
            if node is not None:
                where.names[what] = node
                node.where = f"{where.where}/{what}"
        self._note(Step("names", names=changes))

    # The calls

    def _os_open(self, real: Callable[..., int], path: object, flags: int, mode: int = 0o777, **given: Any) -> int:
        with self._lock:
            handle = real(path, flags, mode, **given)
            parent = self._parent(path, given.get("dir_fd"))
            if parent is None:
                self._open.pop(handle, None)
                return handle
            folder, name = parent
            node = folder if not name else (folder.names or {}).get(name)
            if node is None:
                node = Node(os.fstat(handle).st_mode & 0o777)
                self._named(parent, node)
            elif flags & os.O_TRUNC:
                self._resized(node, 0)
            self._open[handle] = (node, bool(flags & os.O_DSYNC), bool(flags & os.O_APPEND))
            return handle

    def _close(self, real: Callable[[int], None], handle: int) -> None:
        with self._lock:
            self._open.pop(handle, None)
            real(handle)

    def _resized(self, node: Node, size: int) -> None:
        node.data[:] = node.data[:size].ljust(size, b"\0")
        self._note(Step("size", node, offset=size))

    def _wrote(self, handle: int, data: bytes, offset: int) -> None:
        found = self._open.get(handle)
        if found is None or not data:
            return
        node, through, _ = found
        _write(node.data, offset, data)
        number = self._note(Step("data", node, offset=offset, data=data))
        if through:
            self._note(Step("sync", node, only=number))

    def _write(self, real: Callable[..., int], handle: int, data: Any) -> int:
        with self._lock:
            if handle not in self._open:
                return real(handle, data)
            node, _, end = self._open[handle]
            offset = len(node.data) if end else os.lseek(handle, 0, os.SEEK_CUR)
            written = real(handle, data)
            self._wrote(handle, bytes(data)[:written], offset)
            return written

    def _pwrite(self, real: Callable[..., int], handle: int, data: Any, offset: int) -> int:
        with self._lock:
            written = real(handle, data, offset)
            self._wrote(handle, bytes(data)[:written], offset)
            return written

    def _pwritev(self, real: Callable[..., int], handle: int, parts: Any, offset: int, *more: int) -> int:
        with self._lock:
            written = real(handle, parts, offset, *more)
            self._wrote(handle, b"".join(map(bytes, parts))[:written], offset)
            return written

    def _ftruncate(self, real: Callable[..., None], handle: int, size: int) -> None:
        with self._lock:
            real(handle, size)
            if handle in self._open:
                self._resized(self._open[handle][0], size)

    def _posix_fallocate(self, real: Callable[..., None], handle: int, offset: int, size: int) -> None:
        with self._lock:
            real(handle, offset, size)
            if handle in self._open and offset + size > len(self._open[handle][0].data):
                self._resized(self._open[handle][0], offset + size)

    def _fsync(self, real: Callable[[int], None], handle: int) -> None:
        upto = len(self.steps)
        real(handle)
        with self._lock:
            if handle in self._open:
                self._note(Step("sync", self._open[handle][0], upto=upto))

    _fdatasync = _fsync

    def _sync(self, real: Callable[[], None]) -> None:
        upto = len(self.steps)
        real()
        self._note(Step("sync", upto=upto))

    def _rename(self, real: Callable[..., None], source: object, target: object, **given: Any) -> None:
        with self._lock:
            here, there = self._parent(source, given.get("src_dir_fd")), self._parent(target, given.get("dst_dir_fd"))
            node = self._at(source, given.get("src_dir_fd"))
            real(source, target, **given)
            if here is not None and there is not None and node is not None:
                self._named(here, None, (*there, node))

    _replace = _rename

    def _link(self, real: Callable[..., None], source: object, target: object, **given: Any) -> None:
        with self._lock:
            real(source, target, **given)
            node = self._at(source)
            if node is not None:
                self._named(self._parent(target), node)

    def _unlink(self, real: Callable[..., None], path: object, **given: Any) -> None:
        with self._lock:
            real(path, **given)
            self._named(self._parent(path, given.get("dir_fd")), None)

    _rmdir = _unlink

    def _mkdir(self, real: Callable[..., None], path: object, mode: int = 0o777, **given: Any) -> None:
        with self._lock:
            real(path, mode, **given)
            self._named(self._parent(path, given.get("dir_fd")), Node.folder("", mode))

    def _io_open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opening(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **given: Any) -> Any:
            ours = file in self._open if isinstance(file, int) else self._parent(file) is not None
            if not ours or not set(mode) & set("wax"):
                return real(file, mode, buffering, *rest, **given)
            assert "+" not in mode, "nobody needed it yet"
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            flags |= os.O_EXCL if "x" in mode else os.O_APPEND if "a" in mode else os.O_TRUNC
            owned = given.pop("closefd", True)
            handle = file if isinstance(file, int) else os.open(file, flags, 0o666)
            buffered = io.BufferedWriter(_Raw(handle, owned=owned))
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **given)

        return opening

    # What is on the disk

    def _look(self, node: Node, folder: Path, *, note: bool) -> None:
        assert node.names is not None
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith(self._ignored or ("\0",)):
                continue
            child = node.names.get(entry.name)
            if child is None:
                mode = entry.stat(follow_symlinks=False).st_mode & 0o777
                child = Node(mode, {} if entry.is_dir(follow_symlinks=False) else None)
                if note:
                    self._named((node, entry.name), child)
                child.where = f"{node.where}/{entry.name}"
                node.names[entry.name] = child
            if child.names is not None:
                self._look(child, Path(entry.path), note=note)
            elif (data := Path(entry.path).read_bytes()) != child.data:
                child.data[:] = data
                if note:
                    self._note(Step("size", child, offset=0))
                    self._note(Step("data", child, data=data))


class _Raw(io.RawIOBase):
    """A file that is written through `os`, where the recorder listens."""

    def __init__(self, handle: int, *, owned: bool) -> None:
        self._handle, self._owned = handle, owned

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._handle

    def write(self, data: Any, /) -> int:
        return os.write(self._handle, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._owned:
                os.close(self._handle)


_RECORDED = (
    "open",
    "close",
    "write",
    "pwrite",
    "pwritev",
    "ftruncate",
    "posix_fallocate",
    "fsync",
    "fdatasync",
    "sync",
    "rename",
    "replace",
    "link",
    "unlink",
    "rmdir",
    "mkdir",
)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in (node.names or {}).values():
        yield from _nodes(child)


def _write(data: bytearray, offset: int, some: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(some)] = some


def _some(data: bytes, share: float) -> bytes:
    """Return all of it, or a part of its blocks, or zeros."""
    if share >= 1:
        return data
    if share > 0.75:
        return bytes(len(data))
    return data[: max(1, round(len(data) * share))]


def _files(node: Node, path: str = "") -> Iterator[tuple[str, bytes | None]]:
    for name, child in (node.names or {}).items():
        if child.names is not None:
            yield f"{path}/{name}", None
            yield from _files(child, f"{path}/{name}")
        else:
            yield f"{path}/{name}", bytes(child.data)


def build(node: Node, folder: Path) -> None:
    """Write a state to the disk, as a machine finds it that has just started: a lock is older than that."""
    folder.mkdir(mode=0o700, parents=True)
    for name, child in (node.names or {}).items():
        if child.names is not None:
            build(child, folder / name)
        else:
            (folder / name).write_bytes(child.data)
            (folder / name).chmod(child.mode)
            if name.endswith(".lock"):
                os.utime(folder / name, (1, 1))
