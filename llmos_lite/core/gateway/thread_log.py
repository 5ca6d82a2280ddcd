"""Conversations on disk, so that they go on after a restart: a log beside the traces, which may be lost at any time.

What is appended is in the system's cache before the answer ends, so that it survives the process, and not a power cut;
nothing waits for the disk. The thread of the journal writes it, for all whose traces became durable together. Texts of
skills are written once in each file. The words of people are not written: the goal of a conversation stands in the
rows of its traces.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
import threading
import zlib
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from llmos_lite.core.chat.prompt import NOTHING, Prompt
from llmos_lite.core.gateway.asked import Placed, Raw
from llmos_lite.core.gateway.threads import Thread
from llmos_lite.engines.git_pack import sync_folder
from llmos_lite.errors import storage_error

log = logging.getLogger("llmos.gateway")

FILE_BYTES = 4 << 20
MOST_FILES = 8
"""Files that are kept; the oldest goes when there are more."""
_HEAD = struct.Struct(">II")
"""What stands before each entry: its length, and a checksum."""
Kept: TypeAlias = tuple[bytes, Thread]
"""The key of a turn, and the conversation after it."""


class _Text(msgspec.Struct, array_like=True, tag="t"):
    text: str


class _Turn(msgspec.Struct, array_like=True, tag="k"):
    """A turn whose texts are numbers: of the entries of its file that hold them."""

    key: bytes
    thread: Thread
    head: tuple[int, ...]
    later: tuple[tuple[int, int], ...]
    read: tuple[int, ...]
    owed: tuple[bytes, ...]


class _Stored(msgspec.Struct, array_like=True, tag="k"):
    """A turn as any version wrote it: the head was one text, and the thread said that it had none as a text says it."""

    key: bytes
    thread: dict[str, object]
    head: tuple[int, ...] | int
    later: tuple[tuple[int, int], ...]
    read: tuple[int, ...]
    owed: tuple[bytes, ...]


_encode = msgspec.msgpack.Encoder().encode
_entry = msgspec.msgpack.Decoder(_Text | _Stored)


class _Writer:
    """Turns as the entries of one file."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}

    def entries(self, kept: Iterable[Kept], erased: Container[str] = ()) -> bytes:
        """Return turns but those of erased traces, and before each the texts in it that the file does not hold yet."""
        entries, known = list[bytes](), self._texts
        for key, thread in kept:
            if thread.trace_id in erased or thread.goal_of in erased:
                continue
            head = tuple(
                [known[piece] if piece in known else self._number(piece, entries) for piece in thread.head.pieces]
            )
            later = tuple([(place.at, self._number(place.text, entries)) for place in thread.later])
            read = tuple([self._number(text, entries) for text in thread.read])
            bare = replace(thread, goal="", head=NOTHING, later=(), read=(), owed=())
            entries.append(_framed(_Turn(key, bare, head, later, read, tuple(map(bytes, thread.owed)))))
        return b"".join(entries)

    def _number(self, text: str, entries: list[bytes]) -> int:
        number = self._texts.get(text)
        if number is None:
            number = self._texts[text] = len(self._texts)
            entries.append(_framed(_Text(text)))
        return number


class ThreadLog:
    """The log; in the process that holds the data folder.

    Args:
        folder: where its files lie; made with the first turn.
        erased: ids of traces of which no turn is written, though it was on its way when they went.
        file_bytes: after which a new file is begun.
        most_files: that are kept.
    """

    def __init__(
        self,
        folder: Path,
        erased: Container[str] = (),
        *,
        file_bytes: int = FILE_BYTES,
        most_files: int = MOST_FILES,
    ) -> None:
        self._folder, self._erased, self._file_bytes, self._most_files = folder, erased, file_bytes, most_files
        self._file, self._size = -1, 0
        self._writer = _Writer()
        self._works = True
        self._turn = asyncio.Lock()
        self._open = threading.Lock()
        """Guards the file that is written to: turns come from a thread of their own."""

    def add(self, kept: Iterable[Kept]) -> None:
        """Write turns; what goes wrong costs conversations after a restart, and no request."""
        with self._open:
            try:
                self._write(kept)
            except Exception as error:  # noqa: BLE001 - texts that are counted and not written would shift the others
                if self._works:
                    log.warning("conversations are not kept for a restart: %s", error)
                self._works = False
                self._end()

    def _write(self, kept: Iterable[Kept]) -> None:
        if self._file < 0 or self._size > self._file_bytes:
            self._begin()
        data = self._writer.entries(kept, self._erased)
        written = os.write(self._file, data)
        self._size += written
        self._works = written == len(data)
        if not self._works:  # the rest of a torn file is not read
            self._end()

    async def load(self) -> list[Kept]:
        """Return every turn that is kept, oldest first."""
        async with self._turn:
            return await asyncio.to_thread(lambda: [kept for path in self._files() for kept in _read(path)])

    async def forget(self, trace_ids: Collection[str]) -> None:
        """Remove the turns of traces, from the disk, too.

        Raises:
            StorageFailed: they are still there.
        """
        gone = set(trace_ids)
        async with self._turn:
            with self._open:  # a turn that comes from here on is written to a file that is none of these
                self._end()
                files = self._files()
            try:
                await asyncio.to_thread(lambda: _rewrite(files, gone))
            except OSError as error:
                raise storage_error(error, "forget conversations") from error

    def close(self) -> None:
        """Let go of the file; the next turn begins another."""
        with self._open:
            self._end()

    def _end(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size, self._writer = -1, 0, _Writer()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.threads"))

    def _begin(self) -> None:
        self._end()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        files = self._files()
        most = len(files) if self._turn.locked() else self._most_files - 1  # none goes while they are read
        for path in files[: max(0, len(files) - most)]:
            path.unlink(missing_ok=True)
        number = max([int(path.stem) for path in files if path.stem.isdecimal()], default=0) + 1
        path = self._folder / f"{number:08}.threads"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)


def _framed(entry: _Text | _Turn) -> bytes:
    data = _encode(entry)
    return _HEAD.pack(len(data), zlib.crc32(data)) + data


def _read(path: Path) -> Iterator[Kept]:
    """Yield the turns of a file, up to where it is torn or was written by another version."""
    texts: list[str] = []
    for entry in _entries_of(path.read_bytes()):
        if isinstance(entry, _Text):
            texts.append(entry.text)
            continue
        try:
            yield entry.key, _whole(entry, texts)
        except (IndexError, msgspec.ValidationError):
            return


def _whole(turn: _Stored, texts: Sequence[str]) -> Thread:
    heads = (turn.head,) if isinstance(turn.head, int) else turn.head
    bare = {name: value for name, value in turn.thread.items() if name != "head"}
    return replace(
        msgspec.convert(bare, Thread),
        head=Prompt(tuple(text for number in heads if (text := texts[number]))),
        later=tuple(Placed(at, texts[number]) for at, number in turn.later),
        read=tuple(texts[number] for number in turn.read),
        owed=tuple(map(Raw, turn.owed)),
    )


def _entries_of(data: bytes) -> Iterator[_Text | _Stored]:
    at = 0
    while at + _HEAD.size <= len(data):
        size, checksum = _HEAD.unpack_from(data, at)
        body = data[at + _HEAD.size : at + _HEAD.size + size]
        if len(body) < size or zlib.crc32(body) != checksum:
            return
        try:
            yield _entry.decode(body)
        except msgspec.DecodeError:
            return
        at += _HEAD.size + size


def _rewrite(files: Iterable[Path], gone: set[str]) -> None:
    """Write those files anew that hold turns of traces, without these; a crash in between leaves it to the next try."""
    for path in files:
        kept = list(_read(path))
        left = [(key, thread) for key, thread in kept if not gone & {thread.trace_id, thread.goal_of}]
        if not left:
            path.unlink()
        elif len(left) < len(kept):
            _replace(path, left)


def _replace(path: Path, left: Iterable[Kept]) -> None:
    draft = path.with_suffix(".draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(_Writer().entries(left))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
