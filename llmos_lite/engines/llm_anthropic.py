"""A model behind Anthropic's `/v1/messages`."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, token_count
from llmos_lite.engines.llm_http import HttpModel, ModelServer, decoded
from llmos_lite.engines.sse import SseReader
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
        parts = (self.input_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens)
        return token_count(sum(map(token_count, parts)))


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


_encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)


class AnthropicModel(HttpModel):
    """A model at Anthropic, or at a server that speaks its Messages API.

    Args:
        base_url: with or without `/v1`; empty is Anthropic's own.
        key: sent as `x-api-key`.
        model: name; empty takes the first of `GET /v1/models` (the newest), asked once.
        timeout: longest silence, in seconds.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    path = "/messages"

    def __init__(self, base_url: str = "", *, key: str = "", model: str = "", timeout: float = 120.0) -> None:
        base_url = (base_url or API).rstrip("/")
        base_url += "" if base_url.endswith("/v1") else "/v1"
        headers = {"anthropic-version": VERSION} | ({"x-api-key": key} if key else {})
        super().__init__(ModelServer(base_url, headers=headers, secret=key, timeout=timeout), model)

    def written(self, request: ChatRequest, model: str) -> bytes:
        """Return the body of a request, with the system prompt as a block to cache."""
        return _encode(
            _Body(
                model=model,
                messages=list(request.messages),
                max_tokens=request.max_tokens or MOST_TOKENS,
                system=[_SystemBlock(text=request.system)] if request.system else msgspec.UNSET,
                temperature=msgspec.UNSET if request.temperature is None else request.temperature,
            )
        )

    def whole(self, data: bytes, model: str) -> Completion:
        """Return the answer of a server that did not stream."""
        message = decoded(_message, data)
        return Completion(
            text="".join(block.text for block in message.content if block.type == "text"),
            model=message.model or model,
            tokens_in=message.usage.tokens_in,
            tokens_out=token_count(message.usage.output_tokens),
            finish=message.stop_reason or "end_turn",
        )

    def dialect(self, model: str) -> _Stream:
        """Return a reader for a stream."""
        return _Stream(model)


class _Stream:
    """Events of a message; ended by `message_stop`."""

    def __init__(self, model: str) -> None:
        self.ended = False
        self._start = _Start(model=model)
        self._tokens_out, self._finish = 0, ""
        self._texts: list[str] = []
        self.reader = SseReader()

    def feed(self, data: bytes) -> str:
        """Return the text that came with these bytes."""
        return self._taken(self.reader.feed(data))

    def close(self) -> str:
        """Return the text that the end still held."""
        return self._taken(self.reader.close())

    def completion(self) -> Completion:
        """Return the whole answer."""
        return Completion(
            text="".join(self._texts),
            model=self._start.model,
            tokens_in=self._start.usage.tokens_in,
            tokens_out=self._tokens_out,
            finish=self._finish or "end_turn",
        )

    def _taken(self, events: list[bytes]) -> str:
        text = "".join(self._text(decoded(_event, data)) for data in events)
        self._texts.append(text)
        return text

    def _text(self, event: _Event) -> str:
        if event.type == "error":
            raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
        self.ended = self.ended or event.type == "message_stop"
        self._start = event.message or self._start
        if event.usage is not None:
            self._tokens_out = token_count(event.usage.output_tokens) or self._tokens_out
        if event.delta is None:
            return ""
        self._finish = event.delta.stop_reason or self._finish
        return event.delta.text if event.delta.type == "text_delta" else ""


def is_anthropic(base_url: str) -> bool:
    """Tell whether a base URL is Anthropic's own."""
    host = urlsplit(base_url).hostname or ""
    return host == "anthropic.com" or host.endswith(".anthropic.com")
