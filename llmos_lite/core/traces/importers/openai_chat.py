"""OpenAI chat JSONL: each line a conversation, `{"messages": [{"role", "content", "tool_calls", …}]}`.

Fine-tuning files, request logs (each request carries the whole history again) and stored completions (`choices` beside
`messages`) are all of this form. Every answer of the assistant is one trace. A trace is known by its conversation up to
its answer, so history that is repeated on a later line, or in another file, is recognised.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from llmos_lite.core.traces.importers.base import (
    Json,
    Skipped,
    Source,
    Target,
    as_count,
    as_json,
    as_text,
    as_time,
    clean,
    conversation_id,
    short_goal,
    undated,
)
from llmos_lite.core.traces.trace import Message, ToolCall, Trace

KEPT = 50_000
TURN = 1000
TIME_KEYS = ("created", "created_at", "timestamp", "time", "date")
CONVERSATION_KEYS = ("conversation_id", "conversation", "session_id", "thread_id")
SIGNS = re.compile(rb'^\s*(?:\xef\xbb\xbf)?\{.{0,60000}"messages"\s*:\s*\[', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An answer that an earlier line of the file already gave."""

    trace_id: str
    conversation: str


@dataclass(slots=True)
class _Turn:
    """What gathers until the assistant answers; `known` when the answer before came from an earlier line."""

    goal: str = ""
    known: bool = False
    messages: list[Message] = field(default_factory=list)


class OpenAIChat:
    """Reads OpenAI chat JSONL."""

    name = "openai-chat"

    def sniff(self, head: bytes) -> bool:
        """Tell whether one of the first lines is an object with `messages`."""
        return any(SIGNS.match(line) and b'"role"' in line for line in head.splitlines()[:20])

    def read(self, source: Source, target: Target) -> Iterator[Trace | Skipped]:
        """Yield one trace for each answer of the assistant."""
        seen: OrderedDict[str, _Seen] = OrderedDict()
        for record in source.records():
            if isinstance(record, Skipped):
                yield record
                continue
            found = False
            for trace in _Line(record, target, seen).traces():
                found = True
                yield trace
            if not found:
                yield source.skipped("no answer of the assistant" if _messages(record) else "no messages")
            while len(seen) > KEPT:
                seen.popitem(last=False)


def _messages(record: Json) -> list[Json]:
    found = _request(record).get("messages")
    messages = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    choices = record.get("choices") or _dict(record.get("response")).get("choices")
    if isinstance(choices, list) and choices and (answer := _dict(_dict(choices[0]).get("message"))):
        messages.append(answer)
    return messages


def _request(record: Json) -> Json:
    """Return what was asked: the line itself, or what a log or a batch has beside the answer."""
    inner = (_dict(record.get(key)) for key in ("request", "body"))
    return record if "messages" in record else next((one for one in inner if "messages" in one), record)


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


class _Line:
    """One line on its way to traces."""

    def __init__(self, record: Json, target: Target, seen: OrderedDict[str, _Seen]) -> None:
        self.record, self.target, self.seen = record, target, seen
        self.messages = _messages(record)
        self.results = {
            str(item.get("tool_call_id", "")): as_text(item.get("content"))
            for item in self.messages
            if item.get("role") == "tool"
        }
        named = next((record[key] for key in CONVERSATION_KEYS if isinstance(record.get(key), str)), "")
        self.conversation = str(named)
        self.created = next((at for key in TIME_KEYS if (at := as_time(record.get(key)))), None)
        self.base, self.turns = 0, 0

    def traces(self) -> Iterator[Trace]:
        after = sum(item.get("role") == "assistant" for item in self.messages)
        prefix, turn, parent = self.conversation, _Turn(), ""
        for item in self.messages:
            prefix = _extend(prefix, item)
            if item.get("role") != "assistant":
                _gather(turn, item)
                continue
            after -= 1
            self.turns += 1
            self.base = self.base or undated(prefix)
            known = self.seen.get(prefix) if after else None
            if known is not None:
                parent, self.conversation = known.trace_id, known.conversation
            else:
                yield (trace := self._trace(item, turn, parent, prefix, after))
                parent = trace.id
            turn = _Turn(turn.goal, known is not None)

    def _key(self) -> str:
        """Return what tells this line from another one with the same messages."""
        return f"{self.record.get('id', '')}{self.created or ''}"

    def _time(self, item: Json, after: int) -> int:
        own = next((at for key in TIME_KEYS if (at := as_time(item.get(key)))), None)
        if own is not None:
            return own
        return self.created - after * TURN if self.created else self.base + self.turns * TURN

    def _trace(self, item: Json, turn: _Turn, parent: str, prefix: str, after: int) -> Trace:
        key = prefix if after else prefix + self._key()
        at = self._time(item, after)
        trace_id = self.target.trace_id(at, f"openai-chat\0{key}")
        self.conversation = conversation_id(self.conversation or trace_id)
        self.seen[prefix] = _Seen(trace_id, self.conversation)
        usage = _dict(self.record.get("usage") or _dict(self.record.get("response")).get("usage"))
        model = _request(self.record).get("model") or _dict(self.record.get("response")).get("model")
        text = as_text(item.get("content"))
        return Trace(
            id=trace_id,
            actor=self.target.actor,
            volume=self.target.volume,
            conversation=self.conversation,
            parent=parent,
            time=at,
            goal=short_goal(turn.goal),
            messages=(*turn.messages, *([Message("assistant", text)] if text else [])),
            tool_calls=tuple(self._calls(item)),
            model=_short(model),
            tokens_in=0 if after else as_count(usage.get("prompt_tokens", usage.get("input_tokens"))),
            tokens_out=0 if after else as_count(usage.get("completion_tokens", usage.get("output_tokens"))),
            source=f"import:{OpenAIChat.name}",
        )

    def _calls(self, item: Json) -> Iterator[ToolCall]:
        calls = item.get("tool_calls") or [{"function": item.get("function_call")}]
        for call in calls if isinstance(calls, list) else []:
            function = _dict(_dict(call).get("function"))
            if isinstance(name := function.get("name"), str):
                call_id = str(_dict(call).get("id", ""))
                yield ToolCall(
                    clean(name),
                    as_json(function.get("arguments", "")),
                    self.results.get(call_id, ""),
                    id=clean(call_id),
                )


def _extend(prefix: str, item: Json) -> str:
    """Return the name of a conversation that goes on with this message."""
    what = [str(item.get("role")), as_text(item.get("content")), as_json(item.get("tool_calls"))]
    return hashlib.sha256("\0".join([prefix, *what]).encode()).hexdigest()


def _gather(turn: _Turn, item: Json) -> None:
    """Keep what was said to the model; a tool's result is kept with its call, unless that was stored before."""
    role, text = str(item.get("role", ""))[:40], as_text(item.get("content"))
    if role == "user":
        turn.goal = text or turn.goal
    if role == "tool" and not turn.known:
        return
    if text:
        name, call_id = item.get("name"), item.get("tool_call_id")
        turn.messages.append(Message(clean(role), text, name=_short(name), tool_call_id=_short(call_id)))


def _short(value: object) -> str:
    return clean(value)[:200] if isinstance(value, str) else ""
