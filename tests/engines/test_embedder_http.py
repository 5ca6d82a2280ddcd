"""The embedder behind HTTP, against a server that misbehaves on request."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pytest

from llmos_lite.engines.embedder_http import BATCH, BATCH_CHARACTERS, HttpEmbedder
from llmos_lite.errors import Invalid, LlmosError, UpstreamFailed, UpstreamTimeout
from tests.embedding import Babel
from tests.embedding_server import EmbeddingServer, embedding_server

KEY = "sk-very-secret-key"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.fixture
def embedder(server: EmbeddingServer) -> Iterator[HttpEmbedder]:
    found = HttpEmbedder(server.url, key=KEY, model="m", timeout=5, pause=0)
    yield found
    found.close()


def row(*numbers: object, index: int = 0) -> dict[str, object]:
    return {"index": index, "embedding": list(numbers)}


def test_a_request_names_model_and_key_and_rows_come_in_order(server: EmbeddingServer, embedder: HttpEmbedder) -> None:
    rows = embedder.embed(["tea", "deploy"])
    assert np.allclose(rows, Babel().embed(["tea", "deploy"]), atol=1e-5)
    [(path, headers, body)] = server.requests
    assert path == "/v1/embeddings"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"model": "m", "input": ["tea", "deploy"], "encoding_format": "float"}
    assert embedder.dimension == rows.shape[1]


def test_many_texts_go_in_batches_and_long_ones_are_cut(server: EmbeddingServer, embedder: HttpEmbedder) -> None:
    texts = [f"tea {number} " + "x" * (9000 if number % 2 else 0) for number in range(2 * BATCH + 1)]
    assert len(embedder.embed([*texts, ""])) == len(texts) + 1
    batches = [body["input"] for _, _, body in server.requests]
    assert [text for batch in batches for text in batch][-1] == " "
    assert all(len(batch) <= BATCH and sum(map(len, batch)) <= BATCH_CHARACTERS for batch in batches)


def test_without_a_name_the_first_model_that_embeds_is_taken(server: EmbeddingServer) -> None:
    embedder = HttpEmbedder(server.url)
    embedder.embed(["tea"])
    assert server.requests[0][2]["model"] == "text-embed-3"
    assert "authorization" not in server.requests[0][1]
    embedder.close()
    server.models = []
    with pytest.raises(UpstreamFailed, match="lists no model"):
        HttpEmbedder(server.url).embed(["tea"])


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (500, 3), (400, 1), (404, 1)])
def test_what_passes_is_tried_again_and_what_does_not_is_not(
    server: EmbeddingServer, embedder: HttpEmbedder, status: int, tries: int
) -> None:
    for _ in range(3):
        server.will(status, b"sorry")
    with pytest.raises(UpstreamFailed):
        embedder.embed(["tea"])
    assert len(server.requests) == tries
    server.answers.clear()
    assert len(embedder.embed(["tea"])) == 1


def test_a_server_that_recovers_is_no_error(server: EmbeddingServer, embedder: HttpEmbedder) -> None:
    server.will(503, b"")
    server.will(429, b"", retry_after="0")
    assert len(embedder.embed(["tea"])) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"data": null}',
        b'{"data": []}',
        {"data": [row(1.0), row(2.0, index=1)]},
        {"data": [row()]},
        {"data": [row("a")]},
        {"data": [row(None)]},
        {"data": [row(1e39)]},
        {"data": [{"index": 0}]},
        {"error": {"message": "no"}},
        b'{"data": [{"embedding": [NaN]}]}',
    ],
)
def test_garbage_is_an_error(server: EmbeddingServer, embedder: HttpEmbedder, body: object) -> None:
    server.will(200, body)
    with pytest.raises(UpstreamFailed) as caught:
        embedder.embed(["tea"])
    assert caught.value.code in {"model.garbage", "embedder.garbage"}


def test_rows_of_another_width_than_before_are_refused(server: EmbeddingServer, embedder: HttpEmbedder) -> None:
    embedder.embed(["tea"])
    server.will(200, {"data": [row(1.0, 2.0)]})
    with pytest.raises(UpstreamFailed, match="rows of 2 numbers"):
        embedder.embed(["tea"])


def test_the_key_is_never_told(
    server: EmbeddingServer, embedder: HttpEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    server.will(401, f"wrong key {KEY}".encode())
    with caplog.at_level(logging.DEBUG), pytest.raises(LlmosError) as caught:
        embedder.embed(["tea"])
    assert KEY not in f"{caught.value.problem()} {caplog.text} {embedder.name}"
    assert "LLMOS_EMBED_KEY" in caught.value.hint


def test_a_server_that_is_not_there_is_an_error() -> None:
    embedder = HttpEmbedder("http://127.0.0.1:9", pause=0)
    with pytest.raises(UpstreamFailed) as caught:
        embedder.embed(["tea"])
    assert "LLMOS_EMBEDDER" in caught.value.hint
    embedder.close()
    embedder.close()


def test_silence_ends_at_the_timeout(server: EmbeddingServer) -> None:
    embedder = HttpEmbedder(server.url, model="m", timeout=0.05, pause=0)
    for _ in range(3):
        server.will(200, b"", **{"content-length": "10"})
    with pytest.raises(UpstreamTimeout):
        embedder.embed(["tea"])
    embedder.close()


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(Invalid, match="LLMOS_EMBEDDER is not the base URL"):
        HttpEmbedder("http://")
