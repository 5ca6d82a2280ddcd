"""Which model answers."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from llmos_lite.engines import plugins
from llmos_lite.engines.llm import OFFLINE, ChatRequest, Completion, LanguageModel, OfflineModel
from llmos_lite.engines.llm_anthropic import AnthropicModel
from llmos_lite.engines.llm_auto import AutoModel, discover_ollama, open_model
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.errors import Invalid, UpstreamFailed
from llmos_lite.settings import Settings
from tests.upstream import WORD, running

ASK = ChatRequest(messages=[{"role": "user", "content": "hello"}])


async def test_ollama_is_found_with_its_first_model() -> None:
    async with running(["plain-llama"]) as ollama:
        assert await discover_ollama(ollama.url) == "plain-llama"


async def test_an_ollama_without_models_or_without_an_answer_is_none(unused_tcp_port: int) -> None:
    async with running([]) as ollama:
        assert await discover_ollama(ollama.url) is None
    assert await discover_ollama(f"http://127.0.0.1:{unused_tcp_port}") is None
    async with running(silent=True) as ollama:
        assert await discover_ollama(ollama.url, timeout=0.05) is None


async def test_auto_uses_ollama_from_the_first_message_on() -> None:
    async with running(["plain-llama"]) as ollama:
        model = AutoModel(ollama.url)
        assert (model.name, ollama.requests) == (OFFLINE, [])
        answers = await asyncio.gather(model.complete(ASK), model.complete(ASK))
        assert [answer.text for answer in answers] == [WORD * 3] * 2
        assert model.name == "plain-llama"
        await model.close()


async def test_auto_streams_from_whichever_answers(unused_tcp_port: int) -> None:
    async with running(["plain-llama"]) as ollama:
        model = AutoModel(ollama.url)
        pieces = [piece async for piece in model.stream(ASK)]
        assert isinstance(pieces[-1], Completion)
        assert pieces[-1].model == "plain-llama"
    with pytest.raises(UpstreamFailed):
        [piece async for piece in model.stream(ASK)]
    await model.close()
    offline = AutoModel(f"http://127.0.0.1:{unused_tcp_port}/v1")
    assert isinstance([piece async for piece in offline.stream(ASK)][-1], Completion)
    await offline.close()


async def test_auto_takes_the_model_that_was_asked_for() -> None:
    async with running(["plain-llama"]) as ollama:
        model = AutoModel(ollama.url, model="plain-c2")
        assert (await model.complete(ASK)).text == WORD * 2
        await model.close()


async def test_auto_answers_offline_and_looks_again_later(unused_tcp_port: int) -> None:
    model = AutoModel(f"http://127.0.0.1:{unused_tcp_port}/v1", again=0.0)
    assert (await model.complete(ASK)).model == OFFLINE
    async with running(["plain-llama"], port=unused_tcp_port), asyncio.timeout(5):
        answer = await model.complete(ASK)
        while answer.model == OFFLINE:
            await asyncio.sleep(0)
            answer = await model.complete(ASK)
        await model.close()


async def test_auto_does_not_look_on_every_message() -> None:
    async with running([]) as ollama:
        model = AutoModel(ollama.url)
        for _ in range(5):
            assert (await model.complete(ASK)).model == OFFLINE
        assert len(ollama.requests) == 1


async def test_auto_is_offline_again_after_ollama_went_away() -> None:
    async with running(["plain-llama"]) as ollama:
        model = AutoModel(ollama.url)
        await model.complete(ASK)
    with pytest.raises(UpstreamFailed):
        await model.complete(ASK)
    async with asyncio.timeout(5):
        while model.name != OFFLINE:
            with pytest.raises(UpstreamFailed):
                await model.complete(ASK)
    assert (await model.complete(ASK)).model == OFFLINE


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (Settings(), AutoModel),
        (Settings(llm_provider="offline", llm_url="http://host/v1"), OfflineModel),
        (Settings(llm_url="http://host/v1"), OpenAIModel),
        (Settings(llm_provider="openai"), OpenAIModel),
        (Settings(llm_url="https://api.anthropic.com"), AnthropicModel),
        (Settings(llm_provider="anthropic"), AnthropicModel),
        (Settings(llm_provider="anthropic", llm_url="http://host"), AnthropicModel),
    ],
)
def test_the_settings_choose_the_model(settings: Settings, kind: type) -> None:
    assert type(open_model(settings)) is kind


def test_an_unknown_provider_is_refused_with_what_there_is() -> None:
    with pytest.raises(Invalid, match="nonesuch") as caught:
        open_model(Settings(llm_provider="nonesuch"))
    assert caught.value.code == "settings.provider"


def test_a_url_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(Invalid, match="LLMOS_LLM_URL"):
        open_model(Settings(llm_url="localhost:9100"))


class Point(NamedTuple):
    name: str
    value: str
    dist: None = None

    def load(self) -> object:
        return make_echo


class Echo(OfflineModel):
    async def complete(self, request: ChatRequest) -> Completion:
        return Completion(text=request.messages[-1]["content"], model="echo")


def make_echo(settings: Settings) -> LanguageModel:
    assert settings.llm_provider == "echo"
    return Echo()


async def test_a_package_adds_a_model_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plugins, "entry_points", lambda group: [Point("echo", "x:y")] if group == plugins.MODELS else []
    )
    model = open_model(Settings(llm_provider="echo"))
    assert (await model.complete(ASK)).text == "hello"
