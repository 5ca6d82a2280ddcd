"""What was not asked for the longest is forgotten first."""

from __future__ import annotations

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
