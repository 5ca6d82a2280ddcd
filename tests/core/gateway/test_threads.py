"""Conversations are known again by what was said in them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway.asked import Raw
from llmos_lite.core.gateway.chains import links
from llmos_lite.core.gateway.threads import Found, Thread, Threads, still_open
from llmos_lite.core.traces.trace import Exposure, SkillUse

ITEMS = st.lists(st.binary(max_size=8), min_size=1, max_size=8)


@given(items=ITEMS, more=ITEMS)
def test_the_longest_beginning_that_was_seen_is_found(items: list[bytes], more: list[bytes]) -> None:
    threads, chain = Threads(), links([*items, *more])
    threads.keep(chain[0], Thread(conversation="short"))
    threads.keep(chain[len(items) - 1], Thread(conversation="long"))
    found = threads.find(chain)
    assert found.thread is not None
    assert (found.thread.conversation, found.seen, found.again) == ("long", len(items), False)


@given(items=ITEMS, other=ITEMS)
def test_another_person_or_conversation_is_not_found(items: list[bytes], other: list[bytes]) -> None:
    threads = Threads()
    threads.keep(links(items, b"alice")[-1], Thread(conversation="x"))
    assert threads.find(links(items, b"bob")).thread is None
    if other[: len(items)] != items:
        assert threads.find(links(other, b"alice")).thread is None


def test_pieces_that_read_the_same_when_joined_are_not_the_same() -> None:
    assert links([b"ab", b"c"])[-1] != links([b"a", b"bc"])[-1]


def test_the_same_request_is_seen_again() -> None:
    threads, chain = Threads(), links([b"a", b"b"])
    threads.keep(chain[-1], Thread(conversation="x"))
    assert threads.find(chain).again


def test_those_that_were_quiet_for_longest_are_forgotten() -> None:
    threads = Threads(most=2)
    for name in (b"a", b"b"):
        threads.keep(links([name])[0], Thread(conversation=name.decode()))
    assert threads.find(links([b"a"])).thread
    threads.keep(links([b"c"])[0], Thread(conversation="c"))
    assert threads.find(links([b"a"])).thread
    assert threads.find(links([b"b"])).thread is None


def test_the_text_of_skills_is_bounded() -> None:
    threads = Threads(most_text=5000)
    for number in range(100):
        threads.keep(b"%d" % number, Thread(conversation="x", head=Prompt((f"{number:03}" + "h" * 997,))))
    kept = [number for number in range(100) if threads.find([b"%d" % number]).thread]
    assert kept == [97, 98, 99]


def test_the_words_of_people_are_bounded() -> None:
    threads = Threads(most_text=5000)
    for number in range(100):
        threads.keep(b"%d" % number, Thread(conversation="x", goal="g" * 1000))
    assert [number for number in range(100) if threads.find([b"%d" % number]).thread] == [97, 98, 99]


def test_a_text_that_many_conversations_have_is_kept_and_counted_once() -> None:
    threads = Threads(most_text=5000)
    heads = [Prompt(("h" * 1000,)) for _ in range(9)]
    for number, head in enumerate(heads):
        threads.keep(b"%d" % number, Thread(conversation="x", head=head))
    kept = [found.thread.head for number in range(9) if (found := threads.find([b"%d" % number])).thread]
    assert len(kept) == 8
    assert all(head is kept[0] for head in kept)


def test_an_answer_that_the_provider_keeps_is_found_by_its_name() -> None:
    threads = Threads()
    threads.keep(b"answer", Thread(conversation="x"))
    found = threads.find(links([b"new"]), b"answer")
    assert found.thread is not None
    assert (found.seen, found.again) == (0, False)


@pytest.mark.parametrize(
    "known",
    [
        Thread(conversation="c", head=Prompt(("h",)), skills=(SkillUse("merger", "Merger", "team:legal", "1", 1.0),)),
        Thread(conversation="c", head=Prompt(("h",)), exposures=(Exposure("team:legal", "merger", "1"),)),
        Thread(conversation="c", head=Prompt(("h",)), offered=("system/tea", "team:legal/merger")),
        Thread(conversation="c", head=Prompt(("h",)), read=("<available_skills>",), searched=("system", "team:legal")),
    ],
    ids=["used", "considered", "listed", "searched"],
)
def test_what_a_conversation_holds_of_a_team_goes_with_it(known: Thread) -> None:
    inside = Actor("ann", teams={"legal": Role.USER})
    assert still_open(Found(known, 1), inside, ()).thread is known
    assert still_open(Found(known, 1), Actor("ann"), ()) == Found(Thread(conversation="c"), 1)


def test_what_is_owed_of_a_team_that_was_left_is_answered_without_it() -> None:
    owed = Raw(b'{"type":"function_call_output","call_id":"call_1","output":"Zebras first."}')
    known = Thread(conversation="c", owed=(owed,), searched=("team:legal",))
    thread = still_open(Found(known), Actor("ann"), ()).thread
    assert thread is not None
    [item] = [msgspec.json.decode(bytes(one)) for one in thread.owed]
    assert item == {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": "This is not there for you any more.",
    }
