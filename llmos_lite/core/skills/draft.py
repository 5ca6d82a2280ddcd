"""What somebody sends to make or change a skill, and how that becomes a skill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmos_lite.core.skills.format import NO_DESCRIPTION, Skill
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import VolumeRef, check_id

NAME_LENGTH = 200
CATEGORY_LENGTH = 64
KEYWORDS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillDraft:
    """A new skill.

    Args:
        skill_id: name of its folder.
        name: title for people; from the text, or the id, when empty.
        category: `coding`, `analysis`, `writing`, `data` or any other word.
        description: what it does and when to use it; from the text when empty.
        keywords: words that call it.
        content: Markdown; front matter in it counts where the fields here are empty.
        volume: where to; the actor's own when None.
        files: further files, by their paths in the folder.
    """

    skill_id: str
    name: str = ""
    category: str = ""
    description: str = ""
    keywords: Sequence[str] = ()
    content: str = ""
    volume: VolumeRef | None = None
    files: Mapping[str, File] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillChange:
    """What changes in a skill; None leaves a field as it is. Front matter in `content` counts as fields."""

    name: str | None = None
    category: str | None = None
    description: str | None = None
    keywords: Sequence[str] | None = None
    content: str | None = None


def skill_of_draft(draft: SkillDraft) -> Skill:
    """Return the skill that a draft means.

    Raises:
        Invalid: `skill.invalid_id`, `skill.empty`, `skill.unreadable`, or as `Skill.checked`.
    """
    check_id(draft.skill_id, "skill")
    if not draft.content.strip():
        raise Invalid("skill.empty", "A skill needs a text.", hint="Say when to use it, the steps, and an example.")
    given = _parsed(draft.skill_id, draft.content, described=bool(draft.description.strip()))
    return _checked(
        replace(
            given,
            name=_line(draft.name) or given.name,
            category=_line(draft.category) or given.category,
            description=draft.description.strip() or given.description,
            keywords=_keywords(draft.keywords) or given.keywords,
        )
    )


def changed(skill: Skill, change: SkillChange) -> Skill:
    """Return `skill` with a change put in.

    Raises:
        Invalid: as `skill_of_draft`.
    """
    if change.content is not None:
        skill = _with_content(skill, change.content)
    return _checked(
        replace(
            skill,
            name=skill.name if change.name is None else _line(change.name) or skill.skill_id,
            category=skill.category if change.category is None else _line(change.category),
            description=skill.description if change.description is None else change.description.strip(),
            keywords=skill.keywords if change.keywords is None else _keywords(change.keywords),
            error=None,
        )
    )


def _with_content(skill: Skill, content: str) -> Skill:
    """Return `skill` with a new text; a text with front matter replaces all fields, as an edited file would."""
    if not content.strip():
        raise Invalid("skill.empty", "A skill needs a text.", hint="Delete the skill if it is not needed any more.")
    given = _parsed(skill.skill_id, content, described=True)
    if content.removeprefix("\ufeff").startswith("---"):
        return replace(given, volume=skill.volume, version=skill.version, path=skill.path)
    return replace(skill, body=given.body)


def _parsed(skill_id: str, content: str, *, described: bool) -> Skill:
    skill = Skill.parse(skill_id, content)
    if skill.error is not None and not (described and skill.error == NO_DESCRIPTION):
        raise Invalid("skill.unreadable", skill.error, hint="Mend the block between the two --- lines at the top.")
    return replace(skill, error=None)


def _checked(skill: Skill) -> Skill:
    if len(skill.name) > NAME_LENGTH or len(skill.category) > CATEGORY_LENGTH or len(skill.keywords) > KEYWORDS:
        raise Invalid(
            "skill.fields_too_long",
            f"A name has at most {NAME_LENGTH} characters and a category {CATEGORY_LENGTH}.",
            hint=f"Keywords are {KEYWORDS} at most.",
        )
    return skill.checked()


def _line(text: str) -> str:
    return " ".join(text.split())


def _keywords(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word for given in words if (word := _line(given.replace(",", " ")))))
