"""The import itself: files, or archives of files, through an importer into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from llmos_lite.core.archives import BROKEN, untar
from llmos_lite.core.traces.importers.base import Importer, Skipped, Source, Target
from llmos_lite.core.traces.importers.registry import choose
from llmos_lite.core.traces.trace import Trace
from llmos_lite.errors import Invalid

BATCH = 500
UNKNOWN = "file of no known format"
MOST_UNPACKED = 4 << 30
"""Bytes that the files of one archive may have; the largest of them lies on the disk for a while."""


Store = Callable[[list[Trace]], Awaitable[tuple[int, int]]]
"""Stores traces of the target's volume: answers how many were new, and how many it had already."""

Progress = Callable[[int, int], None]
"""Called with bytes read so far and bytes in all."""


@dataclass(slots=True)
class ImportReport:
    """What an import did; `skipped` counts by reason, `formats` counts files."""

    files: int = 0
    lines: int = 0
    traces: int = 0
    duplicates: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str) -> None:
        """Count something that gave no trace."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1

    def as_dict(self) -> dict[str, object]:
        """Return the report for programs."""
        return {
            "files": self.files,
            "lines": self.lines,
            "traces": self.traces,
            "duplicates": self.duplicates,
            "skipped": dict(sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))),
            "formats": self.formats,
        }


def _quiet(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import into one volume.

    Args:
        target: whose work it was, where it goes.
        store: takes the traces, in batches.
        known: the importers, by name.
        format: name of one of them; empty looks at each file.
        progress: hears of it as bytes are read.
    """

    target: Target
    store: Store
    known: Mapping[str, Importer]
    format: str = ""
    progress: Progress = _quiet

    async def file(self, path: Path, name: str = "") -> ImportReport:
        """Import one file, or every file of a tar archive (as `llmos import` sends them).

        Raises:
            Invalid: `import.unknown_format`.
            OSError: the file cannot be read.
        """
        report, total, done = ImportReport(), _size(path), 0
        for member, member_name in _members(path, name or path.name):
            await self._one(Source(member, member_name), report, done, total)
            done += _size(member)
        self.progress(total, total)
        return report

    async def _one(self, source: Source, report: ImportReport, before: int, total: int) -> None:
        report.files += 1
        importer = choose(source, self.known, self.format)
        if importer is None:
            report.skip(UNKNOWN)
            return
        report.formats[importer.name] = report.formats.get(importer.name, 0) + 1
        for batch in _batches(importer.read(source, self.target), report):
            stored, duplicates = await self.store(batch)
            report.traces += stored
            report.duplicates += duplicates
            self.progress(min(before + source.position, total), total)
        report.lines += source.lines


def _batches(found: Iterable[Trace | Skipped], report: ImportReport) -> Iterator[list[Trace]]:
    batch: list[Trace] = []
    for item in found:
        if isinstance(item, Skipped):
            report.skip(item.reason)
            continue
        batch.append(item)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _members(path: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Yield the file itself, or the regular files of an archive, one at a time, from a temporary folder.

    Raises:
        Invalid: `import.broken_archive`.
        TooLarge: `archive.too_large`.
    """
    with path.open("rb") as stream, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        spool, found = Path(folder) / "member", 0
        try:
            for member, content in untar(stream, MOST_UNPACKED):
                found += 1
                _copy(content, spool)
                yield spool, member.name
        except BROKEN as error:
            if getattr(error, "errno", None):
                raise  # the disk, not the archive
            if found:
                raise Invalid("import.broken_archive", f"The archive breaks off: {error}.") from error
        else:
            return
    yield path, name


def _size(path: Path) -> int:
    return path.stat().st_size


def _copy(content: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        while block := content.read(1 << 20):
            file.write(block)
