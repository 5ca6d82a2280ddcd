"""An importer: a help desk's export, `{"ticket": 7, "at": "2026-11-02T09:00:00Z", "question": "…", "answer": "…"}`."""

from collections.abc import Iterator

from llmos_lite.core.traces.importers import Skipped, Source, Target
from llmos_lite.core.traces.importers.base import as_time, clean, short_goal
from llmos_lite.core.traces.trace import Message, Trace


class Desk:
    """Reads the export of the help desk; `llmos import --format desk` names it."""

    name = "desk"

    def sniff(self, head: bytes) -> bool:
        """Tell from its first bytes whether a file is such an export."""
        return head.lstrip().startswith(b'{"ticket"')

    def read(self, source: Source, target: Target) -> Iterator[Trace | Skipped]:
        """Yield one trace for each ticket; a line that is none is counted and passed over."""
        for record in source.records():
            if isinstance(record, Skipped):
                yield record
                continue
            at, question, answer = as_time(record.get("at")), record.get("question"), record.get("answer")
            if at is None or not isinstance(question, str) or not isinstance(answer, str):
                yield source.skipped("not a ticket")
                continue
            key = f"desk:{record.get('ticket')}"
            yield Trace(
                id=target.trace_id(at, key),
                actor=target.actor,
                volume=target.volume,
                conversation=key,
                time=at,
                goal=short_goal(question),
                messages=(Message("user", clean(question)), Message("assistant", clean(answer))),
                source="import:desk",
            )
