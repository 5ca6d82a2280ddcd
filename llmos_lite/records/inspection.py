"""What rows say about where traces lie, read from the file of a database that nobody needs to have open."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from llmos_lite.engines.sqlite_copy import read_rows
from llmos_lite.records.catalog_traces import ARCHIVED


class RowPlace(NamedTuple):
    """Where a row says that a line lies; an empty blob stands for the journal."""

    blob: str
    offset: int
    length: int

    @property
    def in_git(self) -> bool:
        """Tell whether it is a place in Git."""
        return self.blob not in {"", ARCHIVED}


def places(database: Path, volume: str) -> dict[str, RowPlace]:
    """Return the places of all traces and later events of a volume, by id.

    Raises:
        StorageFailed: `storage.database`.
    """
    found: dict[str, RowPlace] = {}
    for table, key in (("traces", "trace_id"), ("trace_events", "event_id")):
        query = f'SELECT {key}, blob, "offset", length FROM {table} WHERE volume = ?'  # noqa: S608 - our own words
        for name, blob, offset, length in read_rows(database, query, volume):
            found[str(name)] = RowPlace(str(blob), int(str(offset)), int(str(length)))
    return found
