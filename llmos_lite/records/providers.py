"""The rows of providers."""

from __future__ import annotations

from llmos_lite.engines.database import Database
from llmos_lite.records.named import NamedRecord, NamedRows
from llmos_lite.records.tables import ProviderRow


class ProviderRecord(NamedRecord, frozen=True, kw_only=True):
    """A provider as stored; `secret` is its key."""


class ProviderRows(NamedRows[ProviderRecord]):
    """Reads and writes the rows of providers."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, ProviderRow, ProviderRecord)
