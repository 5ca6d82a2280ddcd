from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from trace_instance import NOV, trace

from llmos_lite.core.traces.cutting import cut, of_traces, older_than, placed, time_of
from llmos_lite.core.traces.segments import commit_segments, list_segments, read_segment, segments_of
from llmos_lite.core.traces.trace import SCHEMA, Event, make_ulid, trace_event
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.git_history import History
from llmos_lite.engines.signing import Signer

ALICE = Author("alice", "alice@localhost")
DAY = 1440
"""Traces of `trace_instance` are a minute apart."""


def stores(folder: Path, batches: list[list[Event]]) -> tuple[LocalGitStore, History]:
    signer = Signer.open(folder / "keys")
    store = LocalGitStore(folder / "traces.git", signer=signer, bare=True)
    for batch in batches:
        commit_segments(store, segments_of(batch), ALICE, at=NOV)
    return store, History(store.gitdir, signer)


def events_in(store: LocalGitStore) -> dict[str, bytes]:
    found = {}
    for branch, head in store.branches().items():
        for path, blob in list_segments(store, head):
            content = store.blob(blob)
            for event, place in read_segment(branch, blob, content):
                assert event.id not in found, "an event stands once"
                found[event.id] = content[place.offset : place.offset + place.length]
            assert path.rpartition("/")[2].startswith(next(iter(read_segment(branch, blob, content))).event.id)
    return found


def feedback(number: int, later: int) -> Event:
    about = trace(number)
    at = about.time + later * 60_000
    return Event(
        v=SCHEMA, kind="feedback", id=make_ulid(at, f"f{number}"), trace_id=about.id, at=at, volume="user:alice"
    )


def test_a_trace_goes_with_everything_about_it_but_its_tombstone(tmp_path: Path) -> None:
    buried = Event(
        v=SCHEMA, kind="tombstone", id=make_ulid(NOV), trace_id=trace(1).id, at=NOV, volume="user:alice", reason="asked"
    )
    first = [trace_event(trace(number)) for number in range(4)]
    store, history = stores(tmp_path, [first, [feedback(1, 40 * DAY), feedback(2, 40 * DAY)], [buried]])
    before = events_in(store)
    done = cut(history, of_traces([trace(1).id]), since=trace(1).time)
    assert [one.branch for one in done] == ["2026-11", "2026-12"]
    assert events_in(store) == {
        key: line for key, line in before.items() if key not in {trace(1).id, feedback(1, 40 * DAY).id}
    }
    moved = [one for each in done for some in placed(history, each) for one in some]
    assert {one.event.id for one in moved} >= {trace(0).id, trace(2).id, feedback(2, 40 * DAY).id}
    assert cut(history, of_traces([trace(1).id])) == []


def test_months_that_are_all_too_old_are_gone(tmp_path: Path) -> None:
    store, history = stores(tmp_path, [[trace_event(trace(day * DAY))] for day in (1, 2, 33, 34)])
    (first, second) = cut(history, older_than(trace(33 * DAY + 1).time))
    assert (first.branch, first.after, second.branch) == ("2026-11", None, "2026-12")
    assert list(events_in(store)) == [trace(34 * DAY).id]


def test_the_time_of_an_id() -> None:
    assert time_of(make_ulid(NOV + 7, "x")) == NOV + 7


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_exactly_the_named_traces_go(tmp_path_factory: object, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("cut")  # type: ignore[attr-defined]  # pytest's factory
    numbers = data.draw(st.lists(st.integers(0, 80), unique=True, min_size=1, max_size=8))
    numbers = [number * 700 for number in numbers]
    split = data.draw(st.integers(0, len(numbers)))
    rated = data.draw(st.sets(st.sampled_from(numbers)))
    batches = [
        [trace_event(trace(number)) for number in numbers[:split]],
        [trace_event(trace(number)) for number in numbers[split:]],
        [feedback(number, 3) for number in sorted(rated)],
    ]
    store, history = stores(folder, batches)
    before = events_in(store)
    gone = {trace(number).id for number in data.draw(st.sets(st.sampled_from(numbers)))}
    cut(history, of_traces(gone), since=min(map(time_of, gone), default=0))
    about = {event.id: event.trace_id for batch in batches for event in batch}
    assert events_in(store) == {key: line for key, line in before.items() if about[key] not in gone}
    store.close()
    history.close()
