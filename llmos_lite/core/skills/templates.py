"""Templates: skills with gaps, kept in Git like skills, from which a good skill is made in a minute.

A template is a folder `templates/<id>/` of a volume: a SKILL.md (and more files, if it likes) with gaps as
`{{service}}`, and a `template.json` that says what to ask for each. Every gap has a default, so that one click will do.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, permit, require
from llmos_lite.core.skills.draft import SkillDraft
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.frontmatter import Value
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.views import SkillView
from llmos_lite.engines.git_objects import File
from llmos_lite.engines.volume_interface import VolumeInterface
from llmos_lite.errors import Invalid, LlmosError, NotFound
from llmos_lite.volumes.access import SYSTEM, VolumeRef, check_id
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FILE, TEMPLATES

SHIPPED = Path(__file__).parents[2] / "templates"
ABOUT = "template.json"
LONGEST_VALUE = 400
"""Characters of what fills a gap: a clause or a sentence; the description of a skill has 1,024."""
MOST_VALUES, MOST_FILES = 32, 64
LARGEST = 256 << 10
"""Bytes of a file of a template."""
_GAP = re.compile(r"\{\{\s*([a-z][a-z0-9_]{0,39})\s*\}\}")
ID_GAP = "skill_id"
"""Gap that is always there: the id of the skill that is made."""


class Question(msgspec.Struct, frozen=True):
    """What fills a gap: the question for a person, and what stands there without an answer."""

    ask: str
    default: str


class _About(msgspec.Struct):
    title: str
    description: str = ""
    values: dict[str, Question] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template of a volume.

    Args:
        template_id: name of its folder.
        title: for people.
        description: what one gets.
        values: its gaps, in order of the questions.
        content: its SKILL.md, with the gaps.
        files: further files, by their paths in the folder.
        volume: where it lives.
        version: Git id of its folder.
        error: why it cannot be used; None for a good one.
    """

    template_id: str
    title: str = ""
    description: str = ""
    values: Mapping[str, Question] = field(default_factory=dict)
    content: str = ""
    files: Mapping[str, File] = field(default_factory=dict)
    volume: str = ""
    version: str = ""
    error: str | None = None

    @property
    def category(self) -> str:
        """Return the category of the skills that are made from it."""
        return Skill.parse(self.template_id, self.content).category

    def draft(self, skill_id: str, values: Mapping[str, str], volume: VolumeRef | None = None) -> SkillDraft:
        """Return the skill that some answers make.

        Raises:
            Invalid: `template.unknown_value`, `template.bad_value`, `template.broken`, `skill.invalid_id`.
        """
        if self.error is not None:
            raise Invalid("template.broken", f"The template {self.template_id} cannot be used: {self.error}")
        filled = {key: question.default for key, question in self.values.items()} | _checked(self, values)
        filled[ID_GAP] = check_id(skill_id, "skill")
        skill = _fill_skill(Skill.parse(self.template_id, self.content), filled)
        files = {_fill(path, filled): _fill_file(file, filled) for path, file in self.files.items()}
        return SkillDraft(skill_id=skill_id, content=skill.render(), volume=volume, files=files)


class Templates:
    """Templates, for whoever acts: one's own over the team's over the system's.

    Args:
        skills: knows who sees which volume, and makes the skills.
    """

    def __init__(self, skills: SkillService) -> None:
        self._skills = skills

    async def listed(self, actor: Actor, team_id: str | None = None) -> list[Template]:
        """Return the templates that the actor sees, by id; broken ones too, with the reason.

        Raises:
            NotFound: `volume.unknown`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        handles = await asyncio.to_thread(self._handles, actor, team_id)
        return await asyncio.to_thread(_listed, handles)

    async def get(
        self, actor: Actor, template_id: str, *, volume: VolumeRef | None = None, team_id: str | None = None
    ) -> Template:
        """Return a template.

        Raises:
            NotFound: `template.unknown`, `volume.unknown`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        check_id(template_id, "template")
        refs = [volume] if volume else None
        for handle in await asyncio.to_thread(self._handles, actor, team_id, refs):
            found = await asyncio.to_thread(read_template, handle, template_id)
            if found is not None:
                return found
        raise NotFound(
            "template.unknown",
            f"There is no template {template_id!r} that you may see.",
            hint="`llmos skills templates` lists them.",
        )

    async def create(
        self,
        actor: Actor,
        template_id: str,
        skill_id: str,
        values: Mapping[str, str],
        *,
        volume: VolumeRef | None = None,
        source: VolumeRef | None = None,
        team_id: str | None = None,
        content: str | None = None,
    ) -> SkillView:
        """Make a skill from a template.

        Args:
            actor: the person.
            template_id: the template.
            skill_id: of the new skill.
            values: fill its gaps; what is left out takes its default.
            volume: where the skill goes; the actor's own when None.
            source: where the template is; the one that the actor sees when None.
            team_id: the chosen team, when `source` is None.
            content: the filled text as somebody edited it; None takes it as it was filled.

        Raises:
            NotFound: `template.unknown`, `volume.unknown`.
            Invalid: as `Template.draft` and `SkillService.create`.
            Conflict: `skill.exists`.
            Forbidden: `scope.missing`, `volume.readonly`.
        """
        template = await self.get(actor, template_id, volume=source, team_id=team_id)
        draft = template.draft(skill_id, values, volume)
        return await self._skills.create(actor, draft if content is None else replace(draft, content=content))

    def _handles(self, actor: Actor, team_id: str | None, refs: Sequence[VolumeRef] | None = None) -> list[GitVolume]:
        if refs is None:
            team = [VolumeRef.team(team_id)] if team_id else sorted(VolumeRef.team(one) for one in actor.teams)
            refs = [actor.volume, *team, SYSTEM]
        for ref in refs:
            permit(actor, Verb.READ_SKILLS, ref)
        return [self._skills.reading(actor, ref) for ref in refs]


def _listed(handles: Sequence[GitVolume]) -> list[Template]:
    found: dict[str, Template] = {}
    for handle in handles:
        for entry in handle.store.tree(TEMPLATES):
            template_id = entry.path.removeprefix(f"{TEMPLATES}/")
            if entry.is_tree and template_id not in found and _is_id(template_id):
                template = read_template(handle, template_id)
                found |= {template_id: template} if template else {}
    return [found[key] for key in sorted(found)]


def _is_id(text: str) -> bool:
    try:
        return bool(check_id(text, "template"))
    except Invalid:
        return False


def read_template(volume: GitVolume, template_id: str) -> Template | None:
    """Return a template of a volume as it stands; None when there is none."""
    entry = volume.store.entry(f"{TEMPLATES}/{check_id(template_id, 'template')}")
    if entry is None or not entry.is_tree:
        return None
    there = Template(template_id=template_id, volume=str(volume.ref), version=entry.oid)
    try:
        return _parsed(there, _read(volume.store, entry.oid))
    except LlmosError as error:
        return replace(there, title=template_id, error=error.message)


def _read(store: VolumeInterface, tree: str) -> dict[str, File]:
    """Return the files of a folder by their paths in it.

    Raises:
        Invalid: `template.broken`.
    """
    files = dict[str, File]()
    for path, oid, executable in _paths(store, tree):
        data = store.blob(oid)
        if len(files) == MOST_FILES or len(data) > LARGEST:
            raise Invalid("template.broken", f"A template has {MOST_FILES} files of {LARGEST >> 10} KiB at most.")
        files[path] = File(data, executable)
    return files


def _paths(store: VolumeInterface, tree: str, folder: str = "") -> Iterator[tuple[str, str, bool]]:
    for entry in store.tree(folder, at=tree):
        if entry.is_tree:
            yield from _paths(store, tree, entry.path)
        else:
            yield entry.path, entry.oid, entry.executable


def _parsed(there: Template, files: dict[str, File]) -> Template:
    """Read a template from its files.

    Raises:
        Invalid: `template.broken`.
    """
    main, about = files.pop(FILE, None), files.pop(ABOUT, None)
    if main is None or about is None:
        raise Invalid("template.broken", f"Its folder needs a {FILE} and a {ABOUT}.")
    try:
        said, content = msgspec.json.decode(about.data, type=_About), main.data.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("template.broken", f"Its files cannot be read: {error}.") from error
    template = replace(
        there,
        title=said.title or there.template_id,
        description=said.description,
        values=said.values,
        content=content,
        files=files,
    )
    return replace(template, error=_problem(template))


def _problem(template: Template) -> str | None:
    skill = Skill.parse(template.template_id, template.content)
    if skill.error is not None:
        return skill.error
    gaps = set(_GAP.findall(template.content)) - {ID_GAP}
    if unknown := sorted(gaps - template.values.keys()):
        return f"Its {ABOUT} does not say what to ask for {', '.join(unknown[:5])}."
    if len(template.values) > MOST_VALUES:
        return f"It has more than {MOST_VALUES} gaps."
    long = [key for key, one in template.values.items() if not one.default.strip() or len(one.default) > LONGEST_VALUE]
    return f"The default of {long[0]} is empty or too long." if long else None


def _checked(template: Template, values: Mapping[str, str]) -> dict[str, str]:
    if unknown := sorted(values.keys() - template.values.keys()):
        known = ", ".join(template.values) or "none"
        raise Invalid(
            "template.unknown_value",
            f"The template {template.template_id} has no gap {unknown[0][:80]!r}.",
            hint=f"Its gaps: {known}.",
        )
    given = {key: " ".join(value.split()) for key, value in values.items() if value.strip()}
    for key, value in given.items():
        if len(value) > LONGEST_VALUE or not value.isprintable():
            said = f"What is given for {key} has to be one line of at most {LONGEST_VALUE} characters."
            raise Invalid("template.bad_value", said, hint="Edit the skill afterwards to say more.")
    return given


def _fill(text: str, values: Mapping[str, str]) -> str:
    return _GAP.sub(lambda gap: values.get(gap[1], gap[0]), text)


def _fill_skill(skill: Skill, values: Mapping[str, str]) -> Skill:
    """Fill the gaps field by field: what somebody answers cannot end the front matter, or add to it."""
    return replace(
        skill,
        skill_id=values[ID_GAP],
        name=values[ID_GAP] if skill.name == skill.skill_id else _fill(skill.name, values),
        category=_fill(skill.category, values),
        description=_fill(skill.description, values),
        keywords=tuple(" ".join(_fill(word, values).replace(",", " ").split()) for word in skill.keywords),
        body=_fill(skill.body, values),
        license=_fill(skill.license, values),
        compatibility=_fill(skill.compatibility, values),
        metadata={key: _fill_value(value, values) for key, value in skill.metadata.items()},
    )


def _fill_value(value: Value, values: Mapping[str, str]) -> Value:
    return _fill(value, values) if isinstance(value, str) else value


def _fill_file(file: File, values: Mapping[str, str]) -> File:
    try:
        return File(_fill(file.data.decode(), values).encode(), file.executable)
    except UnicodeDecodeError:
        return file


def shipped_templates() -> dict[str, bytes]:
    """Return the files of the templates that come with the package, by their paths in a volume."""
    paths = (path for path in sorted(SHIPPED.rglob("*")) if path.is_file())
    return {f"{TEMPLATES}/{path.relative_to(SHIPPED).as_posix()}": path.read_bytes() for path in paths}
