"""A model behind the API that OpenAI, Ollama, vLLM, llama.cpp and most others speak: `/chat/completions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Tool, ToolCall, has_tool_messages, token_count
from llmos_lite.engines.llm_calls import Calls, arguments_object
from llmos_lite.engines.llm_http import HttpModel, ModelServer, all_decoded, decoded, limit_of, openai_url
from llmos_lite.engines.llm_texts import MOST_TEXT, Texts
from llmos_lite.engines.sse import SseReader
from llmos_lite.errors import UpstreamFailed


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, object] | None = None


class _Custom(msgspec.Struct):
    name: str | None = None
    input: str | None = None


class _CallPart(msgspec.Struct):
    """A call, or a piece of one; a custom tool takes a text."""

    index: int | None = None
    id: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None


class _Piece(msgspec.Struct):
    """A part of a content; Mistral's models that think answer in several."""

    text: str | None = None


class _Text(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    tool_calls: list[_CallPart] | None = None
    function_call: _Function | None = None

    @property
    def text(self) -> str:
        """Return the words, also those of a model that says why it does not answer."""
        if isinstance(self.content, list):
            return "".join([piece.text or "" for piece in self.content])
        return self.content or self.refusal or ""

    @property
    def calls(self) -> Sequence[_CallPart]:
        """Return the calls, also that of a client that still sends `functions`."""
        if self.function_call is not None:
            return [_CallPart(index=0, function=self.function_call)]
        return self.tool_calls or ()


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


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = True


class _Body(msgspec.Struct):
    model: str
    messages: Sequence[ChatMessage | Mapping[str, object]]
    max_tokens: int | msgspec.UnsetType = msgspec.UNSET
    max_completion_tokens: int | msgspec.UnsetType = msgspec.UNSET
    temperature: float | msgspec.UnsetType = msgspec.UNSET
    stream: bool = True
    stream_options: _StreamOptions = _StreamOptions()
    tools: Sequence[object] | msgspec.UnsetType = msgspec.UNSET
    tool_choice: object = msgspec.UNSET


_encode = msgspec.json.Encoder().encode
_chat = msgspec.json.Decoder(_Chat)
_chats = msgspec.json.Decoder(list[_Chat])


class OpenAIModel(HttpModel):
    """A model at an OpenAI-compatible base URL.

    Args:
        base_url: as in `https://api.openai.com/v1`; a bare host gets `/v1`.
        key: sent as a bearer token when not empty.
        model: name; empty takes the first chat model of `GET /models`, asked once.
        timeout: longest silence, in seconds.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    path = "/chat/completions"

    def __init__(self, base_url: str, *, key: str = "", model: str = "", timeout: float = 120.0) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        super().__init__(ModelServer(openai_url(base_url), headers=headers, secret=key, timeout=timeout), model)
        self._is_openais = limit_of(openai_url(base_url)) != "max_tokens"

    def written(self, request: ChatRequest, model: str) -> bytes:
        """Return the body of a request, with the system prompt as its first message."""
        system: list[ChatMessage] = [{"role": "system", "content": request.system}] if request.system else []
        said, most = request.messages, msgspec.UNSET if request.max_tokens is None else request.max_tokens
        return _encode(
            _Body(
                model=model,
                messages=[*system, *(map(_message, said) if has_tool_messages(said) else said)],
                max_tokens=msgspec.UNSET if self._is_openais else most,
                max_completion_tokens=most if self._is_openais else msgspec.UNSET,
                temperature=msgspec.UNSET if request.temperature is None else request.temperature,
                tools=[_tool(tool) for tool in request.tools] if request.tools else msgspec.UNSET,
                tool_choice=_choice(request.tool_choice) if request.tools else msgspec.UNSET,
            )
        )

    def whole(self, data: bytes, model: str) -> Completion:
        """Return the answer of a server that did not stream."""
        return whole_chat(data, model)

    def dialect(self, model: str) -> ChatStream:
        """Return a reader for a stream."""
        return ChatStream(model)


def whole_chat(data: bytes, model: str) -> Completion:
    """Read an answer that came at once.

    Raises:
        UpstreamFailed: `model.garbage`, or `model.failed`.
    """
    chat = decoded(_chat, data)
    if chat.error:
        _checked(chat)
    first, usage = chat.choices[0] if chat.choices else _Choice(), chat.usage or _Usage()
    message = first.message
    if message is None or not (message.content is not None or message.calls or first.finish_reason):
        raise _no_message()  # nothing but a reason to finish is one: sound, or thoughts that used all tokens up
    return Completion(
        text=message.text,
        tool_calls=_calls(message.calls),
        model=chat.model or model,
        tokens_in=token_count(usage.prompt_tokens),
        tokens_out=token_count(usage.completion_tokens),
        finish=first.finish_reason or "stop",
    )


class ChatStream:
    """Chunks of a chat; ended by `[DONE]`, or by a reason to finish when the server leaves that out."""

    most_text: ClassVar[int] = MOST_TEXT

    def __init__(self, model: str) -> None:
        self.ended = False
        self._model, self._finish = model, ""
        self._usage = _Usage()
        self._answered = False
        self._texts, self._calls = Texts(self.most_text), Calls(self.most_text)
        self.reader = SseReader()

    def feed(self, data: bytes) -> str:
        """Return the text that came with these bytes."""
        return self._taken(self.reader.feed(data))

    def close(self) -> str:
        """Return the text that the end still held."""
        text = self._taken(self.reader.close())
        self.ended = self.ended or bool(self._finish)
        return text

    def completion(self) -> Completion:
        """Return the whole answer.

        Raises:
            UpstreamFailed: `model.garbage`, when no chunk was one of an answer.
        """
        if not self._answered:
            raise _no_message()
        return Completion(
            text=self._texts.whole(),
            model=self._model,
            tokens_in=token_count(self._usage.prompt_tokens),
            tokens_out=token_count(self._usage.completion_tokens),
            finish=self._finish or "stop",
            tool_calls=self._calls.whole(),
        )

    def _taken(self, events: list[bytes]) -> str:
        if done := b"[DONE]" in events:
            del events[events.index(b"[DONE]") :]
        texts: list[str] = []
        try:
            for chunk in all_decoded(_chats, _chat, events):
                if chunk.error:
                    _checked(chunk)
                if chunk.usage:
                    self._usage = chunk.usage
                self._model = chunk.model or self._model
                for choice in chunk.choices or ():
                    self._answered = True
                    if choice.finish_reason:
                        self._finish = choice.finish_reason
                    delta = choice.delta
                    if delta is None:
                        continue
                    if isinstance(delta.content, str):
                        texts.append(delta.content)
                    else:
                        texts.append(delta.text)
                    for part in delta.calls:
                        _take(self._calls, part, part.index)
            self.ended = self.ended or done  # not behind an event that is broken
        finally:  # what was said before a failure stands
            text = "".join(texts)
            self._texts.add(text)
        return text


def _message(message: ChatMessage) -> Mapping[str, object]:
    """Return a message with its calls as this API wants them; it has no word for a result that is an error."""
    said: dict[str, object] = {"role": message["role"], "content": message["content"]}
    if "tool_call_id" in message:
        said["tool_call_id"] = message["tool_call_id"]
    if "tool_calls" in message:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_object(call.arguments)},
            }
            for call in message["tool_calls"]
        ]
    return said


def _tool(tool: Tool) -> object:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _choice(choice: str) -> object:
    return choice if choice in {"auto", "none", "required"} else {"type": "function", "function": {"name": choice}}


def _calls(parts: Sequence[_CallPart]) -> tuple[ToolCall, ...]:
    calls = Calls()
    for place, part in enumerate(parts):
        _take(calls, part, place)
    return calls.whole()


def _take(calls: Calls, part: _CallPart, index: int | None) -> None:
    if custom := part.custom:
        calls.add(index, part.id or "", custom.name or "", custom.input or "", is_text=True)
        return
    function = part.function or _Function()
    arguments = function.arguments or ""
    text = arguments if isinstance(arguments, str) else _encode(arguments).decode()
    calls.add(index, part.id or "", function.name or "", text)


def _no_message() -> UpstreamFailed:
    return UpstreamFailed("model.garbage", "The model answered without a message.")


def _checked(chat: _Chat) -> _Chat:
    if bytes(chat.error) not in {b"", b"null"}:
        raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
    return chat
