"""GenAI spans become traces: a request to a model is one, with the calls of tools that it made.

Spans come when they end, children before their parents, and often in several requests. What came is stored at once, so
a call that comes after its request is a trace of its own, which hangs below it. A run of an agent (`invoke_agent`) sums
up its requests, and is a trace only when none of them was told.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from llmos_lite.core.skills.abstain import is_side_request
from llmos_lite.core.telemetry.content import Spoken, chain, instructions, numbered, spoken, text_attribute, words
from llmos_lite.core.telemetry.memory import Draft, Talk
from llmos_lite.core.telemetry.otlp import Span
from llmos_lite.core.telemetry.repeated import once, untold
from llmos_lite.core.telemetry.said import with_words
from llmos_lite.core.traces.importers.base import (
    Find,
    Known,
    Target,
    as_count,
    clean,
    conversation_id,
    short_goal,
)
from llmos_lite.core.traces.importers.skill_use import exposures, used
from llmos_lite.core.traces.trace import Ended, Message, ToolCall, Trace

SOURCE = "import:otlp"
REQUESTS = frozenset({"chat", "generate_content", "text_completion"})
OLD_OPERATIONS = {"chat": "chat", "completion": "text_completion"}
"""What OpenLLMetry wrote before the conventions."""
AGENT, TOOL = "invoke_agent", "execute_tool"
OURS = re.compile(r"llmos:(system|(?:team|user):[a-z0-9-]{1,64})/([a-z0-9-]{1,64})@([0-9a-f]{40})")
"""How a skill's exact version is written in `gen_ai.skill.source.uri`; see `model_span.source_uri`."""
MOST_SKILLS = 20
MOST_CALLS = 1000
MOST_TEXT = 4 << 20
"""Characters of the messages of one trace; the oldest go first."""


def operation(span: Span) -> str:
    """Return what a span says that it does; empty for a span that is none of GenAI."""
    found = span.attributes.get("gen_ai.operation.name")
    if found is None:
        found = OLD_OPERATIONS.get(str(span.attributes.get("llm.request.type")))
    return found if isinstance(found, str) else ""


def is_request(span: Span) -> bool:
    """Tell whether a span is of a request to a model."""
    return operation(span) in REQUESTS


def is_known(span: Span) -> bool:
    """Tell whether something is made of a span."""
    return operation(span) in REQUESTS | {AGENT, TOOL}


def skills_named(attributes: Mapping[str, object], find: Find) -> list[Known]:
    """Return the skills that a span was about, in their exact versions when it says so; ours say several at once."""
    names, uris = _listed(attributes.get("gen_ai.skill.name")), _listed(attributes.get("gen_ai.skill.source.uri"))
    pairs = zip(names[:MOST_SKILLS], [*uris, *[""] * len(names)], strict=False)
    return [known for name, uri in pairs if (known := _skill(name, uri, find)) is not None]


def _skill(name: object, uri: object, find: Find) -> Known | None:
    skill_id = name.rpartition(":")[2] if isinstance(name, str) else ""
    exact = OURS.fullmatch(uri) if isinstance(uri, str) else None
    if exact is not None and exact[2] == skill_id and (known := find(skill_id, exact[1])) is not None:
        return known._replace(use=replace(known.use, version=exact[3]))
    return find(skill_id) if skill_id else None


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


@dataclass(slots=True)
class _Request:
    """A request on its way to a trace."""

    span: Span
    trace_id: str
    conversation: str
    calls: dict[str, ToolCall] = field(default_factory=dict)
    skills: list[Known] = field(default_factory=list)


class _Asked:
    """The requests of an export, found by the calls that they made; in the order of time."""

    def __init__(self, requests: Sequence[_Request]) -> None:
        self._by_call: dict[tuple[str, str], _Request] = {}
        self._by_span: dict[tuple[str, str], _Request] = {}
        self._by_time: dict[str, tuple[list[tuple[int, int]], list[_Request]]] = {}
        for one in requests:
            trace_id = one.span.trace_id
            self._by_span.setdefault((trace_id, one.span.span_id), one)
            for call_id in one.calls:
                self._by_call.setdefault((trace_id, call_id), one)
            times, there = self._by_time.setdefault(trace_id, ([], []))
            times.append((one.span.start, one.span.place))
            there.append(one)

    def of(self, span: Span, call_id: str) -> _Request | None:
        """Return the request that asked for a call: by its id, by where its span stands, or the last one before it."""
        found = self._by_call.get((span.trace_id, call_id)) if call_id else None
        found = found or self._by_span.get((span.trace_id, span.parent_id))
        if found is not None or span.trace_id not in self._by_time:
            return found
        times, requests = self._by_time[span.trace_id]
        place = bisect_right(times, (span.start, span.place))
        return requests[place - 1] if place else None


class SpanReader:
    """Reads the spans of one export request.

    Args:
        target: whose work it was.
        draft: what is known of their conversations.
    """

    def __init__(self, target: Target, draft: Draft) -> None:
        self._target, self._draft, self._find = target, draft, target.find

    def traces(self, spans: Iterable[Span]) -> list[Trace]:
        """Return what the spans give, parents first."""
        known = [self._worded(span) for span in once(filter(is_known, spans), is_request)]
        in_order = sorted(known, key=lambda span: (span.start, span.place, span.span_id))
        ordered = list(untold(in_order, is_request, self._draft))
        for span in ordered:
            self._draft.run(span.trace_id, _conversation(span))
        requests = [self._request(span) for span in self._requests(ordered)]
        asked = _Asked(requests)
        alone = [span for span in ordered if operation(span) == TOOL and not self._joined(span, asked)]
        return [*map(self._trace, requests), *map(self._call_alone, alone)]

    def _worded(self, span: Span) -> Span:
        return with_words(span, self._draft) if is_request(span) else span

    def _requests(self, spans: Sequence[Span]) -> Iterator[Span]:
        """Yield the requests to models; for a run that told none, the innermost runs of agents."""
        told = {span.trace_id for span in spans if operation(span) in REQUESTS}
        outer = {span.parent_id for span in spans if operation(span) == AGENT}
        for span in spans:
            is_run = operation(span) == AGENT and span.trace_id not in told and span.span_id not in outer
            if operation(span) in REQUESTS or (is_run and not self._draft.run(span.trace_id).last):
                yield span

    def _request(self, span: Span) -> _Request:
        made = _Request(span, self._id(span), self._draft.run(span.trace_id).conversation)
        for number, call in enumerate(call for one in self._said(span, "output") for call in one.calls):
            made.calls[call.id or f"call {number}"] = call
        made.skills += skills_named(span.attributes, self._find)
        return made

    def _joined(self, span: Span, requests: _Asked) -> bool:
        """Join a call to the request that asked for it, and tell whether there is one."""
        call = _call(span)
        found = requests.of(span, call.id)
        if found is None:
            return False
        asked = found.calls.get(call.id, call)
        name, arguments = asked.name or call.name, asked.arguments or call.arguments
        found.calls[call.id or span.span_id] = ToolCall(name, arguments, call.result, call.is_error, call.id)
        found.skills += skills_named(span.attributes, self._find)
        return True

    def _trace(self, request: _Request) -> Trace:
        span, attributes = request.span, request.span.attributes
        before = self._draft.talk(request.conversation)
        system = instructions(attributes.get("gen_ai.system_instructions"))
        asked, answered = self._said(span, "input"), self._said(span, "output")
        links = chain(asked, request.conversation)
        new, late = _fresh(asked, links, before), _is_late(request, links, before)
        said = words(new)
        talk = Talk(
            last=request.trace_id,
            link=links[-1] if links else before.link,
            length=len(asked) or before.length,
            goal=short_goal(said) or before.goal,
            system=chain([Spoken("system", system, (), ())], "")[0][:16] if system else "",
            place=span.place,
        )
        if not late:
            self._draft.said(request.conversation, talk)
            self._draft.went_on(span.trace_id, request.trace_id)
        elif len(asked) > before.length:
            self._draft.said(request.conversation, talk._replace(last=before.last, place=before.place))
        first = [Message("system", system)] if system and talk.system != before.system else []
        return Trace(
            id=request.trace_id,
            actor=self._target.actor,
            volume=self._target.volume,
            conversation=conversation_id(request.conversation),
            parent="" if late else before.last,
            time=span.start,
            goal="" if is_side_request(said) else talk.goal,
            messages=_bounded([*first, *(message for one in (*new, *answered) for message in one.messages())]),
            tool_calls=tuple(request.calls.values())[:MOST_CALLS],
            model=_model(attributes),
            tokens_in=_tokens(attributes, "input", "prompt"),
            tokens_out=_tokens(attributes, "output", "completion"),
            latency_ms=span.end - span.start,
            ended=Ended.ERROR if span.error else Ended.COMPLETE,
            error=clean(span.error),
            skills_used=used(dict.fromkeys(request.skills)),
            exposures=exposures(dict.fromkeys(request.skills)),
            source=SOURCE,
            system=talk.system,
        )

    def _call_alone(self, span: Span) -> Trace:
        """Return a trace of a call whose request came before, or not at all."""
        run = self._draft.run(span.trace_id)
        skills = skills_named(span.attributes, self._find)
        return Trace(
            id=self._id(span),
            actor=self._target.actor,
            volume=self._target.volume,
            conversation=conversation_id(run.conversation),
            parent=run.last,
            time=span.start,
            goal=self._draft.talk(run.conversation).goal,
            tool_calls=(_call(span),),
            latency_ms=span.end - span.start,
            skills_used=used(skills),
            exposures=exposures(skills),
            source=SOURCE,
        )

    def _id(self, span: Span) -> str:
        return self._target.trace_id(span.start, f"otlp\0{span.trace_id}\0{span.span_id}")

    def _said(self, span: Span, side: str) -> list[Spoken]:
        found = spoken(span.attributes.get(f"gen_ai.{side}.messages")) or numbered(span.attributes, side)
        return [one._replace(role="assistant") for one in found] if side == "output" else found


def _conversation(span: Span) -> str:
    """Return what a span calls its conversation: by the GenAI conventions, or by the general ones."""
    names = (span.attributes.get(key) for key in ("gen_ai.conversation.id", "session.id"))
    return next((conversation_id(clean(name)) for name in names if isinstance(name, str) and name), "")


def _is_late(request: _Request, links: Sequence[str], before: Talk) -> bool:
    """Tell whether the conversation went on before this came: it is sent again, or another export overtook it."""
    if request.trace_id == before.last:
        return True
    goes_on = len(links) > before.length and _goes_on(links, before)  # clocks differ
    return request.span.place < before.place and not goes_on


def _goes_on(links: Sequence[str], before: Talk) -> bool:
    return 0 < before.length <= len(links) and links[before.length - 1] == before.link


def _fresh(asked: Sequence[Spoken], links: Sequence[str], before: Talk) -> Sequence[Spoken]:
    """Return what was said since the last request; our own answer was stored with it."""
    if not _goes_on(links, before):
        return asked
    new = list(asked[before.length :])
    while new and new[0].role == "assistant":
        del new[0]
    return new


def _bounded(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the newest messages, as many as one trace may hold."""
    left, kept = MOST_TEXT, []
    for message in reversed(messages):
        left -= len(message.content) + 100
        if left < 0:
            break
        kept.append(message)
    return tuple(reversed(kept))


def _call(span: Span) -> ToolCall:
    attributes = span.attributes
    name, call_id = attributes.get("gen_ai.tool.name"), attributes.get("gen_ai.tool.call.id")
    exit_code = attributes.get("process.exit.code")
    arguments = text_attribute(attributes.get("gen_ai.tool.call.arguments")) or _skill_named(attributes)
    return ToolCall(
        clean(name)[:200] if isinstance(name, str) else "tool",
        arguments,
        text_attribute(attributes.get("gen_ai.tool.call.result")) or clean(span.error),
        bool(span.error) or (isinstance(exit_code, int) and exit_code != 0),
        clean(call_id)[:200] if isinstance(call_id, str) else "",
    )


def _skill_named(attributes: Mapping[str, object]) -> str:
    """Return the skill that a call was about, be it none of ours, when the call does not show its arguments."""
    name = attributes.get("gen_ai.skill.name")
    return text_attribute({"skill": clean(name)[:200]}) if isinstance(name, str) else ""


def _model(attributes: Mapping[str, object]) -> str:
    names = (attributes.get("gen_ai.response.model"), attributes.get("gen_ai.request.model"))
    return next((clean(name)[:200] for name in names if isinstance(name, str) and name), "")


def _tokens(attributes: Mapping[str, object], name: str, old_name: str) -> int:
    found = attributes.get(f"gen_ai.usage.{name}_tokens", attributes.get(f"gen_ai.usage.{old_name}_tokens"))
    return as_count(found)
