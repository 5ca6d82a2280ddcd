"""Skills as other tools get them: in the standard's form, complete, each file with its digest and its size.

What a skill folder holds is served as it is. The seed's flat file, or a SKILL.md that strict readers would not take, is
served in the standard's form, as the platform would write it; the digest is that of what is served.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor, Scope, require
from llmos_lite.core.page import Page
from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import LARGEST_FILE, Skill
from llmos_lite.core.skills.frontmatter import BrokenFrontMatterError, Json
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.paging import keyset_page
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.uris import SkillUri, not_served, skill_uri
from llmos_lite.core.skills.versions import Version, read_version
from llmos_lite.core.skills.views import ListedSkill
from llmos_lite.errors import Invalid, LlmosError, NotFound
from llmos_lite.volumes.skill_paths import FILE

MOST_FILES = 512
"""Files of a skill that every client takes (SEP-2640)."""
LARGEST_SKILL = 16 << 20
"""Bytes of all files of a skill that every client takes (SEP-2640)."""
REMEMBERED, REMEMBERED_BYTES = 4096, 32 << 20
"""Skills whose digests are kept in memory, and about the bytes of all: a kilobyte and the text of most, and up to a
megabyte of one with many files."""
FILE_BYTES = 400
"""Of a file's path, ids and digest in memory."""
_BLOCK = re.compile(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ServedFile:
    """One file of a skill.

    Args:
        path: inside the skill's folder.
        oid: Git id of its content; empty for a SKILL.md that is written anew.
        digest: `sha256:` and 64 hex digits, of the bytes that are served.
        size: their number.
    """

    path: str
    oid: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ServedSkill:
    """One skill.

    Args:
        skill: parsed.
        frontmatter: the block of its SKILL.md, all of it, as JSON.
        files: all of them, by path, SKILL.md first.
    """

    skill: Skill
    frontmatter: Mapping[str, Json]
    files: Mapping[str, ServedFile]

    @property
    def uri(self) -> SkillUri:
        """Return the address of its SKILL.md."""
        return skill_uri(self.skill.volume, self.skill.skill_id)

    def children(self, folder: str) -> dict[str, ServedFile | None] | None:
        """Return what lies directly in a folder, by name, None for a folder; None when there is no such folder."""
        lead = f"{folder}/" if folder else ""
        found: dict[str, ServedFile | None] = {}
        for path, file in self.files.items():
            if path.startswith(lead):
                name, slash, _ = path[len(lead) :].partition("/")
                found[name] = None if slash else file
        return dict(sorted(found.items())) if found else None


class ServedSkills:
    """Serves the skills that somebody sees.

    Args:
        skills: where they come from.
    """

    def __init__(self, skills: SkillService) -> None:
        self._skills = skills
        self._known: OrderedDict[tuple[str, str, str], ServedSkill | LlmosError] = OrderedDict()
        self._size = 0
        self._guard = threading.Lock()

    async def page(
        self, actor: Actor, team_id: str | None = None, *, limit: int = 50, cursor: str = ""
    ) -> Page[ServedSkill]:
        """List the skills that the actor uses, by id; one that cannot be served is left out.

        Raises:
            Invalid: `cursor.invalid`.
            Forbidden: `scope.missing`.
            NotFound: `volume.unknown`, for a team that is none of the actor's.
        """
        page = await self.page_of_names(actor, team_id, limit=limit, cursor=cursor)
        found = await asyncio.to_thread(lambda: [self._made(actor, skill) for skill in page.items])
        return Page([one for one in found if isinstance(one, ServedSkill)], page.next_cursor, page.total)

    async def page_of_names(
        self, actor: Actor, team_id: str | None = None, *, limit: int = 50, cursor: str = ""
    ) -> Page[Skill]:
        """List the same without looking at files; one that a scanner holds back is left out.

        Raises:
            Invalid, Forbidden, NotFound: as `page`.
        """
        listed = await self._skills.load_skills_for_user(actor, team_id)

        def paged() -> Page[Skill]:  # sorts 10,000 in about 10 ms
            page = keyset_page([ListedSkill(skill) for skill in listed if skill.usable], limit, cursor)
            return Page([one.skill for one in page.items], page.next_cursor, page.total)

        return await asyncio.to_thread(paged)

    async def usable(self, actor: Actor, team_id: str | None = None) -> list[Skill]:
        """Return the skills that the actor uses, by id: whole, and not shadowed.

        Raises:
            Forbidden, NotFound: as `page`.
        """
        return [one for one in await self._skills.load_skills_for_user(actor, team_id) if one.usable]

    async def get(self, actor: Actor, uri: SkillUri, team_id: str | None = None) -> ServedSkill:
        """Return the skill that an address lies in, also one that another shadows.

        Raises:
            NotFound: `skill.not_served`, also with the reason why not.
            Forbidden: as `page`.
        """
        require(actor, Scope.SKILLS_READ)
        libraries = await self._libraries(actor, team_id)
        skill = next((one.skills.get(uri.skill_id) for one in libraries if one.ref == uri.ref), None)
        if skill is None or skill.error is not None:
            raise not_served(str(uri)) if skill is None else _unfit(uri, skill.error or "")
        if any(one.ref == uri.ref and uri.skill_id in one.held for one in libraries):
            raise _unfit(uri, "A scanner holds it back, and nobody has signed it off.")
        made = await asyncio.to_thread(self._made, actor, skill)
        if isinstance(made, LlmosError):
            raise _unfit(uri, made.message)
        return made

    async def read(self, actor: Actor, uri: SkillUri, team_id: str | None = None) -> tuple[ServedSkill, bytes]:
        """Return a file of a skill, and the skill.

        Raises:
            NotFound, Forbidden: as `get`.
        """
        served = await self.get(actor, uri, team_id)
        file = served.files.get(uri.path)
        if file is None:
            raise not_served(str(uri))
        return served, await asyncio.to_thread(self._content, actor, served.skill, file)

    async def folder(self, actor: Actor, uri: SkillUri, team_id: str | None = None) -> dict[str, ServedFile | None]:
        """Return what lies in a folder: of a skill, or of a volume, whose folders are its skills.

        Raises:
            NotFound: `skill.not_served`, also for a file.
            Forbidden: as `page`.
        """
        if not uri.skill_id:
            usable = [one for one in await self.usable(actor, team_id) if one.volume == str(uri.ref)]
            if not usable and all(one.ref != uri.ref for one in await self._libraries(actor, team_id)):
                raise not_served(str(uri))
            return dict.fromkeys(one.skill_id for one in usable)
        found = (await self.get(actor, uri, team_id)).children(uri.path)
        if found is None:
            raise not_served(str(uri))
        return found

    async def _libraries(self, actor: Actor, team_id: str | None) -> Sequence[Library]:
        await self._skills.load_skills_for_user(actor, team_id)  # asks for every right
        return await asyncio.to_thread(self._skills.manager.libraries, actor, team_id)

    def _made(self, actor: Actor, skill: Skill) -> ServedSkill | LlmosError:
        key = (skill.volume, skill.skill_id, skill.version)
        with self._guard:
            known = self._known.get(key)
        if known is None:
            try:
                known = self._make(actor, skill)
            except (Invalid, NotFound) as error:
                known = error.fresh()  # this one holds the files that were read
            self._keep(key, known)
        return known

    def _keep(self, key: tuple[str, str, str], made: ServedSkill | LlmosError) -> None:
        with self._guard:
            before = self._known.pop(key, None)
            self._known[key] = made
            self._size += _weight(made) - (_weight(before) if before is not None else 0)
            while len(self._known) > REMEMBERED or self._size > REMEMBERED_BYTES:
                self._size -= _weight(self._known.popitem(last=False)[1])

    def _make(self, actor: Actor, skill: Skill) -> ServedSkill:
        version = self._version(actor, skill)
        if len(version.files) > MOST_FILES:
            raise Invalid("skill.too_many_files", f"It has more than {MOST_FILES} files.")
        files: dict[str, ServedFile] = {}
        total, block = 0, None
        for path in sorted(version.files, key=lambda path: (path != FILE, path)):
            oid, data = version.files[path].oid, version.store.blob(version.files[path].oid)
            if path == FILE and (block := strict_block(skill.skill_id, data)) is None:
                oid, data = "", skill.render().encode()
                block = strict_block(skill.skill_id, data)
            total += len(data)
            if total > LARGEST_SKILL:
                raise Invalid("skill.too_large", f"Its files are larger than {LARGEST_SKILL >> 20} MiB.")
            files[path] = ServedFile(path, oid, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))
        if block is None:
            raise Invalid("skill.no_file", "It cannot be written in the standard's form.")
        return ServedSkill(skill, block, files)

    def _version(self, actor: Actor, skill: Skill) -> Version:
        uri = skill_uri(skill.volume, skill.skill_id)
        return read_version(self._skills.reading(actor, uri.ref), skill.skill_id, skill.version)

    def _content(self, actor: Actor, skill: Skill, file: ServedFile) -> bytes:
        return self._version(actor, skill).store.blob(file.oid) if file.oid else skill.render().encode()


def strict_block(skill_id: str, data: bytes) -> dict[str, Json] | None:
    """Return the front matter of a SKILL.md as JSON, or None when a strict reader would not take it as this skill's."""
    if len(data) > LARGEST_FILE:
        return None
    try:
        found = _BLOCK.match(data.decode("utf-8-sig"))
        fields = frontmatter.load_json(found[1]) if found and len(found[1]) <= frontmatter.LARGEST else {}
    except (UnicodeDecodeError, BrokenFrontMatterError):
        return None
    described = fields.get("description")
    return fields if fields.get("name") == skill_id and isinstance(described, str) and described.strip() else None


def _weight(made: ServedSkill | LlmosError) -> int:
    """Return about the bytes that one takes in memory."""
    if isinstance(made, LlmosError):
        return FILE_BYTES
    fields = sum(len(key) + len(str(value)) for key, value in made.frontmatter.items())
    return 1000 + len(made.skill.body) + fields + FILE_BYTES * len(made.files)


def _unfit(uri: SkillUri, why: str) -> NotFound:
    return NotFound("skill.not_served", f"The skill at {uri} cannot be served: {why}")
