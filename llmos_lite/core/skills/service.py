"""Make, change, remove and list skills, for whoever acts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require
from llmos_lite.core.page import Page
from llmos_lite.core.skills.draft import SkillChange, SkillDraft, changed, skill_of_draft
from llmos_lite.core.skills.explain import MOST_RANKED, Explainer
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import folder_of, refuses
from llmos_lite.core.skills.install import Installed, Package, install
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.paging import keyset_page, offset_page
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.skills.scan import Scanner, scan
from llmos_lite.core.skills.versions import current_version
from llmos_lite.core.skills.views import ListedSkill, SkillView, skill_view
from llmos_lite.engines.git_objects import Change, Commit
from llmos_lite.errors import NotFound
from llmos_lite.volumes import access
from llmos_lite.volumes.access import Principal, VolumeKind, VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import FILE

PATIENCE = 1.0
"""Seconds that a search waits for the meaning of its query; a chat waits less."""

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex


Beside: TypeAlias = Callable[[GitVolume, Sequence[Installed]], Mapping[str, Change]]
"""Returns what else changes with an install, for the volume and what came of each skill."""


class Directory(Protocol):
    """Knows who there is; `Accounts` does."""

    async def all_teams(self) -> list[str]:
        """Return the id of every team."""

    async def named(self, user_id: str) -> object:
        """Find a person by id, or make them where the settings allow it.

        Raises:
            NotFound: `user.unknown`.
        """


@dataclass(frozen=True, slots=True)
class _Listing:
    """Which skills somebody wants to see."""

    query: str
    team_id: str | None
    category: str
    limit: int
    cursor: str
    explained: bool

    def includes(self, skill: Skill) -> bool:
        return not self.category or skill.category.casefold() == self.category.casefold()


class SkillService:
    """Skills for the API and the terminal.

    Args:
        volumes: where they live.
        manager: finds and ranks them.
        directory: tells whether a team or a person exists before a volume is made for it.
        scanners: look at every skill that is written, by name.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        manager: SkillsManager,
        directory: Directory,
        scanners: Mapping[str, Scanner] | None = None,
    ) -> None:
        self.volumes, self.manager, self._directory = volumes, manager, directory
        self._scanners = dict(scanners or {})

    async def create(self, actor: Actor, draft: SkillDraft) -> SkillView:
        """Make a skill.

        Raises:
            Conflict: `skill.exists`.
            Invalid: as `skill_of_draft`; `skill.unsafe`.
            Forbidden: `volume.readonly`, `scope.missing`.
            NotFound: `volume.unknown`.
        """
        ref = draft.volume or actor.volume
        principal = await self.writer(actor, ref)
        made = await asyncio.to_thread(self._create, actor, principal, ref, draft)
        return await self.marked(actor, made)

    def _create(self, actor: Actor, principal: Principal, ref: VolumeRef, draft: SkillDraft) -> SkillView:
        skill = skill_of_draft(draft)
        files = {path: file.data for path, file in draft.files.items()} | {FILE: skill.render().encode()}
        findings = scan(self._scanners, skill, files, refuse=refuses(ref))
        volume = self.volumes.open(principal, ref, write=True)
        message, author = f"Create skill: {skill.name}", author_of(actor.user_id)
        volume.write_skill(skill.skill_id, skill.render(), message, author, files=draft.files, expect="")
        return skill_view(volume, skill.skill_id, findings=findings)

    async def update(
        self,
        actor: Actor,
        skill_id: str,
        change: SkillChange,
        *,
        volume: VolumeRef | None = None,
        expect: str | None = None,
    ) -> SkillView:
        """Change a skill.

        Args:
            actor: the person.
            skill_id: the skill.
            change: what changes.
            volume: where it is; the one that the actor sees when None.
            expect: the version that the actor saw; None changes whatever is there.

        Raises:
            Conflict: `skill.changed`.
            NotFound: `skill.unknown`, `volume.unknown`.
            Invalid, Forbidden: as `create`.
        """
        ref = volume or await self.seen(actor, skill_id)
        principal = await self.writer(actor, ref)
        handle = await asyncio.to_thread(self.volumes.open, principal, ref, write=True)
        made = await asyncio.to_thread(self._update, actor, handle, skill_id, change, expect)
        return await self.marked(actor, made)

    async def marked(self, actor: Actor, view: SkillView, team_id: str | None = None) -> SkillView:
        """Return a view that says whether its skill is held back."""
        codes = await asyncio.to_thread(self.manager.held_for, actor, view.skill, team_id)
        return replace(view, skill=replace(view.skill, held=codes)) if codes else view

    def _update(
        self, actor: Actor, volume: GitVolume, skill_id: str, change: SkillChange, expect: str | None
    ) -> SkillView:
        with _lock(volume):
            before = _parsed(volume, skill_id)
            after = changed(before, change)
            files = folder_of(current_version(volume, skill_id)) | {FILE: after.render().encode()}
            findings = scan(self._scanners, after, files, refuse=refuses(volume.ref))
            volume.write_skill(
                skill_id,
                after.render(),
                f"Update skill: {after.name}",
                author_of(actor.user_id),
                expect=before.version if expect is None else expect,
            )
        return skill_view(volume, skill_id, findings=findings)

    async def delete(
        self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None, expect: str | None = None
    ) -> Commit:
        """Remove a skill; its history stays.

        Raises:
            Conflict, NotFound, Forbidden: as `update`.
        """
        ref = volume or await self.seen(actor, skill_id)
        principal = await self.writer(actor, ref)
        return await asyncio.to_thread(self._delete, actor, principal, ref, skill_id, expect)

    def _delete(self, actor: Actor, principal: Principal, ref: VolumeRef, skill_id: str, expect: str | None) -> Commit:
        volume = self.volumes.open(principal, ref, write=True)
        return volume.delete_skill(skill_id, None, author_of(actor.user_id), expect=expect)

    async def get(
        self,
        actor: Actor,
        skill_id: str,
        *,
        volume: VolumeRef | None = None,
        team_id: str | None = None,
        version: str | None = None,
        history: int = 20,
    ) -> SkillView:
        """Return a skill.

        Args:
            actor: the person.
            skill_id: the skill.
            volume: where it is; the one that the actor sees when None.
            team_id: the chosen team, when `volume` is None.
            version: an earlier version.
            history: commits to return at most.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, `skill.unknown_version`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        ref = volume or await self.seen(actor, skill_id, team_id)
        handle = await asyncio.to_thread(self.reading, actor, ref)
        view = await asyncio.to_thread(skill_view, handle, skill_id, version=version, history=history)
        return await self.marked(actor, view, team_id)

    async def load_skills_for_user(self, actor: Actor, team_id: str | None = None) -> list[Skill]:
        """Return every skill that the actor sees; see `SkillsManager.load_skills_for_user`."""
        require(actor, Scope.SKILLS_READ)
        _check_team(actor, team_id)
        return await asyncio.to_thread(self.manager.load_skills_for_user, actor, team_id)

    async def page(
        self,
        actor: Actor,
        *,
        query: str = "",
        team_id: str | None = None,
        volume: VolumeRef | None = None,
        category: str = "",
        limit: int = 50,
        cursor: str = "",
        explained: bool = False,
    ) -> Page[ListedSkill]:
        """List the skills that the actor sees: by id, or best first for a query.

        Args:
            actor: the person.
            query: words to look for; lists also what would be too weak for a context (`fits` tells).
            team_id: the chosen team.
            volume: only this volume's, also those that are shadowed for the actor.
            category: only this category.
            limit: items of a page.
            cursor: from the page before.
            explained: say of each hit why it is used, or not; those that are shadowed, repeat another one or are broken
                are among the hits then.

        Raises:
            Invalid: `cursor.invalid`.
            NotFound: `volume.unknown`.
        """
        require(actor, Scope.SKILLS_READ)
        _check_team(actor, team_id)
        wanted = _Listing(query, team_id, category, limit, cursor, explained)
        handle = await asyncio.to_thread(self.reading, actor, volume) if volume else None
        asked = await self.manager.asked(actor, team_id) if query.strip() else ()
        return await asyncio.to_thread(self._page, actor, handle, wanted, asked)

    def _page(
        self, actor: Actor, handle: GitVolume | None, wanted: _Listing, asked: Sequence[AskedIndex]
    ) -> Page[ListedSkill]:
        manager = self.manager
        libraries = [manager.library_of(handle)] if handle else manager.libraries(actor, wanted.team_id)
        if not wanted.query.strip():
            skills = [ListedSkill(skill) for skill in manager.listed(libraries) if wanted.includes(skill)]
            return keyset_page(skills, wanted.limit, wanted.cursor)
        meaning = manager.meaning_now(libraries, wanted.query, patience=PATIENCE)
        if wanted.explained:
            return _explained(Explainer(manager, libraries, wanted.query, asked, meaning), wanted)
        ranked = manager.ranking.ranked(
            libraries, wanted.query, MOST_RANKED, only_fitting=False, asked=asked, meaning=meaning
        )
        held = manager.ranking.held(libraries, wanted.query, asked=asked, meaning=meaning)
        both = sorted([*ranked, *held], key=lambda one: -one.score) if held else ranked
        page = offset_page([one for one in both if wanted.includes(one.skill)], wanted.limit, wanted.cursor)
        return Page([ListedSkill(one.skill, one.score, one.fits) for one in page.items], page.next_cursor, page.total)

    async def best(self, actor: Actor, query: str, team_id: str | None = None, *, limit: int = 5) -> list[ListedSkill]:
        """Return the first few of what `page` lists for a query, for a model: none that a scanner holds back.

        Raises:
            NotFound: `volume.unknown`.
        """
        require(actor, Scope.SKILLS_READ)
        _check_team(actor, team_id)
        asked = await self.manager.asked(actor, team_id)

        def ranked() -> list[ScoredSkill]:
            libraries = self.manager.libraries(actor, team_id)
            meaning = self.manager.meaning_now(libraries, query, patience=PATIENCE)
            return self.manager.ranking.ranked(
                libraries, query, limit, only_fitting=False, asked=asked, meaning=meaning
            )

        return [ListedSkill(one.skill, one.score, one.fits) for one in await asyncio.to_thread(ranked)]

    async def install(
        self,
        actor: Actor,
        packages: Sequence[Package],
        *,
        volume: VolumeRef | None = None,
        replace: bool = True,
        expect: Mapping[str, str] | None = None,
        beside: Beside | None = None,
    ) -> list[Installed]:
        """Write a batch of skills as one commit; see `install.install`.

        Raises:
            Forbidden, NotFound: as `create`.
        """
        ref = volume or actor.volume
        principal = await self.writer(actor, ref)

        def write() -> list[Installed]:
            handle, author = self.volumes.open(principal, ref, write=True), author_of(actor.user_id)
            more = partial(beside, handle) if beside else None
            return install(handle, packages, author, self._scanners, replace=replace, expect=expect, beside=more)

        return await asyncio.to_thread(write)

    async def writer(self, actor: Actor, ref: VolumeRef) -> Principal:
        """Return as whom the actor writes a volume: as oneself, or as an admin of it.

        Raises:
            Forbidden: `scope.missing`, `volume.readonly`.
            NotFound: `volume.unknown`.
        """
        require(actor, Scope.SKILLS_WRITE)
        principal = actor.principal_for(ref)
        access.require(principal, ref, write=True)
        permit(actor, Verb.WRITE_SKILLS, ref)
        if ref != actor.volume:
            await self._check_known(ref)
        return principal

    async def _check_known(self, ref: VolumeRef) -> None:
        if ref.kind is VolumeKind.USER:
            await self._directory.named(ref.id)
        elif ref.kind is VolumeKind.TEAM and ref.id not in await self._directory.all_teams():
            raise NotFound("volume.unknown", f"There is no volume {ref}.", hint="Create the team first.")

    async def seen(self, actor: Actor, skill_id: str, team_id: str | None = None) -> VolumeRef:
        """Return the volume whose skill the actor sees under this id; a broken one only when there is no other.

        Raises:
            NotFound: `skill.unknown`.
        """
        check_id(skill_id, "skill")
        _check_team(actor, team_id)
        libraries = await asyncio.to_thread(self.manager.libraries, actor, team_id)
        there = [library for library in libraries if skill_id in library.skills]
        usable = [library for library in there if library.offers(skill_id)]
        for library in (*usable, *there):
            return library.ref
        raise NotFound(
            "skill.unknown", f"There is no skill {skill_id!r} that you may see.", hint="`llmos skills list` shows all."
        )

    def reading(self, actor: Actor, ref: VolumeRef) -> GitVolume:
        """Open a volume for the actor to read; an admin of it reads it as the platform.

        Raises:
            NotFound: `volume.unknown`.
        """
        principal = actor.principal_for(ref)
        access.require(principal, ref, write=False)
        permit(actor, Verb.READ_SKILLS, ref)
        if not self.volumes.exists(ref) and ref not in (actor.volume, access.SYSTEM) and ref.id not in actor.teams:
            raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
        return self.volumes.open(principal, ref)


def _explained(explainer: Explainer, wanted: _Listing) -> Page[ListedSkill]:
    """Return a page of hits with their reasons."""
    page = offset_page([one for one in explainer.items if wanted.includes(one.skill)], wanted.limit, wanted.cursor)
    items = [ListedSkill(one.skill, one.score or None, one.fits, explainer.explain(one)) for one in page.items]
    return Page(items, page.next_cursor, page.total)


def _check_team(actor: Actor, team_id: str | None) -> None:
    if team_id is not None:
        permit(actor, Verb.READ_SKILLS, VolumeRef.team(team_id))


def _lock(volume: GitVolume) -> AbstractContextManager[object]:
    return volume.store.lock()


def _parsed(volume: GitVolume, skill_id: str) -> Skill:
    entry = volume.skill_entry(skill_id)
    if entry is None:
        raise NotFound("skill.unknown", f"There is no skill {skill_id} in the volume {volume.ref}.")
    content = volume.store.read(entry.path)
    return Skill.parse(skill_id, content, volume=str(volume.ref), version=entry.version, path=entry.path)
