"""Chats on real volumes, a real journal and real accounts; only the model's server is ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from llmos_lite.core.accounts.permissions import Actor, Scope
from llmos_lite.core.chat.assignment import TREATED, Arm
from llmos_lite.core.chat.messages import ChatDelta, ChatEvent, ChatFailed, ChatInput, ChatResult, ChatStarted
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import GOAL_LENGTH, Ended, Outcome, Share
from llmos_lite.engines.llm import ChatRequest, Delta, LanguageModel, OfflineModel, Piece
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound, StorageFailed, UpstreamFailed, UpstreamTimeout
from tests.chatting import Room, room
from tests.upstream import WORD, Upstream, running

REVIEW = """---
name: Code review
category: coding
description: Review a pull request for security problems
keywords: [review, pull request, security]
---

# Skill: Code review

## Approach
1. Read the diff.
"""
ASK = "review the pull request for security problems"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def chat(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Room]:
    async with room(tmp_path, upstream.url) as opened:
        opened.write_skill("user:alice", "code-review", REVIEW)
        yield opened


async def collect(events: AsyncGenerator[ChatEvent, None]) -> list[ChatEvent]:
    async with aclosing(events):
        return [event async for event in events]


async def test_an_answer_names_its_skills_and_leaves_a_durable_trace(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    result = await chat.service().chat(alice, ChatInput(message=ASK))
    assert result.response == WORD * 3
    [use] = result.skills_used
    assert (use.skill_id, use.name, use.volume) == ("code-review", "Code review", "user:alice")
    assert use.score > 0
    assert (result.usage.input_tokens, result.usage.output_tokens) == (10, 3)
    assert (result.model, result.recorded) == ("plain", True)
    assert "1. Read the diff." in upstream.chats[0].system
    assert upstream.chats[0].body["messages"][-1] == {"role": "user", "content": ASK}

    trace = await chat.trace(alice, result.trace_id)
    assert (trace.id, trace.conversation, trace.parent) == (result.trace_id, result.conversation_id, "")
    assert [(message.role, message.content) for message in trace.messages] == [("user", ASK), ("assistant", WORD * 3)]
    assert (trace.goal, trace.ended, trace.outcome, trace.error) == (ASK, Ended.COMPLETE, Outcome.UNKNOWN, "")
    assert (trace.model, trace.tokens_in, trace.tokens_out) == ("plain", 10, 3)
    assert trace.skills_used == result.skills_used
    [exposure] = trace.exposures
    assert (exposure.volume, exposure.skill_id, exposure.version) == ("user:alice", "code-review", use.version)
    assert (exposure.arm, exposure.propensity, exposure.score) == ("treatment", 1.0, use.score)
    assert trace.commits["user:alice"] == chat.head("user:alice")
    assert use.version == chat.version("user:alice", "code-review")


async def test_a_message_that_no_skill_fits_goes_out_as_it_is(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    result = await chat.service().chat(alice, ChatInput(message="zyxwv utsrq"))
    assert result.skills_used == ()
    assert upstream.chats[0].body["messages"] == [{"role": "user", "content": "zyxwv utsrq"}]


async def test_a_stream_begins_with_the_skills_and_ends_with_the_answer(chat: Room) -> None:
    alice = await chat.actor("alice")
    start, *deltas, done = await collect(chat.service().stream(alice, ChatInput(message=ASK)))
    assert isinstance(start, ChatStarted)
    assert isinstance(done, ChatResult)
    assert "".join(delta.text for delta in deltas if isinstance(delta, ChatDelta)) == WORD * 3
    assert (start.trace_id, start.conversation_id) == (done.trace_id, done.conversation_id)
    assert start.skills_used == done.skills_used != ()
    assert (await chat.trace(alice, done.trace_id)).ended is Ended.COMPLETE


async def test_a_conversation_goes_on_with_what_was_said(chat: Room, upstream: Upstream) -> None:
    alice, service = await chat.actor("alice"), chat.service()
    first = await service.chat(alice, ChatInput(message=ASK))
    second = await service.chat(alice, ChatInput(message="and now shorter", conversation_id=first.conversation_id))
    assert second.conversation_id == first.conversation_id
    _, *said = upstream.chats[1].body["messages"]
    assert [message["content"] for message in said] == [ASK, WORD * 3, "and now shorter"]
    trace = await chat.trace(alice, second.trace_id)
    assert trace.parent == first.trace_id
    assert [message.content for message in trace.messages] == ["and now shorter", WORD * 3]


async def test_a_conversation_goes_on_after_a_restart(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    first = await chat.service().chat(alice, ChatInput(message=ASK))
    await chat.service().chat(alice, ChatInput(message="go on", conversation_id=first.conversation_id))
    assert [message["content"] for message in upstream.chats[1].body["messages"]][1:] == [ASK, WORD * 3, "go on"]


async def test_a_follow_up_keeps_the_skills_and_the_bytes_of_the_prompt(chat: Room, upstream: Upstream) -> None:
    alice, service = await chat.actor("alice"), chat.service()
    first = await service.chat(alice, ChatInput(message=ASK))
    second = await service.chat(alice, ChatInput(message="zyxwv utsrq", conversation_id=first.conversation_id))
    assert [use.skill_id for use in second.skills_used] == ["code-review"]
    assert upstream.chats[0].system == upstream.chats[1].system


async def test_a_skill_that_was_deleted_meanwhile_is_not_carried_on(chat: Room) -> None:
    alice, service = await chat.actor("alice"), chat.service()
    first = await service.chat(alice, ChatInput(message=ASK))
    chat.delete_skill("user:alice", "code-review")
    second = await service.chat(alice, ChatInput(message="zyxwv utsrq", conversation_id=first.conversation_id))
    assert second.skills_used == ()


async def test_conversations_belong_to_one_person(chat: Room) -> None:
    service = chat.service()
    first = await service.chat(await chat.actor("alice"), ChatInput(message=ASK))
    given = ChatInput(message="hi", conversation_id=first.conversation_id)
    with pytest.raises(NotFound) as caught:
        await service.chat(await chat.actor("bob"), given)
    assert caught.value.code == "conversation.unknown"


@pytest.mark.parametrize("key", ["", "nonesuch", "x" * 10_000, "../../etc/passwd", "a\0b"])
async def test_an_unknown_conversation_is_told(chat: Room, key: str) -> None:
    with pytest.raises(NotFound) as caught:
        await chat.service().chat(await chat.actor("alice"), ChatInput(message="hi", conversation_id=key))
    assert caught.value.code == "conversation.unknown"


async def test_one_message_at_a_time_in_a_conversation(chat: Room, upstream: Upstream) -> None:
    alice, service = await chat.actor("alice"), chat.service("plain-c500-i20")
    async with aclosing(service.stream(alice, ChatInput(message="one"))) as events:
        start = await anext(events)
        assert isinstance(start, ChatStarted)
        with pytest.raises(Conflict) as caught:
            await service.chat(alice, ChatInput(message="two", conversation_id=start.conversation_id))
        assert caught.value.code == "conversation.busy"
        assert isinstance(await anext(events), ChatDelta)
    await upstream.until(aborted=1)
    events = service.stream(alice, ChatInput(message="three", conversation_id=start.conversation_id))
    assert isinstance(await anext(events), ChatStarted)
    await events.aclose()


@pytest.mark.parametrize("message", ["", "   ", "\n\t"])
async def test_an_empty_message_is_refused(chat: Room, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        await chat.service().chat(await chat.actor("alice"), ChatInput(message=message))
    assert caught.value.code == "chat.empty"


@pytest.mark.parametrize("count", [-1, 21])
async def test_max_skills_has_bounds(chat: Room, count: int) -> None:
    with pytest.raises(Invalid) as caught:
        await chat.service().chat(await chat.actor("alice"), ChatInput(message="hi", max_skills=count))
    assert caught.value.code == "chat.max_skills"


async def test_no_skill_can_be_asked_for(chat: Room, upstream: Upstream) -> None:
    result = await chat.service().chat(await chat.actor("alice"), ChatInput(message=ASK, max_skills=0))
    assert result.skills_used == ()
    assert upstream.chats[0].system == ""


async def test_a_credential_without_the_scope_may_not_chat(chat: Room) -> None:
    alice = Actor("alice", scopes=frozenset({Scope.SKILLS_READ}))
    with pytest.raises(Forbidden):
        await chat.service().chat(alice, ChatInput(message="hi"))


async def test_a_long_goal_is_cut_and_its_message_is_not(chat: Room) -> None:
    alice, message = await chat.actor("alice"), "word " * GOAL_LENGTH
    result = await chat.service().chat(alice, ChatInput(message=message))
    trace = await chat.trace(alice, result.trace_id)
    assert len(trace.goal) == GOAL_LENGTH
    assert trace.messages[0].content == message


# -- teams ---------------------------------------------------------------------------------------------------------


async def test_a_team_that_is_not_ones_own_is_unknown(chat: Room) -> None:
    with pytest.raises(NotFound) as caught:
        await chat.service().chat(await chat.actor("alice"), ChatInput(message="hi", team_id="sre"))
    assert caught.value.code == "team.unknown"


async def test_the_team_gets_a_digest_by_default(chat: Room) -> None:
    alice = await chat.join("alice", "sre")
    result = await chat.service().chat(alice, ChatInput(message=ASK, team_id="sre"))
    mine, teams = await chat.trace(alice, result.trace_id), await chat.shared("sre")
    assert (mine.team, mine.share, mine.volume) == ("sre", Share.DIGEST, "user:alice")
    [digest] = teams
    assert (digest.goal, digest.messages, digest.skills_used) == (ASK, (), result.skills_used)


@pytest.mark.parametrize(("share", "messages"), [("none", None), ("full", 2)])
async def test_a_person_chooses_what_the_team_gets(chat: Room, share: str, messages: int | None) -> None:
    alice = await chat.join("alice", "sre")
    await chat.accounts.change_user(alice, "alice", {"share": share})
    await chat.service().chat(alice, ChatInput(message=ASK, team_id="sre"))
    shared = await chat.shared("sre")
    assert [len(trace.messages) for trace in shared] == ([] if messages is None else [messages])


async def test_without_a_team_nothing_is_shared(chat: Room) -> None:
    alice = await chat.join("alice", "sre")
    result = await chat.service().chat(alice, ChatInput(message=ASK))
    assert (await chat.trace(alice, result.trace_id)).share is Share.NONE
    assert await chat.shared("sre") == []


# -- recording -----------------------------------------------------------------------------------------------------


async def test_a_chat_can_be_kept_out_of_the_traces(chat: Room) -> None:
    alice = await chat.actor("alice")
    result = await chat.service().chat(alice, ChatInput(message=ASK, record=False))
    assert (result.trace_id, result.conversation_id, result.recorded) == (None, None, False)
    assert result.skills_used
    assert await chat.all_traces(alice) == []
    assert b"llmos_chats_unrecorded_total 1.0" in chat.metrics.render_metrics()


async def test_a_persons_setting_keeps_all_chats_out(chat: Room) -> None:
    alice = await chat.actor("alice")
    await chat.accounts.change_user(alice, "alice", {"record": False})
    result = await chat.service().chat(alice, ChatInput(message=ASK))
    assert result.trace_id is None
    assert await chat.all_traces(alice) == []


async def test_an_unrecorded_turn_leaves_its_conversation_as_it_was(chat: Room, upstream: Upstream) -> None:
    alice, service = await chat.actor("alice"), chat.service()
    first = await service.chat(alice, ChatInput(message="hi"))
    key = first.conversation_id
    second = await service.chat(alice, ChatInput(message="a secret", conversation_id=key, record=False))
    assert (second.conversation_id, second.trace_id) == (key, None)
    assert len(upstream.chats[1].body["messages"]) == 3
    await service.chat(alice, ChatInput(message="again", conversation_id=key))
    assert "a secret" not in str(upstream.chats[2].body["messages"])


async def test_a_journal_that_cannot_write_gives_no_answer(chat: Room) -> None:
    alice = await chat.actor("alice")
    chat.break_journal()
    with pytest.raises(StorageFailed):
        await chat.service().chat(alice, ChatInput(message=ASK))
    text = chat.metrics.render_metrics()
    assert b"llmos_chats_unstored_total 1.0" in text
    assert b'llmos_chats_total{ended="error"} 1.0' in text


# -- how it ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("e500", "model.failed"),
        ("e429", "model.rate_limited"),
        ("e401", "model.rejected"),
        ("garbage", "model.garbage"),
        ("c20-cut", "model.cut"),
    ],
)
async def test_a_model_that_fails_is_an_error_and_a_trace(chat: Room, model: str, code: str) -> None:
    alice = await chat.actor("alice")
    with pytest.raises(UpstreamFailed) as caught:
        await chat.service(model).chat(alice, ChatInput(message=ASK))
    assert caught.value.code == code
    trace = await chat.trace(alice, str(caught.value.detail["trace_id"]))
    assert (trace.ended, trace.error) == (Ended.ERROR, code)
    assert trace.messages[0].content == ASK
    assert trace.conversation == caught.value.detail["conversation_id"]


async def test_half_an_answer_is_kept_with_the_error(chat: Room) -> None:
    alice = await chat.actor("alice")
    *events, failed = await collect(chat.service("c20-cut").stream(alice, ChatInput(message=ASK)))
    assert isinstance(failed, ChatFailed)
    trace = await chat.trace(alice, failed.trace_id)
    assert trace.answer == "".join(event.text for event in events if isinstance(event, ChatDelta)) != ""


async def test_silence_is_a_timeout_and_a_trace(chat: Room) -> None:
    alice = await chat.actor("alice")
    with pytest.raises(UpstreamTimeout) as caught:
        await chat.service("silence", timeout=0.05).chat(alice, ChatInput(message=ASK))
    trace = await chat.trace(alice, str(caught.value.detail["trace_id"]))
    assert (trace.ended, trace.error) == (Ended.ERROR, "model.timeout")


async def test_a_failed_turn_can_be_tried_again_in_its_conversation(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    with pytest.raises(UpstreamFailed) as caught:
        await chat.service("e500").chat(alice, ChatInput(message="one"))
    given = ChatInput(message="two", conversation_id=str(caught.value.detail["conversation_id"]))
    result = await chat.service().chat(alice, given)
    assert [message["content"] for message in upstream.chats[-1].body["messages"]] == ["two"]
    assert (await chat.trace(alice, result.trace_id)).parent == caught.value.detail["trace_id"]


async def test_a_client_that_goes_away_ends_the_request_upstream(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    events = chat.service("c500-i20").stream(alice, ChatInput(message=ASK))
    start, _ = await anext(events), await anext(events)
    await events.aclose()
    await upstream.until(aborted=1)
    assert isinstance(start, ChatStarted)
    trace = await chat.trace(alice, start.trace_id)
    assert (trace.ended, trace.error, trace.answer[: len(WORD)]) == (Ended.ABORTED, "", WORD)


async def test_a_cancelled_chat_ends_the_request_upstream(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    task = asyncio.ensure_future(chat.service("silence").chat(alice, ChatInput(message=ASK)))
    await upstream.until(chats=1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await upstream.until(aborted=1)
    [trace] = await chat.all_traces(alice)
    assert (trace.ended, trace.answer) == (Ended.ABORTED, "")


async def test_a_stop_waits_for_the_traces_on_their_way(chat: Room) -> None:
    alice, service = await chat.actor("alice"), chat.service()
    events = service.stream(alice, ChatInput(message=ASK))
    start = await anext(events)
    closing = asyncio.ensure_future(events.aclose())
    await asyncio.sleep(0)
    await service.close()
    assert isinstance(start, ChatStarted)
    assert (await chat.trace(alice, start.trace_id)).ended is Ended.ABORTED
    await closing


async def test_an_aborted_chat_that_cannot_be_kept_still_ends(chat: Room, upstream: Upstream) -> None:
    alice = await chat.actor("alice")
    task = asyncio.ensure_future(chat.service("silence").chat(alice, ChatInput(message=ASK)))
    await upstream.until(chats=1)
    chat.break_journal()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Broken(OfflineModel):
    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        yield Delta("half")
        raise KeyError(request.system)


class Endless(OfflineModel):
    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        yield Delta(request.messages[-1]["content"])


@pytest.mark.parametrize(("model", "code"), [(Broken(), "model.failed"), (Endless(), "model.cut")])
async def test_a_plugged_in_model_that_breaks_is_a_failure_like_any(
    chat: Room, model: LanguageModel, code: str
) -> None:
    alice = await chat.actor("alice")
    with pytest.raises(UpstreamFailed) as caught:
        await chat.service(model).chat(alice, ChatInput(message="hi"))
    assert caught.value.code == code
    trace = await chat.trace(alice, str(caught.value.detail["trace_id"]))
    assert (trace.error, bool(trace.answer)) == (code, True)


async def test_every_end_is_counted(chat: Room) -> None:
    alice = await chat.actor("alice")
    await chat.service().chat(alice, ChatInput(message=ASK))
    with pytest.raises(UpstreamFailed):
        await chat.service("e500").chat(alice, ChatInput(message=ASK))
    figures = chat.metrics.render_metrics().decode()
    assert 'llmos_chats_total{ended="complete"} 1.0' in figures
    assert 'llmos_chats_total{ended="error"} 1.0' in figures
    assert "llmos_skills_injected_total 2.0" in figures


# -- experiments ---------------------------------------------------------------------------------------------------


class Withheld:
    """Puts every conversation into the control of one skill."""

    def __init__(self, skill_id: str) -> None:
        self.skill_id = skill_id
        self.asked: list[str] = []

    def arms(self, actor: Actor, conversation_id: str, skills: Sequence[ScoredSkill]) -> Sequence[Arm]:
        self.asked.append(f"{actor.user_id}/{conversation_id}")
        return [
            Arm(treated=False, propensity=0.2) if one.skill.skill_id == self.skill_id else TREATED for one in skills
        ]


async def test_a_control_gets_no_skill_and_leaves_an_exposure(chat: Room, upstream: Upstream) -> None:
    alice, assignment = await chat.actor("alice"), Withheld("code-review")
    result = await chat.service(assignment=assignment).chat(alice, ChatInput(message=ASK))
    assert result.skills_used == ()
    assert "Read the diff" not in upstream.chats[0].system
    trace = await chat.trace(alice, result.trace_id)
    [exposure] = trace.exposures
    assert (exposure.skill_id, exposure.arm, exposure.propensity) == ("code-review", "control", 0.2)
    assert assignment.asked == [f"alice/{result.conversation_id}"]


async def test_the_offline_model_quotes_the_skill(chat: Room) -> None:
    alice = await chat.actor("alice")
    result = await chat.service(OfflineModel()).chat(alice, ChatInput(message=ASK))
    assert "1. Read the diff." in result.response
    assert (result.model, result.usage.input_tokens) == ("offline", 0)
