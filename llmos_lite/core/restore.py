"""From an archive of `core.backup` to a data folder: checked as it is unpacked, and put in place only when whole."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import itertools
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from llmos_lite.core.audit import Audit
from llmos_lite.core.backup import ABOUT, BLOCK, FORMAT, JOURNAL, MANIFEST, PAGE
from llmos_lite.engines.folder import RESTORED, write_private
from llmos_lite.engines.journal import Line
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.errors import Conflict, Invalid, storage_error


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back: files, bytes, and events of the journal."""

    files: int
    bytes: int
    events: int


def restore(source: IO[bytes], data: Path) -> Restored:
    """Unpack an archive into a data folder that must not exist or be empty.

    Args:
        source: the archive.
        data: the folder.

    Raises:
        Conflict: `restore.not_empty`.
        Invalid: `backup.damaged`, `backup.unsafe` or `backup.newer`; nothing was put in place.
        StorageFailed: the folder cannot be written.
    """
    if data.exists() and any(data.iterdir()):
        raise Conflict("restore.not_empty", f"{data} is not empty.", hint="Name a folder that does not exist yet.")
    try:
        return _into(source, data)
    except OSError as error:
        raise storage_error(error, f"restore into {data}") from error


def leave_note(data: Path, restored: Restored, name: str) -> None:
    """Leave word in a data folder that it was restored, for its audit log; see `take_note`."""
    said = {"file": name[:200], "files": restored.files, "bytes": restored.bytes, "events": restored.events}
    write_private(data / RESTORED, json.dumps(said))


async def take_note(data: Path, audit: Audit) -> None:
    """Record what was left by `leave_note`, once, when an instance is opened."""
    path = data / RESTORED
    if path.exists():
        said = json.loads(await asyncio.to_thread(path.read_text, encoding="utf-8"))
        await audit.record(None, "instance.restore", "system", detail={key: str(text) for key, text in said.items()})
        path.unlink()


def _into(source: IO[bytes], data: Path) -> Restored:
    data.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=data.parent, prefix=f".{data.name}.restoring-"))
    try:
        restored = _unpack(source, draft)
        if data.exists():
            data.rmdir()
        os.sync()
        draft.rename(data)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return restored


def _unpack(source: IO[bytes], draft: Path) -> Restored:
    try:
        with gzip.GzipFile(fileobj=source) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as tar:
            files, total = _Reader(draft).read(tar)
            while unzipped.read(BLOCK):
                pass  # to the end, where the checksum of the whole stands
    except (tarfile.TarError, EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise damaged(str(error)) from error
    return Restored(files, total, asyncio.run(_replay(draft)))


class _Reader:
    """Unpacks and checks one archive."""

    def __init__(self, draft: Path) -> None:
        self._draft = draft
        self._digests = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `read`

    def read(self, tar: tarfile.TarFile) -> tuple[int, int]:
        """Return the number of files and their bytes."""
        files = total = 0
        first, whole = True, False
        with self._digests:
            for member in tar:
                name = _safe(member)
                if member.isdir() and files and not whole:
                    _make_private(self._draft / name)
                    continue
                content = tar.extractfile(member)
                if whole or content is None or first is not (name == ABOUT):
                    raise damaged(f"{name} is not where it belongs")
                if name == MANIFEST:
                    self._check(content)
                    whole = True
                    continue
                self._file(name, member, content)
                if first:
                    _check_about(self._draft / ABOUT)
                first, files, total = False, files + 1, total + member.size
        if not whole:
            raise damaged("it was cut off")
        return files, total

    def _file(self, name: str, member: tarfile.TarInfo, content: IO[bytes]) -> None:
        path, digest = self._draft / name, hashlib.sha256()
        _make_private(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, (member.mode & 0o755) | 0o600)
        with os.fdopen(fd, "wb") as file:
            while block := content.read(BLOCK):
                digest.update(block)
                file.write(block)
        os.utime(path, (member.mtime, member.mtime))
        self._digests.write(f"{digest.hexdigest()}  {name}\n".encode("utf-8", "surrogateescape"))

    def _check(self, manifest: IO[bytes]) -> None:
        """Compare what was unpacked with what was packed, line by line."""
        self._digests.seek(0)
        while True:
            told, found = manifest.readline(), self._digests.readline()
            if told != found:
                name = (found or told).decode("utf-8", "replace").strip()[66:]
                raise damaged(f"{name} is not what was packed")
            if not told:
                return


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for nobody else to read."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700)


def _safe(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if (
        not (member.isfile() or member.isdir())
        or path.is_absolute()
        or ".." in path.parts
        or "\0" in member.name
        or not path.parts
    ):
        raise Invalid(
            "backup.unsafe",
            f"The archive has a member that no backup has: {member.name[:200]!r}.",
            hint="Use an archive that `llmos backup` made.",
        )
    return str(path)


def _check_about(path: Path) -> None:
    about = json.loads(path.read_bytes())
    found = about.get("format") if isinstance(about, dict) else None
    if not isinstance(found, int):
        raise damaged("it does not say what it is")
    if found > FORMAT:
        raise Invalid(
            "backup.newer",
            f"The archive has format {found}; this llmos-lite reads up to {FORMAT}.",
            hint="Use a newer llmos-lite.",
        )
    path.unlink()


async def _replay(draft: Path) -> int:
    """Fill the journal with what was in the other one; return the number of events."""
    told, count = draft / JOURNAL, 0
    journal = LocalJournal(draft / "journal")
    try:
        with told.open("rb") as file:
            while lines := [_line(text) for text in itertools.islice(file, PAGE)]:
                await journal.append_many(lines)
                count += len(lines)
    finally:
        journal.close()
    told.unlink()
    return count


def _line(text: bytes) -> Line:
    told = json.loads(text)
    return told["volume"], told["trace_id"], told["line"].encode()


def damaged(why: str) -> Invalid:
    """Return the error for an archive that is not whole."""
    return Invalid("backup.damaged", f"The archive is damaged: {why}.", hint="Use another backup.")
