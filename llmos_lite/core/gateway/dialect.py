"""The seam between the gateway and what its clients speak: three dialects, each a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway.asked import Asked, Placed, Raw, Said
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import LlmosError

MOST_KEPT = 1 << 20
"""Characters of text, and of arguments, that a trace keeps of a streamed answer: who reads slowly holds no more of us.
No model writes as much in one answer."""


class Told(NamedTuple):
    """What a client has got of a streamed answer.

    Args:
        model: that it asked for.
        answer_id: how it knows the answer; empty as long as it has none of it.
        number: of the next event, where events have numbers; else 0.
        goes_on: whether the answer is made all the same.
    """

    model: str
    answer_id: str = ""
    number: int = 0
    goes_on: bool = False


class Telling(Protocol):
    """Knows what a client has got of a streamed answer; see `Told`."""

    @property
    def answer_id(self) -> str:
        """Return how the client knows the answer."""

    @property
    def number(self) -> int:
        """Return the number of the next event."""


class AnswerReader(Protocol):
    """Reads one answer beside its way to the client; a fresh one for each."""

    ended: bool
    """Whether the model said that this is all."""

    @property
    def signs(self) -> Sequence[bytes]:
        """Return what stands in whatever ends an answer; events without any can wait."""

    def feed(self, data: bytes) -> str:
        """Take bytes of a stream, cut anywhere, and return the text in them.

        Raises:
            UpstreamFailed: the model says that it failed, or what it says is not its protocol.
        """

    def close(self) -> str:
        """Take the end of the stream, and return the text that it still held."""

    def completion(self) -> Completion:
        """Return what was read so far."""

    @property
    def answer_id(self) -> str:
        """Return how the provider names this answer; empty where that leads nowhere."""

    @property
    def number(self) -> int:
        """Return the number of the next event; 0 where events have none."""


class Dialect(Protocol):
    """How a client asks and what it takes for an answer."""

    wire: Wire
    limit: str
    """Name of the field that bounds the tokens of the answer."""

    def read(self, body: bytes) -> Asked:
        """Read a request.

        Raises:
            Invalid: `request.not_json`, `request.invalid`.
        """

    def stable(self, item: Raw) -> bytes:
        """Return an item without what a client changes in it from turn to turn."""

    def said(self, items: Sequence[Raw]) -> list[Said]:
        """Return what items of the conversation say; what cannot be read says nothing."""

    def with_skills(self, asked: Asked, fields: Mapping[str, Raw], head: Prompt, later: Sequence[Placed]) -> bytes:
        """Return the body with skills in it, everything else as it was.

        Args:
            asked: the request.
            fields: the top of the body that is to be sent.
            head: stands after the client's own system prompt; empty for nothing.
            later: what came into the conversation on its way.
        """

    def reader(self, model: str) -> AnswerReader:
        """Return a reader for a stream."""

    def whole(self, body: bytes, model: str) -> Completion:
        """Read an answer that came at once.

        Raises:
            UpstreamFailed: `model.garbage`.
        """

    def refusal(self, status: int, message: str, code: str, request_id: str) -> bytes:
        """Return what a model's server refused, as the client's library understands it."""

    def problem(self, error: LlmosError, request_id: str) -> bytes:
        """Return an error as the client's library understands it."""

    def problem_event(self, error: LlmosError, request_id: str, told: Told) -> bytes:
        """Return an error inside a stream, after what was told of the answer."""
