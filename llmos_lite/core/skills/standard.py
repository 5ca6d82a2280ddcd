"""Where a SKILL.md leaves the open standard, as its own validator (`agentskills validate`) would say it.

Publishing is strict, importing only warns: a file that was written for one vendor's client is kept as it is. One rule
is ours: a name is ASCII, since discovery, MCP and most clients take no other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import COMPATIBILITY_LENGTH, DESCRIPTION_LENGTH, LARGEST_FILE, STANDARD, Skill
from llmos_lite.core.skills.frontmatter import BrokenFrontMatterError, Fields
from llmos_lite.volumes.access import ID, ID_LENGTH

_FENCE = "---"
_TAB = re.compile(r"^(?:[^\s'\"#]+:)? *\t", re.MULTILINE)


def deviations(skill_id: str, content: bytes) -> list[str]:
    """Return where a skill's Markdown leaves the standard, a sentence each; nothing for one that keeps to it.

    Args:
        skill_id: the id, which is the name of its folder.
        content: the whole file.
    """
    if len(content) > LARGEST_FILE:
        return ["It is larger than 1 MiB."]
    try:
        text = content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        return [f"It is no UTF-8 text (byte {error.start})."]
    parts = text.split(_FENCE, 2)
    if not text.startswith(_FENCE) or len(parts) < 3:  # noqa: PLR2004 - nothing, the block, the text
        return ["It does not begin with front matter: name and description between two lines of ---."]
    try:
        block, _ = frontmatter.split(text)
        return list(_of_block(skill_id, block or "", parts[1]))
    except BrokenFrontMatterError as error:
        return [str(error)]


def conforming(skill_id: str, content: bytes) -> bytes:
    """Return a skill's Markdown as it may be published: as it is, or written anew in the standard's form.

    Raises:
        Invalid: as `Skill.checked`, when that is not possible.
    """
    if not deviations(skill_id, content):
        return content
    return Skill.parse(skill_id, content).render().encode()


def _of_block(skill_id: str, block: str, seen: str) -> Iterator[str]:
    if seen.strip("\n") != block.strip("\n"):
        yield "Its front matter holds --- inside a value, where the standard's validator ends it."
    yield from _style(block)
    fields = frontmatter.load(block)
    if more := sorted(fields.keys() - STANDARD):
        yield f"The standard does not know {', '.join(more[:8])}."
    yield from _of_name(skill_id, fields)
    yield from _lengths(fields)


def _of_name(skill_id: str, fields: Fields) -> Iterator[str]:
    name = str(fields.get("name", ""))
    if not name:
        yield "It has no name."
    elif fields.get("name") != skill_id:
        yield f"The name is {name[:80]!r}, not {skill_id!r} as its folder."
    elif len(name) > ID_LENGTH or not ID.fullmatch(name):
        yield (
            f"The name {name[:80]!r} is no id: lower-case ASCII letters, digits and single hyphens between them, "
            f"at most {ID_LENGTH} characters."
        )


def _style(block: str) -> Iterator[str]:
    """Tell what YAML the standard's parser does not take: it is the strict subset of StrictYAML."""
    try:
        events = list(yaml.parse(block, frontmatter.LOADER))
    except yaml.YAMLError:
        yield "Its front matter is YAML only to a lenient reader."
        return
    if any(getattr(event, "flow_style", None) for event in events):
        yield "Its front matter has a list in [] or a mapping in {}."
    if _TAB.search(block):
        yield "Its front matter has a tab where a blank belongs."
    if any(getattr(event, "tag", None) for event in events):
        yield "Its front matter has tags."
    keys = [line.partition(":")[0] for line in block.splitlines() if line[:1].isalpha()]
    if len(keys) != len(set(keys)):
        yield "Its front matter has a key twice."


def _lengths(fields: Fields) -> Iterator[str]:
    for key, longest in (("description", DESCRIPTION_LENGTH), ("compatibility", COMPATIBILITY_LENGTH)):
        value = fields.get(key, "")
        if not isinstance(value, str):
            yield f"Its {key} is no text."
        elif len(value) > longest:
            yield f"Its {key} has {len(value)} characters; the standard allows {longest}."
    if not fields.get("description"):
        yield "It has no description."
    if not isinstance(fields.get("metadata", {}), dict):
        yield "Its metadata is no list of `key: value` lines."
