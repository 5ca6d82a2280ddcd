"""Requests of Anthropic's messages, read and written."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import msgspec

from llmos_lite.core.gateway.scaffolding import without_header
from llmos_lite.core.gateway.translation.client_tools import client_tool
from llmos_lite.core.gateway.translation.files import PDF, File
from llmos_lite.core.gateway.translation.messages_thinking import (
    Thinking,
    effort_of,
    lost_of,
    most_tokens,
    numbers_of,
    thinking_of,
    word_of,
)
from llmos_lite.core.gateway.translation.neutral import (
    Ask,
    Form,
    Image,
    Part,
    Raw,
    Result,
    Text,
    ToolSpec,
    Turn,
    Use,
    resulted,
)
from llmos_lite.core.gateway.translation.reading import (
    decoded,
    is_said,
    keeps_no,
    no_file_kept,
    present,
    role_of,
    schema_of,
    text_or_parts,
)
from llmos_lite.core.gateway.translation.schemas import closed
from llmos_lite.core.gateway.translation.tools import arguments_of, demanded, described, named
from llmos_lite.errors import NotFound

JSON_ALONE = "Answer with one JSON object and nothing else."
JSON_OF = "Its JSON schema is:"
_CITED = frozenset({"document", "search_result"})
_ENABLED = re.compile(rb'"enabled"\s*:\s*true').search
_ODD_ID = re.compile(r"[^a-zA-Z0-9_-]")


class _Source(msgspec.Struct):
    type: str = ""
    media_type: str = ""
    data: str = ""
    url: str = ""
    content: Raw = Raw(b"null")


class Block(msgspec.Struct):
    """A block of a message."""

    type: str = ""
    text: str = ""
    source: _Source | str | None = None
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")
    tool_use_id: str = ""
    content: Raw = Raw(b"null")
    is_error: bool | None = None
    title: str | None = None
    context: str | None = None
    citations: Raw = Raw()
    tool_name: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = Raw(b"null")


class _Tool(msgspec.Struct):
    type: str | None = None
    name: str = ""
    description: str | None = None
    input_schema: Raw = Raw()
    input_examples: Raw = Raw()
    strict: bool | None = None
    display_width_px: int = 0
    display_height_px: int = 0


class _Choice(msgspec.Struct):
    type: str = "auto"
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _User(msgspec.Struct):
    user_id: str | None = None


class _Format(msgspec.Struct):
    type: str = ""
    schema: Raw = Raw(b"null")


class _Output(msgspec.Struct):
    effort: str | None = None
    task_budget: Raw = Raw()
    format: _Format | None = None


class _Thread(msgspec.Struct):
    previous_message_id: str | None = None


class _Request(msgspec.Struct):
    model: str = ""
    messages: list[_Message] = []
    system: Raw = Raw(b"null")
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    thinking: Thinking | None = None
    metadata: _User | None = None
    output_config: _Output | None = None
    output_format: _Format | None = None
    container: Raw = Raw()
    mcp_servers: Raw = Raw()
    thread: _Thread | None = None
    temperature: Raw = Raw()
    top_p: Raw = Raw()


KNOWN = frozenset(_Request.__struct_fields__) | {
    *("anthropic_beta", "anthropic_version", "betas", "billing_policy", "cache_control", "diagnostics"),
    *("fallback_credit_token", "service_tier"),
}
"""Fields that are read, and hints; see `chat.KNOWN`."""
_request = msgspec.json.Decoder(_Request)
_blocks = msgspec.json.Decoder(str | list[Block] | None)
_encode = msgspec.json.Encoder().encode


def read_request(body: bytes) -> Ask:
    """Read a request.

    Raises:
        Invalid: `request.invalid`.
    """
    asked = decoded(_request, body)
    if is_said(asked.container):
        raise keeps_no("containers", "container", "Leave it out, and send what is in it.")
    if asked.thread and asked.thread.previous_message_id:
        raise NotFound(
            "thread.unknown",
            "The model's server keeps no threads, so `thread` leads nowhere.",
            hint="Send the whole conversation.",
            error_code="thread_not_found",
        )
    choice = asked.tool_choice or _Choice()
    tools, left_out = _offered(asked.tools or ())
    if is_said(asked.mcp_servers):
        left_out.append("mcp_servers")
    if choice.type == "tool" and all(tool.name != choice.name for tool in tools) and left_out:
        raise demanded(choice.name)
    system = list(_prompt(asked.system))
    odd: list[str] = []
    turns = [_turn(message, odd) for message in asked.messages]
    output = asked.output_config or _Output()
    wanted = output.format or asked.output_format
    return Ask(
        model=asked.model,
        turns=[*([Turn("system", system)] if system else ()), *turns],
        tools=tools,
        choice={"any": "required", "tool": choice.name}.get(choice.type, choice.type),
        parallel=None if choice.disable_parallel_tool_use is None else not choice.disable_parallel_tool_use,
        stream=bool(asked.stream),
        most_tokens=1 if asked.max_tokens == 0 else asked.max_tokens or 0,  # it is asked only to fill a cache
        stop=asked.stop_sequences or [],
        numbers=present(temperature=asked.temperature, top_p=asked.top_p),
        effort=effort_of(asked.thinking or Thinking(), output.effort or ""),
        left_out=[*left_out, *_lost(asked, output), *named(odd)],
        form=Form(wanted.schema) if wanted and wanted.type == "json_schema" and is_said(wanted.schema) else None,
        user=(asked.metadata.user_id if asked.metadata else "") or "",
    )


def _lost(asked: _Request, output: _Output) -> list[str]:
    """Return the names of settings inside of others that nobody else knows."""
    said = {
        "between_tools": asked.thinking is not None and asked.thinking.type == "between_tools" and not output.effort,
        "input_examples": any(is_said(tool.input_examples) for tool in asked.tools or ()),
        "strict": any(tool.strict for tool in asked.tools or ()),
        "task_budget": is_said(output.task_budget),
    }
    return [name for name, there in said.items() if there]


def _offered(tools: Iterable[_Tool]) -> tuple[list[ToolSpec], list[str]]:
    """Return tools as functions, and the types of those that only Anthropic runs, fit for a header.

    Such a tool has no schema; one that brings its own is somebody's function, whatever it is called.
    """
    found, left_out = [], []
    for tool in tools:
        kind, description = tool.type or "custom", tool.description or ""
        if kind == "custom" or is_said(tool.input_schema):
            found.append(ToolSpec(tool.name, description, schema_of(tool.input_schema)))
        elif known := client_tool(kind):
            found.append(ToolSpec(tool.name, _shown(known.description, tool), known.schema))
        else:
            left_out.append(kind)
    return found, named(left_out)


def _shown(description: str, tool: _Tool) -> str:
    size = (
        f" The screen has {tool.display_width_px} x {tool.display_height_px} pixels." if tool.display_width_px else ""
    )
    return f"{description}{size}"


def _turn(message: _Message, odd: list[str]) -> Turn:
    """Return a message; what stands beside the result of a call belongs to it (Claude Code puts a PDF there)."""
    given, role = bytes(message.content).find(b'"tool_result"') >= 0, role_of(message.role)
    return Turn(role, list(_content(message.content, given=given, odd=odd if role == "user" else None)))


def _prompt(raw: Raw) -> Iterator[Part]:
    for part in _content(raw):
        if not isinstance(part, Text):
            yield part
        elif (text := without_header(part.text)) or not part.text:
            yield Text(text)


def _content(raw: Raw, *, given: bool = False, odd: list[str] | None = None) -> Iterator[Part]:
    """Yield what a content says, or what a tool gave; `odd` takes the types of what nobody else knows."""
    found = text_or_parts(_blocks, raw)
    if isinstance(found, str):
        yield Text(found)
        return
    for block in found:
        if block.type in _CITED and odd is not None and _ENABLED(bytes(block.citations)):
            odd.append("citations")
        yield from _parts_of(block, given=given, odd=odd)


def _parts_of(block: Block, *, given: bool, odd: list[str] | None) -> Iterator[Part]:
    source = block.source
    if block.type == "text" and block.text:
        yield Text(block.text)
    elif block.type == "tool_reference":
        yield Text(f"Found: {block.tool_name}.")
    elif block.type == "search_result":
        yield from _titled(block)
    elif block.type == "container_upload" or (isinstance(source, _Source) and source.type == "file"):
        raise no_file_kept("file_id")
    elif block.type == "document" and isinstance(source, _Source):
        yield from _document(source, block, given=given)
    elif block.type == "image" and isinstance(source, _Source):
        yield Image(source.url, source.data, source.media_type)
    elif block.type == "tool_use" and odd is None:  # a person calls nothing
        yield Use(block.id, block.name, bytes(block.input).decode())
    elif block.type == "tool_result":
        yield resulted(block.tool_use_id, _content(block.content, given=True), is_error=bool(block.is_error))
    elif odd is not None and block.type != "text":
        odd.append(block.type)


def _titled(block: Block) -> Iterator[Part]:
    """Yield the text of a search result, with what it is called and where it stands."""
    if block.title:
        yield Text(block.title)
    if isinstance(block.source, str):
        yield Text(block.source)
    yield from _content(block.content)


def _document(source: _Source, block: Block, *, given: bool) -> Iterator[Part]:
    """Yield the text of a document, or the file that it is, and before it what is said of it."""
    title = block.title or ""
    if block.context:
        yield Text(block.context)
    if source.type not in {"text", "content"}:
        yield File(source.url, source.data, source.media_type.lower() or PDF, title, given)
        return
    if title:
        yield Text(title)
    yield from [Text(source.data)] if source.type == "text" else _content(source.content)


def write_request(ask: Ask) -> bytes:
    """Write a request; this API has one place for what the system says, before all that is said.

    What comes later stays where it is, beside a person's words: else the next request would begin otherwise, and no
    cache would have it. The API knows schemas, but not all, and no JSON without one; that is asked for in words.
    """
    lead = list(itertools.takewhile(lambda turn: turn.role == "system", ask.turns))
    system = [part.text for turn in lead for part in turn.parts if isinstance(part, Text)]
    schema, thinking = closed(ask.form.schema) if ask.form else None, thinking_of(ask)
    if ask.form and schema is None:
        system.append(f"{JSON_ALONE} {JSON_OF} {bytes(ask.form.schema).decode('utf-8', 'replace')}")
    elif ask.json:
        system.append(JSON_ALONE)
    body: dict[str, object] = {
        "model": ask.model,
        "max_tokens": most_tokens(ask),
        "messages": _merged(list(map(_aside, ask.turns[len(lead) :]))),
    }
    if system:
        body["system"] = [{"type": "text", "text": text} for text in system if text.strip()]
    if ask.tools:
        body["tools"] = [
            {"name": tool.name, "description": described(tool), "input_schema": tool.schema} for tool in ask.tools
        ]
        body["tool_choice"] = _choice(ask)
    if ask.stream:
        body["stream"] = True
    if ask.stop:
        body["stop_sequences"] = ask.stop
    if settings := _output(ask, schema):
        body["output_config"] = settings
    if ask.user:
        body["metadata"] = {"user_id": ask.user}
    if ask.tools or any(turn.role == "assistant" for turn in ask.turns):
        _mark(body)
    return _encode(body | thinking | (numbers_of(ask, thinking)))


def _aside(turn: Turn) -> Turn:
    """Return what the system says in a conversation as Claude Code does, and Claude knows it."""
    if turn.role != "system":
        return turn
    said = [part.text for part in turn.parts if isinstance(part, Text) and part.text.strip()]
    return Turn("user", [Text(f"<system-reminder>\n{text}\n</system-reminder>") for text in said])


def lost(ask: Ask) -> list[str]:
    """Return the names of what is not said of a request, and of a schema that is kept unasked at best."""
    return [*lost_of(ask), *(["strict"] if any(tool.strict for tool in ask.tools) else [])]


def _mark(body: Mapping[str, object]) -> None:
    """Let the provider keep what the next request of the conversation repeats; OpenAI's clients expect that unasked."""
    for key in ("system", "messages"):
        last = cast("list[dict[str, object]]", body.get(key) or [{}])[-1]
        block = cast("list[dict[str, object]]", last["content"])[-1] if key == "messages" and last else last
        if block:
            block["cache_control"] = {"type": "ephemeral"}


def _output(ask: Ask, schema: object) -> dict[str, object]:
    form = {} if schema is None else {"format": {"type": "json_schema", "schema": schema}}
    return form | ({"effort": effort} if (effort := word_of(ask)) else {})


def _choice(ask: Ask) -> dict[str, object]:
    kind = {"auto": "auto", "none": "none", "required": "any"}.get(ask.choice, "tool")
    choice: dict[str, object] = {"type": kind}
    if kind == "tool":
        choice["name"] = ask.choice
    if ask.parallel is not None and kind != "none":
        choice["disable_parallel_tool_use"] = not ask.parallel
    return choice


def _merged(turns: Sequence[Turn]) -> list[dict[str, object]]:
    """Return turns that take turns: what one side says in several messages is one, results of tools first."""
    messages: list[tuple[str, list[Part]]] = []
    for turn in turns:
        if messages and messages[-1][0] == turn.role:
            messages[-1][1].extend(turn.parts)
        else:
            messages.append((turn.role, list(turn.parts)))
    written = [(role, _written(parts)) for role, parts in messages]
    return [{"role": role, "content": blocks} for role, blocks in written if blocks]


def _written(parts: Iterable[Part]) -> list[dict[str, object]]:
    blocks = [block_of(_named_well(part)) for part in parts if not (isinstance(part, Text) and not part.text.strip())]
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _named_well(part: Part) -> Part:
    """Return a part whose call, if it is of one, has an id that the API takes; servers of other APIs make up any."""
    if isinstance(part, Use | Result) and (not part.id or _ODD_ID.search(part.id)):
        mark = hashlib.sha256(part.id.encode("utf-8", "replace")).hexdigest()[:8]
        return part._replace(id=f"{_ODD_ID.sub('_', part.id)}_{mark}")
    return part


def block_of(part: Part) -> dict[str, object]:
    """Write a part as a block."""
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Image():
            inner = {"type": "base64", "media_type": part.kind, "data": part.data}
            return {"type": "image", "source": inner if part.data else {"type": "url", "url": part.url}}
        case File():
            return {"type": "document", "source": _source(part), **({"title": part.name} if part.name else {})}
        case Use():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": _object(arguments_of(part))}
        case Result():
            error = {"is_error": True} if part.is_error else {}
            given: object = list(map(block_of, part.parts)) if part.images or part.files else part.text
            return {"type": "tool_result", "tool_use_id": part.id, "content": given, **error}


def _source(file: File) -> dict[str, object]:
    if file.url:
        return {"type": "url", "url": file.url}
    if (text := file.text) is not None:
        return {"type": "text", "media_type": "text/plain", "data": text}
    return {"type": "base64", "media_type": file.kind, "data": file.data}


def _object(arguments: str) -> Raw:
    """Return arguments as an object, which this API demands; what is none stays visible in one."""
    try:
        msgspec.json.decode(arguments, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeEncodeError):
        return Raw(_encode({"arguments": arguments} if arguments.strip() else {}))
    return Raw(arguments.encode())
