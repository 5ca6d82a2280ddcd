"""Children that speak to somebody else's server: each has a time, its output a size, and all of them end together."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from llmos_lite.errors import Unavailable, UpstreamTimeout

MOST_SAID = 4 << 20
"""Bytes of output that are kept, the first ones; a list of refs is the longest that is needed."""
_PIECE = 64 << 10
_NICE = 5
"""How far a transfer stands back behind a chat."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended, and what it wrote."""

    code: int
    out: str
    said: str


class Children:
    """Runs programs from any thread, until `stop`."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(
        self, command: Sequence[str], env: Mapping[str, str], patience: float, handles: Sequence[int] = ()
    ) -> Ended:
        """Run a program to its end.

        Args:
            command: the program and its words.
            env: all that it gets to know.
            patience: seconds that it has.
            handles: open files that it inherits.

        Raises:
            Unavailable: `git.missing`; `remote.stopping`, after `stop`.
            UpstreamTimeout: `remote.timeout`.
        """
        child = self._start(command, env, handles)
        try:
            return _listen(child, patience)
        finally:
            with self._lock:
                self._running.discard(child)
                stopped = self._stopped
            _end(child)
            if stopped:
                raise _stopping()

    def start(self) -> None:
        """Take children again."""
        with self._lock:
            self._stopped = False

    def stop(self) -> None:
        """End all children, and start none any more."""
        with self._lock:
            self._stopped = True
            for child in self._running:
                _kill(child)

    def _start(self, command: Sequence[str], env: Mapping[str, str], handles: Sequence[int]) -> subprocess.Popen[bytes]:
        with self._lock:  # so that `stop` sees every child
            if self._stopped:
                raise _stopping()
            try:
                child = subprocess.Popen(  # noqa: S603 - no shell; every word was checked
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=dict(env),
                    cwd="/",
                    start_new_session=True,
                    pass_fds=tuple(handles),
                )
            except FileNotFoundError as error:
                raise Unavailable("git.missing", "There is no git on this machine.", hint="Install git.") from error
            self._running.add(child)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
        return child


def _listen(child: subprocess.Popen[bytes], patience: float) -> Ended:
    kept = bytearray(), bytearray()
    readers = [
        threading.Thread(target=_read, args=(stream, into), daemon=True)
        for stream, into in zip((child.stdout, child.stderr), kept, strict=True)
    ]
    for reader in readers:
        reader.start()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired as error:
        raise UpstreamTimeout("remote.timeout", f"The other side was not done after {patience:.0f} s.") from error
    finally:
        _kill(child)  # with whatever it left behind and that holds the pipes
        for reader in readers:
            reader.join()
    out, said = (bytes(one).decode("utf-8", "replace") for one in kept)
    return Ended(child.returncode, out, said)


def _read(stream: IO[bytes] | None, into: bytearray) -> None:
    if stream is None:
        raise AssertionError("both pipes were asked for")
    while piece := os.read(stream.fileno(), _PIECE):
        into += piece[: max(0, MOST_SAID - len(into))]


def _kill(child: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _stopping() -> Unavailable:
    return Unavailable("remote.stopping", "The server stops; the next start goes on.")
