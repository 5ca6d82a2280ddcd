"""The tools by which a model reads skills: `load_skill` and `search_skills`, with the rights of the person who chats.

A model can be talked into anything by what it reads, so every call is checked as if a stranger had made it: what the
person does not see, and what this conversation is the control of, looks as if it were not there.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import msgspec

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.arms import Arms
from llmos_lite.core.chat.disclosure import cards_of, catalog
from llmos_lite.core.chat.shelf import Shelf
from llmos_lite.core.chat.tools import ToolResult
from llmos_lite.core.skills.activation import resources
from llmos_lite.core.skills.format import LARGEST_FILE, Skill, cut, estimate_tokens
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import Exposure, SkillUse
from llmos_lite.engines.llm import Tool, ToolCall
from llmos_lite.volumes.skill_paths import FILE

LOAD, SEARCH = "load_skill", "search_skills"
TOOL_TOKENS = 16_000
"""Of all that is read for one message; some ten skills."""
FOUND = 8
"""Skills that one search finds at most."""
LONGEST_QUERY = 1000
_LEAST = 64
"""A text that would get fewer tokens than this is not worth reading."""

T = TypeVar("T")


class _Load(msgspec.Struct):
    name: str
    path: str = ""


class _Search(msgspec.Struct):
    query: str


class SkillTools:
    """The tools of one message; a `Toolbox`.

    Args:
        shelf: what the actor sees, as it was when the message came: a skill does not change in the middle.
        actor: with whose rights files are read.
        arms: who is control.
        held: skills whose whole text the model has already.
        listed: skills of the catalog, in its order.
        tokens: most tokens of all that is read.

    Attributes:
        used: the skills that were loaded, in order.
        searched: volumes of the skills that searches found.
    """

    def __init__(
        self,
        shelf: Shelf,
        actor: Actor,
        arms: Arms,
        *,
        held: Sequence[ScoredSkill],
        listed: Sequence[ScoredSkill],
        tokens: int,
    ) -> None:
        self._shelf, self._actor, self._arms = shelf, actor, arms
        self.held, self.listed = held, listed
        self._left = tokens
        self.used: list[SkillUse] = []
        self.searched: set[str] = set()

    @cached_property
    def _there(self) -> set[str]:
        """Names of what the model has as a whole."""
        return {one.skill.skill_id for one in self.held}

    @cached_property
    def _names(self) -> dict[str, None]:
        return dict.fromkeys([one.skill.skill_id for one in (*self.listed, *self.held)])

    @cached_property
    def _searchable(self) -> bool:
        return self._shelf.count > len({one.skill.skill_id for one in (*self.listed, *self.held)})

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools; names that a search found can be loaded from then on."""
        load = Tool(LOAD, _LOAD_TEXT, _load_schema(tuple(self._names)))
        return (load, _SEARCH_TOOL) if self._searchable else (load,)

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Everything that was considered, found or read, in whichever arm."""
        return self._arms.exposures

    def knows(self, name: str) -> bool:
        """Tell whether a tool of this name is one of these."""
        return name in {LOAD, SEARCH}

    async def run(self, call: ToolCall) -> ToolResult:
        """Answer a call."""
        if self._left < _LEAST:
            return _error("There is no room for more. Answer with what you have.")
        if call.name == SEARCH:
            asked = _decoded(call.arguments, _Search)
            return self._search(asked.query[:LONGEST_QUERY]) if asked else _error(_NO_QUERY)
        wanted = _decoded(call.arguments, _Load)
        if wanted is None:
            return _error(_NO_NAME)
        skill = self._find(wanted.name.strip())
        if skill is None:
            return _error(f"There is no skill {wanted.name[:64]!r} for you.")
        path = wanted.path.strip().removeprefix("./")
        return await (self._load(skill) if path in {"", FILE} else self._read(skill, path))

    def _find(self, name: str) -> Skill | None:
        """Return the skill of a name that the person sees, unless the conversation is its control."""
        skill = self._shelf.find(name)
        if skill is None:
            return None
        return skill if self._arms.seen([ScoredSkill(skill, 0.0)]) else None

    # -- searching --------------------------------------------------------------------------------------------------

    def _search(self, query: str) -> ToolResult:
        found = self._shelf.best(query, FOUND, only_fitting=False)
        shown = self._arms.seen(found)
        if not shown:
            return ToolResult("No skill matches.")
        names = [one.skill.skill_id for one in shown]
        self._names |= dict.fromkeys(names)
        self.searched.update([one.skill.volume for one in shown])
        return self._counted(catalog(cards_of(shown)), note=", ".join(names))

    # -- reading ----------------------------------------------------------------------------------------------------

    async def _load(self, skill: Skill) -> ToolResult:
        files = await asyncio.to_thread(self._files, skill)
        listed = resources([name for name in files if name != FILE])
        if skill.skill_id in self._there:
            return self._counted(f"You have the whole text of {skill.skill_id} already.{listed}", note=_note(skill))
        block = skill.to_context_injection(self._left, tail=listed)
        if not block:
            return _error(f"{skill.skill_id} is too long for the room that is left.")
        self._there.add(skill.skill_id)
        self._note_use(skill)
        return self._counted(block, note=_note(skill))

    async def _read(self, skill: Skill, path: str) -> ToolResult:
        data = await asyncio.to_thread(self._file, skill, path)
        if data is None:
            return _error(f"{skill.skill_id} has no file {path[:200]!r}. load_skill without a path lists its files.")
        if len(data) > LARGEST_FILE:
            return _error(f"{path} is larger than 1 MiB.")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return _error(f"{path} is no text.")
        self._note_use(skill)
        opening = f'<skill_resource skill="{skill.skill_id}" path="{html.escape(path)}">\n'
        said = cut(
            text.replace("</skill_resource", "<\\/skill_resource"), self._left - estimate_tokens(opening) - _LEAST
        )
        return self._counted(f"{opening}{said}\n</skill_resource>", note=f"{_note(skill)}: {path}")

    def _files(self, skill: Skill) -> Mapping[str, str]:
        """Return the Git ids of a skill's files by their paths; of a flat file there is nothing more."""
        if not skill.path.endswith(f"/{FILE}"):
            return {}
        found = self._shelf.skills.version_of(self._actor, skill).files
        return {path: kept.oid for path, kept in found.items()}

    def _file(self, skill: Skill, path: str) -> bytes | None:
        """Return a file by the name under which Git lists it: a path that leads elsewhere is none of them."""
        oid = self._files(skill).get(path)
        return None if oid is None else self._shelf.skills.version_of(self._actor, skill).store.blob(oid)

    # -- what is remembered -----------------------------------------------------------------------------------------

    def _counted(self, content: str, *, note: str) -> ToolResult:
        self._left -= estimate_tokens(content)
        return ToolResult(content, note=note)

    def _note_use(self, skill: Skill) -> None:
        """Count a skill as used, once, with the version that was read."""
        if all((use.volume, use.skill_id) != (skill.volume, skill.skill_id) for use in self.used):
            score = self._arms.expose(skill)
            self.used.append(SkillUse(skill.skill_id, skill.name, skill.volume, skill.version, score))


def _decoded(arguments: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(arguments, type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _error(text: str) -> ToolResult:
    return ToolResult(text, is_error=True)


def _note(skill: Skill) -> str:
    return f"{skill.volume}/{skill.skill_id} {skill.version[:12]}"


_NO_NAME = "The arguments are no JSON object with a `name`."
_NO_QUERY = "The arguments are no JSON object with a `query`."
_LOAD_TEXT = (
    "Returns the whole text of one of the team's skills, and the list of the files in its folder; with `path`, one of "
    "those files."
)
_PATH = {"type": "string", "description": "A file of the skill's folder; leave it out for the skill itself."}
_SEARCH_TOOL = Tool(
    SEARCH,
    "Searches all of the team's skills, and returns names and descriptions of those that match, to be loaded by name.",
    {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
)


def _load_schema(names: tuple[str, ...]) -> Mapping[str, object]:
    return _schema({"type": "string", "enum": names})


def _schema(name: Mapping[str, object]) -> Mapping[str, object]:
    return {"type": "object", "properties": {"name": name, "path": _PATH}, "required": ["name"]}


STEADY = (
    Tool(
        LOAD, _LOAD_TEXT, _schema({"type": "string", "description": "A name that was listed, or that a search found."})
    ),
    _SEARCH_TOOL,
)
"""The tools without names in them: the same bytes from the first message of a conversation to the last."""
