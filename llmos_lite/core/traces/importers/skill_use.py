"""Skills that a log says were used: loaded by name, or by reading their `SKILL.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.trace import Exposure, SkillUse

LOOKED_AT = 20_000
"""Characters of a call's arguments that are searched."""

_READ = re.compile(r"[/\\]skills[/\\]{1,4}(?:[\w.@-]{1,64}[/\\]{1,4}){0,3}?([\w.-]{1,64})[/\\]{1,4}SKILL\.md\b")
_WRITTEN = re.compile(
    r"(?<![0-9&])>{1,2}\s{0,3}\\?[\"']?[^\s\"'|;&<>]{0,300}SKILL\.md|\*\*\* (?:Add|Update|Delete) File:"
)


def skills_read(arguments: str) -> Iterator[str]:
    """Yield the ids of the skills whose `SKILL.md` a call of a tool reads; one that writes it uses no skill."""
    text = arguments[:LOOKED_AT]
    if "SKILL.md" in text and not _WRITTEN.search(text):
        yield from (found[1] for found in _READ.finditer(text))


def used(target: Target, names: Iterable[str]) -> tuple[SkillUse, ...]:
    """Return the skills that exist here, once each; a plug-in's skill is written `plugin:skill`."""
    ids = dict.fromkeys(name.strip().removeprefix("/").rpartition(":")[2] for name in names)
    return tuple(target.skills[skill] for skill in ids if skill in target.skills)


def exposures(skills: Iterable[SkillUse]) -> tuple[Exposure, ...]:
    """Return the exposures of skills that were in a context."""
    return tuple(Exposure(skill.volume, skill.skill_id, skill.version) for skill in skills)
