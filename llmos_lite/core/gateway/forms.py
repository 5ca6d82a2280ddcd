"""Answers in another form than was asked for: at once although a stream was asked for, or the other way round."""

from __future__ import annotations

from collections.abc import Iterable

from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.core.gateway.problems import failure_in
from llmos_lite.core.gateway.reading import LARGEST_ANSWER, cut_short, read_reply
from llmos_lite.core.gateway.translation.translator import AnswerTranslation
from llmos_lite.engines.absent import ReadReply
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.upstreams import Sent, without_keys
from llmos_lite.errors import UpstreamFailed

EVENTS, _JSON = "text/event-stream", "application/json"
_FIRST = (b"data:", b"event:", b"id:", b":")
"""What a stream begins with, and JSON does not."""
_END = b"\n\n"
"""Ends a last event that nothing ends but the body."""


async def in_form(sent: Sent, dialect: Dialect, *, stream: bool) -> Sent:
    """Return an answer in the form that the client asked for: as events, or at once; its library reads no other.

    Args:
        sent: whose answer is in the other form, or says so in its type.
        dialect: of the server.
        stream: whether events were asked for.

    Raises:
        UpstreamFailed: `model.garbage`, `model.failed`, `model.cut`: nothing has gone out yet.
    """
    body, route = await read_reply(sent.reply, LARGEST_ANSWER), sent.route
    translation = AnswerTranslation(route.wire, route.wire)
    if not stream:
        reader = dialect.reader(route.model)
        reader.feed(body + _END)
        reader.close()
        if not reader.ended:
            raise cut_short()
        return Sent(route, _Formed(sent.reply, translation.gathered(body + _END), _JSON))
    if not body.lstrip().startswith(_FIRST):
        read_whole(sent, dialect, body)
        body = translation.streamed(body)
    return Sent(route, _Formed(sent.reply, body, EVENTS))


def read_whole(sent: Sent, dialect: Dialect, body: bytes) -> Completion:
    """Read an answer that came at once.

    Raises:
        UpstreamFailed: `model.failed`, with what the server says of it; `model.garbage`.
    """
    try:
        return dialect.whole(body, sent.route.model)
    except UpstreamFailed as error:
        raise failure_in(without_keys(sent.route.upstream, body)) or error from None


class _Formed(ReadReply):
    """An answer whose body is of another type than the server said."""

    __slots__ = ("_kind",)

    def __init__(self, reply: Reply, body: bytes, kind: str) -> None:
        super().__init__(reply, body)
        self._kind = kind

    def header(self, name: str) -> str:
        return self._kind if name == "content-type" else super().header(name)

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        kept = [header for header in super().headers() if header[0] != b"content-type"]
        return [*kept, (b"content-type", self._kind.encode())]
