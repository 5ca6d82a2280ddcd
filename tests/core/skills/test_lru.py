"""What was not asked for the longest is forgotten first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.lru import Lru

KEYS = st.integers(0, 5)


@given(st.integers(1, 4), st.lists(st.tuples(st.booleans(), KEYS)))
def test_the_keys_that_were_used_last_are_there(most: int, steps: list[tuple[bool, int]]) -> None:
    known: Lru[int, str] = Lru(most)
    used: list[int] = []
    for writes, key in steps:
        if writes:
            known.put(key, str(key))
        else:
            assert known.get(key) == (str(key) if key in used[:most] else None)
        if writes or key in used[:most]:
            used = [key, *(other for other in used if other != key)]
    assert len(known) == min(most, len(used))
    assert all((key in known) is (key in used[:most]) for key in range(6))


@pytest.fixture
def many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("many_switches")
def test_threads_that_share_one_find_what_they_put_or_nothing() -> None:
    known: Lru[int, str] = Lru(2)
    wrong: list[object] = []

    def use(seed: int) -> None:
        chance = Random(seed)  # noqa: S311 - the same steps every time
        try:
            for _ in range(4000):
                key = chance.randrange(5)
                found = known.get(key)
                if found is None:
                    known.put(key, str(key))
                elif found != str(key):
                    wrong.append(found)
        except BaseException as error:  # noqa: BLE001 - carried to the test's own thread
            wrong.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (wrong, len(known) <= 2) == ([], True)
