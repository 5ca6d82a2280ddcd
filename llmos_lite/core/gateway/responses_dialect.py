"""`/v1/responses`, as OpenAI and Codex speak it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from llmos_lite.core.chat.prompt import NOTHING, Prompt
from llmos_lite.core.gateway.asked import (
    Asked,
    Placed,
    Raw,
    Said,
    encode,
    fields_of,
    is_true,
    items_of,
    number_of,
    quoted,
    text_of,
    written,
)
from llmos_lite.core.gateway.chat_dialect import Leading, after_results, content_text
from llmos_lite.core.gateway.problems import openai_problem, openai_refusal, responses_event
from llmos_lite.core.gateway.repeated import Repeated
from llmos_lite.core.gateway.responses_reader import ResponsesReader, whole_response
from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: Raw = Raw(b"null")
    call_id: str | None = None
    output: Raw = Raw(b"null")


class _Kept(msgspec.Struct):
    id: str = ""


_item = msgspec.json.Decoder(_Item)
_kept = msgspec.json.Decoder(str | _Kept | None)
_ELSEWHERE = frozenset({"previous_response_id", "conversation", "prompt"})
"""Fields that name what the provider keeps, and that a request without input may go on from."""


class ResponsesDialect:
    """OpenAI's responses."""

    wire = Wire.RESPONSES
    limit = "max_output_tokens"
    refusal = staticmethod(openai_refusal)
    problem = staticmethod(openai_problem)
    problem_event = staticmethod(responses_event)
    whole = staticmethod(whole_response)

    def __init__(self) -> None:
        self._leading = Leading(self.said)

    def read(self, body: bytes) -> Asked:
        """Read a request; see `Dialect`."""
        fields = fields_of(body)
        items = input_of(fields)
        if not items and _ELSEWHERE.isdisjoint(fields):
            raise Invalid("request.invalid", "The request has no `input`.", hint="Send a text there, or a list.")
        leading, texts = self._leading.of(items)
        lead, own = len(leading), [_instructions(fields), *texts]
        kept_in = _conversation(fields["conversation"]) if "conversation" in fields else ""
        return Asked(
            fields=fields,
            model=text_of(fields.get("model")),
            stream=is_true(fields.get("stream")),
            system="\n\n".join(filter(None, own)),
            items=items[lead:],
            leading=leading,
            most_tokens=number_of(fields.get("max_output_tokens")),
            after=text_of(fields.get("previous_response_id")) or kept_in,
            kept_in=kept_in,
            kept=True,
            session=kept_in or text_of(fields.get("prompt_cache_key")),
            background=is_true(fields.get("background")),
        )

    @staticmethod
    def stable(item: Raw) -> bytes:
        """Return an item as it is."""
        return bytes(item)

    def said(self, items: Sequence[Raw]) -> list[Said]:
        """Return what items say; see `Dialect`."""
        return [_said(item) for item in items]

    def with_skills(self, asked: Asked, fields: Mapping[str, Raw], head: Prompt, later: Sequence[Placed]) -> bytes:
        """Return the body with skills after its instructions, or after its leading messages of a developer.

        An input that gets none of them stays as it is, also where it is a text.
        """
        leads = bool(head) and asked.lead > 0 and not asked.after
        changed: dict[str, Raw | list[bytes | Raw]] = {**fields}
        if head and not leads:
            own = _instructions(asked.fields)
            changed["instructions"] = Raw(encode(f"{own}\n\n{head.text}") if own else quoted(head))
        if later or leads:
            changed["input"] = self._with_developers(asked, head if leads else NOTHING, later)
        return written(changed)

    def _with_developers(self, asked: Asked, head: Prompt, later: Sequence[Placed]) -> list[bytes | Raw]:
        items: list[bytes | Raw] = list(input_of(asked.fields))
        for place in sorted(later, reverse=True):
            at = after_results(asked.items, place.at, self.said)
            items.insert(asked.lead + at, _developer(place.text))
        if head:
            items.insert(asked.lead, _developer(head))
        return items

    def reader(self, model: str) -> ResponsesReader:
        """Return a reader for a stream."""
        return ResponsesReader(model)


def input_of(fields: Mapping[str, Raw]) -> list[Raw]:
    """Return the items of the input; a text is one message of the user."""
    raw = fields.get("input", Raw(b"null"))
    text = bytes(raw)
    if text.startswith(b'"'):
        return [Raw(b'{"role":"user","content":%b}' % text)]  # as programs write it when they go on with a list
    return [] if text == b"null" else items_of(raw, "input")


def _conversation(raw: Raw) -> str:
    """Return the id of the object in which the provider keeps a conversation; empty for none."""
    try:
        found = _kept.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return found.id if isinstance(found, _Kept) else found or ""


_known = Repeated[bytes, str]()


def _instructions(fields: Mapping[str, Raw]) -> str:
    return _known.of(bytes(fields["instructions"]), text_of) if "instructions" in fields else ""


def _developer(text: str | Prompt) -> bytes:
    part = b'{"type":"input_text","text":%b}' % quoted(text)
    return b'{"type":"message","role":"developer","content":[%b]}' % part


def _said(item: Raw) -> Said:
    try:
        one = _item.decode(item)
        if one.type.endswith("_output"):
            return Said("tool", content_text(one.output), one.call_id or "")
        text = content_text(one.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Said("system", "")
    if one.type != "message":  # calls, reasoning and what else the model did on its way
        return Said("assistant", "")
    if one.role == "user":
        return Said("user", words_of(text))
    return Said("assistant" if one.role == "assistant" else "system", text)
