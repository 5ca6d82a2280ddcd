"""Requests about answers that are made in the background: they pass to the server that makes these, and back."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from llmos_lite.core.accounts.permissions import Actor, Verb, permit
from llmos_lite.core.gateway.answers import OK, REFUSAL, in_json, is_over, passed_headers, passed_status
from llmos_lite.core.gateway.background import Background
from llmos_lite.core.gateway.dialect import Told
from llmos_lite.core.gateway.estimate import of_answer
from llmos_lite.core.gateway.passage import Passage, always
from llmos_lite.core.gateway.pieces import Head, Out, Request, Whole
from llmos_lite.core.gateway.problems import refusal_in
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, Reading, cut_short, read_reply
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.core.gateway.responses_reader import response_state
from llmos_lite.core.gateway.steering import Steering
from llmos_lite.core.limits import Limits
from llmos_lite.core.traces.trace import Ended
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.engines.upstreams import REFUSALS, Upstreams
from llmos_lite.errors import LlmosError, UpstreamFailed
from llmos_lite.records.background import BackgroundResponse

_ENDS = {
    "completed": (Ended.COMPLETE, ""),
    "incomplete": (Ended.COMPLETE, ""),
    "cancelled": (Ended.ABORTED, ""),
    "failed": (Ended.ERROR, "model.failed"),
}
"""How a response ended, by its status, and with which code."""
_DELETE, _STATES = "DELETE", frozenset({"", "/cancel"})
"""What removes a response, and where its state is told."""


class About(NamedTuple):
    """What is asked about an answer.

    Args:
        method: of HTTP.
        response_id: how the provider names it.
        tail: of the path behind that; empty for the answer itself.
    """

    method: str
    response_id: str
    tail: str = ""


class _Asking(NamedTuple):
    """Who asks for an answer, with which headers, and what is known of it."""

    actor: Actor
    steering: Steering
    row: BackgroundResponse


class Behind:
    """Passes requests about answers on that are made in the background.

    Args:
        background: knows these answers.
        upstreams: the model servers.
        limits: how much may be used.
    """

    def __init__(self, background: Background, upstreams: Upstreams, limits: Limits) -> None:
        self._background, self._upstreams, self._limits = background, upstreams, limits
        self._dialect = ResponsesDialect()

    async def pass_on(self, actor: Actor, about: About, request: Request, out: Out) -> None:
        """Hand out what the server that makes an answer says of it.

        Raises:
            NotFound: `response.unknown`.
            LlmosError: before the head, for whatever keeps the request from being answered.
        """
        permit(actor, Verb.CHAT, actor.volume)
        steering = request.steering()
        row = await self._background.find(actor, about.response_id, own_key=steering.own_key)
        path = f"{Wire.RESPONSES.path}/{about.response_id}{about.tail}"
        passing = Passing(
            method=about.method,
            path=f"{path}?{request.query}" if request.query else path,
            body=request.body,
            headers=steering.passed,
            own_key=steering.own_key,
        )
        asking = _Asking(actor, steering, row)
        async with self._limits.request(actor), await self._upstreams.at(row.server, passing) as reply:
            if reply.status == OK and reply.header("content-type").startswith("text/event-stream"):
                await self._streamed(asking, reply, request, out)
            elif reply.status < REFUSALS:
                await self._whole(asking, about, reply, out)
            else:
                await self._refused(row, reply, request, out)

    async def _refused(self, row: BackgroundResponse, reply: Reply, request: Request, out: Out) -> None:
        said, headers, status = await read_reply(reply, REFUSAL), _headers(row, reply), passed_status(reply)
        if not said.lstrip().startswith(b"{"):
            told = refusal_in(said, reply.status)
            said = self._dialect.refusal(status, told.message, told.code or "model.failed", request.id)
            headers = in_json(headers)
        await out(Whole(status, headers, said))

    async def _whole(self, asking: _Asking, about: About, reply: Reply, out: Out) -> None:
        body = await read_reply(reply, LARGEST_ANSWER)
        if not body.lstrip().startswith(b"{"):
            raise UpstreamFailed("model.garbage", f"The model's server answered {reply.status}.", hint="Try again.")
        if reply.status == OK and about.method == _DELETE:
            await self._background.drop(asking.row)
        elif reply.status == OK and about.tail in _STATES:
            status, done = response_state(body, asking.row.model)
            if status in _ENDS:
                await self._background.ended(*asking, done, _ENDS[status])
        await out(Whole(passed_status(reply), _headers(asking.row, reply), body))

    async def _streamed(self, asking: _Asking, reply: Reply, request: Request, out: Out) -> None:
        """Hand a stream on; what ends it when the trace is durable."""
        row, reading = asking.row, Reading(self._dialect, asking.row.model)
        await out(Head(OK, _headers(row, reply)))
        over = False
        try:
            over = await self._hearing(asking, reading, Passage(reply, reading, None, request.straight, always), out)
        except LlmosError as error:
            told = Told(row.model, reading.answer_id, reading.number, goes_on=True)
            await out(self._dialect.problem_event(error, request.id, told))
        finally:
            if not over and (done := reading.completion()) is not None:
                goes_on = "starting_after" in request.query
                with suppress(LlmosError):  # what ended the stream is to be told
                    await self._background.left_again(asking.actor, row, of_answer(done), goes_on=goes_on)

    async def _hearing(self, asking: _Asking, reading: Reading, passage: Passage, out: Out) -> bool:
        """Hand on what comes; tell whether the answer came to its end."""
        over = False
        while (data := await passage.held()) is not None:
            if passage.ended and not over and is_over(reading, data):
                over = True
                await self._heard(asking, reading)
            if data:
                await out(data)
        last = passage.close()
        if not passage.ended:
            if not reading.ended:
                raise reading.failure() or cut_short()
            over = True
            await self._heard(asking, reading)
        if last:
            await out(last)
        return over

    async def _heard(self, asking: _Asking, reading: Reading) -> None:
        done = reading.completion() or Completion(text="", model=asking.row.model)
        await self._background.ended(*asking, done, _ENDS["failed" if reading.failed else "completed"])


def _headers(row: BackgroundResponse, reply: Reply) -> list[tuple[bytes, bytes]]:
    kept = passed_headers(reply)
    return [*kept, (b"x-llmos-trace", row.trace_id.encode())] if row.trace_id else kept
