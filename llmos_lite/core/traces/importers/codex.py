"""Codex session logs: `$CODEX_HOME/sessions/YYYY/MM/DD/rollout-*.jsonl`.

The format is internal to its vendor, so a line that is not understood is counted and passed over. A line is
`{timestamp, type, payload}`; in older files the payload itself, without a time. An answer of the model has no id: it is
the run of what the model wrote until something is given to it, named by the first call or words in it. A command's
result stands there twice (`function_call_output`, `exec_command_end`); tokens are counted from the session's beginning.
A session that was forked from another one may begin with a copy of that one, at new times: its turns are older than
the session itself. A sub-agent's session belongs to the conversation that asked for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.core.traces.importers.answers import Answer, Answers, traces_of, with_result
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
from llmos_lite.core.traces.importers.codex_results import Result, result_of_command, result_of_output
from llmos_lite.core.traces.importers.skill_use import skills_read
from llmos_lite.core.traces.trace import Ended, Message, ToolCall, Trace

CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "web_search_call", "tool_search_call"})
OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output", "mcp_tool_call_output", "tool_search_output"})
ENVELOPES = frozenset({"session_meta", "turn_context", "response_item", "event_msg"})
SKILL = re.compile(r"\s{0,20}<skill>\s{0,20}<name>([^<]{1,200})</name>")
ORDERED = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
"""An id that begins with its time."""
COPYING = 1000
"""Milliseconds in which a session's history is copied; it is what older versions say of it, who give turns no ids."""
NOTICE, REVIEWED = "<subagent_notification>", "<user_action>"
"""What the client says in the person's name of a sub-agent, and of a review: it adds the answer to that itself."""
ABORTED = "<turn_aborted>"
REQUEST = "## My request for Codex:"
SIGNS = re.compile(
    rb'^\s{0,9}(?:\xef\xbb\xbf)?\{.{0,300}?"type"\s{0,3}:\s{0,3}'
    rb'"(?:session_meta|turn_context|response_item|event_msg|compacted)"\s{0,3},.{0,300}?"payload"\s{0,3}:'
)
OLD_SIGNS = re.compile(
    rb'^\s{0,9}(?:\xef\xbb\xbf)?\{(?:"record_type"\s{0,3}:\s{0,3}"state"'
    rb'|"id"\s{0,3}:\s{0,3}"[0-9a-f-]{36}"\s{0,3},\s{0,3}"timestamp"\s{0,3}:\s{0,3}"[^"]{10,40}"\s{0,3}[,}])'
)


class Codex:
    """Reads Codex session logs."""

    name = "codex"

    def sniff(self, head: bytes) -> bool:
        """Tell whether one of the first lines is a line of a session."""
        lines = head.splitlines()[:20]
        return any(SIGNS.match(line) for line in lines) or any(OLD_SIGNS.match(line) for line in lines[:2])

    def read(self, source: Source, target: Target) -> Iterator[Trace | Skipped]:
        """Yield one trace for each answer of the model, in the order in which they began."""
        session = _Session(source, target)
        yield from traces_of(source, session.answers, session.add)


class _Session:
    """What is known of a session so far. Finished answers leave; only the last one is gone on from."""

    def __init__(self, source: Source, target: Target) -> None:
        self.source, self.target = source, target
        self.id, self.began, self.time = "", 0, 0
        self.conversation, self.agent = "", ""
        self.forked_from = ""
        self.turn_id, self.copied_until, self.relayed = "", 0, False
        self.model, self.goal = "", ""
        self.said: list[Message] = []
        self.skills: list[str] = []
        self.asked = 0
        self.last: Answer | None = None
        self.writing: Answer | None = None
        self.turn: Answer | None = None
        self.total: tuple[int, int] | None = None
        self.answers = Answers(target, f"import:{Codex.name}")

    def add(self, record: Json) -> Skipped | None:
        """Take one line; a reason comes back when it tells nothing."""
        kind, payload = record.get("type"), record.get("payload")
        self.time = self._time(record)
        if isinstance(kind, str) and kind in ENVELOPES and isinstance(payload, dict):
            return self._taken(kind, payload)
        if kind is None and "id" in record:
            self._begun(record)
            return None
        if isinstance(kind, str) and payload is None:
            return self._item(record)
        return self.source.skipped(f"no message: {kind[:40]}" if isinstance(kind, str) else "unknown line")

    def _time(self, record: Json) -> int:
        at = as_time(record.get("timestamp"))
        if at is not None:
            return at
        return (self.began or undated(self.id or self.source.name)) + self.source.lines

    def _taken(self, kind: str, payload: Json) -> Skipped | None:
        if kind != "response_item":
            self.turn_id = _short(payload.get("turn_id")) or self.turn_id
        if kind == "session_meta":
            self._begun(payload)
        elif kind == "turn_context":
            self.model = _short(payload.get("model")) or self.model
        elif payload.get("type") != "token_count" and self._is_copy():
            return self.source.skipped("copy of another session")
        else:
            return self._item(payload) if kind == "response_item" else self._event(payload)
        return None

    def _begun(self, meta: Json) -> None:
        """Take the session's head; a session that went on from another one holds that one's head, too."""
        if self.id:
            self.copied_until = self.time + COPYING
            self.forked_from = self.forked_from or _short(meta.get("id"))
            return
        self.id = self.conversation = clean(str(meta.get("id") or ""))
        self.began = as_time(meta.get("timestamp")) or self.time
        self.forked_from = _short(meta.get("forked_from_id"))
        if parent := _asked_by(meta):
            self.conversation, self.agent = parent, "agent"

    def _is_copy(self) -> bool:
        """Tell whether a line was said in the session that this one was forked from."""
        if ORDERED.fullmatch(self.turn_id) and ORDERED.fullmatch(self.id):
            return self.turn_id < self.id
        return self.time < self.copied_until

    def _item(self, item: Json) -> Skipped | None:
        kind = str(item.get("type"))
        if kind == "message" and item.get("role") == "assistant":
            return self._wrote(item)
        if kind == "message" and item.get("role") == "user":
            return self._heard(as_text(item.get("content")))
        if kind in CALLS:
            self._called(item, kind)
        elif kind in OUTPUTS:
            self._gave(item, result_of_output(item.get("output")))
            self.writing = None
        else:
            return self.source.skipped(f"no message: {str(item.get('role') or kind)[:40]}")
        return None

    def _event(self, event: Json) -> Skipped | None:
        kind = str(event.get("type"))
        done: dict[str, Callable[[Json], None]] = {
            "exec_command_end": lambda event: self._gave(event, result_of_command(event)),
            "mcp_tool_call_end": lambda event: self._gave(event, result_of_command(event)),
            "patch_apply_end": lambda event: self._gave(event, result_of_command(event)),
            "token_count": self._counted,
            "turn_aborted": lambda _: self._aborted(),
            "error": self._failed,
        }
        if kind == "task_complete" and isinstance(error := event.get("error"), dict):
            done[kind] = lambda _: self._ended(error)
        if kind not in done:
            return self.source.skipped(f"no message: {kind[:40]}")
        done[kind](event)
        return None

    def _heard(self, text: str) -> Skipped | None:
        """Take what stands there as the person's: their words, a skill, or what the client says for them."""
        if skill := SKILL.match(text):
            self.skills.append(skill[1])
            return None
        if text.lstrip().startswith(ABORTED):
            self._aborted()
            return None
        self.relayed = text.lstrip().startswith(REVIEWED)
        if self.relayed or text.lstrip().startswith(NOTICE):
            self.said.append(Message("user", text, name="agent"))
            self.asked, self.writing = self.time, None
            return None
        before, mark, request = text.partition(REQUEST)
        words = words_of(request if mark and before.lstrip().startswith("# Context from my IDE") else text)
        if not words:
            return self.source.skipped("no message: scaffolding" if text else "empty message")
        self.said.append(Message("user", words, name=self.agent))
        self.goal, self.asked = short_goal(words), self.time
        self.writing = self.turn = None
        return None

    def _wrote(self, item: Json) -> Skipped | None:
        text = as_text(item.get("content"))
        if not text:
            return self.source.skipped("empty message")
        if self.relayed:
            self.relayed = False
            return self.source.skipped("no message: made up by the client")
        self._answer(f"text\0{text}").texts.append(text)
        return None

    def _called(self, item: Json, kind: str) -> None:
        call_id = clean(str(item.get("call_id") or item.get("id") or ""))
        given = next((item[key] for key in ("arguments", "input", "action") if item.get(key) is not None), {})
        name, arguments = clean(str(item.get("name") or kind.removesuffix("_call"))), as_json(given)
        answer = self._answer(f"call\0{call_id or arguments}")
        call_id = call_id or f"call {len(answer.calls)}"
        if self.answers.called(answer, ToolCall(name, arguments, id=call_id)):
            answer.skills += skills_read(arguments)

    def _gave(self, record: Json, result: Result) -> None:
        """Join a result to its call; what the command itself said counts before what the model was shown of it."""
        call_id = str(record.get("call_id") or "")
        self.asked = self.time
        if (answer := self.answers.asking(call_id)) is None:
            return
        call = answer.calls[call_id]
        text = result.text if result.text and (result.whole or not call.result) else call.result
        answer.calls[call_id] = with_result(call, text, failed=call.is_error or result.failed)

    def _counted(self, event: Json) -> None:
        """Add what the session's count grew by since the last time."""
        info = event.get("info")
        total = _usage(info.get("total_token_usage")) if isinstance(info, dict) else None
        latest = _usage(info.get("last_token_usage")) if isinstance(info, dict) else None
        before, self.total = self.total, total or self.total
        if self.last is None or (total is not None and total == before):
            return
        grew = total is not None and before is not None and total >= before
        if total is not None and before is not None and grew:
            spent = total[0] - before[0], total[1] - before[1]
            self.last.tokens = self.last.tokens[0] + spent[0], self.last.tokens[1] + spent[1]
        else:
            self.last.tokens = max(self.last.tokens, latest or total or (0, 0))
        self.writing = None

    def _aborted(self) -> None:
        answer = self.turn or (self._answer("aborted") if self.said else None)
        if answer is not None and answer.ended is Ended.COMPLETE:
            answer.ended = Ended.ABORTED
        self.writing = None

    def _failed(self, event: Json) -> None:
        if self.said or self.turn is not None:
            self._answer("error").fail(clean(str(event.get("message") or "error")))
            self.writing = None

    def _ended(self, error: Json) -> None:
        """Take the end of a turn that failed; newer versions say it there alone."""
        if self.turn is None or self.turn.ended is Ended.COMPLETE:
            self._failed(error)

    def _answer(self, first: str) -> Answer:
        """Return the answer that is being written, or begin one, which `first` names within its moment."""
        if self.writing is not None:
            return self.writing
        name = hashlib.sha256(first.encode()).hexdigest()
        trace_id = self.target.trace_id(self.time, f"codex\0{self.id}\0{name}")
        answer = Answer(
            trace_id=trace_id,
            conversation=conversation_id(self.conversation or self.source.name),
            parent=self.last.trace_id if self.last else "",
            time=self.time,
            goal=self.goal,
            asked=self.asked or self.time,
            messages=tuple(self.said),
            model=self.model,
            skills=self.skills,
            forked_from="" if self.last or self.forked_from == self.conversation else conversation_id(self.forked_from),
        )
        self.said, self.skills = [], []
        self.answers.open[trace_id] = self.last = self.writing = self.turn = answer
        return answer


def _usage(usage: object) -> tuple[int, int] | None:
    """Return tokens in and out; what came from a cache is part of the first, reasoning of the second."""
    if not isinstance(usage, dict):
        return None
    return as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens"))


def _asked_by(meta: Json) -> str:
    """Return the conversation that a sub-agent works for; empty for a session of a person."""
    source = meta.get("source")
    agent = source.get("subagent") if isinstance(source, dict) else None
    if agent is None:
        return ""
    spawned = agent.get("thread_spawn") if isinstance(agent, dict) else None
    parent = spawned.get("parent_thread_id") if isinstance(spawned, dict) else None
    session, own = _short(meta.get("session_id")), meta.get("id")
    return session if session and session != own else _short(parent) or _short(meta.get("parent_thread_id"))


def _short(value: object) -> str:
    return clean(value)[:200] if isinstance(value, str) else ""
