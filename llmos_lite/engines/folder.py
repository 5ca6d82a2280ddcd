"""The data folder: who holds it, which format it has, and the admin key in it.

One process owns a data folder. The owner holds a lock on `<data>/lock` and writes its pid and address into it as JSON,
so that whoever comes second can say where to go instead. The lock goes with the process, however that ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.engines.durable import sync_folder
from llmos_lite.errors import Unavailable, storage_error

PATIENCE = 2.0
"""Seconds to wait when the owner died: a child that it was starting holds the lock until it runs its own program."""

FORMAT = 1
"""Version of the layout that this program reads and writes."""

Upgrade = Callable[[Path], None]
UPGRADES: Mapping[int, Upgrade] = {}
"""From a format to the next: `UPGRADES[1]` turns format 1 into 2."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that owns a data folder; `url` is empty for a command that serves nothing."""

    pid: int
    url: str


def holder(data: Path) -> Holder | None:
    """Return who owns a data folder now, or None."""
    try:
        fd = os.open(data / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(fd)
    finally:
        os.close(fd)
    return None


@contextmanager
def locked(data: Path, url: str) -> Iterator[None]:
    """Own a data folder; made when there is none.

    Args:
        data: the folder.
        url: where it is served; empty for a command that serves nothing.

    Raises:
        Unavailable: `data.locked`, when another process owns it.
        StorageFailed: when it cannot be made or written.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise storage_error(error, f"open the data folder {data}") from error
    try:
        _take(fd, data)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)
        yield
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _take(fd: int, data: Path) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            by = _read_holder(fd)
            if _lives(by.pid) or time.monotonic() > until:
                raise held(data, by) from None
            time.sleep(0.005)
        else:
            return


def _lives(pid: int) -> bool:
    """Tell whether a process is there; one that nobody names has ended, or is about to write its name."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def held(data: Path, by: Holder) -> Unavailable:
    """Return the error that says who owns a data folder, and what to do."""
    if by.url:
        return Unavailable(
            "data.locked",
            f"The data folder {data} is served at {by.url} (pid {by.pid}).",
            hint=f"Use that server (LLMOS_URL={by.url}), stop it, or choose another folder.",
            url=by.url,
            pid=by.pid,
        )
    return Unavailable(
        "data.locked",
        f"The data folder {data} is in use by another llmos command (pid {by.pid}).",
        hint="Wait until it has finished, or choose another folder.",
        pid=by.pid,
    )


def _read_holder(fd: int) -> Holder:
    try:
        said = json.loads(os.pread(fd, 4096, 0))
        return Holder(int(said["pid"]), str(said["url"]))
    except (ValueError, KeyError, TypeError):
        return Holder(0, "")


def check_format(data: Path) -> int:
    """Bring a data folder to the format of this program; return the format it had (0 for a fresh one).

    Raises:
        Unavailable: `data.newer`, when a later llmos-lite wrote it, or `data.format` when nobody can tell.
    """
    path = data / "format"
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        write_private(path, f"{FORMAT}\n")
        return 0
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("data.format", f"Could not read the format of the data folder {data}: {error}.") from error
    found = int(text) if text.isascii() and text.isdigit() else 0
    if found > FORMAT:
        raise Unavailable(
            "data.newer",
            f"The data folder {data} has format {found}; this llmos-lite knows formats up to {FORMAT}.",
            hint="Use a newer llmos-lite, or another data folder.",
        )
    for step in range(found, FORMAT):
        if step not in UPGRADES:
            raise Unavailable("data.format", f"The data folder {data} has the unknown format {text[:40]!r}.")
        UPGRADES[step](data)
        write_private(path, f"{step + 1}\n")
    return found


DEMO = "demo"
"""File that marks a data folder as one of the example team, for good."""


RESTORED = "restored.json"
"""A note that the folder came out of a backup; gone when it is in the audit log."""


def is_demo(data: Path) -> bool:
    """Tell whether a data folder holds the example team."""
    return (data / DEMO).exists()


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """Return the first line of a private file, made when it is missing or empty."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(
            "data.key", f"Could not read {path}: {error}.", hint="Mend the file, or delete it."
        ) from error
    if not text:
        text = make()
        write_private(path, text + "\n")
    return text


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    try:
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, f"write {path}") from error
