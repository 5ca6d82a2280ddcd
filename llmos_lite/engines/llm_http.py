"""A model's API over HTTP: what both dialects share. Answers are bounded, and errors clear, without the key in them."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from llmos_lite.engines.http_client import HttpClient, Into, Meaning, PlainClient, Reply, as_it_is, told_wait
from llmos_lite.engines.http_tls import TlsClient
from llmos_lite.engines.llm import ChatRequest, Completion, Delta, Piece, gathered, unheard
from llmos_lite.engines.sse import SseReader
from llmos_lite.errors import Invalid, LlmosError, UpstreamFailed, UpstreamTimeout

LARGEST_ANSWER = 8 << 20
"""Most bytes that are read of one answer; a model that writes a book fits in one."""
END_SECONDS = 0.2
"""How long a finished stream may take to end its body; a connection whose body has ended can be used again."""

_UNABLE = frozenset({400, 404, 422, 500, 501})
"""With which servers say that a model takes no tools: Ollama and vLLM 400, routers 404, llama.cpp 500."""

_OPENAI_HOSTS = (".api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
_QUOTED = 300
_GENERAL = frozenset({"user-agent", "content-type"})
T = TypeVar("T")


class Answer:
    """An answer whose status was fine and whose body is still to be read; as a context it ends with it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._size = 0
        length = reply.header("content-length")
        if length.isdecimal() and int(length) > LARGEST_ANSWER:
            raise _too_large()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._reply.end()

    @property
    def is_stream(self) -> bool:
        """Tell whether the body is server-sent events."""
        return self._reply.header("content-type").startswith("text/event-stream")

    async def chunk(self) -> bytes:
        """Return the next bytes of the body; empty at its end.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """
        data = await self._reply.chunk()
        self._size += len(data)
        if self._size > LARGEST_ANSWER:
            raise _too_large()
        return data

    async def pour(self, into: Into) -> bool:
        """Hand the body on as it comes; see `http_client.pour`.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """

        def counted(data: bytes) -> bool:
            self._size += len(data)
            if self._size > LARGEST_ANSWER:
                raise _too_large()
            return into(data)

        return await self._reply.pour(counted)

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            UpstreamFailed: `model.garbage`, past `LARGEST_ANSWER`.
        """
        data = await self._reply.read(LARGEST_ANSWER)
        if len(data) > LARGEST_ANSWER:
            raise _too_large()
        return data

    async def end(self) -> None:
        """Read to the end of a body that said all it had to say."""
        with suppress(OSError, LlmosError):
            async with asyncio.timeout(END_SECONDS):
                await self._reply.read(LARGEST_ANSWER)


def _too_large() -> UpstreamFailed:
    return UpstreamFailed("model.garbage", f"The model's answer is larger than {LARGEST_ANSWER >> 20} MiB.")


class Silence:
    """Notices a stream in which bytes come and nothing is said.

    Args:
        longest: seconds without an event.
        meaning: of the error.
    """

    def __init__(self, longest: float, meaning: Meaning = as_it_is) -> None:
        self._longest, self._meaning, self._events, self._since = longest, meaning, 0, time.monotonic()

    def heard(self, events: int) -> None:
        """Take note of how many events came so far.

        Raises:
            TimeoutError: none came for too long.
        """
        now = time.monotonic()
        if events != self._events:
            self._events, self._since = events, now
        elif now - self._since > self._longest:
            raise self._meaning(TimeoutError())


class ModelServer:
    """One base URL with its credential, and one pool of connections to it.

    Args:
        base_url: `http` or `https`, without a trailing slash.
        headers: sent with every request; never logged.
        secret: the key, cut out of whatever the server says about it.
        timeout: longest silence, in seconds.
        named: the settings that hold URL and key, for hints.
        name: what people call it; where it is, only the log is told.

    Raises:
        Invalid: `settings.invalid`, when the URL is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str],
        secret: str = "",
        timeout: float,
        named: tuple[str, str] = ("LLMOS_LLM_URL", "LLMOS_LLM_KEY"),
        name: str = "",
    ) -> None:
        self._name = f"The model's server {name!r}" if name else "The model's server"
        self.base_url, self._named = checked_url(base_url, named[0]), named
        self._headers = {"user-agent": "llmos-lite", "content-type": "application/json", **headers}
        self._secret, self._timeout, self.has_key = secret, timeout, bool(secret)
        self.secrets = [secret, *(value for name, value in headers.items() if _is_secret(name))]
        self.credential = {name: value for name, value in self._headers.items() if name not in _GENERAL}
        url = urlsplit(self.base_url)
        self.host = url.netloc.rpartition("@")[2]
        self.client: HttpClient = (
            PlainClient(url, timeout=timeout, meaning=self.failure)
            if url.scheme == "http"
            else TlsClient(self.base_url, timeout=timeout, meaning=self.failure)
        )

    async def request(self, method: str, path: str, body: bytes = b"", *, tools: bool = False) -> Answer:
        """Send a request and return its answer, which is a context, unless its status is a refusal.

        Args:
            method: of HTTP.
            path: below the base URL.
            body: JSON.
            tools: whether it offers tools, which is what a refusal may be about.

        Raises:
            UpstreamFailed: what happened, or what the server said, without our key in it; as `LanguageModel` lists it.
            UpstreamTimeout: `model.timeout`.
        """
        reply = await self.client.send(method, path, self._headers, body)
        try:
            return await self._checked(reply, tools=tools)
        except BaseException:
            await reply.end()
            raise

    def silence(self) -> Silence:
        """Return a watch over one stream."""
        return Silence(self._timeout, self.failure)

    async def close(self) -> None:
        """Close the pool."""
        await self.client.close()

    def failure(self, error: OSError) -> LlmosError:
        """Return what an error of the connection means: `model.unreachable`, `model.timeout` or `model.cut`."""
        return self._meaning(error).at(self.host)

    def _meaning(self, error: OSError) -> UpstreamFailed:
        if isinstance(error, ConnectionRefusedError):
            hint = f"Start it, see that this machine reaches it, or set {self._named[0]}."
            return UpstreamFailed("model.unreachable", f"{self._name} cannot be reached.", hint=hint)
        if isinstance(error, TimeoutError):
            said = f"{self._name} was silent for {self._timeout:g} s."
            return UpstreamTimeout("model.timeout", said, hint="Try again.")
        return UpstreamFailed("model.cut", f"{self._name} broke the connection.", hint="Try again.")

    async def _checked(self, reply: Reply, *, tools: bool) -> Answer:
        if reply.status != 200:  # noqa: PLR2004 - the one status that carries an answer
            raise await self._refusal(reply, tools=tools)
        return Answer(reply)

    async def _refusal(self, reply: Reply, *, tools: bool) -> UpstreamFailed:
        """Turn a status into an error that quotes the server, without our key in it."""
        said, status = await self._said(reply), reply.status
        if status == 429:  # noqa: PLR2004 - Too Many Requests
            after = told_wait(reply)
            seconds = None if after is None else math.ceil(after)
            return UpstreamFailed(
                "model.rate_limited",
                f"The model takes no more requests for now{said}",
                hint=f"Try again in {seconds} s." if seconds else "Try again later.",
                retry_after=seconds,
            )
        if status in {401, 403}:
            return UpstreamFailed(
                "model.rejected", f"The model refused our key ({status}){said}", hint=f"Check {self._named[1]}."
            )
        if tools and status in _UNABLE and _about_tools(said.lower()):
            return UpstreamFailed("model.no_tools", f"The model takes no tools ({status}){said}")
        if 400 <= status < 500:  # noqa: PLR2004 - the client errors of HTTP
            return UpstreamFailed("model.rejected", f"The model refused the request ({status}){said}")
        return UpstreamFailed("model.failed", f"The model failed ({status}){said}", hint="Try again.")

    async def _said(self, reply: Reply) -> str:
        start = b""
        while len(start) < 4 * _QUOTED and (chunk := await reply.chunk()):
            start += chunk
        text = " ".join(start[: 4 * _QUOTED].decode(errors="replace").split())
        if self._secret:
            text = text.replace(self._secret, "[key]")
        return f": {text[:_QUOTED]}" if text else "."


def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in ("auth", "key", "token", "secret", "cookie"))


def refuses_tools(status: int, said: bytes) -> bool:
    """Tell whether a refusal says that the model takes no tools."""
    return status in _UNABLE and _about_tools(said.decode(errors="replace").lower())


def _about_tools(said: str) -> bool:
    """Tell whether a refusal says that there are no tools: "does not support tools", "--enable-auto-tool-choice"."""
    return "tool" in said and any(word in said for word in ("support", "requires", "enable", "not allowed"))


class Dialect(Protocol):
    """Reads one stream of a provider; a fresh one for each answer."""

    ended: bool
    """Whether the provider said that this is all."""
    reader: SseReader
    """Counts the events: a line that is only kept open is silence, too."""

    def feed(self, data: bytes) -> str:
        """Return the text that came with these bytes of the stream.

        Raises:
            UpstreamFailed: `model.garbage`, or `model.failed`.
        """

    def close(self) -> str:
        """Return the text that the end of the stream still held; see `feed`."""

    def completion(self) -> Completion:
        """Return the whole answer."""


class _Taker:
    """Takes a stream as it comes.

    Args:
        dialect: reads it.
        silence: watches it.
        straight: takes texts at once; None for nobody.

    Attributes:
        text: what came last, and nobody took.
    """

    def __init__(self, dialect: Dialect, silence: Silence, straight: Callable[[str], bool] | None) -> None:
        self._dialect, self._silence, self._straight = dialect, silence, straight
        self.text = ""

    def take(self, data: bytes) -> bool:
        """Take a piece; False when it ends the answer, or says what nobody took."""
        text = self._dialect.feed(data)
        self._silence.heard(self._dialect.reader.events)
        if text and self._straight is not None and self._straight(text):
            text = ""
        self.text = text
        return not (text or self._dialect.ended)


class HttpModel(ABC):
    """A `LanguageModel` behind HTTP; a subclass speaks the dialect.

    Args:
        server: where it is.
        model: name; empty takes the first that the API lists, asked once.
    """

    path = ""
    """Of the request for an answer, below the base URL."""
    tools = True
    """Both APIs have them; a model behind one that has none raises `model.no_tools` when it is given some."""

    def __init__(self, server: ModelServer, model: str) -> None:
        self.server, self._model = server, model

    @property
    def name(self) -> str:
        """Name of the configured model, or of the one that was found."""
        return self._model

    async def models(self) -> list[str]:
        """Return the names that the API lists."""
        async with await self.server.request("GET", "/models") as answer:
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
        return await gathered(self.stream(replace(request, straight=unheard)))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer as it comes (texts that came together leave together); see `LanguageModel`."""
        model = request.model or self._model or await self.first()
        async with await self.server.request(
            "POST", self.path, self.written(request, model), tools=bool(request.tools)
        ) as answer:
            if not answer.is_stream:  # a server that knows no streams
                whole = self.whole(await answer.read(), model)
                if whole.text:
                    yield Delta(whole.text)
                for call in whole.tool_calls:
                    yield call
                yield whole
                return
            dialect = self.dialect(model)
            taker = _Taker(dialect, self.server.silence(), request.straight)
            while not dialect.ended and await answer.pour(taker.take):
                if taker.text:
                    yield Delta(taker.text)
            if dialect.ended:
                await answer.end()
            elif text := dialect.close():
                yield Delta(text)
            if not dialect.ended:
                raise UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")
            completion = dialect.completion()
            for call in completion.tool_calls:
                yield call
            yield completion

    async def close(self) -> None:
        """Close the connections."""
        await self.server.close()

    @abstractmethod
    def written(self, request: ChatRequest, model: str) -> bytes:
        """Return the body of a request."""

    @abstractmethod
    def whole(self, data: bytes, model: str) -> Completion:
        """Return the answer of a server that did not stream.

        Raises:
            UpstreamFailed: `model.garbage`, or `model.failed`.
        """

    @abstractmethod
    def dialect(self, model: str) -> Dialect:
        """Return a reader for a stream."""


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed] | None = None


_list = msgspec.json.Decoder(_List)


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    """Decode what a model sent.

    Raises:
        UpstreamFailed: `model.garbage`.
    """
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpstreamFailed("model.garbage", f"The model answered what is not its protocol: {error}") from None


def all_decoded(
    many: msgspec.json.Decoder[list[T]], decoder: msgspec.json.Decoder[T], events: Sequence[bytes]
) -> Iterable[T]:
    """Return what events say: all in one go, unless one of them is garbage, which is an error where it stands.

    Raises:
        UpstreamFailed: `model.garbage`, perhaps not before the event is taken.
    """
    try:
        found = many.decode(b"[%b]" % b",".join(events))
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = []
    return found if len(found) == len(events) else (decoded(decoder, data) for data in events)


def flaw_of(url: str) -> str:
    """Return what keeps a text from being the base URL of an API; empty for nothing."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it holds a blank, or a character that no URL has"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"it is no URL ({error})"
    flaws = {
        "it does not begin with http:// or https://": parts.scheme not in {"http", "https"},
        "it names no host": not parts.hostname,
        "no server listens on port 0": port == 0,
        "what stands behind ? or # is no part of one": bool(parts.query or parts.fragment),
    }
    return next((flaw for flaw, there in flaws.items() if there), "")


def openai_url(url: str) -> str:
    """Return the base URL of a server that speaks OpenAI's API: a bare host gets the `/v1` that all of them have."""
    return url.rstrip("/") + ("" if urlsplit(url).path.strip("/") else "/v1")


def limit_of(url: str) -> str:
    """Return what a server of chat completions calls the most tokens of an answer.

    OpenAI's models that think refuse `max_tokens`; Ollama, LM Studio and others know no other word.
    """
    host = f".{urlsplit(url).hostname}"
    return "max_completion_tokens" if host.endswith(_OPENAI_HOSTS) else "max_tokens"


def checked_url(url: str, setting: str = "LLMOS_LLM_URL") -> str:
    """Return a base URL without its trailing slash.

    Raises:
        Invalid: `settings.invalid`, when it is none.
    """
    if flaw := flaw_of(url):
        raise Invalid(
            "settings.invalid",
            f"{setting} is not the base URL of an API: {flaw}.",
            hint="Set it as in http://127.0.0.1:9100/v1.",
        )
    return url.rstrip("/")
