"""What every embedder does; run on a plug-in, on an API, on a sentence model and on its table."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from llmos_lite.engines.embedder import Embedder, PluggedEmbedder
from llmos_lite.engines.embedder_http import HttpEmbedder
from llmos_lite.engines.embedder_local import LocalEmbedder
from llmos_lite.engines.embedder_static import StaticEmbedder
from tests.embedding import Babel, installed
from tests.embedding_server import embedding_server

MakeEmbedder = Callable[[], Embedder]
TEXTS = ["brew the tea", "Deploy a database service to the cluster.", "tea", "x" * 40_000, "a\x00b \ud83d\ude00 \u202e"]


@pytest.fixture(scope="module")
def table_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(
    params=["plugin", "http", pytest.param("local", marks=installed), pytest.param("static", marks=installed)]
)
def embedder(request: pytest.FixtureRequest, table_folder: Path) -> Iterator[Embedder]:
    if request.param == "http":
        with embedding_server() as server:
            found = HttpEmbedder(server.url, model="babel")
            yield found
            found.close()
        return
    makes: dict[str, MakeEmbedder] = {
        "plugin": lambda: PluggedEmbedder(Babel(), "babel"),
        "local": LocalEmbedder,
        "static": lambda: StaticEmbedder(LocalEmbedder(), table_folder),
    }
    made = makes[request.param]()
    yield made
    made.close()


def test_a_row_for_each_text_in_their_order(embedder: Embedder) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in TEXTS]
    rows = embedder.embed(texts)
    assert rows.dtype == np.float32
    assert rows.shape == (len(texts), embedder.dimension)
    assert np.isfinite(rows).all()
    alone = np.concatenate([embedder.embed([text]) for text in texts])
    assert np.allclose(rows, alone, atol=1e-4)


def test_rows_have_length_1_or_are_zero(embedder: Embedder) -> None:
    lengths = np.linalg.norm(embedder.embed([*TEXTS[:3], "", "\u2063"]), axis=1)
    assert np.allclose(lengths[:3], 1, atol=1e-4)
    assert all(np.isclose(length, 1, atol=1e-4) or length == 0 for length in lengths[3:])


def test_no_text_gives_no_row(embedder: Embedder) -> None:
    assert len(embedder.embed([])) == 0


def test_like_texts_are_nearer_than_others(embedder: Embedder) -> None:
    asked, like, other = embedder.embed(["brew some tea", "how to brew tea", "deploy the database"])
    assert asked @ like > asked @ other


def test_it_has_a_name_and_keeps_it(embedder: Embedder) -> None:
    name = embedder.name
    embedder.embed(["tea"])
    assert name == embedder.name != ""


def test_many_threads_may_ask_at_once(embedder: Embedder) -> None:
    expected = embedder.embed(TEXTS[:3])
    found: list[bool] = []

    def ask() -> None:
        found.append(np.allclose(embedder.embed(TEXTS[:3]), expected, atol=1e-4))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4
