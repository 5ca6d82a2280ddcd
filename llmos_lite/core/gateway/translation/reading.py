"""What the readers of all dialects share."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal, TypeVar

import msgspec

from llmos_lite.core.gateway.translation.files import File, is_pdf
from llmos_lite.core.gateway.translation.neutral import Part, Raw, Result, Text, resulted
from llmos_lite.errors import Invalid, too_deep

T = TypeVar("T")
_fields = msgspec.json.Decoder(dict[str, Raw])
_USUAL = {"mode": b'"standard"', "speed": b'"standard"', "truncation": b'"disabled"', "verbosity": b'"medium"'}
"""What a setting is without it."""
_ON_WITHOUT = frozenset({"web_search_options"})
"""Settings that are on without saying anything."""
NO_ARGUMENTS = Raw(b'{"type":"object","properties":{}}')


def decoded(decoder: msgspec.json.Decoder[T], body: bytes | Raw) -> T:
    """Decode a body.

    Raises:
        Invalid: `request.invalid`, for one that is not of the dialect's form; `request.too_deep`.
    """
    try:
        return decoder.decode(body)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid("request.invalid", f"This cannot be translated for the model's server: {error}.") from None


def keeps_no(things: str, named: str, hint: str) -> Invalid:
    """Return the error for a request that refers to what only the client's own provider keeps.

    Without it the request would be another, which nobody asked.

    Args:
        things: what is kept there, as in `files`.
        named: the field that refers to one.
        hint: what to send instead.
    """
    said = f"The model's server keeps no {things}, so `{named}` leads nowhere."
    return Invalid("request.invalid", said, hint=hint)


def takes_no(things: str, hint: str) -> Invalid:
    """Return the error for a request that holds, or wants, what the server cannot be given.

    Args:
        things: what it is, as in `sound`.
        hint: what to send instead.
    """
    said = f"The model's server speaks another API than this one, and cannot be asked about {things} by it."
    return Invalid("request.invalid", said, hint=hint)


def as_taken(part: Part, takes: Callable[[File], bool]) -> Part:
    """Return a part as a server takes it: a file that it does not is its text, or what a model is told of it.

    Args:
        part: what is said.
        takes: tells whether the server's dialect carries a file.

    Raises:
        Invalid: `request.invalid`, for a file of a person that is neither carried nor text.
    """
    if isinstance(part, Result) and part.files:
        shown = [as_taken(one, takes) for one in part.parts]
        return resulted(part.id, shown, is_error=part.is_error)
    if not isinstance(part, File) or takes(part):
        return part
    if (text := part.text) is not None:
        return Text(f"{part.name}\n\n{text}" if part.name else text)
    return Text(not_shown(no_file_taken(part), given=part.given))


def no_file_kept(named: str) -> Invalid:
    """Return the error for a file that only the client's own provider keeps; see `keeps_no`."""
    return keeps_no("files", named, "Send what is in it: a text as text, a picture or a PDF as data.")


def no_file_taken(file: File) -> Invalid:
    """Return the error for a file that comes with the request; see `takes_no`."""
    if file.url:
        return takes_no("files at an address", "Send what is in it: a PDF as data, a text as text.")
    things = "files" if is_pdf(file) else "files that are neither PDF nor text"
    return takes_no(things, "Send its text, or name a model whose provider speaks this API.")


def no_sound() -> Invalid:
    """Return the error for sound; see `takes_no`."""
    return takes_no("sound", "Send its words as text, or name a model whose provider speaks this API.")


def not_shown(refused: Invalid, *, given: bool) -> str:
    """Return what a model is told of a file or sound that a tool gave.

    A refusal would end the conversation, since every later request holds that result, too.

    Args:
        refused: the error for one that a person sent.
        given: whether a tool gave it.

    Raises:
        Invalid: `refused`.
    """
    if not given:
        raise refused
    return "(Here was a file that this model cannot be shown.)"


def is_said(raw: Raw) -> bool:
    """Tell whether a field says anything."""
    return bytes(raw) not in {b"", b"null", b'""', b"[]", b"{}"}


def unread(body: bytes, known: Collection[str]) -> list[str]:
    """Return the names of settings that are on, and of which no other dialect knows.

    Args:
        body: of the request, JSON that has been read.
        known: names of what is read, and of hints that change no answer.
    """
    fields = _fields.decode(body)
    return [name for name, raw in fields.items() if name not in known and is_on(name, raw)]


def is_on(name: str, raw: Raw) -> bool:
    """Tell whether a setting asks for what would not happen without it."""
    said = bytes(raw)
    if name in _ON_WITHOUT:
        return said != b"null"
    return is_said(raw) and said not in {b"false", b"0", b"0.0", _USUAL.get(name)}


def schema_of(raw: Raw) -> Raw:
    """Return the schema of a tool's arguments, of which it takes none when there is none."""
    return raw if is_said(raw) else NO_ARGUMENTS


def text_or_parts(decoder: msgspec.json.Decoder[str | list[T] | None], raw: Raw) -> str | list[T]:
    """Decode a content that is a text or a list of parts; nothing is no part.

    Raises:
        Invalid: `request.invalid`.
    """
    found = decoded(decoder, raw)
    return [] if found is None else found


def text_or_json(raw: Raw) -> str:
    """Return what is written as a text of JSON, or as JSON itself."""
    data = bytes(raw)
    if data == b"null":
        return ""
    return msgspec.json.decode(data, type=str) if data.startswith(b'"') else data.decode()


def role_of(name: str) -> Literal["system", "user", "assistant"]:
    """Return who speaks in a message."""
    if name in {"system", "developer"}:
        return "system"
    return "assistant" if name == "assistant" else "user"


def present(**values: Raw) -> dict[str, Raw]:
    """Return the values that are there."""
    return {name: value for name, value in values.items() if bytes(value) not in {b"", b"null"}}
