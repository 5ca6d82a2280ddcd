"""Whether the audit log is as it was written: the chain computed anew, and compared with the signed checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from llmos_lite.core.audit.chain import GENESIS, digest
from llmos_lite.core.audit.checkpoints import Checkpoint
from llmos_lite.records.audit import AuditRecord, AuditRows

PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found.

    Args:
        rows: rows that were read.
        seq: number of the last row that is as it was written.
        hash: its hash, to be kept elsewhere by who wants to compare later.
        checkpoints: how many there are.
        covered: number of the last row that a checkpoint covers; later ones could have been cut off unseen.
        first_wrong: number of the first row that is wrong; 0 when none is.
        problem: what is wrong with it, as a sentence; empty when all is well.
    """

    rows: int = 0
    seq: int = 0
    hash: str = ""
    checkpoints: int = 0
    covered: int = 0
    first_wrong: int = 0
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Tell whether all is well."""
        return not self.problem


async def check(rows: AuditRows, checkpoints: Sequence[Checkpoint]) -> Report:
    """Check every row, oldest first, up to the first that is wrong."""
    chain = _Chain(checkpoints)
    while not chain.problem and (page := await rows.following(chain.seq, limit=PAGE)):
        await asyncio.to_thread(chain.take, page)
    return chain.report()


class _Chain:
    """The chain as far as it was read."""

    def __init__(self, checkpoints: Sequence[Checkpoint]) -> None:
        self._checkpoints = checkpoints
        self._said: dict[int, list[Checkpoint]] = {}
        for point in checkpoints:
            self._said.setdefault(point.seq, []).append(point)
        self._sure = 0
        self.seq, self._hash, self._rows = 0, GENESIS, 0
        self.wrong, self.problem = 0, ""
        self._check_signatures()

    def take(self, page: Sequence[AuditRecord]) -> None:
        """Read rows on, until one is wrong."""
        for record in page:
            self._rows += 1
            if not self._follows(record) or not self._as_marked(record):
                return
            self.seq, self._hash = record.seq, record.hash

    def report(self) -> Report:
        """Return what was found."""
        covered = max((point.seq for point in self._checkpoints), default=0)
        if not self.problem and self.seq < covered:
            self._blame(self.seq + 1, f"rows {self.seq + 1} to {covered} are missing: a checkpoint covers them")
        return Report(
            rows=self._rows,
            seq=self.seq,
            hash=self._hash if self.seq else "",
            checkpoints=len(self._checkpoints),
            covered=covered,
            first_wrong=self.wrong,
            problem=self.problem,
        )

    def _check_signatures(self) -> None:
        for point in self._checkpoints:
            if not point.signed or not point.seq:
                self._blame(0, f"the checkpoint {point.commit} is not signed by a key of this platform")
                return

    def _follows(self, record: AuditRecord) -> bool:
        intact = digest(record) == record.hash
        if record.seq != self.seq + 1:
            self._blame(self.seq + 1, f"row {self.seq + 1} is missing: after row {self.seq} comes {record.seq}")
        elif not intact:
            self._blame(record.seq, f"row {record.seq} was changed: its hash is another")
        elif record.prev != self._hash and self.seq:
            self._blame(self.seq, f"row {self.seq} was changed: row {record.seq} followed another")
        elif record.prev != self._hash:
            self._blame(1, "row 1 is not the first: it followed another")
        else:
            return True
        return False

    def _as_marked(self, record: AuditRecord) -> bool:
        points = self._said.get(record.seq, ())
        if all(point.hash == record.hash for point in points):
            self._sure = record.seq if points else self._sure
            return True
        first = self._sure + 1
        at = f"row {record.seq}" if first == record.seq else f"one of the rows {first} to {record.seq}"
        self._blame(first, f"{at} was changed, and all after it: the checkpoint of row {record.seq} has another hash")
        return False

    def _blame(self, seq: int, problem: str) -> None:
        self.wrong, self.problem = seq, problem[0].upper() + problem[1:] + "."
