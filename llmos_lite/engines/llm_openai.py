"""A model behind the API that OpenAI, Ollama, vLLM, llama.cpp and most others speak: `/chat/completions`."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, token_count
from llmos_lite.engines.llm_http import HttpModel, ModelServer, decoded
from llmos_lite.engines.sse import SseReader
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
        base_url = base_url.rstrip("/") + ("" if urlsplit(base_url).path.strip("/") else "/v1")
        headers = {"authorization": f"Bearer {key}"} if key else {}
        super().__init__(ModelServer(base_url, headers=headers, secret=key, timeout=timeout), model)

    def written(self, request: ChatRequest, model: str) -> bytes:
        """Return the body of a request, with the system prompt as its first message."""
        system: list[ChatMessage] = [{"role": "system", "content": request.system}] if request.system else []
        return _encode(
            _Body(
                model=model,
                messages=[*system, *request.messages],
                max_tokens=msgspec.UNSET if request.max_tokens is None else request.max_tokens,
                temperature=msgspec.UNSET if request.temperature is None else request.temperature,
            )
        )

    def whole(self, data: bytes, model: str) -> Completion:
        """Return the answer of a server that did not stream."""
        chat = _checked(decoded(_chat, data))
        first, usage = chat.choices[0] if chat.choices else _Choice(), chat.usage or _Usage()
        if first.message is None or first.message.content is None:
            raise _no_message()
        return Completion(
            text=first.message.content,
            model=chat.model or model,
            tokens_in=token_count(usage.prompt_tokens),
            tokens_out=token_count(usage.completion_tokens),
            finish=first.finish_reason or "stop",
        )

    def dialect(self, model: str) -> _Stream:
        """Return a reader for a stream."""
        return _Stream(model)


class _Stream:
    """Chunks of a chat; ended by `[DONE]`, or by a reason to finish when the server leaves that out."""

    def __init__(self, model: str) -> None:
        self.ended = False
        self._model, self._finish = model, ""
        self._usage = _Usage()
        self._answered = False
        self._texts: list[str] = []
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
            text="".join(self._texts),
            model=self._model,
            tokens_in=token_count(self._usage.prompt_tokens),
            tokens_out=token_count(self._usage.completion_tokens),
            finish=self._finish or "stop",
        )

    def _taken(self, events: list[bytes]) -> str:
        text = ""
        for data in events:
            if data == b"[DONE]":
                self.ended = True
                break
            chunk = _checked(decoded(_chat, data))
            self._usage, self._model = chunk.usage or self._usage, chunk.model or self._model
            for choice in chunk.choices or ():
                self._answered = True
                self._finish = choice.finish_reason or self._finish
                if choice.delta is not None and choice.delta.content:
                    text += choice.delta.content
        self._texts.append(text)
        return text


def _no_message() -> UpstreamFailed:
    return UpstreamFailed("model.garbage", "The model answered without a message.")


def _checked(chat: _Chat) -> _Chat:
    if bytes(chat.error) not in {b"", b"null"}:
        raise UpstreamFailed("model.failed", "The model failed in the middle of its answer.", hint="Try again.")
    return chat
