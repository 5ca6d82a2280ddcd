"""The catalog: rows about what Git holds, and about long work, one part for each noun."""

from __future__ import annotations

from llmos_lite.engines.database import Database
from llmos_lite.records.catalog_erasure import ErasureRows
from llmos_lite.records.catalog_examples import ExampleRows
from llmos_lite.records.catalog_patterns import PatternRows
from llmos_lite.records.catalog_runs import RunRows
from llmos_lite.records.catalog_skills import SkillRows
from llmos_lite.records.catalog_traces import TraceRows
from llmos_lite.records.catalog_uses import UseRows


class Catalog:
    """Rows of traces, skills, patterns and runs; all but the runs can be rebuilt from Git.

    Several processes may hold a catalog of the same database: each write is a short transaction.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.traces = TraceRows(database)
        self.skills = SkillRows(database)
        self.patterns = PatternRows(database)
        self.runs = RunRows(database)
        self.erasure = ErasureRows(database)
        self.uses = UseRows(database)
        self.examples = ExampleRows(database)
