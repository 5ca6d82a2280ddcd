"""A model behind the API that OpenAI, Ollama, vLLM, llama.cpp and most others speak: `/chat/completions`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Delta, Piece, gathered
from llmos_lite.engines.llm_http import Answer, ModelServer, decoded
from llmos_lite.engines.sse import events_of
from llmos_lite.errors import UpstreamFailed


class _Text(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Text | None = None
    delta: _Text | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chat(msgspec.Struct):
    """A whole answer or one chunk of a stream; `error` is how a stream that began says that it failed."""

    choices: list[_Choice] | None = None
    model: str | None = None
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed] | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = True


class _Body(msgspec.Struct):
    model: str
    messages: list[ChatMessage]
    max_tokens: int | msgspec.UnsetType = msgspec.UNSET
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    stream: bool = True
    stream_options: _StreamOptions = _StreamOptions()


_encode = msgspec.json.Encoder().encode
_chat = msgspec.json.Decoder(_Chat)
_list = msgspec.json.Decoder(_List)


class OpenAIModel:
    """A model at an OpenAI-compatible base URL.

    Args:
        base_url: as in `https://api.openai.com/v1`; a bare host gets `/v1`.
        key: sent as a bearer token when not empty.
        model: name; empty takes the first chat model of `GET /models`, asked once.
        timeout: longest silence, in seconds.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    def __init__(self, base_url: str, *, key: str = "", model: str = "", timeout: float = 120.0) -> None:
        base_url = base_url.rstrip("/") + ("" if urlsplit(base_url).path.strip("/") else "/v1")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._server = ModelServer(base_url, headers=headers, secret=key, timeout=timeout)
        self._model = model

    @property
    def name(self) -> str:
        """Name of the configured model, or of the one that was found."""
        return self._model

    async def models(self) -> list[str]:
        """Return the names that `GET /models` lists."""
        async with self._server.request("GET", "/models") as answer:
            listed = decoded(_list, await answer.read())
        return [item.id for item in listed.data or ()]

    async def first(self) -> str:
        """Remember and return the first model that is no embedder; Ollama lists those beside the others.

        Raises:
            UpstreamFailed: `model.rejected`, when there is none.
        """
        names = [name for name in await self.models() if "embed" not in name.lower()]
        if not names:
            raise UpstreamFailed(
                "model.rejected", "The model's API lists no model.", hint="Load one there, or set LLMOS_LLM_MODEL."
            )
        self._model = names[0]
        return self._model

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the whole answer; it is streamed here too, so that a long one is not taken for silence."""
        return await gathered(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it comes; see `LanguageModel`."""
        body = await self._body(request)
        async with self._server.request("POST", "/chat/completions", _encode(body)) as answer:
            if not answer.is_stream:  # a server that knows no streams
                whole = _completion(await answer.read(), body.model)
                yield Delta(whole.text)
                yield whole
                return
            async with aclosing(_pieces(answer, body.model)) as pieces:
                async for piece in pieces:
                    yield piece

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()

    async def _body(self, request: ChatRequest) -> _Body:
        system: list[ChatMessage] = [{"role": "system", "content": request.system}] if request.system else []
        return _Body(
            model=request.model or self._model or await self.first(),
            messages=[*system, *request.messages],
            max_tokens=msgspec.UNSET if request.max_tokens is None else request.max_tokens,
            temperature=msgspec.UNSET if request.temperature is None else request.temperature,
        )


async def _pieces(answer: Answer, model: str) -> AsyncGenerator[Piece, None]:
    texts, usage, finish = list[str](), _Usage(), ""
    async with aclosing(events_of(answer.chunks())) as events:
        async for data in events:
            if data == b"[DONE]":
                finish = finish or "stop"
                break
            chunk = _checked(decoded(_chat, data))
            usage, model = chunk.usage or usage, chunk.model or model
            for choice in chunk.choices or ():
                finish = choice.finish_reason or finish
                if choice.delta is not None and choice.delta.content:
                    texts.append(choice.delta.content)
                    yield Delta(choice.delta.content)
    if not finish:
        raise UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")
    yield _whole("".join(texts), model, usage, finish)


def _completion(data: bytes, model: str) -> Completion:
    chat = _checked(decoded(_chat, data))
    if not chat.choices or chat.choices[0].message is None:
        raise UpstreamFailed("model.garbage", "The model answered without a message.")
    first = chat.choices[0]
    text = (first.message.content if first.message else None) or ""
    return _whole(text, chat.model or model, chat.usage or _Usage(), first.finish_reason or "stop")


def _checked(chat: _Chat) -> _Chat:
    if bytes(chat.error) not in {b"", b"null"}:
        raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
    return chat


def _whole(text: str, model: str, usage: _Usage, finish: str) -> Completion:
    return Completion(
        text=text,
        model=model,
        tokens_in=usage.prompt_tokens or 0,
        tokens_out=usage.completion_tokens or 0,
        finish=finish,
    )
