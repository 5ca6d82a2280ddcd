"""`/v1/responses`, as OpenAI and Codex speak it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from llmos_lite.core.gateway.asked import (
    Asked,
    Call,
    Placed,
    Raw,
    Said,
    body_of,
    encode,
    fields_of,
    is_true,
    items_of,
    joined,
    number_of,
    text_of,
)
from llmos_lite.core.gateway.chat_dialect import after_results, content_text, leading
from llmos_lite.core.gateway.problems import openai_problem, openai_refusal, responses_event
from llmos_lite.core.gateway.responses_reader import ResponsesReader, whole_response
from llmos_lite.core.gateway.scaffolding import words_of
from llmos_lite.engines.llm import Completion
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid, LlmosError

_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call", "tool_search_call"})


class _Item(msgspec.Struct):
    type: str = "message"
    role: str = ""
    content: Raw = Raw(b"null")
    call_id: str | None = None
    name: str = ""
    arguments: Raw = Raw(b"null")
    input: str = ""
    output: Raw = Raw(b"null")


_item = msgspec.json.Decoder(_Item)


class ResponsesDialect:
    """OpenAI's responses."""

    wire = Wire.RESPONSES
    limit = "max_output_tokens"

    def read(self, body: bytes) -> Asked:
        """Read a request; see `Dialect`."""
        fields = fields_of(body)
        items = input_of(fields)
        if not items and "previous_response_id" not in fields:
            raise Invalid("request.invalid", "The request has no input.", hint="Send some input.")
        lead = leading(items)
        own = [text_of(fields.get("instructions")), *(said.text for said in self.said(items[:lead]))]
        return Asked(
            fields=fields,
            model=text_of(fields.get("model")),
            stream=is_true(fields.get("stream")),
            system="\n\n".join(filter(None, own)),
            items=items[lead:],
            lead=lead,
            most_tokens=number_of(fields.get("max_output_tokens")),
            after=text_of(fields.get("previous_response_id")),
            session=text_of(fields.get("prompt_cache_key")),
        )

    def stable(self, item: Raw) -> bytes:
        """Return an item as it is."""
        return bytes(item)

    def said(self, items: Sequence[Raw]) -> list[Said]:
        """Return what items say; see `Dialect`."""
        return [_said(item) for item in items]

    def with_skills(self, asked: Asked, fields: Mapping[str, Raw], head: str, later: Sequence[Placed]) -> bytes:
        """Return the body with skills after its instructions, or after its leading messages of a developer."""
        changed = dict(fields)
        items: list[bytes | Raw] = list(input_of(asked.fields))
        for place in sorted(later, reverse=True):
            at = after_results(asked.items, place.at, self.said)
            items.insert(asked.lead + at, _developer(place.text))
        if head and asked.lead and not asked.after:
            items.insert(asked.lead, _developer(head))
        elif head:
            own = text_of(asked.fields.get("instructions"))
            changed["instructions"] = Raw(encode(f"{own}\n\n{head}" if own else head))
        return body_of(changed | {"input": joined(items)})

    def reader(self, model: str) -> ResponsesReader:
        """Return a reader for a stream."""
        return ResponsesReader(model)

    def whole(self, body: bytes, model: str) -> Completion:
        """Read an answer that came at once."""
        return whole_response(body, model)

    def refusal(self, status: int, message: str, code: str, request_id: str) -> bytes:
        """Return what the server of a model refused as OpenAI's libraries understand it."""
        return openai_refusal(status, message, code, request_id)

    def problem(self, error: LlmosError, request_id: str) -> bytes:
        """Return an error as OpenAI's libraries understand it."""
        return openai_problem(error, request_id)

    def problem_event(self, error: LlmosError, request_id: str) -> bytes:
        """Return an error inside a stream."""
        return responses_event(error, request_id)


def input_of(fields: Mapping[str, Raw]) -> list[Raw]:
    """Return the items of the input; a text is one message of the user."""
    raw = fields.get("input", Raw(b"null"))
    text = bytes(raw)
    if text.startswith(b'"'):
        return [Raw(b'{"type":"message","role":"user","content":%b}' % text)]
    return [] if text == b"null" else items_of(raw)


def _developer(text: str) -> bytes:
    content = [{"type": "input_text", "text": text}]
    return encode({"type": "message", "role": "developer", "content": content})


def _said(item: Raw) -> Said:
    try:
        one = _item.decode(item)
        if one.type.endswith("_output"):
            return Said("tool", content_text(one.output), one.call_id or "")
        if one.type in _CALLS:
            arguments = text_of(one.arguments) or one.input
            return Said("assistant", "", calls=(Call(one.call_id or "", one.name, arguments),))
        text = content_text(one.content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Said("system", "")
    if one.type != "message":  # reasoning, searches and what else the model did on its way
        return Said("assistant", "")
    if one.role == "user":
        return Said("user", words_of(text))
    return Said("assistant" if one.role == "assistant" else "system", text)
