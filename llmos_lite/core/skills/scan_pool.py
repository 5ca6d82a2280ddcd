"""Many skills looked at in processes of their own, so that the server answers others meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO, TypeAlias, cast

import msgspec

from llmos_lite.core.skills.scan_helper import LARGEST, Parcel, Said, receive, send
from llmos_lite.core.skills.watched import SECONDS
from llmos_lite.errors import LlmosError

COMMAND = (sys.executable, "-P", "-m", "llmos_lite.core.skills.scan_helper")
MOST_HELPERS = 4
_STEP, _STEP_BYTES = 32, 4 << 20
"""Skills that a helper gets at once, and bytes after which it gets no more."""
SILENCE = 3 * SECONDS
"""Seconds after which a helper that says nothing is ended: more than a plug-in has for a skill."""
_PATIENCE = 5.0
"""Seconds in which a helper ends whose input has ended."""

Folder: TypeAlias = tuple[str, str, Callable[[], Mapping[str, bytes]]]
"""A version, the skill, and what reads its files."""


class ScanPool:
    """Starts helpers when there is much to do, and ends them after it.

    Args:
        size: helpers at once; one for each processor when None.
        command: of a helper.
        seconds: after which a helper that says nothing is ended.
    """

    def __init__(self, size: int | None = None, command: Sequence[str] = COMMAND, seconds: float = SILENCE) -> None:
        self._size, self._command = size or min(os.cpu_count() or 1, MOST_HELPERS), command
        self._seconds = seconds
        self._busy = threading.Lock()

    def scan(self, rules: str, folders: Iterable[Folder], told: Callable[[Sequence[Said]], None]) -> bool:
        """Have folders looked at; one that no helper could look at is left out, and all while others are looked at.

        Args:
            rules: by which; a helper that has others is not asked.
            folders: what to look at.
            told: is given what was found, some at a time, from several threads.

        Returns:
            Whether a helper said nothing for so long that it was ended.
        """
        if not self._busy.acquire(blocking=False):
            return False  # a hundred volumes that are read at once start no hundred helpers
        try:
            return self._scan(rules, _Work(folders), told)
        finally:
            self._busy.release()

    def _scan(self, rules: str, work: _Work, told: Callable[[Sequence[Said]], None]) -> bool:
        threads = [threading.Thread(target=self._helped, args=(rules, work, told)) for _ in range(self._size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return work.stuck

    def _helped(self, rules: str, work: _Work, told: Callable[[Sequence[Said]], None]) -> None:
        with suppress(OSError):  # the machine has no room for another process
            self._help(rules, work, told)

    def _help(self, rules: str, work: _Work, told: Callable[[Sequence[Said]], None]) -> None:
        pipe = subprocess.PIPE  # in a session of its own, so that Ctrl-C reaches the server alone
        with subprocess.Popen(  # noqa: S603 - our own words, no shell
            self._command, stdin=pipe, stdout=pipe, start_new_session=True
        ) as helper:
            there, here = cast("BinaryIO", helper.stdin), cast("BinaryIO", helper.stdout)
            watch = _Watch(helper, self._seconds)
            said = list[Said]()
            try:
                if msgspec.msgpack.decode(receive(here)) != rules:
                    return
                while parcels := work.take():
                    watch.note()
                    send(there, parcels)
                    for _ in parcels:
                        said.append(_said(receive(here)))
                        watch.note()
                    told(said)
                    said = []
            except (OSError, ValueError, msgspec.MsgspecError):
                return  # it died; who needs a verdict finds it without help
            finally:
                work.stuck = watch.end() or work.stuck
                told(said)
                _end(helper)


class _Watch(threading.Thread):
    """Ends a helper that says nothing for too long: a plug-in may hold all of its process."""

    def __init__(self, helper: subprocess.Popen[bytes], seconds: float) -> None:
        super().__init__(name="llmos-scan-watch", daemon=True)
        self._helper, self._seconds, self._over = helper, seconds, threading.Event()
        self._heard, self._late = time.monotonic(), False
        self.start()

    def note(self) -> None:
        """Take note that it said something, or was asked."""
        self._heard = time.monotonic()

    def end(self) -> bool:
        """Watch no more; tell whether the helper was ended."""
        self._over.set()
        self.join()
        return self._late

    def run(self) -> None:
        """Wait for the end, or for too much silence."""
        while (left := self._heard + self._seconds - time.monotonic()) > 0:
            if self._over.wait(left):
                return
        self._late = True
        _kill(self._helper)


class _Work:
    """What is to be looked at, handed out to several threads."""

    def __init__(self, folders: Iterable[Folder]) -> None:
        self._parcels = _parcels(folders)
        self._mutex = threading.Lock()
        self.stuck = False

    def take(self) -> list[Parcel]:
        """Return some; none when all is handed out."""
        found, size = list[Parcel](), 0
        with self._mutex:
            while len(found) < _STEP and size < _STEP_BYTES and (parcel := next(self._parcels, None)):
                found.append(parcel)
                size += parcel.size
        return found


def _parcels(folders: Iterable[Folder]) -> Iterator[Parcel]:
    for version, skill_id, read in folders:
        with suppress(LlmosError):  # whoever reads it again says why
            parcel = Parcel(version, skill_id, {os.fsencode(path): data for path, data in read().items()})
            if parcel.size < LARGEST // 2:
                yield parcel


def _end(helper: subprocess.Popen[bytes]) -> None:
    try:
        cast("BinaryIO", helper.stdin).close()
        helper.wait(_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        _kill(helper)


def _kill(helper: subprocess.Popen[bytes]) -> None:
    """End a helper, and what a plug-in may have started in it."""
    with suppress(OSError):
        os.killpg(helper.pid, signal.SIGKILL)


_said = msgspec.msgpack.Decoder(Said).decode
