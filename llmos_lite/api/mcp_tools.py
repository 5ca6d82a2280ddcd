"""The tools: most clients know nothing of skills, but every client has tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
    ToolAnnotations,
)

from llmos_lite.api.mcp import Caller
from llmos_lite.api.mcp_resources import contents
from llmos_lite.core.accounts.permissions import Verb, allowed
from llmos_lite.core.skills.activation import resources
from llmos_lite.core.skills.format import LARGEST_FILE, Skill
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.uris import SCHEME, SkillUri, not_served, skill_uri
from llmos_lite.core.skills.views import ListedSkill, SkillView
from llmos_lite.core.traces.reports import Report
from llmos_lite.core.traces.trace import Outcome
from llmos_lite.errors import Invalid, LlmosError, NotFound
from llmos_lite.volumes.access import VolumeRef

if TYPE_CHECKING:
    from llmos_lite.bootstrap import Services

A = TypeVar("A", bound=msgspec.Struct)
MOST_FOUND = 20


def _text(longest: int, description: str) -> msgspec.Meta:
    return msgspec.Meta(max_length=longest, description=description)


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `search_skills`."""

    query: Annotated[str, _text(100_000, "What is wanted, in the person's own words.")]
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_FOUND, description="Most skills in the answer.")] = 5


class Load(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `load_skill`."""

    name: Annotated[str, _text(1000, "Name of a skill, as search_skills gives it, or its skill:// address.")]
    path: Annotated[str, _text(4096, "One of its files, as the skill lists them; empty for the skill itself.")] = ""


class Record(msgspec.Struct, forbid_unknown_fields=True):
    """Arguments of `record_outcome`."""

    outcome: Annotated[Literal["success", "failure"], msgspec.Meta(description="Whether that was reached.")]
    skill: Annotated[str, _text(64, "Name of the skill that you followed.")] = ""
    version: Annotated[str, _text(40, "Its version, as load_skill gave it.")] = ""
    goal: Annotated[str, _text(20_000, "What the person wanted, in their words; needed beside `skill`.")] = ""
    note: Annotated[str, _text(10_000, "Why, in a sentence; what the skill lacks.")] = ""
    trace_id: Annotated[str, _text(64, "Instead of a skill: the trace of an answer of this server.")] = ""
    conversation_id: Annotated[str, _text(128, "Instead of a skill: a conversation with this server.")] = ""


_DESCRIPTIONS: Mapping[str, tuple[type[msgspec.Struct], str, str, ToolAnnotations]] = {
    "search_skills": (
        Search,
        "Search skills",
        "Find skills: tested instructions of this team for a kind of task. Call it before you begin one.",
        ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    "load_skill": (
        Load,
        "Load a skill",
        "Return the instructions of a skill, and the names of its files; with a path, one of these files.",
        ToolAnnotations(read_only_hint=True, open_world_hint=False),
    ),
    "record_outcome": (
        Record,
        "Record an outcome",
        "Say what came of a task for which a skill was used, so that skills that do not help are found.",
        ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False),
    ),
}


class Tools:
    """Lists and calls them.

    Args:
        services: of the instance.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tools = [_tool(name, *described) for name, described in _DESCRIPTIONS.items()]
        self._calls: dict[str, Callable[[Caller, dict[str, Any]], Awaitable[CallToolResult]]] = {
            "search_skills": lambda caller, given: self._search(caller, _read(Search, given)),
            "load_skill": lambda caller, given: self._load(caller, _read(Load, given)),
            "record_outcome": lambda caller, given: self._record(caller, _read(Record, given)),
        }

    async def listed(self, caller: Caller, params: PaginatedRequestParams | None) -> ListToolsResult:
        """Answer `tools/list`: those that the caller's credential is for."""
        del params  # there is one page
        may = allowed(caller.actor, Verb.WRITE_TRACES, caller.actor.volume)
        return ListToolsResult(tools=[tool for tool in self._tools if may or tool.name != "record_outcome"])

    async def called(self, caller: Caller, params: CallToolRequestParams) -> CallToolResult:
        """Answer `tools/call`; what is refused is told to the model, which may know better the next time."""
        call = self._calls.get(params.name)
        if call is None:
            raise MCPError(INVALID_PARAMS, f"There is no tool {params.name[:64]!a}.")
        try:
            return await call(caller, dict(params.arguments or {}))
        except LlmosError as error:
            return CallToolResult(content=[TextContent(text=f"{error.message} {error.hint}".strip())], is_error=True)

    async def _search(self, caller: Caller, asked: Search) -> CallToolResult:
        found = await self._services.skills.best(caller.actor, asked.query, caller.team_id, limit=asked.limit)
        text = "\n".join(map(_line, found)) or "No skill that may be used fits. Work without one."
        return CallToolResult(
            content=[TextContent(text=text)], structured_content={"skills": [_hit(one) for one in found]}
        )

    async def _load(self, caller: Caller, asked: Load) -> CallToolResult:
        if not asked.path:
            view, text = await loaded(self._services.skills, caller, asked.name)
            return CallToolResult(content=[TextContent(text=text)], structured_content=_summary(view))
        ref, skill_id = await _place(self._services.skills, caller, asked.name)
        uri = SkillUri(ref, skill_id, asked.path)
        _, data = await self._services.served.read(caller.actor, uri, caller.team_id)
        content = contents(str(uri), asked.path, data)
        if isinstance(content, TextResourceContents):
            return CallToolResult(content=[TextContent(text=content.text)])
        return CallToolResult(content=[EmbeddedResource(resource=content)])

    async def _record(self, caller: Caller, asked: Record) -> CallToolResult:
        report = Report(
            outcome=Outcome(asked.outcome),
            note=asked.note,
            trace_id=asked.trace_id,
            conversation_id=asked.conversation_id,
            skill=asked.skill,
            version=asked.version,
            goal=asked.goal,
        )
        actor = caller.actor
        trace_id = await self._services.reports.record(actor, report, caller.team_id)
        if not trace_id:
            return CallToolResult(content=[TextContent(text="Nothing is recorded for this person, as they wish.")])
        facts = {"outcome": asked.outcome} | ({"skill": asked.skill} if asked.skill else {})
        await self._services.audit.record(actor, "trace.outcome", f"{actor.volume}/{trace_id}", detail=facts)
        return CallToolResult(
            content=[TextContent(text=f"Recorded as trace {trace_id}.")], structured_content={"trace_id": trace_id}
        )


async def loaded(skills: SkillService, caller: Caller, name: str) -> tuple[SkillView, str]:
    """Return a skill, and its text as a model gets it.

    Raises:
        NotFound: `skill.unknown`, `skill.not_served`, `skill.broken`, `skill.unsafe`.
    """
    ref, skill_id = await _place(skills, caller, name)
    view = await skills.get(caller.actor, skill_id, volume=ref, history=0)
    await _require_safe(skills, caller, view.skill)  # what was read, which may be newer than what was found
    folder = str(skill_uri(str(ref), skill_id).at(""))
    tail = resources(view.files, folder, most=len(view.files))
    return view, view.skill.to_context_injection(LARGEST_FILE, tail=tail)  # a client cuts what is too long for it


async def _place(skills: SkillService, caller: Caller, name: str) -> tuple[VolumeRef, str]:
    """Return where a skill is that is named by its id or its address, and can be used."""
    if name.startswith(SCHEME):
        uri = SkillUri.parse(name)
    else:
        uri = SkillUri(await skills.seen(caller.actor, name, caller.team_id), name)
    libraries = await asyncio.to_thread(skills.manager.libraries, caller.actor, caller.team_id)
    skill = next((one.skills.get(uri.skill_id) for one in libraries if one.ref == uri.ref), None)
    if skill is None:
        raise not_served(name)
    if skill.error is not None:
        raise NotFound("skill.broken", f"The skill {uri.skill_id} cannot be used: {skill.error}")
    await _require_safe(skills, caller, skill)
    return uri.ref, uri.skill_id


async def _require_safe(skills: SkillService, caller: Caller, skill: Skill) -> None:
    if await asyncio.to_thread(skills.manager.held_for, caller.actor, skill, caller.team_id):
        raise NotFound("skill.unsafe", f"A scanner holds the skill {skill.skill_id} back; nobody has signed it off.")


def _tool(name: str, arguments: type[msgspec.Struct], title: str, description: str, hints: ToolAnnotations) -> Tool:
    _, components = msgspec.json.schema_components((arguments,))
    schema = {
        key: value for key, value in components[arguments.__name__].items() if key not in {"title", "description"}
    }
    return Tool(name=name, title=title, description=description, input_schema=schema, annotations=hints)


def _read(kind: type[A], given: dict[str, Any]) -> A:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise Invalid("tool.arguments", f"The arguments are not valid: {error}.") from None


def _line(one: ListedSkill) -> str:
    weak = "" if one.fits else " (a weak match)"
    return f"- {one.skill.skill_id}{weak}: {' '.join(one.skill.description.split())}"


def _hit(one: ListedSkill) -> dict[str, object]:
    return {
        "name": one.skill.skill_id,
        "title": one.skill.name,
        "description": one.skill.description,
        "uri": str(skill_uri(one.skill.volume, one.skill.skill_id)),
        "volume": one.skill.volume,
        "version": one.skill.version,
        "score": one.score,
        "fits": one.fits,
    }


def _summary(view: SkillView) -> dict[str, object]:
    skill = view.skill
    uri = skill_uri(skill.volume, skill.skill_id)
    return {
        "name": skill.skill_id,
        "uri": str(uri),
        "volume": skill.volume,
        "version": skill.version,
        "files": list(view.files),
    }
