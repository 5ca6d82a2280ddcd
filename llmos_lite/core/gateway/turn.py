"""One request on its way through the gateway, and the trace that it leaves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.gateway.asked import Asked, Said
from llmos_lite.core.gateway.dialect import Dialect, Telling, Told
from llmos_lite.core.gateway.estimate import by_length
from llmos_lite.core.gateway.pieces import Straight, never
from llmos_lite.core.gateway.reading import Reading
from llmos_lite.core.gateway.repeated import Repeated
from llmos_lite.core.gateway.scaffolding import is_side_prompt, wants_a_title
from llmos_lite.core.gateway.steering import Steering
from llmos_lite.core.gateway.threads import Found, Thread
from llmos_lite.core.gateway.tools.rounds import Rounds, is_ours
from llmos_lite.core.gateway.translation.translator import Translated
from llmos_lite.core.limits import Reservation
from llmos_lite.core.skills.abstain import is_side_request
from llmos_lite.core.traces.importers.base import MAX_TEXT, clean
from llmos_lite.core.traces.trace import GOAL_LENGTH, Ended, Exposure, Message, Share, SkillUse, ToolCall, Trace
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.llm import ToolCall as Called
from llmos_lite.engines.upstreams import Route

_NO_TOOLS = (b"null", b"[]")
_FORMS = ("output_config", "output_format", "response_format", "text")
"""Where the dialects have the schema of an answer."""
_LONGEST_NONE = max(map(len, _NO_TOOLS))
BEHIND = ":background"
"""What the source of a trace says whose answer was made behind the request."""
_hashes = Repeated[str, str]()


class Turn(msgspec.Struct, kw_only=True, weakref=True):
    """One request.

    Args:
        actor: who asks.
        dialect: of the client.
        steering: what its headers say.
        asked: what it asks.
        links: one hash for each beginning of its conversation.
        found: what is known of its conversation.
        new: what is new in it.
        side: whether the client asks for itself: a title, tags, a count.
        trace_id: of its trace.
        thread: its conversation after it.
        share: what its team sees.
        recorded: whether it leaves a trace.
        started: milliseconds since the epoch.
        clock: seconds, for the latency.
        question: bytes of the request.
        request_id: of the request, for errors.
        straight: the short way to the client.
        rounds: the requests behind its answer, when tools of ours are in the conversation.
        route: where it was sent the last time.
        tries: how often it was sent since the last answer.
        retries: further tries before that.
        first: seconds until the head of an answer came.
        traceparent: of the client, when its trace is gone on with.
        translated: the request as it was sent, when the server speaks another dialect.
        without: words for how hard to think that the model refused; see `GiveWayError`.
        hidden: how many files that tools gave it refused.
        refused_by: who refused the last of that; nobody yet, or not any more since it is known to have helped.
        telling: knows what the client has got of a streamed answer.
        tokens_in: that the requests behind the answer had, as far as they are settled.
        tokens_out: of their answers, likewise.
        estimated: whether a provider gave no counts, so that these are by length.
        runs_on: whether the answer is made behind the request, and not known yet.
    """

    actor: Actor
    dialect: Dialect
    steering: Steering
    asked: Asked
    links: Sequence[bytes]
    found: Found
    new: Sequence[Said]
    side: bool
    trace_id: str
    thread: Thread
    share: Share
    recorded: bool
    started: int
    clock: float
    question: int = 0
    request_id: str = ""
    straight: Straight = never
    reservation: Reservation | None = None
    completion: Completion | None = None
    reading: Reading | None = None
    kept: bool = False
    rounds: Rounds | None = None
    route: Route | None = None
    tries: int = 0
    retries: int = 0
    first: float = 0.0
    traceparent: str = ""
    translated: Translated | None = None
    without: frozenset[str] = frozenset()
    hidden: int = 0
    refused_by: Route | None = None
    telling: Telling | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False
    runs_on: bool = False

    @property
    def words(self) -> str:
        """Return what the person says with this request; empty when only tools answer."""
        return words_in(self.new)

    @property
    def brings_prompt(self) -> bool:
        """Tell whether the client's system prompt is not in the traces of this conversation yet."""
        before = self.found.thread
        return bool(self.asked.system) and (before is None or before.system != self.thread.system)

    @property
    def told(self) -> Told:
        """Return what the client has got of a streamed answer."""
        telling = self.telling
        if telling is None:
            return Told(self.asked.model)
        return Told(self.asked.model, telling.answer_id, telling.number, self.runs_on)

    def note_answer(self) -> None:
        """Note that the head of an answer is there."""
        self.first = self.first or time.perf_counter() - self.clock
        if self.tries > 1:
            self.retries += self.tries - 1
        self.tries = 0

    def run_on(self) -> None:
        """Let go of what came of an answer that is made behind the request: whoever asks for it later gets all."""
        if self.reading is not None:
            self.completion = Completion(text="", model=self.asked.model, answer_id=self.reading.answer_id)
            self.reading = None

    def has_its_calls(self) -> bool:
        """Tell whether the answer holds whole calls of tools: a client that only wanted these goes away (Codex)."""
        if self.completion is None and self.reading is not None:
            self.completion = self.reading.completion()
        calls = self.calls
        return bool(calls) and all(_is_json(call.arguments) for call in calls)

    @property
    def calls(self) -> Sequence[Called]:
        """Return the calls of the answer that are for the client."""
        calls = self.completion.tool_calls if self.completion else ()
        return [call for call in calls if not is_ours(call.name)] if self.rounds else calls

    @property
    def text(self) -> str:
        """Return what the model said, in all requests behind the answer."""
        last = self.completion.text if self.completion else ""
        if self.rounds is None:
            return last
        return "\n\n".join([*self.rounds.texts, last] if last else self.rounds.texts)

    @property
    def answer_id(self) -> str:
        """Return how the provider names the answer; empty where that leads nowhere."""
        if not self.asked.kept or self.translated is not None:
            return ""
        if self.reading is not None:
            return self.reading.answer_id
        return self.completion.answer_id if self.completion else ""

    @property
    def skills(self) -> tuple[SkillUse, ...]:
        """Return the skills in the conversation, those that the model loaded with this request at the end."""
        if self.rounds is None or self.rounds.box is None:
            return self.thread.skills
        there = {(use.volume, use.skill_id, use.version) for use in self.thread.skills}
        loaded = (use for use in self.rounds.box.used if (use.volume, use.skill_id, use.version) not in there)
        return (*self.thread.skills, *loaded)

    @property
    def exposures(self) -> tuple[Exposure, ...]:
        """Return what was considered in the conversation, and what tools found or hid."""
        if self.rounds is None or self.rounds.box is None:
            return self.thread.exposures
        there = {(one.volume, one.skill_id, one.version) for one in self.thread.exposures}
        found = (one for one in self.rounds.box.exposures if (one.volume, one.skill_id, one.version) not in there)
        return (*self.thread.exposures, *found)

    def settle(self, ended: Ended) -> None:
        """Count what was used: as the provider says, else by length; a model that failed cost nothing."""
        if self.completion is None and self.reading is not None:
            self.completion = self.reading.completion()
        if self.reservation is None:
            return
        done, tokens_in, tokens_out = self.completion, 0, 0
        if done is not None:
            tokens_in, tokens_out = done.tokens_in, done.tokens_out
        said = bool(done and (done.text or done.tool_calls))
        if not tokens_out and (said or (ended is Ended.ABORTED and not tokens_in)):  # Anthropic counts a question first
            asked, tokens_out = by_length(self.question, self.asked, done)
            tokens_in, self.estimated = tokens_in or asked, True
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.reservation.settle(tokens_in, tokens_out, done.model if done else "")

    def remembered(self, ended: Ended) -> Thread:
        """Return the conversation after this turn."""
        if self.rounds is None or self.rounds.box is None or ended is Ended.ERROR:
            return replace(self.thread, trace_id=self.trace_id, answered=ended is not Ended.ERROR)
        return replace(
            self.thread,
            trace_id=self.trace_id,
            answered=True,
            skills=self.skills,
            exposures=self.exposures,
            read=(*self.thread.read, *self.rounds.read),
            owed=tuple(self.rounds.owed),
            searched=tuple(sorted({*self.thread.searched, *self.rounds.searched})),
        )


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text or "{}", type=msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


def words_in(new: Sequence[Said]) -> str:
    """Return the last words of a person."""
    for said in reversed(new):
        if said.role == "user" and said.text:
            return said.text
    return ""


def asks_for_itself(asked: Asked, new: Sequence[Said]) -> bool:
    """Tell whether the client speaks and no person: in the newest words, or in a system prompt without tools.

    opencode asks for a title in one message and quotes the person in the next; Claude Code asks in its system prompt.
    """
    for said in reversed(new):
        if said.role == "assistant":
            break
        if said.role == "user" and is_side_request(said.text):
            return True
    if not asked.system or not has_no_tools(asked):
        return False
    if is_side_prompt(asked.system):
        return True
    return any(wants_a_title(asked.system, bytes(asked.fields[key])) for key in _FORMS if key in asked.fields)


def has_no_tools(asked: Asked) -> bool:
    """Tell whether the client offers no tools of its own."""
    tools = asked.fields.get("tools")
    return tools is None or (memoryview(tools).nbytes <= _LONGEST_NONE and bytes(tools) in _NO_TOOLS)


def fresh(found: Found, said: Sequence[Said]) -> list[Said]:
    """Return what of the items after the known ones was not recorded yet: our own answer was, with its turn."""
    new = list(said)
    if found.thread is not None and found.thread.answered:
        while new and new[0].role == "assistant":
            del new[0]
    return new


def system_hash(text: str) -> str:
    """Return what stands for a client's system prompt in the traces after the first; empty for none."""
    return _hashes.of(text, _hashed) if text else ""


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def trace_of(turn: Turn, ended: Ended, error: str = "", system_in: str = "") -> Trace:
    """Return the trace of a turn; `system_in` holds the client's system prompt, if it is not empty."""
    done = turn.completion
    thread, rounds, before = turn.thread, turn.rounds, turn.found.thread
    has_more = rounds is not None and rounds.box is not None
    return Trace(
        id=turn.trace_id,
        actor=turn.actor.user_id,
        volume=str(turn.actor.volume),
        conversation=thread.conversation,
        parent=thread.parent,
        time=turn.started,
        goal="" if turn.side else thread.goal[:GOAL_LENGTH],
        messages=_messages(turn, with_prompt=not system_in),
        tool_calls=_tool_calls(turn) if (rounds and rounds.calls) or (done and done.tool_calls) else (),
        model=done.model if done and done.model else turn.asked.model,
        tokens_in=turn.tokens_in,
        tokens_out=turn.tokens_out,
        tokens_estimated=turn.estimated,
        latency_ms=round((time.perf_counter() - turn.clock) * 1000),
        ended=ended,
        error=error,
        skills_used=turn.skills if has_more else thread.skills,
        exposures=turn.exposures if has_more else thread.exposures,
        offered=thread.offered[len(before.offered) :] if before else thread.offered,
        commits=dict(thread.commits),
        source=f"gateway:{turn.dialect.wire}{':side' if turn.side else BEHIND if turn.runs_on else ''}",
        team=turn.steering.team,
        share=turn.share,
        system=thread.system,
        system_in=system_in,
        retry_of=before.trace_id if turn.found.again and before else turn.found.failed,
    )


def _tool_calls(turn: Turn) -> tuple[ToolCall, ...]:
    called = [ToolCall(call.name, clean(call.arguments), id=call.id) for call in turn.calls]
    return (*turn.rounds.calls, *called) if turn.rounds else tuple(called)


def _messages(turn: Turn, *, with_prompt: bool) -> tuple[Message, ...]:
    said: list[Message] = []
    if with_prompt and turn.asked.system and turn.brings_prompt:
        said.append(Message("system", clean(turn.asked.system)))
    for one in turn.new:
        text = one.text if len(one.text) <= MAX_TEXT else clean(one.text)
        if text and one.role != "system":
            said.append(Message(one.role, text, tool_call_id=one.call_id))
    if text := turn.text:
        said.append(Message("assistant", text if len(text) <= MAX_TEXT else clean(text)))
    return tuple(said)
