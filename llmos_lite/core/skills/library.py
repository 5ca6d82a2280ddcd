"""The skills of one volume at one commit, parsed and indexed; the next commit costs only what it changed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Self, TypeAlias

from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.engines.volume_interface import VolumeInterface
from llmos_lite.errors import LlmosError, NotFound
from llmos_lite.volumes.access import ID_LENGTH, VolumeRef
from llmos_lite.volumes.skill_paths import FILE, FOLDER, SkillEntry, flat_path, misnamed, shown, skill_entries

if TYPE_CHECKING:
    from llmos_lite.core.skills.index import SkillIndex


Held: TypeAlias = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Library:
    """What one volume offers at `commit` (empty: no commit yet).

    Args:
        ref: the volume.
        commit: where it was read.
        skills: by id.
        index: finds them.
        unsafe: what scanners hold against skills: codes by id.
        held: those of them that nobody stands for, for whoever reads this.

    Attributes:
        name: of the volume, as it is written.
        count: how many of the skills can be found.
        state: what tells it apart: volume, commit, and ids of what is held.
    """

    ref: VolumeRef
    commit: str
    skills: Mapping[str, Skill]
    index: SkillIndex
    unsafe: Held = field(default_factory=dict)
    held: Held = field(default_factory=dict)
    name: str = field(init=False, compare=False)
    count: int = field(init=False, compare=False)
    state: tuple[VolumeRef, str, frozenset[str]] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", str(self.ref))
        object.__setattr__(self, "count", self.index.count)
        object.__setattr__(self, "state", (self.ref, self.commit, frozenset(self.held)))

    @classmethod
    def empty(cls, ref: VolumeRef, analyzer: Analyzer) -> Self:
        """Return the library of a volume without a commit."""
        from llmos_lite.core.skills.index import SkillIndex  # noqa: PLC0415 - loads numpy, which a start need not wait for

        return cls(ref, "", MappingProxyType({}), SkillIndex(analyzer))

    def offers(self, skill_id: str) -> bool:
        """Tell whether there is a skill of this id that can be used; one that is broken or held back shadows nobody."""
        skill = self.skills.get(skill_id)
        return skill is not None and skill.error is None and skill_id not in self.held

    def judged(self, codes: Callable[[Sequence[Skill]], Sequence[tuple[str, ...]]], before: Library) -> Library:
        """Return the library with what scanners say of its skills; what did not change is taken from `before`."""
        unsafe = {key: found for key, found in before.unsafe.items() if self.skills.get(key) is before.skills[key]}
        fresh = [skill for skill_id, skill in self.skills.items() if before.skills.get(skill_id) is not skill]
        unsafe |= {skill.skill_id: found for skill, found in zip(fresh, codes(fresh), strict=True) if found}
        return replace(self, unsafe=MappingProxyType(unsafe))

    def sifted(self, signed: frozenset[str]) -> Library:
        """Return the library with what is held back: unsafe skills whose version nobody signed off."""
        held = {key: codes for key, codes in self.unsafe.items() if self.skills[key].version not in signed}
        return replace(self, held=MappingProxyType(held))

    def at(self, store: VolumeInterface, commit: str) -> Library:
        """Return the library at another commit: what has the same version is taken over as it is."""
        return (self._stepped(store, commit) if self.commit else None) or self._compared(store, commit)

    def _stepped(self, store: VolumeInterface, commit: str) -> Library | None:
        """Return it by what differs from this one; None where a flat file or an odd name has a part in it."""
        try:
            before, after = store.differing(FOLDER, self.commit, at=commit)
        except NotFound:  # the history was written anew
            return None
        entries = skill_entries(after)
        fresh = {entry.skill_id for entry in entries}
        gone = {entry.skill_id for entry in skill_entries(before)}
        is_plain = all(entry.is_tree for entry in (*before, *after)) and len(gone | fresh) == len(
            {entry.path for entry in (*before, *after)}
        )
        if not is_plain or any(f"{skill_id}.md" in self.skills for skill_id in fresh):
            return None
        if any(store.entry(flat_path(skill_id), at=commit) for skill_id in gone - fresh):
            return None
        read = {entry.skill_id: read_skill(store, entry, str(self.ref)) for entry in entries}
        skills = {**self.skills, **read}
        for skill_id in gone - fresh:
            skills.pop(skill_id, None)
        return self._with(commit, skills if read.keys() <= self.skills.keys() else _by_id(skills), read, gone)

    def _compared(self, store: VolumeInterface, commit: str) -> Library:
        """Return it by a look at every entry."""
        tree = store.tree(FOLDER, at=commit)
        entries = skill_entries(tree)
        skills = dict(self._kept(entries))
        read = {
            entry.skill_id: read_skill(store, entry, str(self.ref)) for entry in entries if entry.skill_id not in skills
        }
        skills |= read
        if len(entries) < len(tree):  # most volumes hold skills only, and then there is nothing to look for
            skills |= {skill.skill_id: skill for skill in map(self._unservable, misnamed(tree))}
        return self._with(commit, _by_id(skills), read, self.skills.keys() - skills.keys())

    def _with(self, commit: str, skills: dict[str, Skill], read: Mapping[str, Skill], gone: Collection[str]) -> Library:
        """Return the library with these skills, of which some were read anew and some are gone from the index."""
        fresh = [document(skill) for skill in read.values() if skill.error is None]
        return Library(self.ref, commit, MappingProxyType(skills), self.index.updated(fresh, {*gone, *read}))

    def _unservable(self, path: str) -> Skill:
        path = shown(path)
        name = path[len(FOLDER) + 1 :]
        error = (
            f"{name!r} is no skill id: lower-case letters, digits and single hyphens, at most {ID_LENGTH} characters."
        )
        return Skill(skill_id=name, name=name, volume=str(self.ref), path=path, error=error)

    def _kept(self, entries: Iterable[SkillEntry]) -> Iterable[tuple[str, Skill]]:
        for entry in entries:
            skill = self.skills.get(entry.skill_id)
            if skill is not None and skill.version == entry.version and skill.path == entry.path:
                yield entry.skill_id, skill


def document(skill: Skill) -> Document:
    """Return what of a skill is searched; a title that repeats the id counts once."""
    plain = skill.skill_id.replace("-", " ")
    name = plain if skill.name.replace("-", " ").casefold() == plain else f"{plain}\n{skill.name}"
    return Document(skill.skill_id, name, skill.header, skill.body)


def _by_id(skills: Mapping[str, Skill]) -> dict[str, Skill]:
    return dict(sorted(skills.items()))


def read_skill(store: VolumeInterface, entry: SkillEntry, volume: str) -> Skill:
    """Read a skill by its version alone: the way through `skills/` would cost its length."""
    try:
        content = store.read(FILE, at=entry.version) if entry.is_folder else store.blob(entry.version)
    except LlmosError as error:
        reason = "Its folder holds no SKILL.md." if error.code == "file.unknown" else error.message
        unread = Skill(skill_id=entry.skill_id, name=entry.skill_id, volume=volume, version=entry.version)
        return unread.broken(reason, path=entry.path)
    return Skill.parse(entry.skill_id, content, volume=volume, version=entry.version, path=entry.path)
