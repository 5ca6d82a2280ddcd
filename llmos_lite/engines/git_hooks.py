"""The hooks of a push: a few lines of shell that ask this server through pipes that git's children inherit.

No Python is started (0.3 s) and nothing listens anywhere: only the receive-pack that we started holds the other ends,
and when it dies they close. `pre-receive` runs while the objects are in quarantine; what it refuses leaves nothing
behind. `proc-receive` runs when they are in the repository, and leaves it to the server to move the refs.

Formats: githooks(5), gitprotocol-common(5).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MOST_UPDATES = 100
"""Refs that one push may name; one more is kept, so that a receiver can tell."""
_ZERO = "0" * 40
_FLUSH = b"0000"
_LONGEST_LINE = 64 << 10

_PRE_RECEIVE = """\
#!/bin/sh
# Asks llmos-lite whether a push may pass, while its objects are in quarantine.
exec 3>"/dev/fd/$LLMOS_ASK" 4<"/dev/fd/$LLMOS_ANSWER" || exit 1
printf '%s\\n' "$GIT_QUARANTINE_PATH" >&3
number=0
while [ "$number" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ] && [ "$number" -lt 20 ]; do
  eval "printf 'option %s\\n' \\"\\$GIT_PUSH_OPTION_$number\\"" >&3
  number=$((number + 1))
done
while read -r old new ref; do printf '%s %s %s\\n' "$old" "$new" "$ref" >&3; done
printf '\\n' >&3
exec 3>&-
while IFS= read -r line <&4; do
  case $line in
    accept) exit 0 ;;
    refuse) exit 1 ;;
    *) printf '%s\\n' "${line#|}" >&2 ;;
  esac
done
exit 1
"""
_PROC_RECEIVE = """\
#!/bin/sh
# Lets llmos-lite move the refs: git's questions go there, its answers come back, then what it tells the person.
exec 3<&0
cat <&3 >"/dev/fd/$LLMOS_ASK" &
cat "/dev/fd/$LLMOS_REPORT"
exec 1>&-
cat "/dev/fd/$LLMOS_ANSWER" >&2
"""
_HOOKS = {"pre-receive": _PRE_RECEIVE, "proc-receive": _PROC_RECEIVE}


@dataclass(frozen=True, slots=True)
class Update:
    """What a client wants of one ref; `old` is empty for a new one, `new` for a deletion."""

    ref: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """A push in quarantine.

    Args:
        quarantine: folder of its objects; None when it brought none.
        updates: what it wants.
        options: what the client gave with `--push-option`, by the word before the `=`.
    """

    quarantine: Path | None
    updates: tuple[Update, ...]
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of one ref.

    Args:
        ref: as the client named it.
        problem: why it did not move; empty when it did.
        to: the ref that moved in its place, when it is another one.
        old: where that one was before.
        new: where it is now.
        forced: whether what was there is not part of it.
    """

    ref: str
    problem: str = ""
    to: str = ""
    old: str = ""
    new: str = ""
    forced: bool = False


class Receiver(Protocol):
    """Decides about a push; the methods are called in this order, once each."""

    async def check(self, arrival: Arrival) -> Sequence[str]:
        """Return why the push is refused, as lines for the person; nothing accepts it."""

    async def apply(self, arrival: Arrival) -> tuple[Sequence[Moved], Sequence[str]]:
        """Move the refs; return what became of each, and lines for the person."""


def install_hooks(folder: Path) -> Path:
    """Write the hooks into a folder of ours, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, text in _HOOKS.items():
        path = folder / name
        if path.is_file() and path.read_text() == text and os.access(path, os.X_OK):
            continue
        fresh = folder / f".{name}-{os.urandom(6).hex()}"
        fresh.write_text(text)
        fresh.chmod(0o700)
        fresh.rename(path)
    return folder


class HookPipes:
    """The three pipes of one push: what hooks ask, what they are answered, and the report that git reads.

    Close them with `close`, whatever happens; `given` is for the child, and `started` closes its copies here.
    """

    def __init__(self) -> None:
        ask, asks = os.pipe()
        answers, answer = os.pipe()
        reports, report = os.pipe()
        self.given = {"LLMOS_ASK": asks, "LLMOS_ANSWER": answers, "LLMOS_REPORT": reports}
        self.quarantine: Path | None = None
        self._ours = {"ask": ask, "answer": answer, "report": report}

    def started(self) -> None:
        """Close the child's ends, so that ours see when it is gone."""
        while self.given:
            os.close(self.given.popitem()[1])

    def close(self) -> None:
        """Close all ends."""
        self.started()
        for name in tuple(self._ours):
            self._close(name)

    async def talk(self, receiver: Receiver) -> None:
        """Hold the conversation of one push; ends with the child."""
        reader, loop, ask = asyncio.StreamReader(limit=_LONGEST_LINE), asyncio.get_running_loop(), self._ours["ask"]
        loop.add_reader(ask, _feed, reader, ask, loop)
        try:
            with suppress(asyncio.IncompleteReadError):
                await self._talk(reader, receiver)
        finally:
            loop.remove_reader(ask)

    async def _talk(self, reader: asyncio.StreamReader, receiver: Receiver) -> None:
        arrival = await _arrival(reader)
        self.quarantine = arrival.quarantine
        problems = await receiver.check(arrival)
        await self._write("answer", _lines([*(f"|{line}" for line in problems), "refuse" if problems else "accept"]))
        if problems:
            return
        await _until_flush(reader)  # git's version, and what it can do
        await self._write("report", _packet("version=1") + _FLUSH)
        await _until_flush(reader)  # the refs that pre-receive saw
        moved, said = await receiver.apply(arrival)
        await self._write("report", b"".join(_packet(line) for one in moved for line in _report(one)) + _FLUSH)
        self._close("report")
        await self._write("answer", _lines(said))
        self._close("answer")

    async def _write(self, name: str, data: bytes) -> None:
        """Write in a thread, since a hook may be slow; it may also be gone."""
        with suppress(BrokenPipeError):
            await asyncio.to_thread(_write_all, self._ours[name], data)

    def _close(self, name: str) -> None:
        handle = self._ours.pop(name, -1)
        if handle >= 0:
            os.close(handle)


def _feed(reader: asyncio.StreamReader, pipe: int, loop: asyncio.AbstractEventLoop) -> None:
    """Pass on what can be read; a transport of uvloop would close the pipe twice."""
    data = os.read(pipe, _LONGEST_LINE)
    if data:
        reader.feed_data(data)
    else:
        reader.feed_eof()
        loop.remove_reader(pipe)


async def _arrival(reader: asyncio.StreamReader) -> Arrival:
    """Read what pre-receive asks: the quarantine, options, updates, an empty line."""
    quarantine, updates, options = await _line(reader), list[Update](), dict[str, str]()
    while line := await _line(reader):
        first, second, *rest = line.split(" ", 2)
        if first == "option":
            key, _, value = " ".join([second, *rest]).partition("=")
            options[key] = value
        elif len(updates) <= MOST_UPDATES:
            updates.append(Update(" ".join(rest), first.replace(_ZERO, ""), second.replace(_ZERO, "")))
    return Arrival(Path(quarantine) if quarantine else None, tuple(updates), options)


async def _line(reader: asyncio.StreamReader) -> str:
    line = await reader.readuntil()
    return line.decode("utf-8", "surrogateescape").removesuffix("\n")


async def _until_flush(reader: asyncio.StreamReader) -> None:
    """Read packets up to a flush; what they say is known."""
    while size := int(await reader.readexactly(4), 16):
        await reader.readexactly(size - 4)


def _report(moved: Moved) -> list[str]:
    if moved.problem:
        return [f"ng {moved.ref} {moved.problem}"]
    if not moved.to:
        return [f"ok {moved.ref}"]
    ids = [f"option old-oid {moved.old or _ZERO}", f"option new-oid {moved.new}"]
    return [f"ok {moved.ref}", f"option refname {moved.to}", *ids, *(["option forced-update"] if moved.forced else [])]


def _packet(line: str) -> bytes:
    data = line.encode("utf-8", "surrogateescape") + b"\n"
    return b"%04x" % (len(data) + 4) + data


def _lines(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
