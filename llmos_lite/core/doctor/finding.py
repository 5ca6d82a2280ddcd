"""What the doctor says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

from llmos_lite.errors import LlmosError

State: TypeAlias = Literal["ok", "repaired", "warning", "broken"]

REPAIR = "Run `llmos doctor --repair`."
BACKUP = "Restore it from a backup or a clone; nothing else is touched by it."


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    check: str
    state: State
    message: str
    hint: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return it for programs."""
        return asdict(self)


def guarded(check: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield findings; what stops the looking is one more, and does not stop what comes after."""
    try:
        yield from findings
    except LlmosError as error:
        yield Finding(check, "broken", error.told, error.hint)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        yield Finding(
            check, "broken", f"It cannot be looked at:{where} {error.strerror or error}.", "Mend its permissions."
        )
