"""`POST /chat`: plain ASGI, since every chat passes here; JSON, or server-sent events when asked for."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Protocol

import msgspec

from llmos_lite.api.auth import Needs, actor_of
from llmos_lite.api.chat_openapi import OPENAPI
from llmos_lite.api.chat_tools import GivenChoice, GivenTool, choice_of, own_tools
from llmos_lite.api.errors import Message, Receive, Scope, Send, explain, problem_body, send_problem
from llmos_lite.api.sse import EventStream
from llmos_lite.api.waiting import UntilGone, read_body
from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.permissions import Scope as Right
from llmos_lite.core.chat.calls import MOST_TOOLS, CallResult
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.messages import (
    MOST_SKILLS,
    ChatDelta,
    ChatEvent,
    ChatFailed,
    ChatInput,
    ChatResult,
    ChatStarted,
    ChatTool,
)
from llmos_lite.core.chat.service import ChatService
from llmos_lite.engines.llm import unheard
from llmos_lite.errors import Invalid

__all__ = ["OPENAPI", "ChatEndpoint"]

log = logging.getLogger("llmos.api")

_ON, _OFF = frozenset({b"on", b"true", b"1", b"yes"}), frozenset({b"off", b"false", b"0", b"no"})


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    message: str = ""
    conversation_id: str | None = None
    team_id: str | None = None
    stream: bool | None = None
    max_skills: Annotated[int, msgspec.Meta(ge=0, le=MOST_SKILLS)] | None = None
    disclosure: Disclosure | None = None
    tools: Annotated[tuple[GivenTool, ...], msgspec.Meta(max_length=MOST_TOOLS)] = ()
    tool_choice: str | GivenChoice = "auto"
    tool_results: Annotated[tuple[CallResult, ...], msgspec.Meta(max_length=MOST_TOOLS)] = ()


_decoder = msgspec.json.Decoder(_Body)
_encode = msgspec.json.Encoder().encode


class Services(Protocol):
    """What the route needs of an instance."""

    @property
    def accounts(self) -> Accounts:
        """Know who asks."""

    @property
    def chat(self) -> ChatService:
        """Answers."""


class ChatEndpoint:
    """The route.

    Args:
        services: of the instance.
    """

    needs = Needs(scope=Right.CHAT, delegates=True)

    def __init__(self, services: Services) -> None:
        self._accounts, self._chat = services.accounts, services.chat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is refused before the first byte is raised, for the edge to answer."""
        actor = self.needs.check(await actor_of(self._accounts, scope))
        record, wants_events, traceparent = _steering(scope)
        body = _parsed(await read_body(receive))
        given = ChatInput(
            message=body.message,
            conversation_id=body.conversation_id,
            team_id=body.team_id,
            max_skills=body.max_skills,
            record=record,
            disclosure=body.disclosure,
            traceparent=traceparent,
            tools=own_tools(body.tools),
            tool_choice=choice_of(body.tool_choice),
            tool_results=body.tool_results,
        )
        request_id = scope.get("state", {}).get("request_id", "")
        if not (wants_events if body.stream is None else body.stream):
            with UntilGone(receive):
                async with aclosing(self._chat.stream(actor, given, unheard)) as events:
                    await _as_json(events, send, request_id)
            return
        stream = EventStream(send)

        def straight(text: str) -> bool:
            return stream.at_once("delta", _encode(ChatDelta(text)))

        with UntilGone(receive):
            async with aclosing(self._chat.stream(actor, given, straight)) as events:
                await _as_events(events, stream, request_id)


async def _as_json(events: AsyncGenerator[ChatEvent, None], send: Send, request_id: str) -> None:
    async for event in events:
        if isinstance(event, ChatFailed):
            await send_problem(_with(send, _trace_header(event.trace_id)), event.error, request_id)
        elif isinstance(event, ChatResult):
            body = _encode(event)
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                *_trace_header(event.trace_id),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


async def _as_events(events: AsyncGenerator[ChatEvent, None], stream: EventStream, request_id: str) -> None:
    try:
        async for event in events:
            if isinstance(event, ChatDelta):
                await stream.event("delta", _encode(event))
            elif isinstance(event, ChatStarted):
                await stream.start(_trace_header(event.trace_id))
                await stream.event("start", _encode(event))
            elif isinstance(event, ChatTool):
                await stream.event("tool", _encode(event))
            elif isinstance(event, ChatFailed):
                await stream.event("error", problem_body(event.error, request_id))
            else:
                await stream.event("done", _encode(event))
        await stream.end()
    except Exception as error:
        if not stream.started:
            raise
        await _fail(stream, error, request_id)
    finally:
        stream.close()


async def _fail(stream: EventStream, error: Exception, request_id: str) -> None:
    """Tell of what went wrong in a stream, as when the disk is full: there was an answer, and no trace of it."""
    said = explain(error)
    if said is not error:
        log.error("request %s failed in its stream", request_id, exc_info=error)
    await stream.event("error", problem_body(said, request_id))
    await stream.end()


def _steering(scope: Scope) -> tuple[bool, bool, str]:
    """Return whether to record, whether the client takes events, and its place in a trace, as the headers say."""
    record = events = None
    traceparent = ""
    for name, value in scope["headers"]:
        if name == b"x-llmos-record":
            record = _switch(value)
        elif name == b"accept":
            events = b"text/event-stream" in value.lower()
        elif name == b"traceparent":
            traceparent = value.decode("latin-1")
    return record is not False, events is True, traceparent


def _switch(value: bytes) -> bool:
    """Read `X-LLMOS-Record`; a word that means nothing is refused, since guessing could record a secret."""
    word = value.strip().lower()
    if word not in _ON | _OFF:
        raise Invalid("request.invalid", "The header X-LLMOS-Record is neither on nor off.", hint="Send off, or none.")
    return word in _ON


def _parsed(body: bytes) -> _Body:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Invalid("request.invalid", f"The request is not valid: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("request.not_json", "The body of the request is not JSON.", hint="Send a JSON object.") from None


def _trace_header(trace_id: str | None) -> list[tuple[bytes, bytes]]:
    return [(b"x-llmos-trace", trace_id.encode())] if trace_id else []


def _with(send: Send, headers: list[tuple[bytes, bytes]]) -> Send:
    """Add headers to whatever answer is sent."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *headers]}
        await send(message)

    return sending
