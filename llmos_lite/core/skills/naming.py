"""Another `name` in a SKILL.md, and all else as it was, to the byte."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import yaml

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.frontmatter import BrokenFrontMatterError, Fields
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import ID

_MARK = "\ufeff"
_LINE = re.compile(r"^name:[ \t]+(\S[^\r\n]*?)[ \t]*\r?$", re.MULTILINE)

_Span = tuple[int, int]


def named(content: bytes, skill_id: str) -> bytes | None:
    """Return a skill's Markdown with an id for its `name`.

    None where that would not be a change of this value alone: when there is no `name` that is an id (the seed has a
    title there), or nobody can tell where it stands.
    """
    try:
        text = content.decode()
        lead = _MARK if text.startswith(_MARK) else ""
        block, _ = frontmatter.split(text[len(lead) :])
        fields = frontmatter.load(block) if block else {}
    except (UnicodeDecodeError, BrokenFrontMatterError):
        return None
    if not block or not ID.fullmatch(str(fields.get("name", ""))):
        return None
    start = text.index("\n") + 1
    after = _replaced(block, skill_id)
    if not _is_only_renamed(fields, after, skill_id):
        return None
    return (text[:start] + after + text[start + len(block) :]).encode()


def content_under(skill: Skill, content: bytes, skill_id: str) -> bytes:
    """Return the Markdown of a skill under another id.

    Where no id stands as its name, as in the seed's form, it is written in the standard's, as with any change.

    Args:
        skill: the skill, parsed.
        content: its Markdown.
        skill_id: its id from now on.

    Raises:
        Invalid: `skill.unreadable`, when its name cannot be written.
    """
    if after := named(content, skill_id):
        return after
    if skill.error is not None:
        hint = "Mend the block between the two --- lines at the top first."
        raise Invalid("skill.unreadable", skill.error, hint=hint)
    title = skill_id if skill.name == skill.skill_id else skill.name
    return replace(skill, skill_id=skill_id, name=title).render().encode()


def _replaced(block: str, skill_id: str) -> str:
    for start, end in sorted(_spans(block), reverse=True):
        line_end = "\n" if block[start:end].endswith("\n") else ""  # a block scalar ends where the next line begins
        block = block[:start] + frontmatter.scalar(skill_id) + line_end + block[end:]
    return block


def _is_only_renamed(before: Fields, block: str, skill_id: str) -> bool:
    try:
        return frontmatter.load(block) == before | {"name": skill_id}
    except BrokenFrontMatterError:
        return False


def _spans(block: str) -> list[_Span]:
    """Return where the values of `name` stand: in YAML, or in what only a lenient reader takes for it."""
    try:
        return list(_values(block))
    except yaml.YAMLError:
        return [found.span(1) for found in _LINE.finditer(block)]


def _values(block: str) -> Iterator[_Span]:
    depth, key = 0, ""
    for event in yaml.parse(block, frontmatter.LOADER):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            key = key if depth > 1 else ""
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.ScalarEvent) and depth == 1:
            if key == "name" and event.start_mark and event.end_mark:
                yield event.start_mark.index, event.end_mark.index
            key = "" if key else str(event.value)
