"""A conversation that comes again is compared instead of hashed, with the same hashes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from llmos_lite.core.gateway import chains
from llmos_lite.core.gateway.chains import Chains, links

ITEM = st.sampled_from([b"a", b"b", b"ab", b"b" * 100, b"a" * 100, b"a" * 99 + b"b"])
ITEMS = st.lists(ITEM, min_size=1, max_size=12).map(lambda items: [Raw(item) for item in items])
START = st.sampled_from([b"", b"alice", b"bob"])
STABLE = st.sampled_from([bytes, lambda item: bytes(item)[:1]])
LONG = [Raw(b"%d" % number * 1000) for number in range(10)]


@given(asked=st.lists(st.tuples(ITEMS, START, STABLE), max_size=20), most=st.sampled_from([0, 2000, 1 << 20]))
def test_whatever_came_before_the_hashes_are_the_same(
    asked: list[tuple[list[Raw], bytes, chains.Stable]], most: int
) -> None:
    known = Chains(most)
    for items, start, stable in asked:
        assert known.of(items, start, stable) == links(items, start, stable)


@given(items=st.lists(ITEM, min_size=6, max_size=20), data=st.data())
def test_a_conversation_goes_on_from_any_place(items: list[bytes], data: st.DataObject) -> None:
    known = Chains()
    for _ in range(4):
        place = data.draw(st.integers(0, len(items)))
        items = [*items[:place], *data.draw(st.lists(ITEM, max_size=4)), *items[place:]]
        raw = [Raw(item) for item in items]
        assert known.of(raw, b"", bytes) == links(raw, b"", bytes)


def test_only_what_is_new_is_hashed() -> None:
    hashed: list[bytes] = []

    def stable(item: Raw) -> bytes:
        hashed.append(bytes(item))
        return bytes(item)

    known = Chains()
    known.of(LONG[:8], b"", stable)
    del hashed[:]
    known.of(LONG, b"", stable)
    assert hashed == [bytes(item) for item in LONG[8:]]
    del hashed[:]
    known.forget()
    known.of(LONG, b"", stable)
    assert len(hashed) == len(LONG)


def test_what_is_remembered_is_bounded() -> None:
    known = Chains(most=100_000)
    for number in range(50):
        known.of([Raw(b"%d" % number), *LONG], b"", bytes)
    size = sum(len(item) for one in known._known.values() for item in one.items)
    assert 50_000 < size <= 100_000
    before = list(known._known.items())
    known.of([Raw(b"x"), *LONG, Raw(b"y" * 200_000)], b"", bytes)
    assert list(known._known.items()) == before, "what is larger than all that may be is not kept"
