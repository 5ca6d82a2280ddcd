"""A model behind Anthropic's `/v1/messages`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Delta, Piece, gathered
from llmos_lite.engines.llm_http import Answer, ModelServer, decoded
from llmos_lite.engines.sse import events_of
from llmos_lite.errors import UpstreamFailed

API = "https://api.anthropic.com"
VERSION = "2023-06-01"
MOST_TOKENS = 8192
"""The API wants a limit; every current model accepts this one."""


class _CacheControl(msgspec.Struct, frozen=True):
    type: Literal["ephemeral"] = "ephemeral"


class _SystemBlock(msgspec.Struct):
    """The system prompt, marked so that the provider caches it: it stays the same through a conversation."""

    text: str
    type: Literal["text"] = "text"
    cache_control: _CacheControl = _CacheControl()


class _Body(msgspec.Struct):
    model: str
    messages: list[ChatMessage]
    max_tokens: int
    system: list[_SystemBlock] | msgspec.UnsetType = msgspec.UNSET
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    stream: bool = True


class _Usage(msgspec.Struct):
    """Counts; what was read from or written to the provider's cache stands beside `input_tokens`, not in it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    @property
    def tokens_in(self) -> int:
        """Return all tokens of the prompt."""
        return (self.input_tokens or 0) + (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Message(msgspec.Struct):
    content: list[_Block]
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage = msgspec.field(default_factory=_Usage)


class _Start(msgspec.Struct):
    model: str = ""
    usage: _Usage = msgspec.field(default_factory=_Usage)


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Start | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed]


_encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)
_list = msgspec.json.Decoder(_List)


class AnthropicModel:
    """A model at Anthropic, or at a server that speaks its Messages API.

    Args:
        base_url: with or without `/v1`; empty is Anthropic's own.
        key: sent as `x-api-key`.
        model: name; empty takes the first of `GET /v1/models` (the newest), asked once.
        timeout: longest silence, in seconds.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    def __init__(self, base_url: str = "", *, key: str = "", model: str = "", timeout: float = 120.0) -> None:
        base_url = (base_url or API).rstrip("/")
        base_url += "" if base_url.endswith("/v1") else "/v1"
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        self._server = ModelServer(base_url, headers=headers, secret=key, timeout=timeout)
        self._model = model

    @property
    def name(self) -> str:
        """Name of the configured model, or of the one that was found."""
        return self._model

    async def models(self) -> list[str]:
        """Return the names that `GET /v1/models` lists."""
        async with self._server.request("GET", "/models") as answer:
            return [item.id for item in decoded(_list, await answer.read()).data]

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the whole answer; it is streamed here too, so that a long one is not taken for silence."""
        return await gathered(self.stream(request))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it comes; see `LanguageModel`."""
        body = await self._body(request)
        async with self._server.request("POST", "/messages", _encode(body)) as answer:
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
        return _Body(
            model=request.model or self._model or await self._first(),
            messages=list(request.messages),
            max_tokens=request.max_tokens or MOST_TOKENS,
            system=[_SystemBlock(text=request.system)] if request.system else msgspec.UNSET,
            temperature=msgspec.UNSET if request.temperature is None else request.temperature,
        )

    async def _first(self) -> str:
        names = await self.models()
        if not names:
            raise UpstreamFailed("model.rejected", "The model's API lists no model.", hint="Set LLMOS_LLM_MODEL.")
        self._model = names[0]
        return self._model


async def _pieces(answer: Answer, model: str) -> AsyncGenerator[Piece, None]:
    texts, start, tokens_out, finish, ended = list[str](), _Start(), 0, "", False
    async with aclosing(events_of(answer.chunks())) as events:
        async for data in events:
            event = _checked(decoded(_event, data))
            start = event.message or start
            if event.delta is not None:
                finish = event.delta.stop_reason or finish
                if event.delta.type == "text_delta" and event.delta.text:
                    texts.append(event.delta.text)
                    yield Delta(event.delta.text)
            if event.usage is not None:
                tokens_out = event.usage.output_tokens or tokens_out
            if event.type == "message_stop":
                ended = True
                break
    if not ended:
        raise UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")
    yield Completion(
        text="".join(texts),
        model=start.model or model,
        tokens_in=start.usage.tokens_in,
        tokens_out=tokens_out,
        finish=finish or "end_turn",
    )


def _checked(event: _Event) -> _Event:
    if event.type == "error":
        raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
    return event


def _completion(data: bytes, model: str) -> Completion:
    message = decoded(_message, data)
    return Completion(
        text="".join(block.text for block in message.content if block.type == "text"),
        model=message.model or model,
        tokens_in=message.usage.tokens_in,
        tokens_out=message.usage.output_tokens or 0,
        finish=message.stop_reason or "end_turn",
    )


def is_anthropic(base_url: str) -> bool:
    """Tell whether a base URL is Anthropic's own."""
    host = urlsplit(base_url).hostname or ""
    return host == "anthropic.com" or host.endswith(".anthropic.com")
