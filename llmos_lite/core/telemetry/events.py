"""Claude Code's log events become traces: requests to its model, tools, and the skills that it activated.

Its events carry no words unless it is told to log them (`OTEL_LOG_USER_PROMPTS`), so they say what was used and what it
cost. The events of one prompt stand together by `session.id` and `prompt.id`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.core.telemetry.content import text_attribute
from llmos_lite.core.telemetry.memory import Draft, Talk
from llmos_lite.core.telemetry.otlp import NS_PER_MS, LogRecord
from llmos_lite.core.telemetry.spans import SOURCE
from llmos_lite.core.traces.importers.base import Target, as_count, clean, conversation_id, parse_json, short_goal
from llmos_lite.core.traces.importers.claude_code import READERS
from llmos_lite.core.traces.importers.skill_use import exposures, named, skills_read, used
from llmos_lite.core.traces.trace import Ended, Message, ToolCall, Trace

PREFIX = "claude_code."
PROMPT, REQUEST, FAILED = "user_prompt", "api_request", "api_error"
SKILL, TOOL, ANSWER = "skill_activated", "tool_result", "assistant_response"
KNOWN = frozenset({PROMPT, REQUEST, FAILED, SKILL, TOOL, ANSWER})
LOADER = "Skill"
_READ = ("input_tokens", "cache_creation_tokens", "cache_read_tokens")


def kind_of(record: LogRecord) -> str:
    """Return which of the known events a record is; empty for any other."""
    name = record.name.removeprefix(PREFIX)
    return name if name in KNOWN and isinstance(record.attributes.get("session.id"), str) else ""


@dataclass(slots=True)
class _Request:
    """A request on its way to a trace; `record` is the first event that it is made of."""

    record: LogRecord
    calls: list[ToolCall] = field(default_factory=list)
    skills: list[str] = field(default_factory=list)
    prompt: str = ""
    answer: str = ""


class EventReader:
    """Reads the log records of one export request; see `SpanReader`."""

    def __init__(self, target: Target, draft: Draft) -> None:
        self._target, self._draft = target, draft

    def traces(self, records: Iterable[LogRecord]) -> list[Trace]:
        """Return what the records give, in the order of time."""
        open_ones: dict[str, _Request] = {}
        done: list[_Request] = []
        for record in sorted(filter(kind_of, records), key=lambda record: (record.at, _sequence(record))):
            session = str(record.attributes["session.id"])
            kind, current = kind_of(record), open_ones.get(session)
            if current is None or (kind in {PROMPT, REQUEST, FAILED} and kind_of(current.record) in {REQUEST, FAILED}):
                current = open_ones[session] = _Request(record)
                done.append(current)
            self._take(kind, record, current)
        return [self._trace(request) for request in done]

    def _take(self, kind: str, record: LogRecord, request: _Request) -> None:
        attributes = record.attributes
        if kind in {REQUEST, FAILED}:
            request.record = record
        elif kind == PROMPT:
            request.prompt = words_of(_words(attributes.get("prompt")))
        elif kind == ANSWER:
            request.answer = _words(attributes.get("response"))
        elif kind == SKILL:
            name = attributes.get("skill.name")
            _activated(request, name if isinstance(name, str) else "")
        elif kind == TOOL:
            _called(request, _call(attributes))

    def _trace(self, request: _Request) -> Trace:
        record, attributes = request.record, request.record.attributes
        session = conversation_id(clean(str(attributes["session.id"])))
        conversation = self._draft.run(session, session).conversation
        before = self._draft.talk(conversation)
        key = f"otlp-log\0{session}\0{record.name}\0{record.at}\0{_sequence(record)}"
        trace_id = self._target.trace_id(record.at, key)
        goal = short_goal(request.prompt) or before.goal
        late = trace_id == before.last or record.at * NS_PER_MS < before.place
        if not late:
            self._draft.said(conversation, Talk(last=trace_id, goal=goal, place=record.at * NS_PER_MS))
        known = named(self._target, request.skills)
        failed = kind_of(record) == FAILED
        model = attributes.get("model")
        return Trace(
            id=trace_id,
            actor=self._target.actor,
            volume=self._target.volume,
            conversation=conversation,
            parent="" if late else before.last,
            time=record.at,
            goal=goal,
            messages=tuple(
                Message(role, text) for role, text in (("user", request.prompt), ("assistant", request.answer)) if text
            ),
            tool_calls=tuple(request.calls),
            model=clean(model)[:200] if isinstance(model, str) else "",
            tokens_in=sum(_count(attributes.get(name)) for name in _READ),
            tokens_out=_count(attributes.get("output_tokens")),
            latency_ms=_count(attributes.get("duration_ms")),
            ended=Ended.ERROR if failed else Ended.COMPLETE,
            error=clean(str(attributes.get("error") or "error"))[:1000] if failed else "",
            skills_used=used(known),
            exposures=exposures(known),
            source=SOURCE,
        )


def _words(said: object) -> str:
    return clean(said) if isinstance(said, str) and said != "<REDACTED>" else ""


def _activated(request: _Request, name: str) -> None:
    """Take a skill that was activated: by a call of the model, which has an event of its own, or by the person."""
    if not name or name not in request.skills:
        request.calls.append(ToolCall(LOADER, text_attribute({"skill": name[:200]})))
        request.skills += [name] if name else []


def _called(request: _Request, call: ToolCall) -> None:
    """Take a call of a tool; one of the tool that loads skills is told as the activation of a skill, too."""
    activations = [n for n, one in enumerate(request.calls) if _is_activation(one, call)]
    if activations:
        request.calls[activations[0]] = call
    else:
        request.calls.append(call)
    found = skills_read(call.arguments) if call.name in READERS else [_loaded(call)] if call.name == LOADER else []
    request.skills += [skill for skill in found if skill and skill not in request.skills]


def _is_activation(one: ToolCall, call: ToolCall) -> bool:
    return one.name == call.name == LOADER and not one.id and _loaded(one) == _loaded(call)


def _loaded(call: ToolCall) -> str:
    try:
        given = parse_json(call.arguments.encode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return ""
    name = given.get("skill", given.get("skill_name")) if isinstance(given, dict) else None
    return name if isinstance(name, str) else ""


def _call(attributes: Mapping[str, object]) -> ToolCall:
    name, call_id = attributes.get("tool_name", attributes.get("name")), attributes.get("tool_use_id")
    given = attributes.get("tool_input", attributes.get("tool_parameters"))
    failed = str(attributes.get("success")).lower() == "false"
    error = attributes.get("error")
    said = clean(error) if failed and isinstance(error, str) else ""
    return ToolCall(
        clean(name)[:200] if isinstance(name, str) else "tool",
        text_attribute(given),
        said,
        failed,
        clean(call_id)[:200] if isinstance(call_id, str) else "",
    )


def _sequence(record: LogRecord) -> int:
    return _count(record.attributes.get("event.sequence"))


def _count(value: object) -> int:
    """Return a count; some versions write numbers as text."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else 0  # noqa: PLR2004 - below 2**53
    if isinstance(value, float) and 0 <= value < 1 << 53:
        value = int(value)
    return as_count(value)
