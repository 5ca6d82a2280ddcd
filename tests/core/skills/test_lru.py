"""What was not asked for the longest is forgotten first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.lru import Lru, Sized

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


@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers(1, 40))))
def test_texts_are_kept_up_to_a_size_and_the_last_one_always(steps: list[tuple[bool, int, int]]) -> None:
    known: Sized[int, str] = Sized(100)
    last: dict[int, str] = {}
    for writes, key, size in steps:
        if writes:
            last[key] = str(key) * size
            known.put(key, last[key])
            assert known.get(key) == last[key]
        else:
            assert known.get(key) in {None, last.get(key)}
    assert sum(len(text) for key in range(6) if (text := known.get(key))) <= 2 * 100


def test_a_text_that_is_asked_for_stays() -> None:
    known: Sized[int, bytes] = Sized(200)
    known.put(0, b"x" * 50)
    for key in range(1, 30):
        known.put(key, b"y" * 40)
        assert known.get(0) == b"x" * 50
    assert known.get(1) is None
