"""What a client lists of a whole catalog at the start of each conversation, and what no longer fits.

Sources, as of 2026-11: Claude Code lists within 1 % of its context (200,000 tokens: 8,000 characters), shows 1,536 characters
of an entry, and beyond the budget the least used skills by name alone; Codex lists within 2 % or 8,000 characters, and shortens
descriptions first; Hermes shows 57 characters of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.lint.codes import finding
from llmos_lite.core.skills.scan import Finding

FRAME = 4
"""Characters around an entry: `- name: description` and the end of its line."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client that lists skills.

    Args:
        name: of the client.
        budget: characters of the whole list; 0 for no bound.
        entry: most characters of one description.
        names: whether what does not fit is shown by name alone; else descriptions are shortened.
    """

    name: str
    budget: int
    entry: int
    names: bool = False


CLIENTS = (
    Client("Claude Code", 8000, 1536, names=True),
    Client("Claude Code (1M context)", 40_000, 1536, names=True),
    Client("Codex", 8000, 1024),
    Client("Hermes", 0, 57),
)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one client makes of a catalog.

    Args:
        client: which.
        used: characters that the whole list would take.
        skills: how many there are.
        name_only: ids of those that would be shown by name alone, the longest first, when all are used alike.
        shortened: characters that are left for each description; 0 when all fit.
    """

    client: Client
    used: int
    skills: int
    name_only: Sequence[str] = ()
    shortened: int = 0

    @property
    def fits(self) -> bool:
        """Tell whether everything is listed whole."""
        return not self.name_only and not self.shortened


def budgets(skills: Iterable[Skill]) -> list[Budget]:
    """Return what every client makes of a catalog; skills that cannot be used are in no list."""
    listed = [skill for skill in skills if skill.usable]
    return [_budget(client, listed) for client in CLIENTS]


def _budget(client: Client, skills: Sequence[Skill]) -> Budget:
    lengths = {skill.skill_id: min(client.entry, _length(skill)) for skill in skills}
    names = sum(len(skill_id) + FRAME for skill_id in lengths)
    used = names + sum(lengths.values())
    if not client.budget or used <= client.budget:
        return Budget(client, used, len(lengths))
    if not client.names:
        return Budget(client, used, len(lengths), shortened=_shortened(client.budget - names, list(lengths.values())))
    over, dropped = used - client.budget, list[str]()
    for skill_id in sorted(lengths, key=lambda one: (-lengths[one], one)):
        if over <= 0:
            break
        dropped.append(skill_id)
        over -= lengths[skill_id]
    return Budget(client, used, len(lengths), name_only=dropped)


def _length(skill: Skill) -> int:
    when = skill.extra.get("when_to_use", "")
    return len(skill.description) + (len(when) + 1 if isinstance(when, str) and when else 0)


def _shortened(room: int, lengths: Sequence[int]) -> int:
    """Return the length to which descriptions are cut so that they fit, at least 1."""
    low, high = 1, max(lengths)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(min(one, middle) for one in lengths) <= room else (low, middle - 1)
    return low


def over_budget(found: Iterable[Budget]) -> list[Finding]:
    """Return a finding for each client that cannot list everything."""
    said = []
    for one in found:
        size = f"{one.client.name} lists {one.client.budget:,} characters; these {one.skills} skills take {one.used:,}."
        if one.name_only:
            names = ", ".join(one.name_only[:5]) + (" …" if len(one.name_only) > 5 else "")  # noqa: PLR2004 - enough
            said.append(
                finding(
                    "budget.names", f"{size} At least {len(one.name_only)} are shown by name alone: {names}.", file=""
                )
            )
        elif one.shortened:
            said.append(
                finding("budget.cut", f"{size} Descriptions are cut to about {one.shortened} characters.", file="")
            )
    return said
