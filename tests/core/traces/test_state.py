"""What is known of a trace, and what is remembered of conversations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from trace_instance import trace

from llmos_lite.core.traces.lines import decode_event
from llmos_lite.core.traces.memory import RecentConversations
from llmos_lite.core.traces.segments import segments_of
from llmos_lite.core.traces.state import fold_events
from llmos_lite.core.traces.trace import Event, Feedback, Outcome, make_ulid, trace_event
from llmos_lite.records.catalog_traces import first_id

ONE = trace(1)


def verdict(at: int, outcome: Outcome, source: str) -> Event:
    return Event(
        v=1,
        kind="outcome",
        id=make_ulid(at, source),
        trace_id=ONE.id,
        at=at,
        volume=ONE.volume,
        outcome=outcome,
        source=source,
    )


def rated(at: int, rating: str) -> Event:
    feedback = Feedback(rating=rating)  # type: ignore[arg-type]  # up or down
    return Event(
        v=1, kind="feedback", id=make_ulid(at, rating), trace_id=ONE.id, at=at, volume=ONE.volume, feedback=feedback
    )


def test_of_equals_the_later_is_believed_whatever_the_order_of_lines() -> None:
    state = fold_events(ONE, [rated(9, "down"), rated(3, "up")])
    assert (state.trace.outcome, state.rating) == (Outcome.FAILURE, "down")
    assert [one.rating for one in state.feedback] == ["up", "down"]


def test_a_verifier_is_believed_over_feedback_and_feedback_over_a_judge() -> None:
    judged = verdict(5, Outcome.FAILURE, "judge")
    assert fold_events(ONE, [rated(3, "up"), judged]).trace.outcome is Outcome.SUCCESS
    assert fold_events(ONE, [judged, verdict(6, Outcome.SUCCESS, "implicit")]).trace.outcome is Outcome.FAILURE
    state = fold_events(ONE, [verdict(2, Outcome.FAILURE, "verifier"), rated(3, "up")])
    assert state.trace.outcome is Outcome.FAILURE
    assert state.trace.outcome_sources == ("verifier", "feedback")
    assert state.rating == "up"


def test_an_event_that_comes_twice_counts_once() -> None:
    assert len(fold_events(ONE, [rated(3, "up"), rated(3, "up")]).feedback) == 1


def test_nothing_later_changes_nothing() -> None:
    state = fold_events(ONE, [])
    assert (state.trace, state.feedback, state.rating) == (ONE, (), "")


@given(st.lists(st.integers(0, 200_000), max_size=60, unique=True))
def test_segments_hold_every_event_once_where_they_say(minutes: list[int]) -> None:
    events = [trace_event(trace(minute)) for minute in minutes]
    segments = segments_of(events)
    found = []
    for segment in segments:
        assert segment.path.startswith(f"traces/{segment.branch.replace('-', '/')}/")
        assert segment.name == f"{segment.branch}:{segment.path}"
        for event, place in segment.placed("blob"):
            assert decode_event(segment.content[place.offset :][: place.length]) == event
            found.append(event)
    assert sorted(found, key=lambda event: event.at) == sorted(events, key=lambda event: event.at)
    assert [segment.name for segment in segments_of(reversed(events))] == [segment.name for segment in segments]


@given(st.integers(0, (1 << 48) - 1))
def test_the_first_id_of_a_time_is_below_every_id_of_it(at: int) -> None:
    assert first_id(at) <= make_ulid(at) < first_id(at + 1) or at == (1 << 48) - 1


def test_conversations_that_were_quiet_for_longest_are_forgotten_first() -> None:
    recent = RecentConversations(most=3500)
    for name in "abc":
        recent.add(trace(1, conversation=name, messages=()), 0)
    assert recent.get(("user:alice", "a")) is not None
    recent.add(trace(2, conversation="d", messages=()), 0)
    assert [recent.get(("user:alice", name)) is not None for name in "abcd"] == [True, False, True, True]
    recent.add(trace(3, conversation="a", parent="x"), 9000)
    assert all(recent.get(("user:alice", name)) is None for name in "abcd")
    recent.add(trace(4, conversation="b", parent="x"), 0)
    assert recent.get(("user:alice", "b")) is None
    assert recent._size == 0
