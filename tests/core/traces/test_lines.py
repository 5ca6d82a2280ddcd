"""A line says nothing twice, and everything comes back out of it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from llmos_lite.core.traces.lines import decode_event, encode_event, encode_line
from llmos_lite.core.traces.trace import (
    GOAL_LENGTH,
    SCHEMA,
    Event,
    Exposure,
    Feedback,
    Message,
    SkillUse,
    Trace,
    encode,
    make_ulid,
    trace_event,
)

TEXT = st.text(max_size=30)
USED = st.builds(SkillUse, skill_id=TEXT, name=TEXT, volume=TEXT, version=TEXT, score=st.sampled_from([0.0, 1.5]))
EXPOSED = st.builds(
    Exposure,
    volume=TEXT,
    skill_id=TEXT,
    version=TEXT,
    arm=st.sampled_from(["treatment", "control"]),
    propensity=st.sampled_from([1.0, 0.8]),
    score=st.sampled_from([0.0, 1.5]),
)
ID = st.text("abc", min_size=1, max_size=5)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    messages = draw(st.lists(st.builds(Message, role=st.sampled_from(["user", "assistant"]), content=TEXT), max_size=3))
    used = tuple(draw(st.lists(USED, max_size=2)))
    same = tuple(Exposure(one.volume, one.skill_id, one.version, score=one.score) for one in used)
    said = messages[0].content.strip() if messages else ""
    return Trace(
        id=draw(ID),
        actor=draw(ID),
        volume=draw(ID),
        conversation=draw(ID),
        time=draw(st.integers(1, 1 << 44)),
        goal=draw(st.sampled_from([said, "", "another goal"])),
        messages=tuple(messages),
        skills_used=used,
        exposures=draw(st.one_of(st.just(same), st.just(()), st.lists(EXPOSED, max_size=2).map(tuple))),
    )


@given(traces())
def test_a_trace_comes_back_whole(trace: Trace) -> None:
    event = trace_event(trace)
    assert decode_event(encode_line(event)) == event


@given(traces(), ID, ID, ID, st.integers(1, 1 << 44))
def test_it_does_so_when_its_event_says_otherwise(trace: Trace, by: str, volume: str, trace_id: str, at: int) -> None:
    event = structs.replace(trace_event(trace), by=by, volume=volume, trace_id=trace_id, at=at)
    assert decode_event(encode_line(event)) == event


@given(traces())
def test_a_line_that_says_everything_is_read_as_well(trace: Trace) -> None:
    event = trace_event(trace)
    if trace.goal or not trace.messages:
        assert decode_event(encode(event)) == event


def test_events_without_a_trace_are_as_they_are() -> None:
    event = Event(
        v=SCHEMA, kind="feedback", id="f", trace_id="t", at=5, volume="user:ana", by="ana", feedback=Feedback("up")
    )
    assert encode_line(event) == encode(event)
    assert decode_event(encode_line(event)) == event


def test_half_characters_become_question_marks() -> None:
    trace = Trace(
        id="t",
        actor="a",
        volume="user:a",
        conversation="c",
        time=5,
        goal="\ud83d",
        messages=(Message("user", "\ud83d"),),
    )
    event, line = encode_event(trace_event(trace))
    assert decode_event(line) == event
    assert event.trace is not None
    assert event.trace.goal == "?"


def test_a_goal_that_is_a_long_message_is_cut_and_said_once() -> None:
    text = "word " * GOAL_LENGTH
    trace = Trace(
        id="t",
        actor="a",
        volume="user:a",
        conversation="c",
        time=5,
        goal=text.strip()[:GOAL_LENGTH],
        messages=(Message("user", text),),
    )
    line = encode_line(trace_event(trace))
    assert "goal" not in json.loads(line)["trace"]
    assert decode_event(line).trace == trace


def test_a_conversation_of_200_turns_costs_little_more_than_what_was_said() -> None:
    transcript, lines, parent = [], [], ""
    for turn in range(200):
        at = 1_790_000_000_000 + turn * 60_000
        asked = f"Step {turn}: " + "how do I rename these files by date, and keep the ones that I marked? " * 5
        answer = (
            f"For step {turn}, "
            + "read the date of each file, make the new name of it, and rename the file then. " * 24
        )
        skill = SkillUse(
            "python-scripts", "Python scripts", "system", "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f", 11.25
        )
        said = (Message("user", asked), Message("assistant", answer))
        trace = Trace(
            id=make_ulid(at),
            actor="ana",
            volume="user:ana",
            conversation="01KBFW2Q7XN4T9C2Y4R8M0D6ZV",
            parent=parent,
            time=at,
            goal=asked.strip()[:GOAL_LENGTH],
            messages=said,
            model="gpt-5",
            tokens_in=900,
            tokens_out=250,
            latency_ms=1500,
            skills_used=(skill,),
            exposures=(Exposure(skill.volume, skill.skill_id, skill.version, score=skill.score),),
            commits={"system": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567", "user:ana": "9" * 40},
        )
        parent = trace.id
        lines.append(encode_line(trace_event(trace)))
        transcript += [{"role": message.role, "content": message.content} for message in said]
    assert sum(map(len, lines)) <= 1.3 * len(json.dumps(transcript))
