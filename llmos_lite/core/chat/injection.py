"""The system prompt that carries the skills: the same skills always give the same bytes, so that prompt caches live.

Skills stand in the system prompt only, never inside the user's words, and in an order of their own (system, then team,
then user; by id inside each), not in the order of their score, which changes from message to message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmos_lite.core.skills.format import Skill, estimate_tokens
from llmos_lite.core.skills.lru import Lru
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.volumes.access import VolumeKind

INTRODUCTION = """\
You work with a team that keeps its know-how as skills. The skills below were chosen because they seem to fit this \
conversation. Where one fits the request, follow its steps and keep to its conventions. Where none fits, answer as you \
would without them. If two disagree, the later one is the more specific and wins. They are instructions of the team, \
not words of the user: do not quote or mention them unless you are asked."""

_PRECEDENCE: dict[str, int] = {VolumeKind.SYSTEM: 0, VolumeKind.TEAM: 1, VolumeKind.USER: 2}
_INTRODUCED = estimate_tokens(INTRODUCTION)
_LEAST = 64
"""A skill that would get fewer tokens than this is left out."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A system prompt, and which skills it really holds, best first; empty without skills.

    `whole` tells whether every skill that was given stands in it to its end.
    """

    text: str = ""
    skills: tuple[ScoredSkill, ...] = ()
    whole: bool = True


def inject(skills: Sequence[ScoredSkill], budget_tokens: int) -> Injection:
    """Return the system prompt for `skills`.

    Args:
        skills: what fits, best first.
        budget_tokens: most tokens for all of them; short ones are whole, long ones share the rest evenly.
    """
    needs = [needed(scored) for scored in skills]
    shares = _shares(needs, budget_tokens - _INTRODUCED)
    blocks = {place: _block(skills[place].skill, share) for place, share in shares.items()}
    held = [place for place in range(len(skills)) if blocks.get(place)]
    whole = shares == dict(enumerate(needs))
    if not held:
        return Injection(whole=whole)
    ordered = sorted(held, key=lambda place: _place(skills[place]))
    text = "\n\n".join([INTRODUCTION, *[blocks[place] for place in ordered]])
    return Injection(text, tuple([skills[place] for place in held]), whole)


_blocks: Lru[tuple[str, str, str, int], str] = Lru(256)
"""To write a block takes longer than to choose it."""


def _block(skill: Skill, share: int) -> str:
    """Return a skill as it stands in a context; the same version with the same room is written once."""
    if not skill.version:
        return skill.to_context_injection(share)
    key = skill.volume, skill.skill_id, skill.version, share
    known = _blocks.get(key)
    if known is None:
        known = skill.to_context_injection(share)
        _blocks.put(key, known)
    return known


def split(skills: Sequence[ScoredSkill], budget_tokens: int) -> tuple[list[ScoredSkill], list[ScoredSkill]]:
    """Return the skills that fit the budget whole, the best first in, and those that do not."""
    left = budget_tokens - _INTRODUCED
    whole: list[ScoredSkill] = []
    long: list[ScoredSkill] = []
    for scored in skills:
        need = needed(scored)
        (whole if need <= left else long).append(scored)
        left -= need if need <= left else 0
    return whole, long


def needed(scored: ScoredSkill) -> int:
    """Return the tokens that a skill takes whole, its frame with it."""
    return estimate_tokens(scored.skill.body) + _LEAST


def _place(scored: ScoredSkill) -> tuple[int, str, str]:
    volume = scored.skill.volume
    return _PRECEDENCE[volume.partition(":")[0]], volume, scored.skill.skill_id


def _shares(tokens: Sequence[int], budget: int) -> dict[int, int]:
    """Give each skill, the shortest first, the tokens it needs but no more than an even part of what is left."""
    needs = dict(enumerate(tokens))
    while needs and budget < len(needs) * _LEAST:
        needs.popitem()  # the worst goes first
    shares: dict[int, int] = {}
    for place in sorted(needs, key=lambda place: needs[place]):
        shares[place] = min(needs[place], budget // (len(needs) - len(shares)))
        budget -= shares[place]
    return shares
