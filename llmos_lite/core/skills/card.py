"""What a context shows of a skill: it depends on the skill alone, so it is made once for each that is chosen."""

from __future__ import annotations

import html
from typing import TypeAlias

from llmos_lite.core.skills.format import BREAKING_OUT, CLOSING, Skill, estimate_tokens
from llmos_lite.volumes.access import VolumeKind

Place: TypeAlias = tuple[str, str]
"""Volume and id of a skill."""
LEAST = 64
"""Tokens of the frame of a text; a skill that would get fewer than this is left out."""
LONGEST_DESCRIPTION = 400
"""Characters; half of the public descriptions are shorter, and the first sentences say when to use it."""

_FOLDERS = ("references/", "scripts/", "assets/")
_PRECEDENCE: dict[str, int] = {VolumeKind.SYSTEM: 0, VolumeKind.TEAM: 1, VolumeKind.USER: 2}


class Card:
    """What a context shows of one skill.

    Attributes:
        place: its volume and id.
        key: how a trace names it when it was offered.
        rank: where its text stands among others: system, then team, then user; by id inside each.
        tokens: that its text takes whole, the frame with it.
        has_files: whether its text speaks of files in its folder, by the names that the standard gives to folders.
        entry: its entry in a catalog, with the line end before it.
        entry_tokens: about how many tokens that is.
        opening: what stands before the whole text, which is the body from `start` to `end`, and before `CLOSING`; empty
            where the text is more than that, or less.
    """

    __slots__ = ("end", "entry", "entry_tokens", "has_files", "key", "opening", "place", "rank", "start", "tokens")

    def __init__(self, skill: Skill) -> None:
        volume, skill_id, body = skill.volume, skill.skill_id, skill.body
        self.place = volume, skill_id
        self.key = f"{volume}/{skill_id}"
        self.rank = _PRECEDENCE.get(volume.partition(":")[0], 0), volume, skill_id
        self.tokens = estimate_tokens(body) + LEAST
        self.has_files = skill.path.endswith("/SKILL.md") and any(map(body.__contains__, _FOLDERS))
        self.entry = _entry(skill)
        self.entry_tokens = estimate_tokens(self.entry)
        text = body.strip()
        opening = skill.opening
        is_whole = estimate_tokens(f"{opening}{CLOSING}") + estimate_tokens(text) <= self.tokens
        self.opening = opening if text and is_whole and BREAKING_OUT not in text else ""
        self.start = len(body) - len(body.lstrip())
        self.end = self.start + len(text)


def card_of(skill: Skill) -> Card:
    """Return what a context shows of a skill."""
    card = skill.card
    if card is None:
        card = Card(skill)
        object.__setattr__(skill, "card", card)
    return card


def _entry(skill: Skill) -> str:
    said = " ".join(skill.description.split())
    if len(said) > LONGEST_DESCRIPTION:
        said = said[: LONGEST_DESCRIPTION - 1].rstrip() + "\u2026"
    name, said = html.escape(skill.skill_id), html.escape(said)
    return f"\n<skill>\n<name>\n{name}\n</name>\n<description>\n{said}\n</description>\n</skill>"
