"""The seam to a language model, and its embedded default: a model that needs no network and no key.

A model is one object with `complete` and `stream`. A third one is added by an entry point in the group
`llmos_lite.models`: a callable that takes `Settings` and returns a `LanguageModel`. One that can call tools says so by
an attribute `tools = True`; one that says nothing is never given any.
"""

from __future__ import annotations

import html
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple, NotRequired, Protocol, TypeAlias, TypedDict

import msgspec

from llmos_lite.errors import UpstreamFailed

OFFLINE = "offline"

SKILL_BLOCK = re.compile(r"<skill_content ([^>]*)>\n(.*?)\n</skill_content>", re.DOTALL)
"""How a skill stands in a system prompt (`Skill.to_context_injection` writes it): attributes, then Markdown."""
_ATTRIBUTE = re.compile(r'(?<!\w)(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a model may call.

    Args:
        name: letters, digits, `_` and `-`, at most 64.
        description: what it does and when to call it.
        parameters: JSON schema of an object.
    """

    name: str
    description: str
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for.

    Args:
        id: names the call in the message that answers it.
        name: of the tool, as the model wrote it.
        arguments: JSON as the model wrote it, which need not be any.
    """

    id: str
    name: str
    arguments: str = "{}"


class ChatMessage(TypedDict):
    """One message of a conversation; each provider's engine writes it in its own dialect.

    A message of the role `tool` answers the call `tool_call_id` of the assistant's message before it, and may say
    `is_error`.
    """

    role: Literal["user", "assistant", "system", "tool"]
    content: str
    tool_calls: NotRequired[Sequence[ToolCall]]
    tool_call_id: NotRequired[str]
    is_error: NotRequired[bool]


def has_tool_messages(messages: Sequence[ChatMessage]) -> bool:
    """Tell whether a conversation holds calls of tools or answers to them."""
    return any(message["role"] == "tool" or "tool_calls" in message for message in messages)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What is asked of a model.

    Args:
        messages: the conversation, oldest first; the last one is the user's.
        system: the system prompt; empty sends none.
        model: name of the model; empty takes the one that is configured.
        max_tokens: most tokens of the answer; None leaves it to the provider.
        temperature: None leaves it to the provider.
        tools: what the model may call; only for a model that `knows_tools`.
        tool_choice: `auto`, `none` (call nothing more), `required` (call some), or the name of the tool to call.
        straight: takes a text of a stream at once, which is then no `Delta` of it; False when it must wait as one. A
            model need not ask it.
    """

    messages: Sequence[ChatMessage]
    system: str = ""
    model: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    tools: Sequence[Tool] = ()
    tool_choice: str = "auto"
    straight: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer, as it comes."""

    text: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer.

    `tokens_in` and `tokens_out` are the provider's counts, 0 when it gives none. `finish` is the provider's word for
    why it stopped (`stop`, `length`, `end_turn`, ...), and `stop_reason` the same word for all. `tool_calls` are the
    calls that the model asks for, in order; they are answered in the next request. `answer_id` is how a provider that
    keeps conversations names the answer; empty where that leads nowhere.
    """

    text: str
    model: str
    tokens_in: int = 0
    tokens_out: int = 0
    finish: str = "stop"
    tool_calls: tuple[ToolCall, ...] = ()
    answer_id: str = ""

    @property
    def stop_reason(self) -> StopReason:
        """Return why it stopped: calls count more than the word, since some servers say `stop` beside them."""
        return "tools" if self.tool_calls else _STOPS.get(self.finish, "end")


StopReason: TypeAlias = Literal["end", "length", "tools", "filtered"]
_STOPS: Mapping[str, StopReason] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "filtered",
    "refusal": "filtered",
}


MOST_TOKENS = 1 << 40


def token_count(said: int | None) -> int:
    """Return a count that a provider gave, or 0 for one that cannot be meant."""
    return said if said is not None and 0 <= said < MOST_TOKENS else 0


Piece: TypeAlias = Delta | ToolCall | Completion


def unheard(text: str) -> bool:
    """Take a text that nobody wants before the whole answer; for `ChatRequest.straight`."""
    del text
    return True


class LanguageModel(Protocol):
    """A language model, wherever it runs; see `knows_tools` for those that call tools."""

    @property
    def name(self) -> str:
        """Name of the model as far as it is known before the first answer."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the whole answer.

        Raises:
            UpstreamFailed: `model.unreachable`, `model.failed`, `model.rejected`, `model.rate_limited` (with
                `retry_after`, seconds), `model.garbage`, `model.cut`; `model.no_tools`, when it was given tools and
                takes none after all.
            UpstreamTimeout: `model.timeout`.
        """

    def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer in deltas, then each call of a tool when it is whole, then once the whole `Completion`.

        Closing the iterator early, or cancelling the task that waits for it, ends the request upstream.

        Raises:
            UpstreamFailed: as `complete`; deltas that came before stay valid.
        """

    async def close(self) -> None:
        """Give connections back."""


def knows_tools(model: LanguageModel) -> bool:
    """Tell whether a model can be given tools: whether it has an attribute `tools` that is true."""
    return bool(getattr(model, "tools", False))


async def gathered(pieces: AsyncGenerator[Piece, None]) -> Completion:
    """Return the completion that ends a stream, and close it.

    Raises:
        UpstreamFailed: `model.cut`, when it ends without one.
    """
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Completion):
                return piece
    raise UpstreamFailed("model.cut", "The model's answer ends in the middle.", hint="Try again.")


class OfflineModel:
    """Answers from the skills in its context, says that it is no language model, and never touches the network.

    The answer is a function of the request alone: the same request gives the same bytes.
    """

    name = OFFLINE

    async def complete(self, request: ChatRequest) -> Completion:
        """Return the steps of the skills in the system prompt that fit the last message."""
        return Completion(text=_offline_answer(request), model=OFFLINE)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the same answer, paragraph by paragraph."""
        text = _offline_answer(request)
        for piece in re.findall(r".+?(?:\n\n+|\Z)", text, re.DOTALL):
            yield Delta(piece)
        yield Completion(text=text, model=OFFLINE)

    async def close(self) -> None:
        """Do nothing: there is no connection."""


_NOTICE = (
    "This is the offline model of llmos-lite. It is no language model: it cannot reason or write, it only quotes the "
    "skills that fit your message."
)
_CONFIGURE = (
    "For written answers, start Ollama on this machine, or set LLMOS_LLM_URL (with LLMOS_LLM_KEY and LLMOS_LLM_MODEL "
    "where needed) to any OpenAI-compatible or Anthropic endpoint and start llmos again."
)
_NO_SKILLS = (
    "No skill that may be used fits your message. Add one with `llmos skills add PATH`, or say in other words what you "
    "want to do. `llmos skills search` also shows skills that a scanner holds back."
)

_WORD = re.compile(r"\w{3,}")
_HEADING = re.compile(r"#{1,6}\s+(.*)")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+\S")
_STEPS = re.compile(r"approach|steps?\b|process|procedure|instructions?|checklist|workflow|how\b", re.IGNORECASE)
_MOST_LINES = 12
_STEPS_BONUS = 3


class _Section(NamedTuple):
    heading: str
    lines: list[str]


def _offline_answer(request: ChatRequest) -> str:
    skills: list[tuple[str, str]] = SKILL_BLOCK.findall(request.system)
    words = _words(request.messages[-1]["content"]) if request.messages else frozenset()
    parts = [_quote(*skill, words) for skill in skills] or [_NO_SKILLS]
    return "\n\n".join([_NOTICE, *parts, _CONFIGURE])


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def _quote(attributes: str, body: str, words: frozenset[str]) -> str:
    """Quote the section of a skill that fits best: the one that shares most words, steps preferred."""
    named = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(attributes)}
    sections = [section for section in _sections(body) if section.lines]
    skill_id = named.get("name", "")
    title = f"**{named.get('title', skill_id)}** (`{skill_id}`, {named.get('volume', '')})"
    if not sections:
        return title
    best = max(sections, key=lambda section: _fit(section, words))
    heading = f" {best.heading}:" if best.heading else ":"
    return f"{title}{heading}\n\n" + "\n".join(_shorten(best.lines))


def _sections(body: str) -> Iterator[_Section]:
    """Split Markdown at its headings; a `#` inside a code fence is a comment, not a heading."""
    current, fenced = _Section("", []), False
    for line in body.splitlines():
        fenced ^= line.lstrip().startswith("```")
        heading = None if fenced else _HEADING.match(line)
        if heading:
            yield current
            current = _Section(heading[1].strip(), [])
        elif line.strip() or current.lines:
            current.lines.append(line.rstrip())
    yield current


def _fit(section: _Section, words: frozenset[str]) -> int:
    shared = len(words & _words(section.heading + " " + " ".join(section.lines)))
    items = any(_ITEM.match(line) for line in section.lines)
    return shared + _STEPS_BONUS * (items + bool(_STEPS.search(section.heading)))


def _shorten(lines: list[str]) -> list[str]:
    """Cut to the first lines, close a code fence that the cut opened, and say that there is more."""
    kept = list(islice(lines, _MOST_LINES))
    if len(kept) == len(lines):
        return _stripped(kept)
    if sum(line.lstrip().startswith("```") for line in kept) % 2:
        kept.append("```")
    return [*_stripped(kept), "…"]


def _stripped(lines: list[str]) -> list[str]:
    return "\n".join(lines).strip("\n").split("\n")
