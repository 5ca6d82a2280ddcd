"""What every store of vectors does; run on the one in memory and files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.engines.vectors import BLOCK, Entry, LocalVectors, Vectors

Floats = npt.NDArray[np.float32]
OpenVectors = Callable[[], Vectors]


@pytest.fixture(params=["local"])
def open_vectors(request: pytest.FixtureRequest, tmp_path: Path) -> OpenVectors:
    """Open the same store again and again, as a process that starts anew does."""
    assert request.param == "local"
    return lambda: LocalVectors(tmp_path, "space")


def row(number: int, width: int = 8) -> Floats:
    found = np.random.default_rng(number).normal(size=width).astype(np.float32)
    return found / np.float32(np.linalg.norm(found))


def entry(skill_id: str, number: int, version: str = "") -> Entry:
    return Entry(skill_id, version or f"v{number}", row(number))


def nearest(vectors: Vectors, volume: str, number: int) -> dict[str, float]:
    found = vectors.nearest(volume, row(number), 100)
    return dict(zip(found.skill_ids, found.cosines.tolist(), strict=True))


def test_an_unknown_volume_is_empty(open_vectors: OpenVectors) -> None:
    vectors = open_vectors()
    assert vectors.versions("user:alice") == {}
    assert nearest(vectors, "user:alice", 1) == {}
    vectors.forget("user:alice")


def test_the_cosine_of_each_vector_is_found(open_vectors: OpenVectors) -> None:
    vectors = open_vectors()
    vectors.update("system", [entry("tea", 1), entry("coffee", 2)])
    found = vectors.nearest("system", row(1), 10)
    assert set(zip(found.skill_ids, found.versions, strict=True)) == {("tea", "v1"), ("coffee", "v2")}
    assert nearest(vectors, "system", 1) == pytest.approx({"tea": 1, "coffee": float(row(1) @ row(2))}, abs=1e-3)


def test_volumes_do_not_see_each_other(open_vectors: OpenVectors) -> None:
    vectors = open_vectors()
    vectors.update("system", [entry("tea", 1)])
    vectors.update("team:sre", [entry("tea", 2)])
    assert vectors.versions("system") == {"tea": "v1"}
    vectors.forget("system")
    assert vectors.versions("system") == {}
    assert vectors.versions("team:sre") == {"tea": "v2"}


def test_an_update_replaces_and_removes(open_vectors: OpenVectors) -> None:
    vectors = open_vectors()
    vectors.update("system", [entry("tea", 1), entry("coffee", 2), entry("soup", 3)])
    vectors.update("system", [entry("tea", 4)], gone={"soup", "never-there"})
    assert vectors.versions("system") == {"tea": "v4", "coffee": "v2"}
    assert nearest(vectors, "system", 4)["tea"] == pytest.approx(1, abs=1e-3)


def test_what_was_updated_is_there_after_a_restart(open_vectors: OpenVectors) -> None:
    first = open_vectors()
    first.update("system", [entry("tea", 1), entry("coffee", 2)])
    before = nearest(first, "system", 7)
    first.close()
    again = open_vectors()
    assert again.versions("system") == {"tea": "v1", "coffee": "v2"}
    assert nearest(again, "system", 7) == pytest.approx(before, abs=2e-3)


def test_what_is_gone_is_gone_after_a_restart(open_vectors: OpenVectors) -> None:
    first = open_vectors()
    first.update("system", [entry("tea", 1), entry("coffee", 2)])
    first.update("system", [], gone=["tea"])
    assert open_vectors().versions("system") == {"coffee": "v2"}
    first.update("system", [], gone=["coffee"])
    assert open_vectors().versions("system") == {}


def test_rows_of_another_width_begin_anew_and_find_nothing(open_vectors: OpenVectors) -> None:
    vectors = open_vectors()
    vectors.update("system", [entry("tea", 1)])
    assert len(vectors.nearest("system", row(1, 16), 5).skill_ids) == 0
    vectors.update("system", [Entry("coffee", "v2", row(2, 16))])
    assert vectors.versions("system") == {"coffee": "v2"}


def test_more_rows_than_a_block_are_all_compared(open_vectors: OpenVectors) -> None:
    vectors = open_vectors()
    count = BLOCK + 7
    vectors.update("system", [entry(f"s{number}", number) for number in range(count)])
    found = nearest(vectors, "system", count - 1)
    assert len(found) == count
    assert max(found, key=found.__getitem__) == f"s{count - 1}"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9), max_size=4), st.sets(st.sampled_from("abcde"))
        ),
        max_size=6,
    )
)
def test_it_holds_what_a_dictionary_would(
    open_vectors: OpenVectors, steps: list[tuple[dict[str, int], set[str]]]
) -> None:
    vectors, expected = open_vectors(), {}
    vectors.forget("v")
    for put, gone in steps:
        vectors.update("v", [entry(key, number) for key, number in put.items()], gone=gone)
        expected = {key: value for key, value in expected.items() if key not in gone}
        expected |= {key: f"v{number}" for key, number in put.items()}
        assert vectors.versions("v") == expected
    assert open_vectors().versions("v") == expected
