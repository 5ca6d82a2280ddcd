"""One consistent archive of a running instance, and its way back.

The archive is a gzipped tar: `backup.json` first, then the volumes, the journal, the rows and the keys, and last
`MANIFEST.sha256`, which `sha256sum --check` reads, too. An archive without it was cut off.

A trace leaves the journal only when it is in Git. So the journal is read first, for volumes that are only about to be
made; then each volume is taken under its repository locks, and under them its events are read again: nothing can be
folded meanwhile, so what was acknowledged is in the one or in the other, and hardly anything in both. The locks are
held only for as long as it takes to link the objects (they never change) and to copy the small files. Rows come last.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Protocol

import llmos_lite
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.journal import Entry
from llmos_lite.engines.sqlite_copy import COMPANIONS, copy_database, is_sqlite
from llmos_lite.errors import Unavailable
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

ABOUT = "backup.json"
JOURNAL = "journal.jsonl"
MANIFEST = "MANIFEST.sha256"
FORMAT = 1
LEFT_OUT = frozenset({"lock", "journal", "volumes", "tmp", "market", "cache", "threads"})
"""What is copied otherwise, or can be made again and may change meanwhile."""
BLOCK = 1 << 18
PAGE, PAGE_BYTES = 500, 8 << 20
WAITING = 16
"""Blocks that may wait for a slow reader, each of up to 256 KiB."""


class Pending(Protocol):
    """What a backup needs of the journal."""

    def pages(self, volume: str | None = None, *, limit: int, size: int) -> Iterator[Sequence[Entry]]:
        """Yield events, oldest first."""


@dataclass(frozen=True, slots=True)
class Part:
    """A volume: where it lies, and what locks its repositories.

    Args:
        name: path in the data folder, as in `volumes/users/alice`.
        volume: its name in the journal, as in `user:alice`.
        lock: held while its files are taken.
    """

    name: str
    volume: str
    lock: Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Instance:
    """What is backed up.

    Args:
        data: the data folder.
        journal: its journal.
        parts: its volumes, asked for after the journal was read.
    """

    data: Path
    journal: Pending
    parts: Callable[[], list[Part]]


def instance_of(data: Path, journal: Pending, volumes: VolumeManager) -> Instance:
    """Return what a backup needs of an instance."""
    return Instance(data, journal, lambda: [_part(data, volumes, ref) for ref in volumes.refs()])


def _part(data: Path, volumes: VolumeManager, ref: VolumeRef) -> Part:
    return Part(volumes.folder(ref).relative_to(data).as_posix(), str(ref), partial(_locked, volumes, ref))


@contextmanager
def _locked(volumes: VolumeManager, ref: VolumeRef) -> Iterator[None]:
    """Keep writers out of a volume; nobody writes to a broken one, and what is left of it is kept as it is."""
    try:
        volume = volumes.open(PLATFORM, ref, write=True)
    except Unavailable:
        yield
        return
    with volume.store.lock(), volume.traces.lock():
        yield


async def archive(instance: Instance) -> AsyncIterator[bytes]:
    """Yield the archive as it is made, in bounded memory.

    Raises:
        StorageFailed: something cannot be read.
    """
    pipe = _Pipe(asyncio.get_running_loop())
    thread = threading.Thread(target=pipe.feed, args=(instance,), name="backup", daemon=True)
    thread.start()
    try:
        while block := await pipe.next():
            yield block
    finally:
        pipe.cut()
        await asyncio.to_thread(thread.join)


def write_archive(instance: Instance, target: IO[bytes]) -> None:
    """Write the archive to a file or a pipe; see `archive`."""
    scratch = instance.data / "tmp"
    scratch.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="backup-") as folder:
        _Writer(instance, target, Path(folder)).run()


class _Pipe(io.RawIOBase):
    """From the thread that writes the archive to the event loop that sends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._room = threading.Semaphore(WAITING)
        self._blocks: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._cut = False

    def feed(self, instance: Instance) -> None:
        """Write the archive; runs in the thread."""
        try:
            with io.BufferedWriter(self, BLOCK) as buffer:
                write_archive(instance, buffer)
            self._put(b"")
        except Exception as error:  # noqa: BLE001 - raised again where the archive is read
            self._put(error)

    def writable(self) -> bool:
        """Say so."""
        return True

    def write(self, data: object) -> int:
        """Hand a block over; waits while the reader is slow."""
        block = bytes(data)  # type: ignore[call-overload]  # the buffer writes what is bytes-like
        self._room.acquire()
        if self._cut:
            raise BrokenPipeError
        if block:
            self._put(block)
        return len(block)

    async def next(self) -> bytes:
        """Return the next block, nothing at the end.

        Raises:
            Exception: what stopped the writing.
        """
        block = await self._blocks.get()
        self._room.release()
        if isinstance(block, Exception):
            raise block
        return block

    def cut(self) -> None:
        """Stop the writing: nobody reads any more."""
        self._cut = True
        self._room.release(WAITING)

    def _put(self, block: bytes | Exception) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._blocks.put_nowait, block)


class _Writer:
    """One archive on its way."""

    def __init__(self, instance: Instance, target: IO[bytes], folder: Path) -> None:
        self._instance, self._target, self._folder = instance, target, folder
        self._manifest = (folder / MANIFEST).open("w+b")

    def run(self) -> None:
        with (
            self._manifest,
            gzip.GzipFile(fileobj=self._target, mode="wb", compresslevel=1) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            about = {"format": FORMAT, "created": now_ms(), "version": llmos_lite.__version__}
            self._bytes(tar, ABOUT, json.dumps(about).encode() + b"\n")
            with (self._folder / JOURNAL).open("w+b") as journal:
                self._events(journal)
                parts = self._instance.parts()
                known = {part.volume for part in parts}
                _keep(journal, lambda volume: volume not in known, self._folder)
                for part in parts:
                    self._volume(tar, part, journal)
            self._file(tar, JOURNAL, self._folder / JOURNAL)
            for path in sorted(self._instance.data.iterdir()):
                if path.name not in LEFT_OUT and not path.name.endswith(COMPANIONS):
                    self._rest(tar, path)
            self._finish(tar)

    def _events(self, journal: IO[bytes], volume: str | None = None) -> None:
        """Copy what is in the journal now, page by page."""
        for page in self._instance.journal.pages(volume, limit=PAGE, size=PAGE_BYTES):
            journal.writelines(_journal_line(entry) for entry in page)

    def _volume(self, tar: tarfile.TarFile, part: Part, journal: IO[bytes]) -> None:
        root, staged = self._instance.data / part.name, self._folder / "volume"
        with part.lock():
            self._events(journal, part.volume)
            staged.mkdir()
            for path in _below(root):
                _take(path, staged / path.relative_to(root))
        for path in _below(staged):
            name = f"{part.name}/{path.relative_to(staged)}"
            if path.is_dir():
                tar.addfile(_folder(name))
            else:
                self._file(tar, name, path)
        shutil.rmtree(staged, ignore_errors=True)

    def _rest(self, tar: tarfile.TarFile, path: Path) -> None:
        if path.is_symlink():
            return
        if path.is_dir():
            for found in _below(path):
                if not found.is_dir():
                    self._file(tar, str(found.relative_to(self._instance.data)), found)
        elif is_sqlite(path):
            copy = self._folder / "rows"
            copy_database(path, copy)
            self._file(tar, path.name, copy)
            copy.unlink()
        elif path.is_file():
            self._file(tar, path.name, path)

    def _file(self, tar: tarfile.TarFile, name: str, path: Path) -> None:
        """Add a file that nobody changes any more, or that is small."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            info = _info(name, status.st_size, stat.S_IMODE(status.st_mode), status.st_mtime)
            read = _Hashed(file)
            tar.addfile(info, read)
        self._note(name, read.digest.hexdigest())

    def _bytes(self, tar: tarfile.TarFile, name: str, content: bytes) -> None:
        tar.addfile(_info(name, len(content)), io.BytesIO(content))
        self._note(name, hashlib.sha256(content).hexdigest())

    def _note(self, name: str, digest: str) -> None:
        self._manifest.write(f"{digest}  {name}\n".encode("utf-8", "surrogateescape"))

    def _finish(self, tar: tarfile.TarFile) -> None:
        size = self._manifest.tell()
        self._manifest.seek(0)
        tar.addfile(_info(MANIFEST, size), self._manifest)


class _Hashed:
    """Reads a file and keeps the hash of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def _journal_line(entry: Entry) -> bytes:
    told = {"volume": entry.volume, "trace_id": entry.trace_id, "line": entry.line.decode()}
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _keep(journal: IO[bytes], wanted: Callable[[str], bool], folder: Path) -> None:
    """Keep only the events of some volumes."""
    journal.seek(0)
    with tempfile.TemporaryFile(dir=folder) as kept:
        kept.writelines(line for line in journal if wanted(json.loads(line)["volume"]))
        journal.seek(0)
        journal.truncate()
        kept.seek(0)
        shutil.copyfileobj(kept, journal)


def _info(name: str, size: int, mode: int = 0o600, mtime: float = 0.0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, int(mtime)
    return info


def _folder(name: str) -> tarfile.TarInfo:
    """Return a folder: Git needs some of its folders even when they are empty."""
    info = _info(name, 0, 0o700)
    info.type = tarfile.DIRTYPE
    return info


def _below(folder: Path) -> Iterator[Path]:
    """Yield every folder and regular file below a folder; locks and links are left out."""
    for where, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(where, name) for name in folders)
        for name in sorted(files):
            path = Path(where, name)
            if not name.endswith(".lock") and not path.is_symlink() and path.is_file():
                yield path


def _take(path: Path, target: Path) -> None:
    """Make a folder, link an object of Git, copy anything else; a file that went away meanwhile is left out."""
    if path.is_dir():
        target.mkdir()
        return
    try:
        if "objects" in path.parts and any(part.endswith(".git") for part in path.parts):
            try:
                target.hardlink_to(path)
            except OSError:
                shutil.copy2(path, target)
        else:
            shutil.copy2(path, target)
    except FileNotFoundError:
        return
