"""What a request asks and what an answer says, in no dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from llmos_lite.core.gateway.translation.files import File, held_in

Raw: TypeAlias = msgspec.Raw
LONGEST_USER = 64
"""Characters of a user's id that OpenAI takes; Claude Code sends more, which says nothing to another provider."""
Stop: TypeAlias = Literal["end", "length", "tools", "stop", "filtered"]
Kind: TypeAlias = Literal["function", "custom", "local_shell", "tool_search"]
"""What a tool is to a client: a custom one takes a free text; the last two are Codex's and have calls of their own."""


class Text(NamedTuple):
    """Words."""

    text: str


class Image(NamedTuple):
    """A picture: an address, or bytes in base64 with their type; `detail` is how closely OpenAI's models look."""

    url: str = ""
    data: str = ""
    kind: str = ""
    detail: str = ""

    @property
    def address(self) -> str:
        """Return an address, one that holds the bytes itself when there is no other."""
        return self.url or f"data:{self.kind or 'image/png'};base64,{self.data}"

    @classmethod
    def at(cls, address: str, detail: str = "") -> Image:
        """Read an address."""
        detail = "" if detail == "auto" else detail
        if address[:5].lower() != "data:":
            return cls(url=address, detail=detail)
        kind, data = held_in(address)
        return cls(data=data, kind=kind, detail=detail)


class Use(NamedTuple):
    """A call of a tool; `arguments` is JSON, but the text itself for a custom one. `group` is that of the tool."""

    id: str
    name: str
    arguments: str
    kind: Kind = "function"
    group: str = ""


class Result(NamedTuple):
    """What a call gave back."""

    id: str
    text: str
    is_error: bool = False
    images: tuple[Image, ...] = ()
    files: tuple[File, ...] = ()

    @property
    def parts(self) -> list[Shown]:
        """Return the text, when there is one, the pictures and the files."""
        return [*([Text(self.text)] if self.text else []), *self.images, *self.files]


Shown: TypeAlias = Text | Image | File
Part: TypeAlias = Shown | Use | Result


def resulted(call_id: str, parts: Iterable[Part], *, is_error: bool = False) -> Result:
    """Return the result of a call that gave parts."""
    found = list(parts)
    text = "\n".join(part.text for part in found if isinstance(part, Text))
    images = tuple(part for part in found if isinstance(part, Image))
    return Result(call_id, text, is_error, images, tuple(part for part in found if isinstance(part, File)))


class Turn(NamedTuple):
    """What one side says at once."""

    role: Literal["system", "user", "assistant"]
    parts: Sequence[Part]


class ToolSpec(NamedTuple):
    """A tool that may be called.

    Args:
        name: of a function.
        description: what it does.
        schema: of its arguments, JSON.
        strict: whether they must have it.
        kind: what it is to the client.
        form: syntax and definition of the grammar of a custom tool's input.
        group: of tools that it is in.
        own: its name in that group; empty for `name`.
    """

    name: str
    description: str
    schema: Raw
    strict: bool = False
    kind: Kind = "function"
    form: tuple[str, str] | None = None
    group: str = ""
    own: str = ""


class Form(NamedTuple):
    """A JSON schema that the answer shall have.

    Args:
        schema: the schema.
        name: of it; may be empty.
        description: what it is for.
        strict: whether it must be kept.
    """

    schema: Raw
    name: str = ""
    description: str = ""
    strict: bool = False

    @property
    def written(self) -> dict[str, object]:
        """Return it as OpenAI's dialects write it."""
        said: dict[str, object] = {"name": self.name or "answer", "schema": self.schema}
        described = {"description": self.description} if self.description else {}
        return said | described | ({"strict": True} if self.strict else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request.

    Args:
        model: as the server calls it.
        turns: the conversation, its system messages where they stand.
        tools: what may be called.
        choice: `auto`, `none`, `required`, or the name of a tool.
        parallel: whether several calls may come at once; None leaves it open.
        stream: whether the answer shall come in events.
        most_tokens: of the answer; 0 when nobody says.
        limit: what the server calls that, where it speaks chat completions.
        stop: what ends the answer.
        numbers: `temperature`, `top_p`, as they were written.
        effort: how hard the model shall think; empty when nobody says.
        form: of the answer; None when there is none.
        json: whether the answer shall be a JSON object, of whichever schema.
        user: whom the provider may tell apart.
        left_out: tools that only the client's own provider has, settings and types of what a person sent that nobody
            else knows.
    """

    model: str
    turns: Sequence[Turn]
    tools: Sequence[ToolSpec] = ()
    choice: str = "auto"
    parallel: bool | None = None
    stream: bool = False
    most_tokens: int = 0
    limit: str = "max_tokens"
    stop: Sequence[str] = ()
    numbers: Mapping[str, Raw] = field(default_factory=dict)
    effort: str = ""
    form: Form | None = None
    json: bool = False
    user: str = ""
    left_out: Sequence[str] = ()

    @property
    def short_user(self) -> str:
        """Return whom OpenAI may tell apart; empty for a name that it does not take."""
        return self.user if len(self.user) <= LONGEST_USER else ""


class Began(NamedTuple):
    """The answer begins."""

    id: str
    model: str


class Words(NamedTuple):
    """A piece of the answer's text."""

    text: str


class Called(NamedTuple):
    """A call begins; `at` tells calls apart."""

    at: int
    id: str
    name: str
    kind: Kind = "function"
    group: str = ""


class Argued(NamedTuple):
    """A piece of a call's arguments."""

    at: int
    text: str


class Counted(NamedTuple):
    """Tokens, as the server counts them; None for what it does not say.

    `cached`, which came from a cache, and `stored`, which went into one, are parts of `asked`; `thought` of `answered`.
    """

    asked: int | None = None
    answered: int | None = None
    cached: int | None = None
    stored: int | None = None
    thought: int | None = None


class Stopped(NamedTuple):
    """Why the answer is over."""

    why: Stop


class Failed(NamedTuple):
    """The server says in its stream that it failed."""

    message: str


Said: TypeAlias = Began | Words | Called | Argued | Counted | Stopped | Failed
"""An answer is a `Began`, then pieces, then a `Stopped`; counts may come anywhere."""


@dataclass(slots=True)
class Gathered:
    """A whole answer from its pieces."""

    id: str = ""
    model: str = ""
    text: str = ""
    calls: dict[int, Use] = field(default_factory=dict)
    count: Counted = field(default_factory=Counted)
    why: Stop = "end"

    def take(self, said: Said) -> None:
        """Take a piece."""
        match said:
            case Began():
                self.id, self.model = said.id or self.id, said.model or self.model
            case Words():
                self.text += said.text
            case Called():
                self.calls[said.at] = Use(said.id, said.name, "", said.kind, said.group)
            case Argued():
                call = self.calls.get(said.at, Use("", "", ""))
                self.calls[said.at] = call._replace(arguments=call.arguments + said.text)
            case Counted():
                self.count = merged(self.count, said)
            case Stopped():
                self.why = said.why

    @property
    def uses(self) -> list[Use]:
        """Return the calls, in order; `{}` are the arguments of one that has none, unless its input is a text."""
        calls = (self.calls[at] for at in sorted(self.calls))
        return [call if call.arguments or call.kind == "custom" else call._replace(arguments="{}") for call in calls]


def merged(before: Counted, now: Counted) -> Counted:
    """Return counts with what is known now."""
    return Counted(*(new if new is not None else old for old, new in zip(before, now, strict=True)))
