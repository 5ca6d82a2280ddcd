"""The models behind HTTP, each against a server that speaks its dialect and misbehaves on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from llmos_lite.engines import llm_http
from llmos_lite.engines.llm import ChatRequest, Completion, Delta, LanguageModel, token_count
from llmos_lite.engines.llm_anthropic import AnthropicModel, is_anthropic
from llmos_lite.engines.llm_http import LARGEST_ANSWER, Silence, checked_url
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.errors import Invalid, UpstreamFailed, UpstreamTimeout
from tests.upstream import WORD, Upstream, running

KEY = "sk-very-secret-key"
Model = type[OpenAIModel] | type[AnthropicModel]
both = pytest.mark.parametrize("kind", [OpenAIModel, AnthropicModel])


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


def ask(model: str, text: str = "hello", system: str = "") -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": text}], model=model, system=system)


async def streamed(model: LanguageModel, request: ChatRequest) -> tuple[list[str], Completion | None]:
    texts: list[str] = []
    async with aclosing(model.stream(request)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Completion):
                return texts, piece
            assert isinstance(piece, Delta)
            texts.append(piece.text)
    return texts, None


@both
async def test_a_whole_answer_has_text_and_usage(kind: Model, upstream: Upstream) -> None:
    model = kind(upstream.url, key=KEY)
    done = await model.complete(ask("plain"))
    named = {"finish": done.finish, "answer_id": done.answer_id}
    assert done == Completion(text=WORD * 3, model="plain", tokens_in=10, tokens_out=3, **named)
    assert (done.finish, done.answer_id) in {("stop", ""), ("end_turn", "msg_1")}
    await model.close()


@both
@pytest.mark.parametrize("name", ["plain", "plain-crlf", "plain-tight"])
async def test_a_stream_gives_deltas_then_the_whole(kind: Model, name: str, upstream: Upstream) -> None:
    texts, done = await streamed(kind(upstream.url), ask(name))
    assert "".join(texts) == WORD * 3
    assert done is not None
    assert (done.text, done.tokens_in, done.tokens_out) == (WORD * 3, 10, 3)


@both
async def test_the_first_delta_comes_before_the_last_is_sent(kind: Model, upstream: Upstream) -> None:
    model = kind(upstream.url)
    async with asyncio.timeout(5), aclosing(model.stream(ask("c1000-i50"))) as pieces:
        first = await anext(pieces)
        assert isinstance(first, Delta)
        assert first.text.startswith(WORD)
    await upstream.until(aborted=1)


@both
async def test_cancelling_ends_the_request_upstream(kind: Model, upstream: Upstream) -> None:
    task = asyncio.ensure_future(kind(upstream.url).complete(ask("silence")))
    await upstream.until(chats=1)
    task.cancel()
    await upstream.until(aborted=1)
    with pytest.raises(asyncio.CancelledError):
        await task


@both
async def test_a_server_that_knows_no_streams_is_read_whole(kind: Model, upstream: Upstream) -> None:
    texts, done = await streamed(kind(upstream.url), ask("plain-plainjson"))
    assert texts == [WORD * 3]
    assert done is not None
    assert done.text == WORD * 3


async def test_openai_gets_the_system_prompt_first_and_the_key_as_bearer(upstream: Upstream) -> None:
    await OpenAIModel(upstream.url, key=KEY).complete(
        ChatRequest(messages=[{"role": "user", "content": "hi"}], system="be brief", max_tokens=5, temperature=0.0)
    )
    seen = upstream.chats[0]
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "plain",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_anthropic_gets_the_system_prompt_as_a_block_to_cache(upstream: Upstream) -> None:
    await AnthropicModel(upstream.url, key=KEY).complete(ask("plain", system="be brief"))
    seen = upstream.chats[0]
    assert seen.path == "/v1/messages"
    assert seen.headers["x-api-key"] == KEY
    assert seen.headers["anthropic-version"]
    assert "authorization" not in seen.headers
    assert seen.body["system"] == [{"text": "be brief", "type": "text", "cache_control": {"type": "ephemeral"}}]


async def test_a_key_that_is_empty_is_not_sent(upstream: Upstream) -> None:
    for model in (OpenAIModel(upstream.url), AnthropicModel(upstream.url)):
        await model.complete(ask("plain"))
    assert not {"authorization", "x-api-key"} & {name for seen in upstream.requests for name in seen.headers}


@both
async def test_the_first_listed_model_is_taken_and_remembered(kind: Model) -> None:
    async with running(["plain-a", "plain-b"]) as upstream:
        model = kind(upstream.url)
        assert model.name == ""
        await model.complete(ask(""))
        await model.complete(ask(""))
        assert [seen.method for seen in upstream.requests] == ["GET", "POST", "POST"]
        assert upstream.chats[0].model == model.name == "plain-a"


@both
async def test_an_empty_list_of_models_is_an_error_with_a_hint(kind: Model) -> None:
    async with running([]) as upstream:
        with pytest.raises(UpstreamFailed, match="lists no model") as caught:
            await kind(upstream.url).complete(ask(""))
        assert "LLMOS_LLM_MODEL" in caught.value.hint


async def test_embedders_are_no_chat_models() -> None:
    async with running(["nomic-embed-text", "plain"]) as upstream:
        assert await OpenAIModel(upstream.url).first() == "plain"


@both
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("e429", "model.rate_limited"),
        ("e401", "model.rejected"),
        ("e400", "model.rejected"),
        ("e500", "model.failed"),
        ("e302", "model.failed"),
        ("garbage", "model.garbage"),
        ("huge", "model.garbage"),
        ("huge-declared", "model.garbage"),
    ],
)
async def test_a_bad_answer_is_a_clear_error_either_way(kind: Model, name: str, code: str, upstream: Upstream) -> None:
    model = kind(upstream.url, key=KEY)
    with pytest.raises(UpstreamFailed) as whole:
        await model.complete(ask(name))
    with pytest.raises(UpstreamFailed) as stream:
        await streamed(model, ask(name))
    for error in (whole.value, stream.value):
        assert error.code == code
        assert KEY not in f"{error.problem()}"


@both
async def test_a_rate_limit_says_when_to_come_back(kind: Model, upstream: Upstream) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        await kind(upstream.url).complete(ask("e429"))
    assert caught.value.detail["retry_after"] == 7
    for said, seconds in (("", None), ("1.2", 2), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("soon", None)):
        upstream.retry_after = said
        with pytest.raises(UpstreamFailed) as caught:
            await kind(upstream.url).complete(ask("e429"))
        assert caught.value.detail["retry_after"] == seconds


@both
@pytest.mark.parametrize("name", ["cut", "plain-midfail", "cut-garbled"])
async def test_half_a_stream_is_an_error_after_its_deltas(kind: Model, name: str, upstream: Upstream) -> None:
    texts: list[str] = []
    with pytest.raises(UpstreamFailed) as caught:
        async with aclosing(kind(upstream.url).stream(ask(name))) as pieces:
            texts.extend([piece.text async for piece in pieces])
    assert caught.value.code in {"model.cut", "model.failed"}


@both
async def test_partial_text_arrives_before_the_cut(kind: Model, upstream: Upstream) -> None:
    texts: list[str] = []

    async def read() -> None:
        async with aclosing(kind(upstream.url).stream(ask("c20-cut"))) as pieces:
            async for piece in pieces:
                texts.append(piece.text)  # noqa: PERF401 - what came before the error must stay

    with pytest.raises(UpstreamFailed):
        await read()
    assert texts
    assert set("".join(texts).split()) == {WORD.strip()}


@both
async def test_silence_is_a_timeout(kind: Model, upstream: Upstream) -> None:
    model = kind(upstream.url, timeout=0.05)
    with pytest.raises(UpstreamTimeout, match=r"silent for 0\.05 s") as caught:
        await model.complete(ask("silence"))
    assert caught.value.code == "model.timeout"
    with pytest.raises(UpstreamTimeout):
        await streamed(model, ask("c3-i2000"))


@both
async def test_a_server_that_is_not_there_is_unreachable(kind: Model, unused_tcp_port: int) -> None:
    with pytest.raises(UpstreamFailed, match="The model's server cannot be reached") as caught:
        await kind(f"http://127.0.0.1:{unused_tcp_port}/v1", key=KEY).complete(ask("plain"))
    assert caught.value.code == "model.unreachable"
    assert caught.value.place == caught.value.fresh().place == f"127.0.0.1:{unused_tcp_port}"


async def test_an_answer_without_choices_is_garbage(upstream: Upstream) -> None:
    with pytest.raises(UpstreamFailed, match="without a message"):
        await OpenAIModel(upstream.url).complete(ask("empty-plainjson"))


@pytest.mark.parametrize(
    ("url", "limit"), [("https://api.openai.com/v1", "max_completion_tokens"), ("http://127.0.0.1:1/v1", "max_tokens")]
)
async def test_the_most_tokens_have_the_name_that_the_server_takes(url: str, limit: str) -> None:
    model = OpenAIModel(url)
    body = json.loads(model.written(ChatRequest(messages=[], max_tokens=7), "m"))
    await model.close()
    assert {name: value for name, value in body.items() if name.startswith("max_")} == {limit: 7}


async def test_a_provider_that_counts_nothing_gives_zeros(upstream: Upstream) -> None:
    done = await OpenAIModel(upstream.url).complete(ask("plain-nousage"))
    assert (done.tokens_in, done.tokens_out) == (0, 0)
    _, last = await streamed(OpenAIModel(upstream.url), ask("plain-nousage"))
    assert last is not None
    assert last.tokens_out == 0


async def test_a_server_may_leave_the_last_mark_out(upstream: Upstream) -> None:
    texts, done = await streamed(OpenAIModel(upstream.url), ask("plain-nodone"))
    assert "".join(texts) == WORD * 3
    assert done is not None
    assert (done.finish, done.tokens_out) == ("stop", 3)


def test_a_line_that_is_only_kept_open_is_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(llm_http.time, "monotonic", lambda: clock[0])
    silence = Silence(3)
    for clock[0], events in ((2.0, 1), (4.0, 2), (6.9, 2)):
        silence.heard(events)
    clock[0] = 7.1
    with pytest.raises(TimeoutError):
        silence.heard(2)


async def test_a_stream_without_an_answer_in_it_is_garbage() -> None:
    model = OpenAIModel("http://127.0.0.1:1/v1")
    for said in (b'data: {"foo": 1}\n\ndata: [DONE]\n\n', b"data: [DONE]\n\n"):
        stream = model.dialect("m")
        stream.feed(said)
        with pytest.raises(UpstreamFailed, match="without a message"):
            stream.completion()
    with pytest.raises(UpstreamFailed, match="without a message"):
        model.whole(b'{"choices": [{"message": {"content": null}}]}', "m")
    await model.close()


@pytest.mark.parametrize(("said", "kept"), [(None, 0), (7, 7), (-5, 0), (9999999999999999999999, 0)])
def test_a_count_that_cannot_be_meant_is_none(said: int | None, kept: int) -> None:
    assert token_count(said) == kept


async def test_connections_are_used_again(upstream: Upstream) -> None:
    model = OpenAIModel(upstream.url)
    for _ in range(5):
        await model.complete(ask("plain"))
        await streamed(model, ask("plain"))
    assert upstream.connections == 1


@pytest.mark.parametrize("url", ["", "no-url", "ftp://host/v1", "http://", "http://host/v1?key=1", "http://host/#v1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="LLMOS_LLM_URL"):
        checked_url(url)


async def test_a_bare_host_gets_the_usual_path(upstream: Upstream) -> None:
    host = upstream.url.removesuffix("/v1")
    await OpenAIModel(host + "/").complete(ask("plain"))
    await AnthropicModel(host).complete(ask("plain"))
    assert [seen.path for seen in upstream.chats] == ["/v1/chat/completions", "/v1/messages"]


def test_anthropic_is_told_by_its_host() -> None:
    assert is_anthropic("https://api.anthropic.com/v1")
    assert not is_anthropic("https://anthropic.com.evil.example/v1")
    assert not is_anthropic("")
    assert LARGEST_ANSWER < 100 << 20
