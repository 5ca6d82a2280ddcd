"""The skills that one message may choose from, as they were when it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.ranking import ScoredSkill, usable

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.ranking import Once
    from llmos_lite.core.skills.semantic import Meaning


@dataclass(frozen=True, slots=True)
class Shelf:
    """What somebody sees, at the commits of one moment.

    Args:
        skills: ranks them.
        libraries: the volumes, of which the first wins.
        asked: goals that the choice profits from; see `SkillsManager.asked`.
        meaning: of the message; another query of the same moment goes by words.
    """

    skills: SkillsManager
    libraries: Sequence[Library]
    asked: Sequence[AskedIndex] = ()
    meaning: Meaning | None = None

    @property
    def count(self) -> int:
        """Return how many skills there are, a few of them twice."""
        return sum([library.index.count for library in self.libraries])

    @property
    def commits(self) -> Mapping[str, str]:
        """Return the commit of each volume that has one."""
        return {str(library.ref): library.commit for library in self.libraries if library.commit}

    def searched(self, query: str) -> Once | None:
        """Return a search that is ranked twice, where something is held back; None where once will do."""
        if not any(library.held for library in self.libraries):
            return None
        meaning = self._meaning(query)
        return cache(partial(self.skills.ranking.searched, self.libraries, query, asked=self.asked, meaning=meaning))

    def best(
        self, query: str, limit: int, *, only_fitting: bool = True, searched: Once | None = None
    ) -> list[ScoredSkill]:
        """Return the skills that fit a query, best first, or all that match it; `searched` saves the search."""
        return self.skills.ranking.ranked(
            self.libraries,
            query,
            limit,
            only_fitting=only_fitting,
            asked=self.asked,
            meaning=self._meaning(query),
            searched=searched,
        )

    def withheld(self, query: str, limit: int, searched: Once | None) -> list[Skill]:
        """Return which skills would be among the best for the message, if no scanner held them back."""
        if searched is None:
            return []
        meaning = self._meaning(query)
        return self.skills.ranking.withheld(
            self.libraries, query, limit, asked=self.asked, meaning=meaning, searched=searched
        )

    def _meaning(self, query: str) -> Meaning | None:
        return self.meaning if self.meaning is not None and self.meaning.query == query else None

    def all(self) -> list[ScoredSkill]:
        """Return every skill that can be used, by id."""
        return [ScoredSkill(skill, 0.0) for skill in self.skills.listed(self.libraries) if skill.usable]

    def find(self, skill_id: str) -> Skill | None:
        """Return the skill of an id; none that is held back."""
        library = next((library for library in self.libraries if library.offers(skill_id)), None)
        return library.skills[skill_id] if library else None

    def at(self, volume: str, skill_id: str) -> Skill | None:
        """Return the skill of a volume, unless another one is used in its place."""
        return usable(self.libraries, volume, skill_id)

    def held(self, skill_id: str) -> Skill | None:
        """Return the skill of an id that would be used, if no scanner held it back."""
        known = (one for one in self.libraries if skill_id in one.held or one.offers(skill_id))
        library = next(known, None)
        codes = library.held.get(skill_id) if library else None
        return replace(library.skills[skill_id], held=codes) if library and codes else None
