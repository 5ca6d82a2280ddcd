"""Translates one request, and the answer to it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from secrets import token_hex
from typing import NamedTuple, Protocol

from llmos_lite.core.gateway.translation import (
    chat,
    chat_answers,
    messages,
    messages_answers,
    responses,
    responses_answers,
)
from llmos_lite.core.gateway.translation.calls import CallsInTurn
from llmos_lite.core.gateway.translation.files import File, is_any, is_known, is_pdf
from llmos_lite.core.gateway.translation.neutral import (
    Ask,
    Called,
    Gathered,
    Image,
    Part,
    Result,
    Said,
    Stopped,
    ToolSpec,
    Turn,
    Use,
    Words,
)
from llmos_lite.core.gateway.translation.reading import as_taken, unread
from llmos_lite.core.gateway.translation.tools import AsAsked, named
from llmos_lite.core.gateway.translation.waived import FILES, lowered
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid


class AnswerIn(Protocol):
    """Reads an answer."""

    def whole(self, body: bytes) -> list[Said]:
        """Read one that came at once.

        Raises:
            UpstreamFailed: `model.garbage`.
        """

    def feed(self, data: bytes) -> list[Said]:
        """Read a piece of a stream, cut anywhere.

        Raises:
            UpstreamFailed: `model.garbage`.
        """


class AnswerOut(Protocol):
    """Writes an answer."""

    def whole(self, answer: Gathered) -> bytes:
        """Write it at once."""

    def event(self, said: Said) -> bytes:
        """Write a piece of it."""

    def end(self) -> bytes:
        """Write the end of a stream."""

    @property
    def answer_id(self) -> str:
        """Return how the client knows the answer; empty as long as it has none of it, or where that leads nowhere."""

    @property
    def number(self) -> int:
        """Return the number of the next event; 0 where events have none."""


@dataclass(frozen=True, slots=True)
class _Speech:
    """How a dialect is read and written."""

    read: Callable[[bytes], Ask]
    write: Callable[[Ask], bytes]
    answer_in: Callable[[], AnswerIn]
    answer_out: Callable[[], AnswerOut]
    takes: Callable[[File], bool]
    known: frozenset[str]
    """Settings that are read, and hints."""


_SPEECH: Mapping[Wire, _Speech] = {
    Wire.CHAT: _Speech(
        chat.read_request, chat.write_request, chat_answers.ChatIn, chat_answers.ChatOut, is_pdf, chat.KNOWN
    ),
    Wire.MESSAGES: _Speech(
        messages.read_request,
        messages.write_request,
        messages_answers.MessagesIn,
        messages_answers.MessagesOut,
        is_known,
        messages.KNOWN,
    ),
    Wire.RESPONSES: _Speech(
        responses.read_request,
        responses.write_request,
        responses_answers.ResponsesIn,
        responses_answers.ResponsesOut,
        is_any,
        responses.KNOWN,
    ),
}


class Translated(NamedTuple):
    """A request as the server of its model takes it.

    Args:
        body: of the request.
        tools: what the client may be asked to call.
        left_out: its tools, and types of what it says, that the server has no word for.
        effort: how hard the model is told to think; empty for not at all.
        files: how many files that tools gave it is shown.
        calls: ids of calls in the conversation.
    """

    body: bytes
    tools: Sequence[ToolSpec]
    left_out: Sequence[str]
    effort: str = ""
    files: int = 0
    calls: frozenset[str] = frozenset()


def translate_request(
    body: bytes,
    client: Wire,
    server: Wire,
    limit: str = "max_tokens",
    without: Collection[str] = (),
    *,
    hidden: int = 0,
) -> Translated:
    """Return a client's request as the server of its model takes it.

    Args:
        body: of the request.
        client: what the client speaks.
        server: what the server speaks.
        limit: see `Ask`.
        without: words for how hard to think that the model refused before; see `GiveWayError`.
        hidden: how many files that tools gave it refused; with more of them it is shown all.

    Raises:
        Invalid: `request.invalid`, for what the server's dialect has no word for, or what is no request.
    """
    ask = replace(_SPEECH[client].read(body), limit=limit)
    _check_says_something(ask, server)
    turns, given = ask.turns, 0
    if _shows_more(turns):
        turns, given = _carried(_by_side(turns), _SPEECH[server].takes, hidden)
    told = replace(ask, effort=lowered(ask.effort, without), turns=turns)
    left_out = [*ask.left_out, *named(unread(body, _SPEECH[client].known)), *_lost(ask, told, server)]
    if 0 < given <= hidden:
        left_out.append(FILES)
        given = 0
    calls = frozenset([part.id for turn in turns for part in turn.parts if isinstance(part, Use)])
    return Translated(_SPEECH[server].write(told), ask.tools, left_out, told.effort, given, calls)


def _check_says_something(ask: Ask, server: Wire) -> None:
    said_by_others = [turn.parts for turn in ask.turns if turn.role != "system"]
    if not any(said_by_others) and (said_by_others or not ask.turns or server is Wire.MESSAGES):
        said = "Nothing in the conversation can be said in the API of the model's server."
        raise Invalid("request.invalid", said, hint="Send a text, a picture, or what a tool gave.")


def _shows_more(turns: Sequence[Turn]) -> bool:
    """Tell whether there is more to see than pictures of a person; most requests have nothing, and lose no time."""
    for turn in turns:
        for part in turn.parts:
            if isinstance(part, File) or (isinstance(part, Result) and part.files):
                return True
            if isinstance(part, Image) and turn.role != "user":
                return True
    return False


def _by_side(turns: Sequence[Turn]) -> Sequence[Turn]:
    """Return turns in which only a person shows something: elsewhere it comes before what is said beside it."""
    found = []
    for turn in turns:
        seen = [part for part in turn.parts if turn.role != "user" and _is_seen(part)]
        rest = [part for part in turn.parts if part not in seen]
        found += [*([Turn("user", seen)] if seen else []), *([Turn(turn.role, rest)] if rest else [])]
    return found


def _is_seen(part: Part) -> bool:
    return isinstance(part, Image | File)


def _carried(turns: Sequence[Turn], takes: Callable[[File], bool], hidden: int) -> tuple[Sequence[Turn], int]:
    """Return turns with files as a server takes them, and how many there are that tools gave and it would take."""
    files = (file for turn in turns for part in turn.parts for file in _files_in(part))
    given = sum(file.given and takes(file) for file in files)
    shown = partial(_is_shown, takes, given <= hidden)
    return [Turn(turn.role, [as_taken(part, shown) for part in turn.parts]) for turn in turns], given


def _lost(ask: Ask, told: Ask, server: Wire) -> list[str]:
    """Return the names of what a server is not told of a request that other servers are."""
    lost = [] if told.effort or not ask.effort else ["effort"]
    return [*lost, *messages.lost(told)] if server is Wire.MESSAGES else lost


def _files_in(part: Part) -> Sequence[File]:
    return [part] if isinstance(part, File) else part.files if isinstance(part, Result) else ()


def _is_shown(takes: Callable[[File], bool], without_given: bool, file: File) -> bool:  # noqa: FBT001
    """Tell whether a model is shown a file, and not only told of it or given its text."""
    return takes(file) and not (file.given and without_given)


class AnswerTranslation:
    """Translates one answer.

    Args:
        server: what is read.
        client: what is written.
        tools: of the request.
        calls: ids that calls have which were made before.
    """

    def __init__(self, server: Wire, client: Wire, tools: Sequence[ToolSpec] = (), calls: Collection[str] = ()) -> None:
        self._taken = set(calls)
        self._in, self._out = _SPEECH[server].answer_in(), _SPEECH[client].answer_out()
        self._calls, self._as_asked = CallsInTurn(), AsAsked(tools)
        self._ended = self._stopped = False

    def whole(self, body: bytes) -> bytes:
        """Return an answer that came at once.

        Raises:
            UpstreamFailed: `model.garbage`.
        """
        return self._written(self._in.whole(body))

    def gathered(self, data: bytes) -> bytes:
        """Return at once what a whole stream says; see `whole`."""
        return self._written(self._in.feed(data))

    def streamed(self, body: bytes) -> bytes:
        """Return as a whole stream what came at once; see `whole`."""
        return b"".join(map(self._out.event, self._known(self._in.whole(body)))) + self._out.end()

    def feed(self, data: bytes) -> bytes:
        """Return what a piece of a stream says.

        Raises:
            UpstreamFailed: `model.garbage`.
        """
        shown: list[bytes] = []
        for said in self._in.feed(data):
            if isinstance(said, Words) and not self._as_asked.is_open:  # the same in every dialect
                shown.append(self._out.event(said))
                continue
            self._stopped = self._stopped or isinstance(said, Stopped)
            shown += map(self._out.event, self._known([said]))
        return b"".join(shown)

    def end(self) -> bytes:
        """Return the end of a stream, once; nothing for one that was cut."""
        if self._ended or not self._stopped:
            return b""
        self._ended = True
        return self._out.end()

    @property
    def answer_id(self) -> str:
        """Return how the client knows the answer; see `Telling`."""
        return self._out.answer_id

    @property
    def number(self) -> int:
        """Return the number of the next event; see `Telling`."""
        return self._out.number

    def _written(self, said: Sequence[Said]) -> bytes:
        answer = Gathered()
        for one in self._known(said):
            answer.take(one)
        return self._out.whole(answer)

    def _known(self, said: Sequence[Said]) -> Iterator[Said]:
        """Yield what is said as the client knows it: one call after the other, of the tools that it has."""
        for one in said:
            for piece in self._calls.take(one):
                yield from map(self._as_new, self._as_asked.take(piece))

    def _as_new(self, said: Said) -> Said:
        """Return a call with an id that no other has: some servers count from 0 each time, and Claude Code drops it."""
        if not isinstance(said, Called):
            return said
        if said.id in self._taken:
            said = said._replace(id=f"{said.id}_{token_hex(8)}")
        self._taken.add(said.id)
        return said
