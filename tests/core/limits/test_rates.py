"""How often something may happen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from limiting import Clock

from llmos_lite.core.limits.rates import LocalRates


async def test_a_minutes_worth_may_come_at_once_and_then_one_at_a_time() -> None:
    clock = Clock()
    rates = LocalRates(clock)
    assert [await rates.hit("a", 3) for _ in range(3)] == [0, 0, 0]
    assert await rates.hit("a", 3) == 20
    assert await rates.hit("b", 3) == 0
    clock.now += 19
    assert 0.99 < await rates.hit("a", 3) < 1.01
    clock.now += 1
    assert await rates.hit("a", 3) == 0
    assert await rates.hit("a", 3) == 20


async def test_who_waits_as_told_is_let_in() -> None:
    clock = Clock()
    rates = LocalRates(clock)
    for _ in range(50):
        wait = await rates.hit("a", 7)
        clock.now += wait
        assert wait == 0 or await rates.hit("a", 7) == 0


@given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=200))
async def test_no_minute_sees_more_than_twice_the_rate(rate: int, pauses: list[float]) -> None:
    clock = Clock(0.0)
    rates = LocalRates(clock)
    hits = list[float]()
    for pause in pauses:
        clock.now += pause
        if not await rates.hit("a", rate):
            hits.append(clock.now)
    for start in hits:
        assert sum(start <= at < start + 60 for at in hits) <= 2 * rate


async def test_strangers_fill_no_memory_and_push_nobody_out() -> None:
    clock = Clock()
    rates = LocalRates(clock, most=100)
    for _ in range(3):
        await rates.hit("known", 3)
    for number in range(1000):
        await rates.hit(f"stranger {number}", 3)
    assert len(rates._paid) <= 101
    assert await rates.hit("known", 3) > 0
    assert await rates.hit("one more", 3) > 0  # those for whom there is no room share one entry
    clock.now += 61
    assert await rates.hit("one more", 3) == 0
    assert len(rates._paid) < 10
