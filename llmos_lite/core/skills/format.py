"""What a skill is: Markdown with a YAML block, read in the standard's form and in the seed's on equal terms.

Lenient in: a file that cannot be read gives a `Skill` with `error` set, which is listed and never used. Strict out:
`render` writes what the standard's own validator (`agentskills validate`) accepts.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.frontmatter import BrokenFrontMatterError, Fields, Value
from llmos_lite.errors import Invalid
from llmos_lite.volumes.access import check_id

if TYPE_CHECKING:
    from llmos_lite.core.skills.card import Card

CLOSING = "\n</skill_content>"
"""What ends a skill in a context."""
BREAKING_OUT = "</skill_content"
"""What may not stand in its text there as it is."""
LARGEST_FILE = 1 << 20
DESCRIPTION_LENGTH = 1024
COMPATIBILITY_LENGTH = 500
NO_DESCRIPTION = "It has no description and no text to take one from."
VENDOR = "vendor-"
"""Prefix under `metadata` of the keys that only one vendor's client knows; the standard allows none at the top."""

STANDARD = ("name", "description", "license", "compatibility", "allowed-tools", "metadata")
_OURS = ("title", "category", "keywords")
_EMPTY = frozenset({"", "~", "null", "Null", "NULL"})
_HEADING = re.compile(r"^#{1,6}[ \t]+([^\s#].*)$", re.MULTILINE)
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_TOOLS = re.compile(r"[^\s,()]+(?:\([^()]*\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """One skill of one volume.

    Args:
        skill_id: name of its folder or file.
        name: title for people; the seed's `name`, the standard's `metadata.title`, else the id.
        category: `coding`, `analysis`, `writing`, `data` or any other word; may be empty.
        description: what it does and when to use it.
        keywords: words that call it.
        body: the Markdown after the block, byte for byte.
        volume: where it lives, as in `team:sre`.
        version: Git id of its entry.
        path: of the file, inside the volume.
        license: as written.
        compatibility: as written.
        allowed_tools: separated by spaces.
        metadata: what else stands under `metadata`.
        extra: keys at the top that the standard does not know, kept.
        error: why it cannot be read or used; None for a good one.
        shadowed_by: volume of the skill with this id that is used instead; empty for one that is used.
        held: codes of what a scanner holds it back for, since nobody stands for it; empty for one that is used.

    Attributes:
        card: what a context shows of it, once that was made; see `card_of`.
    """

    skill_id: str
    name: str = ""
    category: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    body: str = ""
    volume: str = ""
    version: str = ""
    path: str = ""
    license: str = ""
    compatibility: str = ""
    allowed_tools: str = ""
    metadata: Mapping[str, Value] = field(default_factory=dict)
    extra: Mapping[str, Value] = field(default_factory=dict)
    error: str | None = None
    shadowed_by: str = ""
    held: tuple[str, ...] = ()
    card: Card | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def usable(self) -> bool:
        """Tell whether it may be put into a context."""
        return self.error is None and not self.shadowed_by and not self.held

    @property
    def tree(self) -> str:
        """Return the Git id of its folder; empty for a flat file, and for one that is in no volume."""
        return self.version if self.path.endswith("/SKILL.md") else ""

    @property
    def header(self) -> str:
        """Return what beside name and body is searched."""
        hints = (_text(self.extra.get(key, "")) for key in ("when_to_use", "when-to-use", "tags", "triggers"))
        return "\n".join(filter(None, (self.description, ", ".join(self.keywords), self.category, *hints)))

    def broken(self, error: str, *, body: str = "", path: str = "") -> Self:
        """Return this skill as one that cannot be used, with the reason."""
        return replace(self, error=error, body=body or self.body, path=path or self.path)

    @classmethod
    def parse(cls, skill_id: str, text: str | bytes, *, volume: str = "", version: str = "", path: str = "") -> Self:
        """Read a skill file; one that cannot be read gives a skill with `error` set, never an exception."""
        there = cls(skill_id=skill_id, name=skill_id, volume=volume, version=version, path=path)
        content, unreadable = _decoded(text)
        if unreadable:
            return there.broken(unreadable)
        try:
            block, body = frontmatter.split(content)
            fields = frontmatter.load(block) if block is not None else {}
        except BrokenFrontMatterError as error:
            return there.broken(str(error), body=content)
        return there._filled(fields, body)

    def _filled(self, fields: Fields, body: str) -> Self:
        metadata = fields.get("metadata", {})
        inner: Fields = dict(metadata) if isinstance(metadata, dict) else {}
        described = _text(fields.get("description", "")) or _first_paragraph(body)
        own = {key: value for key, value in inner.items() if key not in _OURS and not key.startswith(VENDOR)}
        vendor = {key.removeprefix(VENDOR): value for key, value in inner.items() if key.startswith(VENDOR)}
        top = {key: value for key, value in fields.items() if key not in {*STANDARD, "category", "keywords"}}
        if "title" in top and "title" not in inner:
            inner["title"] = top.pop("title")
        return replace(
            self,
            name=_text(inner.get("title", "")) or _text(fields.get("name", "")) or _heading(body) or self.skill_id,
            category=_text(fields.get("category", "")) or _text(inner.get("category", "")),
            description=described,
            keywords=_words(fields.get("keywords", "")) or _words(inner.get("keywords", "")),
            body=body,
            license=_text(fields.get("license", "")),
            compatibility=_text(fields.get("compatibility", "")),
            allowed_tools=_tools(fields.get("allowed-tools", "")),
            metadata=own,
            extra=vendor | top,
            error=None if described else NO_DESCRIPTION,
        )

    def checked(self) -> Self:
        """Return this skill when it can be published by the standard.

        Raises:
            Invalid: `skill.invalid_id`, `skill.no_description`, `skill.description_too_long`,
                `skill.compatibility_too_long`, `skill.too_large` or `skill.bad_text`.
        """
        check_id(self.skill_id, "skill")
        if not self.description.strip():
            raise Invalid("skill.no_description", "A skill needs a description.", hint="Say what it does and when.")
        _check_length(self.description, DESCRIPTION_LENGTH, "description")
        _check_length(self.compatibility, COMPATIBILITY_LENGTH, "compatibility")
        if len(self.body) > LARGEST_FILE:
            raise Invalid("skill.too_large", "A skill may be 1 MiB long.", hint="Move material to files beside it.")
        if any(_is_no_text(text) for text in (self.body, *self._front_matter())):
            raise Invalid("skill.bad_text", "The skill holds characters that are no text.", hint="Save it as UTF-8.")
        return self

    def _front_matter(self) -> Iterator[str]:
        yield from (self.name, self.category, self.description, *self.keywords)
        yield from (self.license, self.compatibility, self.allowed_tools)
        for key, value in self._metadata().items():
            yield from (key, value)

    def render(self) -> str:
        """Return the SKILL.md that the standard's validator accepts; the body follows unchanged.

        Raises:
            Invalid: as `checked`.
        """
        self.checked()
        fields: dict[str, str | Mapping[str, str]] = {"name": self.skill_id, "description": self.description}
        optional = (self.license, self.compatibility, self.allowed_tools)
        fields |= {key: value for key, value in zip(STANDARD[2:5], optional, strict=True) if value}
        if metadata := self._metadata():
            fields["metadata"] = metadata
        return frontmatter.dump(fields) + self.body

    def _metadata(self) -> dict[str, str]:
        title = "" if self.name == self.skill_id else self.name
        ours = {"title": title, "category": self.category, "keywords": ", ".join(self.keywords)}
        written = {key: value for key, value in ours.items() if value}
        written |= {key: _scalar(value) for key, value in self.metadata.items()}
        return written | {f"{VENDOR}{key}": _scalar(value) for key, value in self.extra.items()}

    @property
    def opening(self) -> str:
        """Return what begins the skill in a context."""
        title = "" if self.name == self.skill_id else self.name
        names = {"name": self.skill_id, "title": title, "version": self.version[:12], "volume": self.volume}
        attributes = " ".join([f'{key}="{html.escape(value)}"' for key, value in names.items() if value])
        return f"<skill_content {attributes}>\n"

    def to_context_injection(self, budget_tokens: int, *, tail: str = "") -> str:
        """Return the skill as the block that goes into a context, or nothing when the budget leaves no room for it.

        Args:
            budget_tokens: see `estimate_tokens`. A longer body is cut where a section or paragraph ends, and says so.
            tail: what stands below the text in the block, as the list of its files; it is counted, and not cut.
        """
        opening, closing = self.opening, f"{tail}{CLOSING}"
        room = budget_tokens - estimate_tokens(opening + closing)
        text = self.body.strip()
        body = cut(text.replace(BREAKING_OUT, "<\\/skill_content"), room)
        return f"{opening}{body}{closing}" if body or (tail and not text) else ""


def _decoded(text: str | bytes) -> tuple[str, str]:
    """Return a file's text, and why it cannot be read, one of them empty."""
    if len(text) > LARGEST_FILE:
        return "", "It is larger than 1 MiB."
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            return "", f"It is no UTF-8 text (byte {error.start})."
    if "\0" in text:
        return "", "It holds NUL characters: a binary file?"
    return text.removeprefix("\ufeff"), ""


def _is_no_text(text: str) -> bool:
    return _NO_TEXT.search(text) is not None


def _check_length(text: str, longest: int, noun: str) -> None:
    if len(text) > longest:
        raise Invalid(
            f"skill.{noun}_too_long",
            f"The {noun} has {len(text)} characters; the standard allows {longest}.",
            hint="Say what the skill does and when to use it; everything else belongs into its text.",
        )


def _text(value: Value) -> str:
    """Return a field as text: a list becomes its items, an empty mark nothing."""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))
    if isinstance(value, dict):
        return ""
    return "" if value in _EMPTY else value.strip()


def _words(value: Value) -> tuple[str, ...]:
    items = value if isinstance(value, list) else _text(value).strip("[]").split(",")
    return tuple(dict.fromkeys(word.replace(",", " ") for item in items if (word := _text(item).strip("\"' "))))


def _tools(value: Value) -> str:
    return " ".join(_TOOLS.findall(_text(value)))


def _scalar(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _heading(body: str) -> str:
    found = _HEADING.search(body[:4096])
    return found[1].rstrip(" \t\r#").removeprefix("Skill: ") if found else ""


def _first_paragraph(body: str) -> str:
    """Return the first paragraph that is neither heading nor code, on one line, cut to a description's length."""
    for paragraph in re.split(r"\n[ \t\r]*\n", body[:8192].strip()):
        lines = [line.strip() for line in paragraph.splitlines() if not line.startswith("#")]
        if text := " ".join(filter(None, lines)).removeprefix("```"):
            return text[: DESCRIPTION_LENGTH - 1]
    return ""


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a model sees: 4 characters each in ASCII, 1 each in other scripts."""
    if text.isascii():
        return math.ceil(len(text) / 4)
    narrow = len(text.encode("ascii", "ignore"))
    return math.ceil(narrow / 4) + len(text) - narrow


def cut(text: str, budget_tokens: int) -> str:
    """Return `text` when it fits the budget, else as much as fits, ended at a section or paragraph, with a note."""
    if estimate_tokens(text) <= budget_tokens:
        return text
    note = f"\n\n[Cut to fit the context: the rest of {len(text):,} characters is left out.]"
    kept = _longest_fitting(text, budget_tokens - estimate_tokens(note) - 2)
    edge = max(kept.rfind("\n#"), kept.rfind("\n\n"), len(kept) * 2 // 3 if "\n" not in kept else kept.rfind("\n"))
    kept = kept[:edge].rstrip() if edge > 0 else ""
    if not kept:
        return ""
    fence = "\n```" if kept.count("```") % 2 else ""
    return kept + fence + note


def _longest_fitting(text: str, budget_tokens: int) -> str:
    """Return the longest start of `text` that the budget holds, by halving."""
    low, high = 0, max(0, min(len(text), budget_tokens * 4))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if estimate_tokens(text[:middle]) <= budget_tokens else (low, middle - 1)
    return text[:low]
