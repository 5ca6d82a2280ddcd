"""Long work: a bar until it ends, then what it did."""

from __future__ import annotations

from llmos_lite.cli.client import Json
from llmos_lite.cli.command import Session
from llmos_lite.errors import LlmosError

FIRST, LONGEST = 0.05, 1.0


class RunFailed(LlmosError):
    """Long work came to a bad end."""


def follow(session: Session, path: str, label: str) -> Json:
    """Wait for a run, showing how far it is, and return its last state.

    Raises:
        RunFailed: the run failed; the message is the run's.
    """
    pause = FIRST
    with session.out.progress(label) as step:
        while True:
            run = session.api.get(path)
            state = run.get("state") or run.get("status")
            if state not in {"queued", "running"}:
                break
            step(_int(run.get("done")), _int(run.get("total")))
            session.api.transport.wait(pause)
            pause = min(pause * 1.5, LONGEST)
    if state == "failed":
        raise RunFailed("run.failed", str(run.get("error") or "The run failed."), hint="The server's log has more.")
    return run


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
