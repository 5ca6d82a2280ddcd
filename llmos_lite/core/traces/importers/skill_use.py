"""Skills that a log says were used: loaded by name, or by reading their `SKILL.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from llmos_lite.core.traces.importers.base import Find, Known, Target
from llmos_lite.core.traces.trace import Exposure, SkillUse

if TYPE_CHECKING:
    from llmos_lite.core.accounts.permissions import Actor
    from llmos_lite.core.skills.manager import SkillsManager

LOOKED_AT = 20_000
"""Characters of a call's arguments that are searched."""
REMEMBERED = 4096
"""Names that are looked for once only."""

_READ = re.compile(r"[/\\]skills[/\\]{1,4}(?:[\w.@-]{1,64}[/\\]{1,4}){0,3}?([\w.-]{1,64})[/\\]{1,4}SKILL\.md\b")
_WRITTEN = re.compile(
    r"(?<![0-9&])>{1,2}\s{0,3}\\?[\"']?[^\s\"'|;&<>]{0,300}SKILL\.md|\*\*\* (?:Add|Update|Delete) File:"
)


def skills_read(arguments: str) -> Iterator[str]:
    """Yield the ids of the skills whose `SKILL.md` a call of a tool reads; one that writes it uses no skill."""
    text = arguments[:LOOKED_AT]
    if "SKILL.md" in text and not _WRITTEN.search(text):
        yield from (found[1] for found in _READ.finditer(text))


def named(target: Target, names: Iterable[str]) -> tuple[Known, ...]:
    """Return the skills that exist here, once each; a plug-in's skill is written `plugin:skill`."""
    ids = dict.fromkeys(name.strip().removeprefix("/").rpartition(":")[2] for name in names)
    return tuple(known for skill_id in ids if (known := target.find(skill_id)) is not None)


def used(known: Iterable[Known]) -> tuple[SkillUse, ...]:
    """Return the skills that count as used: what a scanner holds back helps nobody be chosen."""
    return tuple(one.use for one in known if not one.held)


def exposures(known: Iterable[Known]) -> tuple[Exposure, ...]:
    """Return the exposures of skills that were in a context, those that are held back here, too."""
    return tuple(Exposure(use.volume, use.skill_id, use.version, held=held) for use, held in known)


def finder(manager: SkillsManager, actor: Actor) -> Find:
    """Return what finds the skills that a person sees; Git is asked once for each name."""

    @lru_cache(maxsize=REMEMBERED)
    def find(skill_id: str, volume: str = "") -> Known | None:
        skill = manager.named(actor, skill_id, volume)
        if skill is None:
            return None
        return Known(SkillUse(skill_id, skill.name, skill.volume, skill.version, 1.0), bool(skill.held))

    return find
