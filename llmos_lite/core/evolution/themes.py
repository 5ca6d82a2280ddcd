"""What one skill is about: patterns that are the same goal after all, and the skill that they have already.

Good grouping still gives several patterns per intent. They stay apart as patterns, where joining would cost purity, and
come together here, where one skill serves them: update rather than create.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmos_lite.core.evolution.features import content_words, stem
from llmos_lite.core.evolution.patterns import Conversation, Pattern

ALIKE_SHARE = 0.75
"""Part of the threshold at which patterns were joined. At .3 of .4, 7 of 10 joins are right on public intents, and 460
patterns become 317 themes."""
SHARED = 0.4
"""Share of a pattern's goals that hold a word which speaks for all."""
COVERED = 0.85
"""Share of those words (weighed by rarity) that a skill's name and header hold when it covers a pattern."""
LEAST_WORDS = 2


@dataclass(slots=True)
class Theme:
    """Patterns for one skill; the first is the largest. `skill_id` is empty when they have none."""

    patterns: list[Pattern] = field(default_factory=list)
    skill_id: str = ""

    @property
    def members(self) -> list[Conversation]:
        """Return all conversations."""
        return [member for pattern in self.patterns for member in pattern.members]

    @property
    def typical(self) -> list[Conversation]:
        """Return all conversations, the most typical of each pattern first, in turns."""
        ranked = [
            (rank / len(pattern.central), number, pattern.members[place])
            for number, pattern in enumerate(self.patterns)
            for rank, place in enumerate(pattern.central)
        ]
        return [member for _, _, member in sorted(ranked, key=lambda item: item[:2])]


def group(patterns: Sequence[Pattern], skill_of: Mapping[str, str], threshold: float) -> list[Theme]:
    """Return the themes of some patterns.

    Args:
        patterns: of one run, the largest first.
        skill_of: the skill that a pattern has already, by its id.
        threshold: least mean cosine between the members of two patterns of a theme.
    """
    themes: dict[str, Theme] = {}
    for pattern in patterns:
        skill_id = skill_of.get(pattern.pattern_id, "")
        if skill_id:
            themes.setdefault(skill_id, Theme(skill_id=skill_id)).patterns.append(pattern)
    found = list(themes.values())
    for pattern in patterns:
        if not skill_of.get(pattern.pattern_id):
            home = max(found, key=lambda theme: pattern.alike(theme.patterns[0]), default=None)
            if home is None or pattern.alike(home.patterns[0]) < threshold:
                home = Theme()
                found.append(home)
            home.patterns.append(pattern)
    return found


def evidence_root(members: Iterable[Conversation]) -> str:
    """Return the hash that stands for exactly these conversations."""
    ids = sorted({member.trace_id for member in members})
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:32]


def telling_words(goals: Sequence[str], background: Mapping[str, int], total: int) -> dict[str, float]:
    """Return the stems that most of some goals share, with their rarity in the volume."""
    inside = Counter(word for goal in goals for word in {stem(word) for word in content_words(goal)})
    least = max(2, SHARED * len(goals))
    return {
        word: math.log((total + 10) / (background.get(word, 0) + 1)) for word, count in inside.items() if count >= least
    }


def covers(header: str, telling: Mapping[str, float]) -> bool:
    """Tell whether a skill's name and header speak of what some goals share."""
    if len(telling) < LEAST_WORDS:
        return False
    there = {stem(word) for word in content_words(header)}
    held = [weight for word, weight in telling.items() if word in there]
    return len(held) >= LEAST_WORDS and sum(held) >= COVERED * sum(telling.values())
