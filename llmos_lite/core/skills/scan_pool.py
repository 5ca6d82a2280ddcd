"""Many skills looked at in processes of their own, so that the server answers others meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO, TypeAlias, cast

import msgspec

from llmos_lite.core.skills.scan_helper import LARGEST, Parcel, Said, receive, send
from llmos_lite.errors import LlmosError

COMMAND = (sys.executable, "-P", "-m", "llmos_lite.core.skills.scan_helper")
MOST_HELPERS = 4
_STEP, _STEP_BYTES = 32, 4 << 20
"""Skills that a helper gets at once, and bytes after which it gets no more."""
_PATIENCE = 5.0
"""Seconds in which a helper ends whose input has ended."""

Folder: TypeAlias = tuple[str, str, Callable[[], Mapping[str, bytes]]]
"""A version, the skill, and what reads its files."""


class ScanPool:
    """Starts helpers when there is much to do, and ends them after it.

    Args:
        size: helpers at once; one for each processor when None.
        command: of a helper.
    """

    def __init__(self, size: int | None = None, command: Sequence[str] = COMMAND) -> None:
        self._size, self._command = size or min(os.cpu_count() or 1, MOST_HELPERS), command
        self._busy = threading.Lock()

    def scan(self, rules: str, folders: Iterable[Folder], told: Callable[[Sequence[Said]], None]) -> None:
        """Have folders looked at; one that no helper could look at is left out, and all while others are looked at.

        Args:
            rules: by which; a helper that has others is not asked.
            folders: what to look at.
            told: is given what was found, some at a time, from several threads.
        """
        if not self._busy.acquire(blocking=False):
            return  # a hundred volumes that are read at once start no hundred helpers
        try:
            self._scan(rules, _Work(folders), told)
        finally:
            self._busy.release()

    def _scan(self, rules: str, work: _Work, told: Callable[[Sequence[Said]], None]) -> None:
        threads = [threading.Thread(target=self._helped, args=(rules, work, told)) for _ in range(self._size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _helped(self, rules: str, work: _Work, told: Callable[[Sequence[Said]], None]) -> None:
        with suppress(OSError):  # the machine has no room for another process
            self._help(rules, work, told)

    def _help(self, rules: str, work: _Work, told: Callable[[Sequence[Said]], None]) -> None:
        pipe = subprocess.PIPE  # in a session of its own, so that Ctrl-C reaches the server alone
        with subprocess.Popen(  # noqa: S603 - our own words, no shell
            self._command, stdin=pipe, stdout=pipe, start_new_session=True
        ) as helper:
            try:
                there, here = cast("BinaryIO", helper.stdin), cast("BinaryIO", helper.stdout)
                if msgspec.msgpack.decode(receive(here)) != rules:
                    return
                while parcels := work.take():
                    send(there, parcels)
                    told(msgspec.msgpack.decode(receive(here), type=list[Said]))
            except (OSError, ValueError, msgspec.MsgspecError):
                return  # it died; who needs a verdict finds it without help
            finally:
                _end(helper)


class _Work:
    """What is to be looked at, handed out to several threads."""

    def __init__(self, folders: Iterable[Folder]) -> None:
        self._parcels = _parcels(folders)
        self._mutex = threading.Lock()

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
        helper.kill()
