"""The skills that one message may choose from, as they were when it came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.ranking import ScoredSkill, usable
from llmos_lite.core.skills.together import Together

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.ranking import Once
    from llmos_lite.core.skills.semantic import Meaning


class Shelf:
    """What somebody sees, at the commits of one moment.

    Args:
        skills: ranks them.
        libraries: the volumes, of which the first wins.
        asked: goals that the choice profits from; see `SkillsManager.asked`.
        meaning: of the message; another query of the same moment goes by words.
        query: the message, which is searched once though it is ranked twice where something is held back.

    Attributes:
        count: how many skills there are, a few of them twice.
        commits: the commit of each volume that has one.
        withholds: whether a scanner holds anything back.
    """

    def __init__(
        self,
        skills: SkillsManager,
        libraries: Sequence[Library],
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
        query: str = "",
    ) -> None:
        self.skills, self.libraries = skills, Together.of(libraries)
        self._asked, self._meaning, self._query = asked, meaning, query
        self.count, self.withholds = self.libraries.total, self.libraries.withholds
        self.commits: Mapping[str, str] = self.libraries.commits
        self._searched: Once | None = None
        if self.withholds:
            self._searched = cache(partial(skills.ranking.searched, libraries, query, asked=asked, meaning=meaning))

    def best(self, query: str, limit: int, *, only_fitting: bool = True) -> list[ScoredSkill]:
        """Return the skills that fit a query, best first, or all that match it."""
        mine = query == self._query
        return self.skills.ranking.ranked(
            self.libraries,
            query,
            limit,
            only_fitting=only_fitting,
            asked=self._asked,
            meaning=self._meaning if mine else None,
            searched=self._searched if mine else None,
        )

    def withheld(self, limit: int) -> list[Skill]:
        """Return which skills would be among the best for the message, if no scanner held them back."""
        return self.skills.ranking.withheld(
            self.libraries, self._query, limit, asked=self._asked, meaning=self._meaning, searched=self._searched
        )

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
