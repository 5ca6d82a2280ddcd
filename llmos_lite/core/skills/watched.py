"""Scanners of plug-ins, waited for only so long: one that never ends would keep whoever asks it, and all after that.

What runs over its time cannot be ended in this process, so it is asked nothing more here. A helper process ends with it
(`scan_pool`). A scanner that was given up fails at each skill, as any other that fails: see `scan.findings`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding, FolderScanner, Scanner

SECONDS = 60.0
"""Seconds that a plug-in has for one skill."""


class Watched:
    """A scanner that is waited for only so long.

    Args:
        scanner: the plug-in.
        seconds: that it has for one skill.

    Attributes:
        given_up: why it is asked nothing more; empty while it is.
    """

    def __init__(self, scanner: Scanner, seconds: float = SECONDS) -> None:
        self.scanner, self._seconds, self.given_up = scanner, seconds, ""

    def scan(self, skill: Skill) -> Iterable[Finding]:
        """Return what the plug-in says of a skill.

        Raises:
            TimeoutError: it did not end in time, with this skill or an earlier one.
        """
        return self._asked(partial(self.scanner.scan, skill))

    def scan_folder(self, skill: Skill, files: Mapping[str, bytes]) -> Iterable[Finding]:
        """Return what it says of a skill and its files; see `scan`."""
        if isinstance(self.scanner, FolderScanner):
            return self._asked(partial(self.scanner.scan_folder, skill, files))
        return self.scan(skill)

    def give_up(self, why: str) -> None:
        """Ask the plug-in nothing more."""
        self.given_up = self.given_up or why

    def _asked(self, ask: Callable[[], Iterable[Finding]]) -> list[Finding]:
        if self.given_up:
            raise TimeoutError(self.given_up)
        answer = _Answer(ask)
        answer.start()
        answer.join(self._seconds)
        if answer.is_alive():
            self.give_up(f"it did not end within {self._seconds:g} s, and is asked nothing more until the next start")
            raise TimeoutError(self.given_up)
        if answer.error is not None:
            raise answer.error
        return answer.found


class _Answer(threading.Thread):
    """One question; a thread that nobody waits for at the end of the process."""

    def __init__(self, ask: Callable[[], Iterable[Finding]]) -> None:
        super().__init__(name="llmos-scanner", daemon=True)
        self._ask = ask
        self.found: list[Finding] = []
        self.error: Exception | None = None

    def run(self) -> None:
        """Keep what the plug-in says, or how it failed."""
        try:
            self.found = list(self._ask())
        except Exception as error:  # noqa: BLE001 - a plug-in may raise anything
            self.error = error


def watched(scanners: Mapping[str, Scanner], seconds: float = SECONDS) -> dict[str, Scanner]:
    """Return scanners that are waited for only so long."""
    return {name: Watched(scanner, seconds) for name, scanner in scanners.items()}


def plugin_of(scanner: Scanner) -> Scanner:
    """Return the plug-in behind a scanner; the scanner itself where nobody watches it."""
    return scanner.scanner if isinstance(scanner, Watched) else scanner
