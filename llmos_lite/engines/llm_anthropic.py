"""A model behind Anthropic's `/v1/messages`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Tool, has_tool_messages, token_count
from llmos_lite.engines.llm_calls import Calls, arguments_object
from llmos_lite.engines.llm_http import HttpModel, ModelServer, all_decoded, decoded
from llmos_lite.engines.llm_texts import MOST_TEXT, Texts
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
    messages: Sequence[ChatMessage | Mapping[str, object]]
    max_tokens: int
    system: list[_SystemBlock] | msgspec.UnsetType = msgspec.UNSET
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    stream: bool = True
    tools: Sequence[object] | msgspec.UnsetType = msgspec.UNSET
    tool_choice: object = msgspec.UNSET


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
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct):
    content: list[_Block]
    id: object = ""
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage = msgspec.field(default_factory=_Usage)


class _Start(msgspec.Struct):
    id: object = ""
    model: str = ""
    usage: _Usage = msgspec.field(default_factory=_Usage)


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Start | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    index: int = 0
    content_block: _Block | None = None


_encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(_Message)
_event = msgspec.json.Decoder(_Event)
_events = msgspec.json.Decoder(list[_Event])


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
        said = request.messages
        return _encode(
            _Body(
                model=model,
                messages=_messages(said) if has_tool_messages(said) else said,
                max_tokens=request.max_tokens or MOST_TOKENS,
                system=[_SystemBlock(text=request.system)] if request.system else msgspec.UNSET,
                temperature=msgspec.UNSET if request.temperature is None else request.temperature,
                tools=[_tool(tool) for tool in request.tools] if request.tools else msgspec.UNSET,
                tool_choice=_choice(request.tool_choice) if request.tools else msgspec.UNSET,
            )
        )

    def whole(self, data: bytes, model: str) -> Completion:
        """Return the answer of a server that did not stream."""
        return whole_message(data, model)

    def dialect(self, model: str) -> MessageStream:
        """Return a reader for a stream."""
        return MessageStream(model)


def whole_message(data: bytes, model: str) -> Completion:
    """Read an answer that came at once.

    Raises:
        UpstreamFailed: `model.garbage`.
    """
    message, calls = decoded(_message, data), Calls()
    for place, block in enumerate(message.content):
        if block.type == "tool_use":
            calls.add(place, block.id, block.name, _input(block))
    return Completion(
        text="".join([block.text for block in message.content if block.type == "text"]),
        model=message.model or model,
        tokens_in=message.usage.tokens_in,
        tokens_out=token_count(message.usage.output_tokens),
        finish=message.stop_reason or "end_turn",
        tool_calls=calls.whole(),
        answer_id=_name_of(message.id),
    )


class MessageStream:
    """Events of a message; ended by `message_stop`."""

    most_text: ClassVar[int] = MOST_TEXT

    def __init__(self, model: str) -> None:
        self.ended = False
        self._start = _Start(model=model)
        self._tokens_in, self._tokens_out, self._finish = 0, 0, ""
        self._texts, self._calls = Texts(self.most_text), Calls(self.most_text)
        self._inputs: dict[int, str] = {}
        self.reader = SseReader()

    def feed(self, data: bytes) -> str:
        """Return the text that came with these bytes."""
        return self._taken(self.reader.feed(data))

    def close(self) -> str:
        """Return the text that the end still held."""
        return self._taken(self.reader.close())

    @property
    def answer_id(self) -> str:
        """Return how the provider names the answer; a thread goes on from there."""
        return _name_of(self._start.id)

    def completion(self) -> Completion:
        """Return the whole answer; a call whose arguments came with its start, and not after it, has those."""
        for index, said in self._inputs.items():
            self._calls.add(index, "", "", said)
        self._inputs.clear()
        return Completion(
            text=self._texts.whole(),
            model=self._start.model,
            tokens_in=self._tokens_in or self._start.usage.tokens_in,
            tokens_out=self._tokens_out,
            finish=self._finish or "end_turn",
            tool_calls=self._calls.whole(),
            answer_id=self.answer_id,
        )

    def _taken(self, events: list[bytes]) -> str:
        texts: list[str] = []
        try:
            for event in all_decoded(_events, _event, events):
                texts.append(self._text(event))  # noqa: PERF401 - what was said before a failure stands
        finally:
            text = "".join(texts)
            self._texts.add(text)
        return text

    def _text(self, event: _Event) -> str:
        if event.type == "error":
            raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
        self.ended = self.ended or event.type == "message_stop"
        self._start = event.message or self._start
        if event.usage is not None:
            self._tokens_out = token_count(event.usage.output_tokens) or self._tokens_out
            self._tokens_in = event.usage.tokens_in or self._tokens_in
        block = event.content_block
        if block is not None and block.type == "tool_use":
            self._calls.add(event.index, block.id, block.name, "")
            self._inputs[event.index] = _input(block)
        if event.delta is None:
            return ""
        self._finish = event.delta.stop_reason or self._finish
        if event.delta.type == "input_json_delta" and event.delta.partial_json:
            self._inputs.pop(event.index, None)
            self._calls.add(event.index, "", "", event.delta.partial_json)
        return event.delta.text if event.delta.type == "text_delta" else ""


def _name_of(said: object) -> str:
    """Return the id of an answer; servers that keep none may say anything there."""
    return said if isinstance(said, str) else ""


def _messages(messages: Sequence[ChatMessage]) -> list[Mapping[str, object]]:
    """Return a conversation as this API wants it: calls are blocks, and results of one answer stand together."""
    said: list[Mapping[str, object]] = []
    results: list[object] = []
    for message in messages:
        if message["role"] == "tool":
            if not results:
                said.append({"role": "user", "content": results})
            results.append(_result(message))
        else:
            results = []
            said.append({"role": message["role"], "content": _blocks(message)} if "tool_calls" in message else message)
    return said


def _result(message: ChatMessage) -> object:
    answers = {"type": "tool_result", "tool_use_id": message.get("tool_call_id", ""), "content": message["content"]}
    return answers | ({"is_error": True} if message.get("is_error") else {})


def _blocks(message: ChatMessage) -> list[object]:
    texts = [{"type": "text", "text": message["content"]}] if message["content"].strip() else []
    return [
        *texts,
        *(
            {
                "type": "tool_use",
                "id": call.id,
                "name": call.name,
                "input": msgspec.Raw(arguments_object(call.arguments).encode()),
            }
            for call in message.get("tool_calls", ())
        ),
    ]


def _tool(tool: Tool) -> object:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.parameters}


_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def _choice(choice: str) -> object:
    return {"type": _CHOICES[choice]} if choice in _CHOICES else {"type": "tool", "name": choice}


def _input(block: _Block) -> str:
    """Return the arguments that came with a block; an empty object says nothing yet."""
    return bytes(block.input).decode()


def is_anthropic(base_url: str) -> bool:
    """Tell whether a base URL is Anthropic's own."""
    host = urlsplit(base_url).hostname or ""
    return host == "anthropic.com" or host.endswith(".anthropic.com")
