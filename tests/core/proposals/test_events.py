"""What events come to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.proposals.events import Event, Kind, record_of, reviews

OPENED = Event(
    kind=Kind.OPENED, at=1, by="alice", target="team:sre", source="user:alice", skill_id="x", branch="pr/alice/x",
    author="alice", reason="Useful", head="h0", digest="A",
)  # fmt: skip


def said(kind: Kind, by: str, digest: str, at: int = 2) -> Event:
    return Event(kind=kind, at=at, by=by, digest=digest)


def renewed(digest: str) -> Event:
    return Event(kind=Kind.RENEWED, at=2, by="alice", head=f"h{digest}", digest=digest)


def valid(events: list[Event], digest: str) -> dict[str, bool]:
    return {one.user_id: one.valid for one in reviews(events, digest)}


@pytest.mark.parametrize(
    ("events", "now", "expected"),
    [
        ([said(Kind.APPROVED, "bob", "A")], "A", {"bob": True}),
        ([said(Kind.APPROVED, "bob", "A")], "B", {"bob": False}),
        ([said(Kind.APPROVED, "bob", "A"), renewed("A")], "A", {"bob": True}),
        ([said(Kind.APPROVED, "bob", "A"), renewed("B")], "B", {"bob": False}),
        ([said(Kind.APPROVED, "bob", "A"), renewed("B"), renewed("A")], "A", {"bob": False}),
        ([said(Kind.APPROVED, "bob", "A"), said(Kind.APPROVED, "eve", "B")], "A", {"bob": False, "eve": False}),
        ([said(Kind.CHANGES_REQUESTED, "bob", "A"), said(Kind.APPROVED, "bob", "A")], "A", {"bob": True}),
        ([said(Kind.APPROVED, "bob", "A"), renewed("B"), said(Kind.APPROVED, "bob", "B")], "B", {"bob": True}),
        ([said(Kind.APPROVED, "bob", "A"), said(Kind.COMMENTED, "eve", "B")], "A", {"bob": True}),
    ],
)
def test_a_review_stands_as_long_as_what_it_saw_is_proposed(
    events: list[Event], now: str, expected: dict[str, bool]
) -> None:
    assert valid([OPENED, *events], now) == expected


@given(st.lists(st.sampled_from("AB"), max_size=8), st.integers(0, 8), st.sampled_from("AB"))
def test_an_approval_never_comes_back(digests: list[str], place: int, now: str) -> None:
    place = min(place, len(digests))
    saw = [OPENED.digest, *digests][place]
    moves = [renewed(digest) for digest in digests]
    events = [OPENED, *moves[:place], said(Kind.APPROVED, "bob", saw), *moves[place:]]
    assert valid(events, now) == {"bob": {*digests[place:], now} <= {saw}}


def test_a_row_is_what_the_events_come_to() -> None:
    events = [
        OPENED,
        said(Kind.COMMENTED, "carol", "A", 2),
        said(Kind.APPROVED, "eve", "A", 3),
        said(Kind.CHANGES_REQUESTED, "bob", "A", 4),
    ]
    row = record_of("01", events)
    assert (row.state, row.review, row.comments, row.events, row.updated) == ("open", "changes_requested", 1, 4, 4)
    closed = Event(kind=Kind.CLOSED, at=5, by="bob", text="No", head="h0", digest="A")
    row = record_of("01", [*events[:3], closed])
    assert (row.state, row.decided, row.decided_by, row.decision, row.review) == ("closed", 5, "bob", "No", "approved")
    promoted = Event(kind=Kind.PROMOTED, at=1, by="alice", target="team:sre", reason="Useful", commit="c")
    row = record_of("01", [promoted])
    assert (row.state, row.decided_by, row.commit, row.branch) == ("merged", "policy", "c", "")
    assert record_of("01", [Event(kind=Kind.OPENED, at=1, by="alice")]).reason == ""
