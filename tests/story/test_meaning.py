"""A server whose embedder is an API that knows four languages: skills are found by what they mean."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks._server import Server, serving
from tests.embedding_server import EmbeddingServer, embedding_server

KEY = "sk-embedding-secret"
PATIENCE = 30
SKILL = {"skill_id": "brew", "description": "Brew tea for guests. Use when somebody wants tea.", "content": "Brew."}


@pytest.fixture
def embeddings() -> Iterator[EmbeddingServer]:
    with embedding_server() as server:
        yield server


@contextmanager
def server_with(embeddings: EmbeddingServer, data: Path) -> Iterator[Server]:
    chosen = {"LLMOS_EMBEDDER": embeddings.url, "LLMOS_EMBED_KEY": KEY, "LLMOS_EMBED_BUDGET_MS": "5000"}
    with serving(data, LLMOS_LLM_PROVIDER="offline", **chosen) as running:
        yield running


def found(server: Server, query: str) -> list[str]:
    answer = server.ask("GET", f"/skills?query={urllib.parse.quote(query)}")
    return [item["skill_id"] for item in answer["items"]]


def until_found(server: Server, query: str) -> list[str]:
    """Ask until the background has embedded what there is."""
    end = time.monotonic() + PATIENCE
    while not (skills := found(server, query)) and time.monotonic() < end:
        pass
    return skills


def test_a_chinese_question_finds_an_english_skill_and_a_restart_embeds_nothing_again(
    embeddings: EmbeddingServer, tmp_path: Path
) -> None:
    with server_with(embeddings, tmp_path / "data") as server:
        server.ask("POST", "/skills", SKILL)
        assert until_found(server, "泡茶") == ["brew"]
        answer = server.ask("POST", "/chat", {"message": "泡茶"})
        assert [use["skill_id"] for use in answer["skills_used"]] == ["brew"]
        assert found(server, "今天天气") == []
    assert {headers["authorization"] for _, headers, _ in embeddings.requests} == {f"Bearer {KEY}"}

    embeddings.requests.clear()
    with server_with(embeddings, tmp_path / "data") as again:
        assert until_found(again, "泡茶") == ["brew"]
    sent = json.dumps([body["input"] for _, _, body in embeddings.requests])
    assert SKILL["description"] not in sent


def test_an_embedder_that_fails_never_breaks_a_chat(embeddings: EmbeddingServer, tmp_path: Path) -> None:
    for _ in range(50):
        embeddings.will(500, f"{KEY} is out of order".encode())
    with server_with(embeddings, tmp_path / "data") as server:
        server.ask("POST", "/skills", SKILL)
        for _ in range(3):
            answer = server.ask("POST", "/chat", {"message": "Please brew some tea for the guests"})
            assert [use["skill_id"] for use in answer["skills_used"]] == ["brew"]
