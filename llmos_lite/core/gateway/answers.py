"""Answers of models on their way to clients; what ends them waits until their trace is durable."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from llmos_lite.core.gateway.background import Background
from llmos_lite.core.gateway.context import Contexts
from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.core.gateway.estimate import by_length
from llmos_lite.core.gateway.forms import EVENTS, in_form, read_whole
from llmos_lite.core.gateway.keeper import Keeper
from llmos_lite.core.gateway.passage import Passage, always
from llmos_lite.core.gateway.pieces import Head, Out, Whole, never
from llmos_lite.core.gateway.problems import Refused, refusal_in
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, Reading, cut_short, read_reply
from llmos_lite.core.gateway.responses_reader import RUNNING
from llmos_lite.core.gateway.tools.rounds import NoTools, Rounds
from llmos_lite.core.gateway.translation.translator import AnswerTranslation
from llmos_lite.core.gateway.translation.waived import FILES, GiveWayError, refused
from llmos_lite.core.gateway.turn import Turn
from llmos_lite.core.traces.trace import Ended
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.llm_http import refuses_tools
from llmos_lite.engines.upstream import Wire
from llmos_lite.engines.upstreams import REFUSALS, Sent
from llmos_lite.errors import LlmosError, UpstreamFailed

OK = 200
_GARBAGE = 600
"""The first status that HTTP does not know."""
REFUSAL = 1 << 20
"""Bytes of a refusal that are handed on."""
_PASSED = (
    b"content-type",
    b"x-request-id",
    b"request-id",
    b"retry-after",
    b"x-should-retry",
    b"openai-",
    b"anthropic-",
    b"x-ratelimit-",
)
_AT_ONCE = re.compile(rb'"background"\s*:\s*false')
"""How a server says that it does not do so, though asked; in a text, quotes are escaped."""
_ID, LONGEST_ID = b"x-request-id", 200
"""An id takes the place of ours, so that one that is empty or has no end is left out."""
_REFUSALS = {401: "model.rejected", 403: "model.rejected", 404: "model.rejected", 429: "model.rate_limited"}


class Answers:
    """Hands answers on.

    Args:
        dialects: what is spoken.
        keeper: keeps their traces.
        contexts: answers what a model looks up.
        background: knows the answers that are made behind their requests.
    """

    def __init__(
        self, dialects: Mapping[Wire, Dialect], keeper: Keeper, contexts: Contexts, background: Background
    ) -> None:
        self._dialects, self._keeper, self._contexts = dialects, keeper, contexts
        self._background = background

    def answered(self, turn: Turn, sent: Sent, out: Out) -> Awaitable[None]:
        """Hand the answer to one request out; what ends it when the trace is durable.

        Raises:
            UpstreamFailed: the model failed.
            NoTools: it takes no tools, and only ours were there.
            GiveWayError: it refused what the request may do without.
        """
        if sent.reply.status != OK:
            return self._refused(turn, sent, out)
        streamed = sent.reply.header("content-type").startswith(EVENTS)
        if streamed is not turn.asked.stream and not turn.asked.background:
            return self._in_form(turn, sent, out)
        if turn.rounds is not None and streamed:
            return self._in_rounds(turn, turn.rounds, sent, out)
        if streamed and turn.asked.background and sent.route.wire is turn.dialect.wire:
            return self._behind(turn, sent, out)
        return self._streamed(turn, sent, out) if streamed else self._whole(turn, sent, out)

    async def _refused(self, turn: Turn, sent: Sent, out: Out) -> None:
        """Hand a refusal on in the server's own words, put into the client's form when they come in another."""
        reply, status = sent.reply, passed_status(sent.reply)
        said = await read_reply(reply, REFUSAL)
        made = turn.translated
        word = refused(reply.status, said, made.effort, files=made.files > 0, asked=made.body) if made else ""
        if word in {"", FILES} and _without_tools(turn) and refuses_tools(reply.status, said):
            raise NoTools
        if word:
            raise GiveWayError(word)
        code = _REFUSALS.get(reply.status, "model.rejected" if reply.status < 500 else "model.failed")  # noqa: PLR2004
        if reply.status < REFUSALS:
            hint = "See that the base URL is the one where the API answers."
            raise UpstreamFailed(code, f"The model's server answered {reply.status}.", hint=hint)
        if turn.rounds is not None and turn.rounds.begun:
            raise UpstreamFailed(code, refusal_in(said, reply.status).message, hint="Try again.")
        headers = _headers(turn, reply)
        if sent.route.wire is not turn.dialect.wire or not said.lstrip().startswith(b"{"):
            said, headers = _refusal(turn, status, refusal_in(said, reply.status), code), in_json(headers)
        await self._keeper.keep(turn, Ended.ERROR, code)
        await out(Whole(status, headers, said))

    async def _in_form(self, turn: Turn, sent: Sent, out: Out) -> None:
        """Hand out what a server streams unasked, or does not stream although asked."""
        dialect = self._dialects[sent.route.wire]
        await self.answered(turn, await in_form(sent, dialect, stream=turn.asked.stream), out)

    async def _whole(self, turn: Turn, sent: Sent, out: Out) -> None:
        body = await read_reply(sent.reply, LARGEST_ANSWER)
        turn.completion = done = read_whole(sent, self._dialects[sent.route.wire], body)
        if sent.route.wire is not turn.dialect.wire:
            body = _translation(turn, sent).whole(body)
        elif turn.asked.background:
            await self._background.begun(turn, done.answer_id, runs_on=done.finish in RUNNING)
        rounds = None if turn.rounds is None or turn.rounds.is_theirs(done) else turn.rounds
        if rounds is not None:
            rounds.screen.take(body)
            if await self._follows(turn, rounds, done, out):
                return
        await self._keeper.keep(turn, Ended.COMPLETE)
        if rounds is not None:
            body = rounds.screen.end()
        await out(Whole(OK, _headers(turn, sent.reply), body))

    async def _streamed(self, turn: Turn, sent: Sent, out: Out) -> None:
        turn.reading = reading = Reading(self._dialects[sent.route.wire], sent.route.model)
        same = sent.route.wire is turn.dialect.wire
        translation = None if same else _translation(turn, sent)
        turn.telling = translation or reading
        await out(Head(OK, _headers(turn, sent.reply)))
        shown = None if translation is None else translation.feed
        passage = Passage(sent.reply, reading, shown, turn.straight, always if same else never)
        while (data := await passage.held()) is not None:
            if passage.ended and not turn.kept:
                await self._keeper.keep(turn, Ended.ERROR if reading.failed else Ended.COMPLETE, _code(reading.failed))
            if translation is not None and turn.kept:
                data += translation.end()
            if data:
                await out(data)
        last = passage.close()
        if not turn.kept:
            if not reading.ended:
                raise reading.failure() or cut_short()
            await self._keeper.keep(turn, Ended.COMPLETE)
            if translation is not None:
                last += translation.end()
        if last:
            await out(last)

    async def _behind(self, turn: Turn, sent: Sent, out: Out) -> None:
        """Stream an answer that is made also when nobody listens any more."""
        turn.reading = turn.telling = reading = Reading(self._dialects[sent.route.wire], sent.route.model)
        await out(Head(OK, _headers(turn, sent.reply)))
        try:
            await self._hearing(turn, reading, Passage(sent.reply, reading, None, never, always), out)
        finally:
            if turn.runs_on:
                heard = by_length(turn.question, turn.asked, reading.completion())
                with suppress(LlmosError):  # what ended the stream is to be told
                    await self._background.left(turn, reading.answer_id, heard)
        if not turn.kept:
            await self._keeper.keep(turn, Ended.ERROR, _code(reading.failed))

    async def _hearing(self, turn: Turn, reading: Reading, passage: Passage, out: Out) -> None:
        """Hand on what comes; the trace is kept unless a failure of the stream ends it."""
        at_once = False
        while (data := await passage.held()) is not None:
            at_once = at_once or not (turn.runs_on or _AT_ONCE.search(data) is None)
            ended = passage.ended and is_over(reading, data)
            if not turn.kept and (ended or not at_once):
                await self._heard(turn, reading, ended=ended)
            await out(data)
        last = passage.close()
        if not (turn.kept or passage.ended):
            if not reading.ended:
                raise reading.failure() or cut_short()
            await self._heard(turn, reading, ended=True)
        if last:
            await out(last)

    async def _heard(self, turn: Turn, reading: Reading, *, ended: bool) -> None:
        """Know an answer before its client does, and its end before that."""
        if not ended:
            if not turn.runs_on:
                await self._background.begun(turn, reading.begun_id, runs_on=True)
            return
        await self._background.begun(turn, reading.begun_id, runs_on=False)
        turn.runs_on = False
        await self._keeper.keep(turn, Ended.ERROR if reading.failed else Ended.COMPLETE, _code(reading.failed))

    async def _in_rounds(self, turn: Turn, rounds: Rounds, sent: Sent, out: Out) -> None:
        """Stream in a conversation with tools of ours: what calls these is not for the client."""
        if not rounds.begun:
            rounds.begun = True
            turn.telling = rounds.screen
            await out(Head(OK, _headers(turn, sent.reply)))
        await self._screened(turn, rounds, sent, out)
        failed = turn.reading.failed if turn.reading is not None else None
        if failed is None and turn.completion is not None and await self._follows(turn, rounds, turn.completion, out):
            return
        await self._keeper.keep(turn, Ended.ERROR if failed else Ended.COMPLETE, _code(failed))
        await out(rounds.screen.end())

    async def _follows(self, turn: Turn, rounds: Rounds, done: Completion, out: Out) -> bool:
        """Answer what calls tools of ours; tell whether a further request follows."""
        open_box = partial(self._contexts.box, turn.actor, turn.thread, turn.steering)
        if not await rounds.take(done, open_box):
            return False
        if shown := rounds.screen.next(done):
            await out(shown)
        return True

    async def _screened(self, turn: Turn, rounds: Rounds, sent: Sent, out: Out) -> None:
        """Hand out what a client gets of one stream, but for its end."""
        turn.reading = reading = Reading(self._dialects[sent.route.wire], sent.route.model)
        same = sent.route.wire is turn.dialect.wire
        translation = None if same else _translation(turn, sent)
        feed = rounds.screen.feed
        passage = Passage(
            sent.reply,
            reading,
            feed if translation is None else lambda data: feed(translation.feed(data)),
            turn.straight,
            rounds.screen.passes if same else never,
        )
        while (shown := await passage.held()) is not None:
            if shown:
                await out(shown)
        if shown := passage.close():
            await out(shown)
        if not reading.ended and reading.failed is None:
            raise cut_short()
        if translation is not None and (shown := rounds.screen.feed(translation.end())):
            await out(shown)
        turn.completion = reading.completion()


def _without_tools(turn: Turn) -> bool:
    """Tell whether a request may go on without tools: there are only ours."""
    return turn.rounds is not None and turn.rounds.removable


def _refusal(turn: Turn, status: int, said: Refused, code: str) -> bytes:
    return turn.dialect.refusal(status, said.message, said.code or code, turn.request_id)


def in_json(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers of an answer whose body is ours."""
    kept = [header for header in headers if header[0] != b"content-type"]
    return [*kept, (b"content-type", b"application/json")]


def _translation(turn: Turn, sent: Sent) -> AnswerTranslation:
    made = turn.translated
    return AnswerTranslation(sent.route.wire, turn.dialect.wire, *((made.tools, made.calls) if made else ()))


def _headers(turn: Turn, reply: Reply) -> list[tuple[bytes, bytes]]:
    kept = passed_headers(reply)
    if turn.recorded:
        kept.append((b"x-llmos-trace", turn.trace_id.encode()))
    if used := turn.thread.skills if turn.rounds is None else turn.skills:
        kept.append((b"x-llmos-skills-used", ",".join([use.skill_id for use in used]).encode()))
    if held := turn.thread.held:
        kept.append((b"x-llmos-skills-held", ",".join(one.skill_id for one in held).encode()))
    if turn.translated is not None and turn.translated.left_out:
        kept.append((b"x-llmos-left-out", ",".join(turn.translated.left_out).encode()))
    return kept


def passed_status(reply: Reply) -> int:
    """Return the status that a client gets, which no server can say unless HTTP knows it."""
    return reply.status if reply.status < _GARBAGE else 502


def passed_headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that are for the client."""
    kept = []
    for header in reply.headers():
        if header[0].startswith(_PASSED) and (header[0] != _ID or 0 < len(header[1]) <= LONGEST_ID):
            kept.append(header)  # noqa: PERF401 - without the call that a comprehension is
    return kept


def is_over(reading: Reading, data: bytes) -> bool:
    """Tell whether events that end a stream end the response as well, which is made in the background.

    An `error` alone says that the stream has failed; the response can be asked for all the same.
    """
    return reading.failed is None or b'"response.failed"' in data


def _code(error: LlmosError | None) -> str:
    return error.code if error else ""
