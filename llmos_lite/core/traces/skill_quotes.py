"""Skills that quote an erased trace: found by its marked phrases, and those that evolution wrote, mended.

What a skill said before the trace was made is no quotation of it, and what other people said in the same words is
nobody's. A mended skill is a new commit; the history before it keeps the old text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.traces.quotes import Marks, phrases
from llmos_lite.engines.git import MAIN, PLATFORM
from llmos_lite.errors import LlmosError
from llmos_lite.volumes.access import PLATFORM as PLATFORM_PRINCIPAL
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

TAKEN_OUT = "_The example stood in a conversation that was erased._"
EVIDENCE = "Evidence-Root"
"""Trailer of every commit that evolution made."""
LEAST_WORDS = 3
"""A line of fewer words says too little to be a quotation."""

_QUOTED = re.compile(r'"([^"\n]{1,400})"')
_ASKED = re.compile(r"^(?:Asked:|Somebody had to say:)\s*", re.IGNORECASE)

Says = Callable[[str, str], Awaitable[bool]]
"""Tells whether a trace that is left in a volume (first) says a phrase."""


class QuotingSkill(msgspec.Struct, frozen=True, kw_only=True):
    """A skill that quotes what was erased; `replaced` when a new commit took the quotation out of it."""

    volume: str
    skill_id: str
    branch: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class _Found:
    volume: GitVolume
    branch: str
    skill: Skill
    phrases: dict[str, list[str]]
    """What is quoted, by the line (or the quoted part of one) that it stands in."""


class SkillQuotes:
    """Looks for quotations.

    Args:
        volumes: where skills are.
        says: see `Says`.
    """

    def __init__(self, volumes: VolumeManager, says: Says) -> None:
        self._volumes, self._says = volumes, says

    async def mend(self, refs: Sequence[VolumeRef], marks: Marks, *, since: int, reason: str) -> list[QuotingSkill]:
        """Find skills that quote, mend those that evolution wrote, and return all of them.

        Args:
            refs: the volumes to look through.
            marks: of what was erased.
            since: when the oldest of it was made (milliseconds).
            reason: for the message of the commits.
        """
        quoting: list[QuotingSkill] = []
        for ref in refs if marks else ():
            for found in await asyncio.to_thread(self._look, ref, marks, since):
                own = [text for text, said in found.phrases.items() if not await self._says(str(ref), said[0])]
                if own:
                    quoting.append(await asyncio.to_thread(_mend, found, own, reason))
        return quoting

    def _look(self, ref: VolumeRef, marks: Marks, since: int) -> list[_Found]:
        return list(self._found(ref, marks, since))

    def _found(self, ref: VolumeRef, marks: Marks, since: int) -> Iterator[_Found]:
        try:
            volume = self._volumes.open(PLATFORM_PRINCIPAL, ref, write=True)
            branches = [name for name in volume.branches() if name == MAIN or name.startswith("pr/")]
        except LlmosError:  # a broken volume has no skills to look through
            return
        seen: set[tuple[str, str]] = set()
        for branch in sorted(branches, key=lambda name: (name != MAIN, name)):
            for entry in volume.list_skills(at=branch):
                if (entry.skill_id, entry.version) not in seen:  # a proposal's branch holds all of main
                    seen.add((entry.skill_id, entry.version))
                    yield from _quotes(volume, branch, entry.skill_id, marks, since)


def _quotes(volume: GitVolume, branch: str, skill_id: str, marks: Marks, since: int) -> Iterator[_Found]:
    try:
        text = volume.read_skill(skill_id, at=branch)
    except LlmosError:
        return
    found = {part: said for part in _parts(text) if (said := _long(marks.quoted(part)))}
    if not found:
        return
    old = _before(volume, branch, skill_id, since)
    found = {part: left for part, said in found.items() if (left := [one for one in said if one not in old])}
    if found:
        yield _Found(volume, branch, Skill.parse(skill_id, text), found)


def _parts(text: str) -> Iterator[str]:
    """Yield the lines of a text without their marks, and what stands between quotation marks."""
    for line in text.splitlines():
        yield line
        yield from _QUOTED.findall(line)
        bare = _ASKED.sub("", line.lstrip("> -*0123456789."))
        if bare != line:
            yield bare


def _long(said: Sequence[str]) -> list[str]:
    return [phrase for phrase in said if phrase.count(" ") >= LEAST_WORDS - 1]


def _before(volume: GitVolume, branch: str, skill_id: str, since: int) -> frozenset[str]:
    """Return the phrases that a skill held before a time."""
    for commit in volume.get_git_log(1 << 20, skill_id=skill_id, branch=branch):
        if commit.time < since - 1000:  # Git keeps seconds
            try:
                text = volume.read_skill(skill_id, at=commit.oid)
            except LlmosError:
                return frozenset()
            return frozenset(phrase for part in _parts(text) for phrase in phrases(part))
    return frozenset()


def _mend(found: _Found, parts: Sequence[str], reason: str) -> QuotingSkill:
    volume, skill = found.volume, found.skill
    last = next(iter(volume.get_git_log(1, skill_id=skill.skill_id, branch=found.branch)), None)
    mended = False
    if last is not None and EVIDENCE in last.trailers and skill.error is None:
        content = without(skill, parts).render()
        trailers = last.trailers | {"Skill-Op": "erase"}
        message = f"Take out of {skill.skill_id} what was erased{f': {reason}' if reason else ''}"
        try:
            volume.write_skill(skill.skill_id, content, message, PLATFORM, trailers=trailers, branch=found.branch)
            mended = True
        except LlmosError:  # somebody holds the volume: the skill is listed, and mended by hand
            mended = False
    return QuotingSkill(volume=str(volume.ref), skill_id=skill.skill_id, branch=found.branch, replaced=mended)


def without(skill: Skill, parts: Sequence[str]) -> Skill:
    """Return a skill without some lines and quoted parts; an example goes as a whole."""
    body = "\n".join(_kept(skill.body.split("\n"), frozenset(parts)))
    description = skill.description
    for part in parts:
        description = description.replace(f'"{part}"', "the like").replace(part, "")
    described = " ".join(description.split()) or f"{skill.name}."
    return replace(skill, body=body, description=described, name=skill.skill_id if skill.name in parts else skill.name)


def _kept(lines: Sequence[str], parts: frozenset[str]) -> Iterator[str]:
    example = _example(lines, parts)
    for number, line in enumerate(lines):
        if example and example[0] < number < example[1]:
            if number == example[0] + 1:
                yield from ("", TAKEN_OUT, "")
        elif not parts.intersection(_parts(line)):
            yield line


def _example(lines: Sequence[str], parts: frozenset[str]) -> tuple[int, int] | None:
    """Return the first and the last line of the example, when it holds one of the parts."""
    start = next((number for number, line in enumerate(lines) if line.strip().lower() == "## example"), None)
    if start is None:
        return None
    ends = (number for number in range(start + 1, len(lines)) if lines[number].startswith("## "))
    end = next(ends, len(lines))
    held = any(parts.intersection(_parts(line)) for line in lines[start + 1 : end])
    return (start, end) if held else None
