"""The system prompt that carries the skills: the same skills always give the same bytes, so that prompt caches live.

Skills stand in the system prompt only, never inside the user's words, and in an order of their own (system, then team,
then user; by id inside each), not in the order of their score, which changes from message to message.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter

import msgspec

from llmos_lite.core.chat.prompt import NOTHING, Prompt
from llmos_lite.core.skills.card import LEAST, Card, card_of
from llmos_lite.core.skills.format import CLOSING, Skill, estimate_tokens
from llmos_lite.core.skills.lru import Lru, Sized
from llmos_lite.core.skills.ranking import ScoredSkill

INTRODUCTION = """\
You work with a team that keeps its know-how as skills. The skills below were chosen because they seem to fit this \
conversation. Where one fits the request, follow its steps and keep to its conventions. Where none fits, answer as you \
would without them. If two disagree, the later one is the more specific and wins. They are instructions of the team, \
not words of the user: do not quote or mention them unless you are asked."""

_INTRODUCED = estimate_tokens(INTRODUCTION)
MOST_KEPT = 4 << 20
"""Characters of skills that are kept as they stand in contexts; some 1,000 of usual length."""


class Injection(msgspec.Struct, frozen=True):
    """A system prompt, and which skills it really holds, best first; empty without skills.

    `whole` tells whether every skill that was given stands in it to its end, `has_files` whether one of them speaks of
    files beside it.
    """

    prompt: Prompt = NOTHING
    skills: tuple[ScoredSkill, ...] = ()
    whole: bool = True
    has_files: bool = False


def inject(skills: Sequence[ScoredSkill], budget_tokens: int) -> Injection:
    """Return the system prompt for `skills`.

    Args:
        skills: what fits, best first.
        budget_tokens: most tokens for all of them; short ones are whole, long ones share the rest evenly.
    """
    cards = [one.skill.card or card_of(one.skill) for one in skills]
    room = budget_tokens - _INTRODUCED
    whole = sum(map(_tokens_of, cards)) <= room
    if whole and all(map(_opening_of, cards)):
        known = _known.newer
        held, has_files = tuple(skills), any(map(_has_files, cards))
        blocks = [
            (card.rank, known.get(card) or _whole(one.skill, card)) for one, card in zip(skills, cards, strict=True)
        ]
    else:
        needs = [card.tokens for card in cards]
        shares = needs if whole else _shares(needs, room)
        made = [_block(one.skill, card, share) for one, card, share in zip(skills, cards, shares, strict=True)]
        held = tuple([one for one, block in zip(skills, made, strict=True) if block])
        has_files = any(card.has_files for card, block in zip(cards, made, strict=True) if block)
        blocks = [(card.rank, block) for card, block in zip(cards, made, strict=True) if block]
    if not blocks:
        return Injection(whole=whole)
    blocks.sort()
    return Injection(Prompt((INTRODUCTION, *map(itemgetter(1), blocks))), held, whole, has_files)


_tokens_of, _opening_of, _has_files = map(attrgetter, ("tokens", "opening", "has_files"))
_known: Sized[Card, str] = Sized(MOST_KEPT)
"""Whole skills as they stand in contexts: one that is the same object is hashed and quoted once."""
_blocks: Lru[tuple[str, str, str, int], str] = Lru(256)
"""To cut a text takes longer than to choose it."""


def _whole(skill: Skill, card: Card) -> str:
    block = _known.get(card)
    if block is None:
        block = f"\n\n{card.opening}{skill.body[card.start : card.end]}{CLOSING}"
        _known.put(card, block)
    return block


def _block(skill: Skill, card: Card, share: int) -> str:
    """Return a skill as it stands in a context, nothing without room; the same version is cut once to the same room."""
    if not share:
        return ""
    if share == card.tokens and card.opening:
        return _whole(skill, card)
    if not skill.version:
        return _apart(skill.to_context_injection(share))
    key = skill.volume, skill.skill_id, skill.version, share
    known = _blocks.get(key)
    if known is None:
        known = _apart(skill.to_context_injection(share))
        _blocks.put(key, known)
    return known


def _apart(block: str) -> str:
    return f"\n\n{block}" if block else ""


def split(skills: Sequence[ScoredSkill], budget_tokens: int) -> tuple[list[ScoredSkill], list[ScoredSkill]]:
    """Return the skills that fit the budget whole, the best first in, and those that do not."""
    left = budget_tokens - _INTRODUCED
    whole: list[ScoredSkill] = []
    long: list[ScoredSkill] = []
    for scored in skills:
        need = (scored.skill.card or card_of(scored.skill)).tokens
        (whole if need <= left else long).append(scored)
        left -= need if need <= left else 0
    return whole, long


def _shares(needs: Sequence[int], budget: int) -> list[int]:
    """Give each skill, the shortest first, the tokens it needs but no more than an even part of what is left.

    The worst get none, 0, where there is too little for all.
    """
    count = min(len(needs), max(0, budget) // LEAST)
    shares = [0] * len(needs)
    for given, place in enumerate(sorted(range(count), key=needs.__getitem__)):
        shares[place] = min(needs[place], budget // (count - given))
        budget -= shares[place]
    return shares
