"""The compiled search gives what numpy gives, and no array, however wrong, makes it read outside."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.skills import search as search_module
from llmos_lite.core.skills import segment as segment_module
from llmos_lite.core.skills.fields import Document
from llmos_lite.core.skills.index import Piece, Pieces, SkillIndex, repeats
from llmos_lite.core.skills.kernel import IS_COMPILED, is_there
from llmos_lite.core.skills.matches import Matches, Wanted
from llmos_lite.core.skills.segment import PRINT_WIDTH, Segment
from llmos_lite.core.skills.text import Analyzer

ROOT = Path(__file__).parents[3]
ANALYZER = Analyzer()
WORDS = [f"w{number}" for number in range(25)] + ["skill", "use", "deploy"]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=20).map(" ".join)
LIBRARIES = st.lists(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12), min_size=1, max_size=4)

needs_it = pytest.mark.skipif(not IS_COMPILED, reason="there is no C compiler")
if IS_COMPILED:
    from llmos_lite.core.skills import _kernel as kernel
    from llmos_lite.core.skills.compiled import _RULES as RULES


def index(texts: list[tuple[str, str]], gone: int = 0) -> SkillIndex:
    documents = [Document(f"d{at:03}", header[:5], header, body) for at, (header, body) in enumerate(texts)]
    return SkillIndex(ANALYZER).updated(documents).updated([], {f"d{at:03}" for at in range(gone)})


KEYS = [frozenset(f"d{at:03}" for at in range(12) if at % 3), frozenset({"d001"})]
WANTED = [
    Wanted(limit, hidden, collapse, share, sure)
    for limit, sure in ((0, 0), (1, 0), (3, 2), (100, 3))
    for hidden in (None, *[(keys,) * 4 for keys in KEYS])
    for collapse in (False, True)
    for share in (0.0, 0.5)
]


def both(pieces: list[Piece], query: str) -> tuple[Matches, Matches]:
    together, hashes = Pieces(pieces), ANALYZER.hashes(query)
    return Matches(together, hashes), search_module.MATCHES(together, hashes)


def assert_alike(pieces: list[Piece], query: str) -> None:
    slow, fast = both(pieces, query)
    assert fast.scores == pytest.approx(slow.scores, rel=1e-6)
    assert fast.known == pytest.approx(slow.known)
    assert fast.total == slow.total
    slow.scores = fast.scores  # of two that differ in the last digit, either may be first
    for wanted in WANTED:
        found, expected = fast.top(wanted), slow.top(wanted)
        assert found == expected
        for _, piece, document in found:
            assert fast.held(piece, document) == pytest.approx(slow.held(piece, document))
    for mine, other in zip(fast.rarity, slow.rarity, strict=True):
        assert mine == pytest.approx(other)


@needs_it
@settings(deadline=None)
@given(LIBRARIES, TEXTS, st.integers(0, 3), st.booleans())
def test_both_give_the_same(texts: list[list[tuple[str, str]]], query: str, gone: int, rows: bool) -> None:  # noqa: FBT001
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_module, "ROWS_FROM", 4 if rows else 1 << 17)
        pieces = [piece for part in texts for piece in index(part, gone).pieces]
    if pieces and ANALYZER.hashes(query):
        assert_alike(pieces, query)


@needs_it
def test_both_take_the_rarest_words_of_a_long_query() -> None:
    texts = [(f"w{at}", " ".join(f"w{at * word % 700}" for word in range(1, 60))) for at in range(200)]
    query = " ".join(f"w{word * 7 % 900}" for word in range(900))
    assert_alike(list(index(texts).pieces), query)
    assert len(both(list(index(texts).pieces), query)[1].rarity[0]) == 128


def test_a_score_without_end_ends_the_search() -> None:
    for matches in both(list(index([("w1", "w2")] * 20).pieces), "w1"):
        matches.scores[3] = np.inf
        assert matches.top(Wanted(5)) == [(np.inf, 0, 3)]


@needs_it
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=12))
def test_both_find_the_same_repeats(drawn: list[tuple[int, int, int]]) -> None:
    prints = np.zeros((len(drawn), PRINT_WIDTH), dtype=np.uint8)
    for row, (kind, changed, seed) in zip(prints, drawn, strict=True):
        row[:] = np.random.default_rng(kind).integers(0, 255, PRINT_WIDTH) if kind else 0
        places = np.random.default_rng(seed).permutation(PRINT_WIDTH)[:changed]
        row[places] = 255 - row[places]
    (piece,) = index([("w1", "w2")] * len(drawn)).pieces
    kept: list[int] = []
    for at, mine in enumerate(prints):
        if not any(repeats(mine, prints[other]) for other in kept):
            kept.append(at)
    for matches in both([replace(piece, segment=replace(piece.segment, prints=prints))], "w1"):
        matches.scores[:] = 1
        assert [place for _, _, place in matches.top(Wanted(12))] == kept


ARRAYS = [one.name for one in fields(Segment) if one.name not in {"keys", "rows", "row_starts", "by_key"}]


@needs_it
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ARRAYS), st.integers(0, 1 << 31), st.integers(-3, 3), st.binary(min_size=1, max_size=9))
def test_wrong_arrays_are_refused_or_searched_but_nothing_is_read_outside(
    name: str, seed: int, longer: int, noise: bytes
) -> None:
    (piece,) = index([(f"w{at} deploy", f"w{at % 5} w{at % 3} skill") for at in range(20)]).pieces
    array = getattr(piece.segment, name).copy()
    raw = array.reshape(-1).view(np.uint8)
    chance = np.random.default_rng(seed)
    raw[chance.integers(0, len(raw), len(noise))] = np.frombuffer(noise, np.uint8)
    array = np.resize(array, max(0, len(array) + longer))
    broken = Piece(replace(piece.segment, **{name: array}), piece.alive, piece.count, piece.frequency)
    try:
        matches = search_module.MATCHES(Pieces([broken]), ANALYZER.hashes("w1 w2 skill deploy w3 w4 w1"))
        matches.scores[:] = 1
        found = matches.top(Wanted(20))
        assert len([matches.held(piece, document) for _, piece, document in found]) <= 20
    except ValueError:
        pass


@needs_it
def test_what_does_not_belong_together_is_refused() -> None:
    (piece,) = index([("w1 deploy", "w2")]).pieces
    for changed in (
        replace(piece, alive=piece.alive[:0]),
        replace(piece, frequency=np.zeros(1, dtype=np.int32)),
        replace(piece, segment=replace(piece.segment, docs=piece.segment.docs[:1])),
        replace(piece, segment=replace(piece.segment, starts=piece.segment.starts + 100)),
    ):
        with pytest.raises(ValueError, match="do not belong"):
            search_module.MATCHES(Pieces([changed]), ANALYZER.hashes("w1 w2 deploy"))


@needs_it
def test_what_a_call_cannot_use_is_refused() -> None:
    one, hashes = index([("w1", "w2")] * 9).pieces[0], ANALYZER.hashes("w1")
    piece = kernel.piece(one.arrays, one.segment.keys, one.count)
    for wrong in (None, RULES, object()):
        with pytest.raises(ValueError, match="PyCapsule"):
            kernel.match(RULES, (piece, wrong), hashes)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="PyCapsule"):
            kernel.top(wrong, 3, None, False, 0.0, 0)  # type: ignore[arg-type]  # noqa: FBT003
    with pytest.raises(TypeError):
        kernel.match(RULES, (piece,), ["w1"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="do not belong"):
        kernel.piece(one.arrays, one.segment.keys[1:], one.count)
    with pytest.raises(ValueError, match="do not belong"):
        kernel.rules(np.zeros(9, dtype=np.uint8), np.zeros(9), 1.0, 1.0, 1.0, 1.0, 1.0, 128)
    query = kernel.match(RULES, (piece,), hashes)
    assert len(kernel.top(query, 1 << 62, None, False, 0.0, 0)) == 9  # noqa: FBT003
    assert kernel.top(query, -(1 << 62), None, True, 0.0, 0) == []  # noqa: FBT003
    with pytest.raises(IndexError):
        kernel.top(query, 3, (), False, 0.0, 0)  # noqa: FBT003
    with pytest.raises(TypeError):
        kernel.top(query, 3, (7,), False, 0.0, 0)  # type: ignore[arg-type]  # noqa: FBT003
    for nowhere in ((0, 9), (0, -1), (1, 0), (-1, 0)):
        with pytest.raises(ValueError, match="do not belong"):
            kernel.held(query, *nowhere)
    with pytest.raises(ValueError, match="PyCapsule"):
        kernel.held(None, 0, 0)  # type: ignore[arg-type]


class Emptying:
    """Takes the scores away while it is asked which keys are hidden."""

    def __init__(self, scores: bytearray) -> None:
        self._scores = scores

    def __contains__(self, key: object) -> bool:
        self._scores.clear()
        return True


@needs_it
def test_scores_that_are_taken_away_are_not_read() -> None:
    pieces = index([("w1", "w2")] * 30).pieces
    opened = tuple(kernel.piece(one.arrays, one.segment.keys, one.count) for one in pieces)
    query = kernel.match(RULES, opened, ANALYZER.hashes("w1"))
    with pytest.raises(ValueError, match="do not belong"):
        kernel.top(query, 1, (Emptying(kernel.scores(query)),), True, 0.0, 0)  # type: ignore[arg-type]  # noqa: FBT003
    with pytest.raises(ValueError, match="do not belong"):
        kernel.top(query, 1, None, True, 0.0, 0)  # noqa: FBT003


# Words

PLAIN = st.text(st.sampled_from("abcxyzABXZ 0189_-.,/'\n\0\t\x7f"), max_size=200)


@needs_it
@settings(max_examples=400)
@given(
    st.one_of(PLAIN, st.text(max_size=60), st.lists(st.integers(0, 99999)).map(lambda drawn: " ".join(map(str, drawn))))
)
def test_words_are_told_apart_as_without_it(text: str) -> None:
    plain = Analyzer()
    assert Analyzer().hashes(text) == ANALYZER.hashes(text) == plain._hashes(text) == plain._hashes(text)


@needs_it
def test_words_that_share_their_room_keep_their_hashes() -> None:
    text = " ".join(f"word{number} {'x' * (number % 50)}{number}" for number in range(40_000))
    expected = Analyzer()._hashes(text)
    analyzer = Analyzer()
    assert analyzer.hashes(text) == expected
    assert analyzer.hashes(f"{text} ") == expected
    assert analyzer.hashes(f"{text} getUser") == [*expected, *Analyzer().hashes("getUser")]


@needs_it
def test_an_error_about_a_word_is_passed_on() -> None:
    table = kernel.words()
    with pytest.raises(KeyError, match="tea"):
        kernel.hashes(table, "boil tea", {"boil": 7}.__getitem__)
    with pytest.raises(TypeError):
        kernel.hashes(table, "tea", {"tea": "7"}.__getitem__)  # type: ignore[arg-type]
    assert kernel.hashes(table, "boil, TEA", {"tea": 1 << 32 | 9}.__getitem__) == [7, 9]
    assert kernel.hashes(table, "boilTea", {}.__getitem__) is None
    assert kernel.hashes(table, "th\u00e9", {}.__getitem__) is None


# How it is built


def building() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    source = tmp_path / building().SOURCE
    source.parent.mkdir(parents=True)
    shutil.copy(ROOT / building().SOURCE, source)
    return tmp_path


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_it_is_compiled_again_when_it_was_made_of_something_else_whichever_is_older(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = building()
    source, product = clone / module.SOURCE, module.compiled(clone)
    assert product is not None, "Python's headers are missing"

    def is_made_anew() -> bool:
        before = product.stat().st_ino
        assert module.compiled(clone) == product
        return before != product.stat().st_ino

    os.utime(product, (1, 1))
    assert not is_made_anew()
    source.write_text(source.read_text() + "/* changed */\n")
    os.utime(source, (0, 0))
    assert is_made_anew()
    monkeypatch.setattr(module, "FLAGS", (*module.FLAGS, "-DOTHER"))
    assert is_made_anew()
    product.write_bytes(b"of another machine")
    assert is_made_anew()
    assert not is_made_anew()
    assert {path.name for path in product.parent.iterdir()} == {"_kernel.c", product.name}


@needs_it
def test_what_was_made_of_another_source_is_not_taken(clone: Path) -> None:
    source = clone / building().SOURCE
    assert is_there(source)
    with source.open("a") as file:
        file.write("/* changed */\n")
    assert not is_there(source)
    assert not is_there(clone / "gone.c")


def test_a_product_that_does_not_say_of_what_it_was_made_is_not_taken(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "llmos_lite.core.skills._kernel"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert not is_there(clone / building().SOURCE)


def test_without_a_compiler_nothing_fails(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(clone))
    monkeypatch.setenv("CC", "no-compiler")
    assert building().compiled(clone) is None
    assert [path.name for path in (clone / building().SOURCE).parent.iterdir()] == ["_kernel.c"]


@needs_it
def test_a_wheel_holds_it(tmp_path: Path) -> None:
    script = f"import hatchling.build as build; print(build.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "-cp311-abi3-" in done.stdout
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        assert "llmos_lite/core/skills/_kernel.abi3.so" in wheel.namelist()
