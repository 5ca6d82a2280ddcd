"""`SkillsManager`: load the skills that somebody sees, choose those that fit, put them into a context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.format import Skill, estimate_tokens
from llmos_lite.core.skills.libraries import Libraries, Watch
from llmos_lite.core.skills.library import Library, document, read_skill
from llmos_lite.core.skills.lru import Lru
from llmos_lite.core.skills.ranking import LIMIT, Ranking, ScoredSkill, resolved
from llmos_lite.core.skills.together import Together
from llmos_lite.core.skills.versions import Version, read_version
from llmos_lite.volumes.access import ID, ID_LENGTH, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.examples import Examples
    from llmos_lite.core.skills.semantic import Meaning, Semantics
    from llmos_lite.core.skills.uses import Uses

BUDGET_TOKENS = 4000
CACHED_LISTS = 64


@dataclass(frozen=True, slots=True)
class SkillContext:
    """What fits a query.

    Args:
        used: the skills, best first.
        commits: the commit at which each volume was read, by volume; none for a volume without commits.
        budget_tokens: most tokens that `text` may take.
    """

    used: list[ScoredSkill] = field(default_factory=list)
    commits: Mapping[str, str] = field(default_factory=dict)
    budget_tokens: int = BUDGET_TOKENS

    @property
    def text(self) -> str:
        """Return the blocks of the skills, best first, as far as the budget goes; empty when nothing fits."""
        blocks: list[str] = []
        left = self.budget_tokens
        for scored in self.used:
            if block := scored.skill.to_context_injection(left):
                blocks.append(block)
                left -= estimate_tokens(block)
        return "\n\n".join(blocks)


class SkillSet(list[Skill]):
    """The skills that somebody sees, by id; remembers the libraries that they come from, best first."""

    def __init__(self, skills: Iterable[Skill], libraries: Sequence[Library]) -> None:
        super().__init__(skills)
        self.libraries = tuple(libraries)


class SkillsManager(Libraries):
    """Loads, filters and injects skills.

    Args:
        volumes: where they live.
        budget_tokens: most tokens of one context.
        uses: knows what was asked where skills helped; None takes no notice of it.
        watch: says which skills are unsafe, and which of them somebody stands for; None lets all in.
        semantics: knows what skills and queries mean; None compares words alone.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        *,
        budget_tokens: int = BUDGET_TOKENS,
        uses: Uses | None = None,
        watch: Watch | None = None,
        semantics: Semantics | None = None,
    ) -> None:
        super().__init__(volumes, watch)
        self._budget, self._uses, self._semantics = budget_tokens, uses, semantics
        self.ranking = Ranking(self._analyzer, semantics)
        self.knows_meaning = semantics is not None
        self.examples: Examples | None = None
        """Requests that a model wrote for skills, where it does."""
        self._lists: Lru[tuple[object, ...], SkillSet] = Lru(CACHED_LISTS)

    @property
    def compares(self) -> str:
        """Return by what skills are compared, as people read it."""
        return "by words" if self._semantics is None else f"by words and meaning ({self._semantics.name})"

    def load_skills_for_user(self, actor: Actor, team_id: str | None = None) -> list[Skill]:
        """Return every skill that the actor sees, by id; user over team over system.

        One that is not used because of another with its id is there, too, with `shadowed_by` set; a broken one is
        there with its `error`, one that a scanner holds back with `held`, and both shadow nobody.

        Args:
            actor: the person.
            team_id: the chosen team; without it all teams of the person count, in alphabetical order.

        Raises:
            NotFound: `volume.unknown`, for a team that the actor is not in.
        """
        return self.listed(self.libraries(actor, team_id))

    def listed(self, libraries: Sequence[Library]) -> SkillSet:
        """Return the skills of these libraries, of which the first wins, by id and then in their order."""
        key = Together.of(libraries).states
        found = self._lists.get(key)
        if found is None:
            found = SkillSet(resolved(libraries), libraries)
            self._lists.put(key, found)
        return SkillSet(found, libraries)

    def filter_skills_by_query(
        self, skills: Sequence[Skill], query: str, limit: int = LIMIT, *, only_fitting: bool = True
    ) -> list[ScoredSkill]:
        """Return the skills that fit a query, best first; none when nothing does.

        Args:
            skills: what `load_skills_for_user` returned, whose index is there already, or any other list.
            query: free text.
            limit: skills to return at most.
            only_fitting: leave out what matches too little to be put into a context.
        """
        if isinstance(skills, SkillSet):
            meaning = self.meaning_now(skills.libraries, query)
            return self.ranking.ranked(skills.libraries, query, limit, only_fitting=only_fitting, meaning=meaning)
        from llmos_lite.core.skills.index import SkillIndex  # noqa: PLC0415 - loads numpy
        from llmos_lite.core.skills.search import search  # noqa: PLC0415 - loads numpy

        usable = [skill for skill in skills if skill.usable]
        documents = [replace(document(skill), key=str(place)) for place, skill in enumerate(usable)]
        hits = search([SkillIndex(self._analyzer).updated(documents)], query, limit)
        return self.ranking.scored([(usable[int(hit.key)], hit) for hit in hits], query, only_fitting=only_fitting)

    def repeats(self, one: Skill, other: Skill) -> bool:
        """Tell whether two skills say nearly the same."""
        from llmos_lite.core.skills.index import SkillIndex, same_text  # noqa: PLC0415 - loads numpy

        documents = [replace(document(one), key="one"), replace(document(other), key="other")]
        index = SkillIndex(self._analyzer).updated(documents)
        return same_text(index, "one", index, "other")

    def build_context_for_query(
        self, actor: Actor, query: str, team_id: str | None = None, limit: int = LIMIT
    ) -> SkillContext:
        """Return the skills that go into the context of a query.

        Raises:
            NotFound: `volume.unknown`, for a team that the actor is not in.
        """
        libraries = self.libraries(actor, team_id)
        return self.context(libraries, query, limit, meaning=self.meaning_now(libraries, query))

    def context(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
    ) -> SkillContext:
        """Return the skills of these libraries that go into the context of a query; see `ranked`."""
        commits = {library.name: library.commit for library in libraries if library.commit}
        used = self.ranking.ranked(libraries, query, limit, asked=asked, meaning=meaning)
        return SkillContext(used, commits, self._budget)

    async def meaning(self, libraries: Sequence[Library], query: str) -> Meaning | None:
        """Return what a query means; None without an embedder, and when it is late or fails."""
        return await self._semantics.meaning(libraries, query) if self._semantics is not None else None

    def meaning_now(self, libraries: Sequence[Library], query: str, *, patience: float | None = None) -> Meaning | None:
        """Do the same on a thread that may wait, `patience` seconds instead of the budget of a chat."""
        if self._semantics is None:
            return None
        return self._semantics.meaning_now(libraries, query, patience=patience)

    async def asked(self, actor: Actor, team_id: str | None = None) -> Sequence[AskedIndex]:
        """Return the goals that the actor's choice of skills profits from; reads rows only the first time.

        Requests that a model wrote for the skills that the actor sees are among them.
        """
        sight = self.sight(actor, team_id)
        goals = await self._uses.of(sight.asked) if self._uses is not None else ()
        return [*goals, *self.examples.of(sight.refs)] if self.examples is not None else goals

    def version_of(self, actor: Actor, skill: Skill) -> Version:
        """Return the files of a skill that a library of the actor's holds, as of that version; reads from Git.

        Raises:
            NotFound: `volume.unknown`, for a volume that does not concern the actor.
        """
        volume = self._volumes.open(actor.principal, VolumeRef.parse(skill.volume))
        return read_version(volume, skill.skill_id, skill.version)

    def held_for(self, actor: Actor, skill: Skill, team_id: str | None = None) -> tuple[str, ...]:
        """Return for what any version of a skill is held back from the actor; nothing for one that may be used."""
        if self._watch is None or not (codes := self._watch.codes(skill)):
            return ()
        refs = self.sight(actor, team_id).refs
        heads = self._volumes.heads(actor.principal, refs)
        names = [str(ref) for ref, head in zip(refs, heads, strict=True) if head]
        return codes if self._watch.withholds(skill, names) else ()

    def named(self, actor: Actor, skill_id: str, volume: str = "") -> Skill | None:
        """Return the skill that somebody means by an id: one that is used, or else one that is held back.

        It is read from Git, and only it: no library is.

        Args:
            actor: the person.
            skill_id: what may be an id.
            volume: where it is, when that is known; else the best of the actor's counts.
        """
        if len(skill_id) > ID_LENGTH or not ID.fullmatch(skill_id):
            return None
        held = None
        refs = [ref for ref in self.sight(actor).refs if volume in {"", str(ref)}]
        for ref, head in zip(refs, self._volumes.heads(actor.principal, refs), strict=True):
            if head:
                handle = self._volumes.open(actor.principal, ref)
                entry = handle.skill_entry(skill_id)
                skill = read_skill(handle.store, entry, str(ref)) if entry else None
                if skill is None or skill.error is not None:
                    continue
                codes = self.held_for(actor, skill)
                if not codes:
                    return skill
                held = held or replace(skill, held=codes)
        return held

    def renamed(self) -> None:
        """Hear that a skill has another id: what was asked of it is found under that one."""
        if self._uses is not None:
            self._uses.reload()

    def close(self) -> None:
        """Stop comparing meanings."""
        if self._semantics is not None:
            self._semantics.close()
