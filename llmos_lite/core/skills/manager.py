"""`SkillsManager`: load the skills that somebody sees, choose those that fit, put them into a context.

What is cached belongs to a volume and a commit, so people share it; a warm call only asks each volume for its head.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, TypeVar

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.abstain import CLOSE, LOOKED_AT, is_enough, is_side_request
from llmos_lite.core.skills.format import Skill, estimate_tokens
from llmos_lite.core.skills.library import Library, document, read_skill
from llmos_lite.core.skills.text import QUERY_CHARACTERS, Analyzer
from llmos_lite.core.skills.versions import Version, read_version
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.volumes.access import ID, ID_LENGTH, SYSTEM, VolumeRef, require
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.examples import Examples
    from llmos_lite.core.skills.search import Extra, Hit, Searched
    from llmos_lite.core.skills.semantic import Meaning, Semantics
    from llmos_lite.core.skills.uses import Uses

    Once: TypeAlias = Callable[[], Searched | None]
    """Searches when it is called first."""

K = TypeVar("K")
V = TypeVar("V")

LIMIT = 3
HELD = 50
"""Hits among which those are looked for that are held back."""
BUDGET_TOKENS = 4000
CACHED_LIBRARIES = 1000
CACHED_LISTS = 64
CACHED_RANKINGS, LONGEST_CACHED = 256, 2000
"""Answers to the same words: a retry, another try at an answer and a job that runs every hour ask again. And how many
characters such a query may have."""
MINUTE = 60_000
"""Milliseconds for which what was asked is as old as it was: it counts less with its age."""


class ScoredSkill(NamedTuple):
    """A skill and how well it fits a query.

    Args:
        skill: the skill.
        score: BM25 over its fields; comparable inside one answer only.
        coverage: share of the query's meaning (idf mass) that it covers, 0 to 1.
        header: the same for its name, description, keywords and category alone.
        fits: whether that is enough to be put into a context.
        asked: points of the score that come from what was asked where it helped.
        meaning: points of the score that come from what it means, beside its words.
        hit: what the search said of it; None for a skill that was not searched for.
    """

    skill: Skill
    score: float
    coverage: float = 0.0
    header: float = 0.0
    fits: bool = True
    asked: float = 0.0
    meaning: float = 0.0
    hit: Hit | None = None


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


class Watch(Protocol):
    """Knows what is unsafe; see `guard.Guard`."""

    def codes(self, skill: Skill) -> tuple[str, ...]:
        """Return the codes of what stands against a version; none for a clean one."""

    def all_codes(self, skills: Sequence[Skill]) -> list[tuple[str, ...]]:
        """Return the same for many skills, in their order."""

    def signed(self, volumes: Iterable[str]) -> frozenset[str]:
        """Return the versions that somebody stands for in one of these volumes."""

    def withholds(self, skill: Skill, among: Iterable[str] = ()) -> bool:
        """Tell whether a version is unsafe and nobody stands for it, in its volume or in one of these."""


class SkillsManager:
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
        self._volumes, self._budget, self._uses = volumes, budget_tokens, uses
        self._watch, self._semantics = watch, semantics
        self.examples: Examples | None = None
        """Requests that a model wrote for skills, where it does."""
        self._analyzer = Analyzer()
        self._libraries: OrderedDict[VolumeRef, Library] = OrderedDict()
        self._lists: OrderedDict[tuple[object, ...], SkillSet] = OrderedDict()
        self._sieved: OrderedDict[VolumeRef, tuple[Library, frozenset[str], Library]] = OrderedDict()
        self._rankings: OrderedDict[tuple[object, ...], list[ScoredSkill]] = OrderedDict()
        self._guard = threading.Lock()
        self._loading: dict[VolumeRef, threading.Lock] = {}

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
        key = _state(libraries)
        with self._guard:
            found = self._lists.get(key)
        if found is None:
            found = SkillSet(_resolved(libraries), libraries)
            self._remember(self._lists, key, found, CACHED_LISTS)
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
            return self.ranked(skills.libraries, query, limit, only_fitting=only_fitting, meaning=meaning)
        from llmos_lite.core.skills.index import SkillIndex  # noqa: PLC0415 - loads numpy
        from llmos_lite.core.skills.search import search  # noqa: PLC0415 - loads numpy

        usable = [skill for skill in skills if skill.usable]
        documents = [replace(document(skill), key=str(place)) for place, skill in enumerate(usable)]
        hits = search([SkillIndex(self._analyzer).updated(documents)], query, limit)
        return self._scored([(usable[int(hit.key)], hit) for hit in hits], query, only_fitting=only_fitting)

    def repeats(self, one: Skill, other: Skill) -> bool:
        """Tell whether two skills say nearly the same."""
        from llmos_lite.core.skills.index import SkillIndex, same_text  # noqa: PLC0415 - loads numpy

        documents = [replace(document(one), key="one"), replace(document(other), key="other")]
        index = SkillIndex(self._analyzer).updated(documents)
        return same_text(index, "one", index, "other")

    def ranked(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        only_fitting: bool = True,
        shadowed: bool = False,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
        searched: Once | None = None,
    ) -> list[ScoredSkill]:
        """Return the best skills of these libraries, of which the first wins.

        Args:
            libraries: what is searched.
            query: free text.
            limit: skills to return at most.
            only_fitting: leave out what matches too little to be put into a context.
            shadowed: let in shadowed ones, and what a scanner holds back.
            asked: the goals that whoever asks profits from; see `asked`.
            meaning: of the query; see `meaning`.
            searched: the search itself, where it is ranked more than once; see `searched`.
        """
        found = searched or partial(self.searched, libraries, query, asked=asked, meaning=meaning)
        ranked = partial(self._ranked, libraries, query, limit, found, only_fitting=only_fitting, shadowed=shadowed)
        if meaning is not None or len(query) > LONGEST_CACHED:
            return ranked()
        views = [view.serial for view in asked if view.goals]
        age = (now_ms() // MINUTE, *views) if views else ()
        key = (query, limit, only_fitting, shadowed, _state(libraries), age)
        with self._guard:
            known = self._rankings.get(key)
        if known is None:
            known = ranked()
            self._remember(self._rankings, key, known, CACHED_RANKINGS)
        return known.copy()

    def _ranked(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int,
        searched: Once,
        *,
        only_fitting: bool,
        shadowed: bool,
    ) -> list[ScoredSkill]:
        """Return the best skills; see `ranked`."""

        def hidden(source: int, key: str) -> bool:
            return key in libraries[source].held or any(library.offers(key) for library in libraries[:source])

        found = searched() if limit > 0 else None
        if found is None:
            return []
        hits = found.best(
            limit,
            hidden=None if shadowed or (len(libraries) == 1 and not libraries[0].held) else hidden,
            collapse=not shadowed,
            share=CLOSE if only_fitting else 0.0,
            sure=LOOKED_AT,
        )
        pairs = [(_marked(libraries, hit), hit) for hit in hits]
        return self._scored(pairs, query, only_fitting=only_fitting)

    def searched(
        self,
        libraries: Sequence[Library],
        query: str,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
    ) -> Searched | None:
        """Return a search of these libraries, for whoever ranks more than once; None when nothing can be found."""
        from llmos_lite.core.skills.search import searched  # noqa: PLC0415 - loads numpy

        close = self._semantics.closeness(libraries, meaning) if self._semantics and meaning else None
        return searched([library.index for library in libraries], query, extra=_asked_by(libraries, asked), close=close)

    def _scored(self, found: Sequence[tuple[Skill, Hit]], query: str, *, only_fitting: bool) -> list[ScoredSkill]:
        """Decide once for all matches that may be used whether anything fits; then those near the best one do."""
        usable = [one for one in found if one[0].usable]
        bar = self._bar(usable, query)
        return [
            ScoredSkill(
                skill,
                hit.score,
                hit.coverage,
                hit.header,
                hit.score >= bar and skill.usable,
                hit.asked,
                hit.meaning,
                hit,
            )
            for skill, hit in (usable if only_fitting else found)
            if hit.score >= bar or not only_fitting
        ]

    def _bar(self, found: Sequence[tuple[Skill, Hit]], query: str) -> float:
        """Return the least score that fits; infinite when nothing does."""
        if any(is_enough(hit, partial(self._names, query, skill)) for skill, hit in found[:LOOKED_AT]):
            return math.inf if is_side_request(query) else CLOSE * found[0][1].score
        return math.inf

    def _names(self, query: str, skill: Skill) -> bool:
        """Tell whether a query holds every word of a skill's name."""
        return set(self._analyzer.hashes(query[:QUERY_CHARACTERS])).issuperset(self._analyzer.hashes(skill.skill_id))

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
        commits = {str(library.ref): library.commit for library in libraries if library.commit}
        used = self.ranked(libraries, query, limit, asked=asked, meaning=meaning)
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
        goals = await self._uses.of(actor, team_id) if self._uses is not None else ()
        return [*goals, *self.examples.of(self._refs(actor, team_id))] if self.examples is not None else goals

    def version_of(self, actor: Actor, skill: Skill) -> Version:
        """Return the files of a skill that a library of the actor's holds, as of that version; reads from Git.

        Raises:
            NotFound: `volume.unknown`, for a volume that does not concern the actor.
        """
        volume = self._volumes.open(actor.principal, VolumeRef.parse(skill.volume))
        return read_version(volume, skill.skill_id, skill.version)

    def held(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
    ) -> list[ScoredSkill]:
        """Return the best hits that a scanner holds back, whether they would fit or not; see `ranked`."""
        if not any(library.held for library in libraries):
            return []
        every = self.ranked(libraries, query, HELD, only_fitting=False, shadowed=True, asked=asked, meaning=meaning)
        return [one for one in every if one.skill.held and not one.skill.shadowed_by][:limit]

    def withheld(
        self,
        libraries: Sequence[Library],
        query: str,
        limit: int = LIMIT,
        *,
        asked: Sequence[AskedIndex] = (),
        meaning: Meaning | None = None,
        searched: Once | None = None,
    ) -> list[Skill]:
        """Return what would go into the context of a query beside the rest, if no scanner held it back; see `ranked`.

        It searches only where something is held back at all.
        """
        if not any(library.held for library in libraries):
            return []
        codes = {str(library.ref): library.held for library in libraries}
        every = [replace(library, held={}) if library.held else library for library in libraries]
        ranked = self.ranked(every, query, limit, asked=asked, meaning=meaning, searched=searched)
        best = [one.skill for one in ranked]
        return [replace(skill, held=held) for skill in best if (held := codes[skill.volume].get(skill.skill_id))]

    def held_for(self, actor: Actor, skill: Skill, team_id: str | None = None) -> tuple[str, ...]:
        """Return for what any version of a skill is held back from the actor; nothing for one that may be used."""
        if self._watch is None or not (codes := self._watch.codes(skill)):
            return ()
        names = [str(ref) for ref in self._refs(actor, team_id) if self._head(actor, ref)]
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
        for ref in self._refs(actor, None):
            if volume in {"", str(ref)} and self._head(actor, ref):
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

    def libraries(self, actor: Actor, team_id: str | None = None) -> list[Library]:
        """Return the libraries that the actor sees, the one that wins first."""
        return self._sifted([self._current(actor, ref) for ref in self._refs(actor, team_id)])

    def _sifted(self, libraries: list[Library]) -> list[Library]:
        """Return libraries with what nobody stands for; a sign-off in one counts for the same folder in another."""
        if self._watch is None or not any(library.unsafe for library in libraries):
            return libraries
        signed = self._watch.signed([str(library.ref) for library in libraries if library.commit])
        return [self._sifted_by(signed, library) if library.unsafe else library for library in libraries]

    def _sifted_by(self, signed: frozenset[str], library: Library) -> Library:
        """Return a library without what nobody stands for; made once while nothing changes."""
        known = self._sieved.get(library.ref)
        if known is not None and known[0] is library and known[1] == signed:
            return known[2]
        sieved = library.sifted(signed)
        self._remember(self._sieved, library.ref, (library, signed, sieved), CACHED_LIBRARIES)
        return sieved

    def _current(self, actor: Actor, ref: VolumeRef) -> Library:
        """Return one volume's library as it is now, nothing of it held back yet.

        Raises:
            NotFound: `volume.unknown`, for a volume that does not concern the actor.
        """
        require(actor.principal, ref, write=False)
        known = self._libraries.get(ref)
        if known is None or known.commit != self._head(actor, ref):
            return self._load(actor, ref)
        self._remember(self._libraries, ref, known, CACHED_LIBRARIES)
        return known

    def in_memory(self, actor: Actor, team_id: str | None = None) -> list[Library] | None:
        """Return the libraries that the actor sees, or None when one has to be read; asks each volume for its head."""
        found: list[Library] = []
        for ref in self._refs(actor, team_id):
            known = self._libraries.get(ref)
            if known is None or known.commit != self._head(actor, ref):
                return None
            self._remember(self._libraries, ref, known, CACHED_LIBRARIES)
            found.append(known)
        return self._sifted(found)

    def is_warm(self, actor: Actor, team_id: str | None = None) -> bool:
        """Tell whether the actor's skills are in memory as they are now."""
        return self.in_memory(actor, team_id) is not None

    def warm(self, actor: Actor, team_id: str | None = None) -> None:
        """Bring the actor's skills into memory; may read from Git."""
        self.libraries(actor, team_id)

    def _refs(self, actor: Actor, team_id: str | None) -> list[VolumeRef]:
        if team_id:
            team = VolumeRef.team(team_id)
            require(actor.principal, team, write=False)
            return [actor.volume, team, SYSTEM] if actor.volume != team else [team, SYSTEM]
        refs = [actor.volume, *(VolumeRef.team(team) for team in sorted(actor.teams)), SYSTEM]
        return refs if actor.reads is None else list(dict.fromkeys(refs))

    def _head(self, actor: Actor, ref: VolumeRef) -> str:
        """Return the commit of a volume, empty for one that was never created: reading creates nothing."""
        known = self._libraries.get(ref)
        if (known is None or not known.commit) and not self._volumes.exists(ref):
            return ""
        return self._volumes.open(actor.principal, ref).store.head() or ""

    def library_of(self, volume: GitVolume) -> Library:
        """Return the library of a volume that somebody has opened, as it is now; its own sign-offs count."""
        return self._sifted([self._read(volume)])[0]

    def _read(self, volume: GitVolume) -> Library:
        with self._guard:
            loading = self._loading.setdefault(volume.ref, threading.Lock())
        with loading:  # one thread reads it, the others wait
            commit = volume.store.head() or ""
            known = self._libraries.get(volume.ref) or Library.empty(volume.ref, self._analyzer)
            if known.commit != commit:
                before, known = known, known.at(volume.store, commit)
                known = known.judged(self._watch.all_codes, before) if self._watch else known
            self._remember(self._libraries, volume.ref, known, CACHED_LIBRARIES)
        return known

    def _load(self, actor: Actor, ref: VolumeRef) -> Library:
        if self._volumes.exists(ref):
            return self._read(self._volumes.open(actor.principal, ref))
        nothing = Library.empty(ref, self._analyzer)
        self._remember(self._libraries, ref, nothing, CACHED_LIBRARIES)
        return nothing

    def _remember(self, cache: OrderedDict[K, V], key: K, value: V, most: int) -> None:
        with self._guard:
            cache[key] = value
            cache.move_to_end(key)
            while len(cache) > most:
                cache.popitem(last=False)


def _state(libraries: Sequence[Library]) -> tuple[object, ...]:
    """Return what tells libraries apart: where they were read, and what of them is held back."""
    return tuple([library.state for library in libraries])


def _asked_by(libraries: Sequence[Library], asked: Sequence[AskedIndex]) -> Extra | None:
    """Return what gives skills points for what was asked; None when nothing was."""
    views = [view for view in asked if view.goals]
    if not views:
        return None
    from llmos_lite.core.skills.asked import AskedBy  # noqa: PLC0415 - loads numpy

    return AskedBy(libraries, views, now_ms())


def usable(libraries: Sequence[Library], volume: str, skill_id: str) -> Skill | None:
    """Return a skill of a volume, if it can be used: it is there, whole, and no better library has one of its id."""
    winner = next((library for library in libraries if library.offers(skill_id)), None)
    return winner.skills[skill_id] if winner is not None and str(winner.ref) == volume else None


def _resolved(libraries: Sequence[Library]) -> list[Skill]:
    """Return all skills by id, the shadowed ones marked with the volume that wins."""
    found: list[tuple[str, int, Skill]] = []
    for place, library in enumerate(libraries):
        found += [(skill_id, place, _marked_in(libraries[:place], library, skill_id)) for skill_id in library.skills]
    found.sort(key=lambda item: item[:2])
    return [skill for _, _, skill in found]


def _marked_in(better: Sequence[Library], library: Library, skill_id: str) -> Skill:
    skill, held = library.skills[skill_id], library.held.get(skill_id, ())
    if not better and not held:
        return skill
    winner = next((one for one in better if one.offers(skill_id)), None)
    if winner is None and not held:
        return skill
    return replace(skill, shadowed_by=str(winner.ref) if winner else "", held=held)


def _marked(libraries: Sequence[Library], hit: Hit) -> Skill:
    return _marked_in(libraries[: hit.source], libraries[hit.source], hit.key)
