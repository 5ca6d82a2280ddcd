"""Where a long system prompt was kept is known for a volume and a month, and for what is still there."""

from __future__ import annotations

from llmos_lite.core.gateway.prompts import LEAST, Prompts
from llmos_lite.core.traces.trace import Message, Trace

NOVEMBER, DECEMBER = 1_764_460_800_000, 1_764_547_200_000
"""The 30th, and the first."""


def kept(number: int, *, volume: str = "user:alice", system: str = "abc", length: int = LEAST) -> Trace:
    return Trace(
        id=f"t{number}",
        actor="alice",
        volume=volume,
        conversation=f"c{number}",
        time=NOVEMBER,
        goal="",
        messages=(Message("system", "x" * length), Message("user", "hello")),
        system=system,
    )


def test_a_prompt_is_found_in_its_volume_and_its_month() -> None:
    prompts = Prompts()
    prompts.keep(kept(1))
    assert prompts.holder("user:alice", "abc", NOVEMBER, ()) == "t1"
    for volume, system, at in (
        ("user:bob", "abc", NOVEMBER),
        ("user:alice", "x", NOVEMBER),
        ("user:alice", "abc", DECEMBER),
    ):
        assert not prompts.holder(volume, system, at, ())


def test_an_erased_trace_holds_nothing() -> None:
    prompts = Prompts()
    prompts.keep(kept(1))
    assert not prompts.holder("user:alice", "abc", NOVEMBER, {"t1"})
    prompts.keep(kept(2))
    assert prompts.holder("user:alice", "abc", NOVEMBER, {"t1"}) == "t2"


def test_short_prompts_and_traces_without_one_are_not_remembered() -> None:
    prompts = Prompts()
    prompts.keep(kept(1, length=LEAST - 1))
    prompts.keep(
        Trace(id="t2", actor="alice", volume="user:alice", conversation="c", time=NOVEMBER, goal="", system="abc")
    )
    assert not prompts.holder("user:alice", "abc", NOVEMBER, ())


def test_those_that_came_lately_stay() -> None:
    prompts = Prompts(most=2)
    prompts.keep(kept(1, system="a"))
    prompts.keep(kept(2, system="b"))
    assert prompts.holder("user:alice", "a", NOVEMBER, ())
    prompts.keep(kept(3, system="c"))
    assert [bool(prompts.holder("user:alice", name, NOVEMBER, ())) for name in "abc"] == [True, False, True]
