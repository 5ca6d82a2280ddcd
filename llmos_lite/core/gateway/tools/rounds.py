"""Requests behind one answer: the model calls tools of ours, they are answered here, and it is asked again.

When an answer calls tools of the client, too, the client gets these calls at once and ours are answered beside them:
what they gave stands in the next request, which brings the client's results. A further request in between would make
the model say its calls twice, and pay for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from msgspec.structs import replace

from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.skill_tools import LOAD, SEARCH, SkillTools
from llmos_lite.core.chat.tools import ToolBounds, ToolResult, answered
from llmos_lite.core.gateway.asked import Asked, Raw
from llmos_lite.core.gateway.tools.chat import ChatTools
from llmos_lite.core.gateway.tools.dialect import Screen, ToolDialect
from llmos_lite.core.gateway.tools.messages import MessagesTools
from llmos_lite.core.gateway.tools.responses import ResponsesTools
from llmos_lite.core.traces.trace import ToolCall as Kept
from llmos_lite.engines.llm import Completion, ToolCall
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import UpstreamFailed

AGAIN_SECONDS = 3600.0
"""After which a model that refused tools is given some again."""
MOST_REFUSED, LONGEST_REFUSED = 1000, 200
"""How many models are known to refuse tools, and how long their names may be; clients make them up."""
KEPT = 2000
"""Characters of the arguments and of the result of a call that a trace keeps."""
_OURS = frozenset({LOAD, SEARCH})
_RIVALS = frozenset({"skill", "skills"})
"""Tools by which clients read skills of their own (Claude Code, opencode): a model would mix them up with ours."""
_IN_ALL = "skill"
"""What all of these names have in them."""


def is_ours(name: str) -> bool:
    """Tell whether a name is one of our tools."""
    return name in _OURS


class NoTools(Exception):
    """The model takes no tools."""


class Rounds:
    """The requests behind one answer.

    Args:
        dialect: of the client.
        original: the request without tools of ours.
        bounds: how far this goes.
        deadline: on the clock of the event loop.

    Attributes:
        asked: the request that is sent next.
        follows: whether there is a further request.
        begun: whether the client has got the beginning of its answer.
        calls: of ours, answered, for the trace.
        read: what they gave, as far as later requests need it.
        owed: the same as results, when the client's calls went out beside ours.
        box: answers them; None until one is called.
    """

    def __init__(self, dialect: ToolDialect, original: Asked, bounds: ToolBounds, deadline: float) -> None:
        self._dialect, self._original, self._bounds, self._deadline = dialect, original, bounds, deadline
        self.asked: Asked = dialect.offered(original)
        self._screen: Screen | None = None
        self.follows = self.begun = self._last = False
        self.calls: list[Kept] = []
        self.read: list[str] = []
        self.owed: list[Raw] = []
        self.texts: list[str] = []
        self._count = 0
        self.box: SkillTools | None = None
        self._items: list[Raw] = []

    @property
    def screen(self) -> Screen:
        """Return what the client sees."""
        if self._screen is None:
            self._screen = self._dialect.screen(is_ours)
        return self._screen

    def is_theirs(self, done: Completion) -> bool:
        """Tell whether an answer that came at once is for the client as it is: it calls nothing, and is the first."""
        return not (done.tool_calls or self._count or self._dialect.tells_tools)

    @property
    def searched(self) -> Collection[str]:
        """Return the volumes of the skills that searches found."""
        return self.box.searched if self.box is not None else ()

    @property
    def removable(self) -> bool:
        """Tell whether a refusal of tools can only mean ours: the client has none, and has got nothing yet."""
        return not (self._count or self._dialect.wishes(self._original).names)

    async def take(self, done: Completion, open_box: Callable[[], Awaitable[SkillTools]]) -> bool:
        """Take an answer; tell whether a further request follows.

        Raises:
            UpstreamFailed: `model.no_answer`, when the model only calls tools to the end.
        """
        self.follows = False
        own = [call for call in done.tool_calls if is_ours(call.name)] if done.tool_calls else []
        if not own or replace(done, tool_calls=()).stop_reason in {"length", "filtered"}:
            return False
        alone = len(own) == len(done.tool_calls)
        if self._last:
            if alone and not (done.text or self.texts):
                raise UpstreamFailed(
                    "model.no_answer", "The model called tools to the end and said nothing.", hint="Ask in other words."
                )
            return False
        self.box = self.box or await open_box()
        results = await answered(self.box, own, self._bounds, self._deadline)
        self._keep(own, results, alone=alone)
        if alone:
            self._go_on(done, own, results)
        return alone

    def _keep(self, calls: Sequence[ToolCall], results: Sequence[ToolResult], *, alone: bool) -> None:
        """Keep what later requests and the trace need; what a search found is of no use once the answer is there."""
        for call, result in zip(calls, results, strict=True):
            note = result.note or result.content
            self.calls.append(
                Kept(call.name, _short(call.arguments), _short(note), is_error=result.is_error, id=call.id[:64])
            )
            is_text = call.name == LOAD and not result.is_error and result.content.startswith("<skill_")
            if is_text or not alone:
                self.read.append(result.content)
        if not alone:
            self.owed += self._dialect.results(calls, results)

    def _go_on(self, done: Completion, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> None:
        self.follows = True
        self._count += 1
        if done.text:
            self.texts.append(done.text)
        self._items += [*self.screen.items(done), *self._dialect.results(calls, results)]
        late = asyncio.get_running_loop().time() >= self._deadline
        self._last = late or self._count >= self._bounds.rounds
        self.asked = self._dialect.extended(self._base(), self._items)

    def _base(self) -> Asked:
        """Return the request that the next one goes on from; in the last one nothing of ours can be called."""
        if not self._last:
            return self._dialect.offered(self._original)
        if self._dialect.wishes(self._original).names:
            return self._original
        return self._dialect.silenced(self._dialect.offered(self._original))


class OwnTools:
    """Our tools at the gateway.

    Args:
        bounds: how far a model may go for one request.
    """

    def __init__(self, bounds: ToolBounds) -> None:
        self._bounds = bounds
        self._refused: dict[str, float] = {}
        self._dialects: Mapping[Wire, ToolDialect] = {
            Wire.CHAT: ChatTools(),
            Wire.RESPONSES: ResponsesTools(),
            Wire.MESSAGES: MessagesTools(),
        }

    def may_begin(self, wire: Wire, asked: Asked, wanted: Disclosure) -> bool:
        """Tell whether a conversation can get tools of ours with its first request."""
        wishes = self._dialects[wire].wishes(asked)
        return wishes.free and self._may(asked.model, wishes.names, closed=wishes.closed, wanted=wanted)

    def rounds(self, wire: Wire, asked: Asked, *, begins: bool) -> Rounds | None:
        """Return the requests behind one answer, in a conversation that has tools; None when this one can have none.

        Args:
            wire: what the client speaks.
            asked: what it asks.
            begins: whether the conversation has got its tools just now, so that `may_begin` was asked.
        """
        dialect = self._dialects[wire]
        if not begins:
            wishes = dialect.wishes(asked)
            if not self._may(asked.model, wishes.names, closed=wishes.closed, wanted=Disclosure.CATALOG):
                return None
        return Rounds(dialect, asked, self._bounds, asyncio.get_running_loop().time() + self._bounds.seconds)

    def place(self, wire: Wire, asked: Asked, seen: int) -> int:
        """Return where a text stands that the model read before its last answer; see `ToolDialect`."""
        return self._dialects[wire].place(asked, seen)

    def extended(self, wire: Wire, asked: Asked, items: Sequence[Raw]) -> Asked:
        """Return a request with items before what is new in it."""
        return self._dialects[wire].extended(asked, items)

    def note_refusal(self, model: str) -> None:
        """Give a model that refused tools none for an hour: then it may be another."""
        if len(model) > LONGEST_REFUSED:
            return
        if model not in self._refused and len(self._refused) >= MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[model] = time.monotonic() + AGAIN_SECONDS

    def _may(self, model: str, names: Sequence[str], *, closed: bool, wanted: Disclosure) -> bool:
        if closed or self._bounds.rounds < 1 or time.monotonic() < self._refused.get(model, 0.0):
            return False
        if not names or _IN_ALL not in "\n".join(names).lower():
            return True
        return not any(_collides(name.lower(), wanted) for name in names)


def _collides(name: str, wanted: Disclosure) -> bool:
    """Tell whether a client's tool does what ours do: the same one of our own MCP server, or one for its own skills.

    The latter counts for less than somebody's wish for a catalog.
    """
    return name.endswith((LOAD, SEARCH)) or (name in _RIVALS and wanted is not Disclosure.CATALOG)


def _short(text: str) -> str:
    return text if len(text) <= KEPT else text[: KEPT - 1] + "\u2026"
