"""The rows of tool servers."""

from __future__ import annotations

from llmos_lite.engines.database import Database
from llmos_lite.records.named import NamedRecord, NamedRows
from llmos_lite.records.tables import ToolServerRow


class ToolServerRecord(NamedRecord, frozen=True, kw_only=True):
    """A tool server as stored; `secret` are its headers, `client` is the secret of the client that signs in to it."""

    client: str = ""


class ToolServerRows(NamedRows[ToolServerRecord]):
    """Reads and writes the rows of tool servers."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, ToolServerRow, ToolServerRecord)
