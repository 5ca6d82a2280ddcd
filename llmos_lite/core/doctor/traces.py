"""Traces: what the journal holds, what Git holds, and what the rows say of both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmos_lite.core.doctor.finding import Finding
from llmos_lite.core.traces.cutting import Head
from llmos_lite.core.traces.lines import decode_event
from llmos_lite.core.wording import count_of
from llmos_lite.engines.git_audit import all_refs
from llmos_lite.engines.git_odb import Objects
from llmos_lite.engines.git_refs import OID
from llmos_lite.engines.journal import Entry
from llmos_lite.engines.journal_disk import FolderDisk
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.errors import Conflict
from llmos_lite.records.inspection import RowPlace, places

REINDEX = "Run `llmos doctor --repair`, or `llmos reindex`."
ROWS = "traces"
"""Check whose findings a reindex mends."""

_head = msgspec.json.Decoder(Head).decode
Places = dict[str, set[RowPlace]]


class ReadOnlyDisk(FolderDisk):
    """The journal's files, of which nothing is changed: recovery clears what was torn in memory alone."""

    def create(self, name: str, size: int) -> None:
        """Do nothing."""

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Do nothing."""

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        """Do nothing."""

    def sync(self, name: str) -> None:
        """Do nothing."""

    def remove(self, name: str) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class TracesCheck:
    """Looks at the traces of every volume.

    Args:
        data: the data folder.
        volumes: name of each volume (`user:alice`) and its `traces.git`.
        served: whether a server is at work on them, which holds the journal.
    """

    data: Path
    volumes: dict[str, Path]
    served: bool

    def examine(self) -> Iterator[Finding]:
        """Yield a finding for the journal, and one for the rows of each volume that are wrong."""
        entries, findings = self._journal()
        yield from findings
        wrong = 0
        for volume, gitdir in sorted(self.volumes.items()):
            waiting = {entry.seq: entry for entry in entries if entry.volume == volume}
            for finding in self._volume(volume, gitdir, waiting):
                wrong += finding.check != "journal"
                yield finding
        strangers = {entry.volume for entry in entries} - self.volumes.keys()
        for volume in sorted(strangers):
            said = f"The journal holds traces of {volume}, which has no folder yet; the next start makes it."
            yield Finding("journal", "warning", said)
        if not wrong and (self.data / "llmos.db").is_file():
            yield Finding(ROWS, "ok", "Rows of traces and Git agree.")

    def _journal(self) -> tuple[list[Entry], list[Finding]]:
        folder = self.data / "journal"
        if not folder.is_dir():
            return [], []
        try:
            journal = LocalJournal(folder, disk=ReadOnlyDisk(folder))
        except Conflict:
            return [], [Finding("journal", "ok", "The server holds it.")]
        try:
            entries, damaged = journal.pending(), journal.damaged
        finally:
            journal.close()
        said = f"{count_of(len(entries), 'event waits', 'events wait')} to be folded into Git."
        found = [Finding("journal", "ok", said)]
        strange = sum(_event_id(entry) is None for entry in entries)
        if strange:
            told = count_of(strange, "event of the journal says", "events of the journal say")
            told += " nothing that this version knows, and stays there."
            found.append(Finding("journal", "broken", told, "If a newer version wrote them, start that one."))
        if damaged:
            told = count_of(damaged, "stretch of the journal cannot", "stretches of the journal cannot")
            told += " be read; what was in there is lost, the rest is whole."
            found.append(
                Finding("journal", "broken", told, "Look at the disk, and restore what is missing from a backup.")
            )
        return entries, found

    def _volume(self, volume: str, gitdir: Path, waiting: dict[int, Entry]) -> Iterator[Finding]:
        there = _in_git(gitdir)
        twice = [entry for entry in waiting.values() if _id(entry) in there]
        if twice:
            said = count_of(len(twice), f"event of {volume} is", f"events of {volume} are")
            said += " in Git and still in the journal, as a crash leaves them."
            yield Finding("journal", "warning", said, "The next start finishes them.")
        database = self.data / "llmos.db"
        if not database.is_file():
            return
        pending = {_id(entry) for entry in waiting.values()}
        problems = self._compare(places(database, volume), there, pending)
        if problems and self.served:  # what is folded now gets its rows a moment later
            problems = self._compare(places(database, volume), _in_git(gitdir), pending)
        for problem in problems:
            yield Finding(f"{ROWS} {volume}", "broken", f"{problem}.", REINDEX)

    def _compare(self, rows: dict[str, RowPlace], there: Places, pending: set[str]) -> list[str]:
        missing = there.keys() - rows.keys()
        elsewhere = [key for key, row in rows.items() if row.in_git and row not in there.get(key, ())]
        nowhere = [key for key, row in rows.items() if not row.blob and not self.served and key not in pending]
        told = [
            (len(missing), "event in Git has", "events in Git have", "no row"),
            (len(elsewhere), "row points", "rows point", "to a place in Git where the event is not"),
            (
                len([key for key in nowhere if key not in there]),
                "row is",
                "rows are",
                "of what is neither in Git nor waiting",
            ),
            (
                len([key for key in nowhere if key in there]),
                "row says",
                "rows say",
                "that an event waits which is in Git",
            ),
        ]
        return [f"{count_of(count, one, several)} {text}" for count, one, several, text in told if count]


def _id(entry: Entry) -> str:
    return _event_id(entry) or entry.trace_id


def _event_id(entry: Entry) -> str | None:
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        return decode_event(entry.line).id
    return None


def _in_git(gitdir: Path) -> Places:
    """Return where every event of a volume lies."""
    found: Places = {}
    objects = Objects(gitdir, None)
    try:
        for name, tip in all_refs(gitdir).items():
            if name.startswith("refs/heads/") and OID.fullmatch(tip):
                for _, item in objects.files(objects.head_root(tip)):
                    _read(item.oid.hex(), objects, found)
    finally:
        objects.close()
    return found


def _read(blob: str, objects: Objects, found: Places) -> None:
    offset = 0
    for line in objects.blob(blob).split(b"\n"):
        if line:
            with contextlib.suppress(msgspec.MsgspecError):
                found.setdefault(_head(line).id, set()).add(RowPlace(blob, offset, len(line)))
        offset += len(line) + 1
