"""Nobody keeps others waiting with many imports of their own."""

from __future__ import annotations

import asyncio

from llmos_lite.core.skills.turns import Turns


async def test_one_of_each_person_and_few_at_once() -> None:
    turns, go, began = Turns(2), asyncio.Event(), list[str]()

    async def take(who: str) -> None:
        async with turns.of(who):
            began.append(who)
            await go.wait()

    tasks = [asyncio.ensure_future(take(who)) for who in ("mallory", "mallory", "mallory", "alice", "bob")]
    for _ in range(5):
        await asyncio.sleep(0)
    assert began == ["mallory", "alice"]
    tasks[1].cancel()
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(began) == ["alice", "bob", "mallory", "mallory"]
    assert not turns._own
