"""One level of a tree by columns: the same as line by line, whatever its names and modes are."""

from __future__ import annotations

import hashlib

from hypothesis import example, given
from hypothesis import strategies as st

from llmos_lite.engines.git_level import Level, differing
from llmos_lite.engines.git_objects import FOLDER_MODE, PROGRAM_MODE, SERVED_MODES, Entry, parse_tree

MODES = st.sampled_from([FOLDER_MODE, FOLDER_MODE, b"100644", PROGRAM_MODE, b"100664", b"120000", b"160000"])
NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name and b"/" not in name)
LINES = st.dictionaries(NAMES | st.sampled_from([b"a 40000 b", b"40000 x", b" ", b"40000", b"\xff"]), MODES, max_size=8)


@given(LINES)
@example({b"a 40000 b": FOLDER_MODE, b"40000 c": b"100644"})
@example({b"a": FOLDER_MODE, b"b": FOLDER_MODE})
def test_a_level_holds_what_its_lines_hold(lines: dict[bytes, bytes]) -> None:
    raw = b"".join(b"%b %b\0%b" % (mode, name, hashlib.sha1(name).digest()) for name, mode in lines.items())  # noqa: S324
    expected = [
        Entry("d/" + name.decode("utf-8", "surrogateescape"), oid.hex(), mode == FOLDER_MODE, mode == PROGRAM_MODE)
        for name, (mode, oid) in parse_tree(raw).items()
        if mode in SERVED_MODES
    ]
    level = Level.of(raw, "d/")
    assert list(level) == expected
    assert level == expected
    assert [level[place] for place in range(len(level))] == level[:] == expected
    assert list(level.folders()) == [entry for entry in expected if entry.is_tree]
    assert list(level.files()) == [entry for entry in expected if not entry.is_tree]


def test_a_level_is_compared_as_a_list() -> None:
    assert Level.of(b"", "") == []
    assert Level.of(b"", "") != 3


SORTED = st.dictionaries(st.sampled_from([b"%d" % n for n in range(40)]) | NAMES, st.integers(0, 2), max_size=40)


@given(SORTED, SORTED)
def test_what_differs_of_two_levels_is_what_stands_in_one_alone(old: dict[bytes, int], new: dict[bytes, int]) -> None:
    one, other = (_tree(lines) for lines in (old, {**old, **new}))
    for before, after in ((one, other), (other, one), (one, _tree(new)), (one, b""), (b"", one), (one, one)):
        levels = Level.of(before, "d/"), Level.of(after, "d/")
        gone, fresh = differing(before, after, "d/")
        assert list(gone) == [entry for entry in levels[0] if entry not in list(levels[1])]
        assert list(fresh) == [entry for entry in levels[1] if entry not in list(levels[0])]


def _tree(lines: dict[bytes, int]) -> bytes:
    named = sorted(lines.items())
    return b"".join(b"40000 %b\0%b" % (name, hashlib.sha1(b"%d" % value).digest()) for name, value in named)  # noqa: S324
