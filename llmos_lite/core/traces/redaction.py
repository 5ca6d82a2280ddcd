"""The place between journal and Git where secrets and personal data are taken out of a trace."""

from __future__ import annotations

from typing import Protocol

from llmos_lite.core.traces.trace import Event


class Redactor(Protocol):
    """Takes out of an event what must not reach Git.

    It runs in a thread, off the answer's path, on every event that is folded or imported, and on an unfolded one that
    is read. The same event must give the same result: a fold that a crash interrupted is done again.
    """

    def redact(self, event: Event) -> Event:
        """Return the event as it may be kept."""


class KeepAll:
    """Takes nothing out."""

    def redact(self, event: Event) -> Event:
        """Return the event as it is."""
        return event
