"""The model of `/chat` behind the gateway: whatever `LanguageModel` answers, it is spoken to as a server is."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec

from llmos_lite.core.gateway.translation.chat import read_request
from llmos_lite.core.gateway.translation.chat_answers import ChatOut
from llmos_lite.core.gateway.translation.files import File
from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Ask,
    Began,
    Called,
    Counted,
    Gathered,
    Result,
    Said,
    Stop,
    Stopped,
    Text,
    Turn,
    Use,
    Words,
)
from llmos_lite.core.gateway.translation.reading import as_taken
from llmos_lite.core.gateway.translation.tools import AsAsked, arguments_of, described
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm import ChatMessage, ChatRequest, Completion, Delta, LanguageModel, Piece, Tool, ToolCall
from llmos_lite.engines.llm import knows_tools as may_call
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.errors import Invalid

_STOPS: dict[str, Stop] = {"end": "end", "length": "length", "tools": "tools", "filtered": "filtered"}
_schema = msgspec.json.Decoder(dict[str, object])


def no_embeddings(server: str) -> Invalid:
    """Return the error for embeddings of a server that has none.

    Args:
        server: which one, for people.
    """
    return Invalid(
        "model.no_embeddings",
        f"No provider that offers embeddings is set for this model: {server} only writes answers.",
        hint="Set LLMOS_LLM_URL to a server that has them, as http://127.0.0.1:11434/v1 of Ollama, "
        "or name one that has this model: `llmos providers set NAME --base-url URL --model MODEL`.",
    )


class LocalUpstream:
    """A language model of ours as a server that speaks chat completions.

    Args:
        model: what answers.
    """

    wires = frozenset({Wire.CHAT})

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @property
    def tools(self) -> bool:
        """Whether the model can be given tools."""
        return may_call(self._model)

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._model.name

    async def send(self, passing: Passing) -> Reply:
        """Ask the model; see `Upstream`."""
        if passing.method == "GET":
            listed = msgspec.json.encode({"object": "list", "data": [{"id": self.name, "object": "model"}]})
            return _Reply(_once(listed), stream=False)
        if passing.path == "/embeddings":
            raise no_embeddings(f"the model of llmos itself ({self.name})")
        ask = read_request(passing.body)
        pieces = self._model.stream(_request(ask, tools=may_call(self._model)))
        try:
            first = await anext(pieces, None)
        except BaseException:
            await pieces.aclose()
            raise
        said = _known(_answer(self.name, first, pieces), AsAsked(ask.tools))
        return _Reply(_events(said) if ask.stream else _whole(said), pieces, stream=ask.stream)

    async def close(self) -> None:
        """Do nothing: whoever made the model closes it."""


class _Reply(Reply):
    status = 200

    def __init__(
        self, body: AsyncGenerator[bytes, None], pieces: AsyncGenerator[Piece, None] | None = None, *, stream: bool
    ) -> None:
        self._kind, self._body, self._pieces = "text/event-stream" if stream else "application/json", body, pieces

    def header(self, name: str) -> str:
        return self._kind if name == "content-type" else ""

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        return [(b"content-type", self._kind.encode())]

    async def chunk(self) -> bytes:
        return await anext(self._body, b"")

    async def end(self) -> None:
        if self._pieces is not None:
            await self._pieces.aclose()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


async def _events(answer: AsyncGenerator[Said, None]) -> AsyncGenerator[bytes, None]:
    out = ChatOut()
    async for said in answer:
        if written := out.event(said):
            yield written
    yield out.end()


async def _whole(answer: AsyncGenerator[Said, None]) -> AsyncGenerator[bytes, None]:
    gathered = Gathered()
    async for said in answer:
        gathered.take(said)
    yield ChatOut().whole(gathered)


async def _known(answer: AsyncGenerator[Said, None], as_asked: AsAsked) -> AsyncGenerator[Said, None]:
    async for said in answer:
        for piece in as_asked.take(said):
            yield piece


async def _answer(model: str, first: Piece | None, rest: AsyncGenerator[Piece, None]) -> AsyncGenerator[Said, None]:
    yield Began(f"chatcmpl-{secrets.token_hex(12)}", model)
    calls = 0
    piece = first
    while piece is not None:
        if isinstance(piece, Delta):
            yield Words(piece.text)
        elif isinstance(piece, ToolCall):
            yield Called(calls, piece.id, piece.name)
            yield Argued(calls, piece.arguments)
            calls += 1
        else:
            for said in _end(piece):
                yield said
        piece = await anext(rest, None)


def _end(done: Completion) -> Sequence[Said]:
    return [
        Counted(done.tokens_in or None, done.tokens_out or None),
        Stopped(_STOPS[done.stop_reason]),
    ]


def _request(ask: Ask, *, tools: bool) -> ChatRequest:
    system = [part.text for turn in ask.turns if turn.role == "system" for part in turn.parts if isinstance(part, Text)]
    turns = [Turn(turn.role, [as_taken(part, _never) for part in turn.parts]) for turn in ask.turns]
    messages = [message for turn in turns if turn.role != "system" for message in _messages(turn)]
    if not messages:
        raise Invalid("request.invalid", "The request has no message of a person.", hint="Send one.")
    return ChatRequest(
        messages=messages,
        system="\n\n".join(system),
        max_tokens=ask.most_tokens or None,
        tools=[_tool(spec.name, described(spec), bytes(spec.schema)) for spec in ask.tools] if tools else (),
        tool_choice=ask.choice,
    )


def _never(_: File) -> bool:
    return False


def _messages(turn: Turn) -> list[ChatMessage]:
    """Return a turn as messages: results of tools one by one, then the words, with the calls beside them."""
    found: list[ChatMessage] = [
        {"role": "tool", "content": part.text, "tool_call_id": part.id, "is_error": part.is_error}
        for part in turn.parts
        if isinstance(part, Result)
    ]
    text = "\n\n".join(part.text for part in turn.parts if isinstance(part, Text))
    calls = [ToolCall(part.id, part.name, arguments_of(part)) for part in turn.parts if isinstance(part, Use)]
    if turn.role == "assistant" and calls:
        found.append({"role": "assistant", "content": text, "tool_calls": calls})
    elif text or not found:
        found.append({"role": turn.role, "content": text})
    return found


def _tool(name: str, description: str, schema: bytes) -> Tool:
    try:
        return Tool(name, description, _schema.decode(schema))
    except msgspec.DecodeError:
        raise Invalid("request.invalid", f"The parameters of the tool {name[:64]!r} are no JSON schema.") from None
