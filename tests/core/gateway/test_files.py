"""Documents in every dialect: what the server's one carries reaches it, what it does not is refused or told of."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from anthropic.types import DocumentBlockParam, ToolResultBlockParam
from openai.types.chat import ChatCompletionContentPartParam
from openai.types.responses import ResponseInputContentParam
from openai.types.responses.response_input_param import FunctionCallOutput
from pydantic import TypeAdapter

from llmos_lite.core.gateway.local import LocalUpstream
from llmos_lite.core.gateway.translation.files import PDF, File
from llmos_lite.core.gateway.translation.reading import as_taken
from llmos_lite.core.gateway.translation.translator import translate_request
from llmos_lite.core.gateway.translation.waived import FILES, refused
from llmos_lite.engines.llm import OfflineModel
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.errors import Invalid

DATA = b64encode(b"%PDF-1.7 pages").decode()
HELD = f"data:application/pdf;base64,{DATA}"
URL = "https://x.example/a.pdf"
TOLD = "(Here was a file that this model cannot be shown.)"
WORDS = b64encode("# Größe\n".encode()).decode()
PART: dict[Wire, Any] = {
    Wire.CHAT: ChatCompletionContentPartParam,
    Wire.RESPONSES: ResponseInputContentParam,
    Wire.MESSAGES: DocumentBlockParam,
}
PAIRS = [(client, server) for client in Wire for server in Wire if client is not server]


def pdf(wire: Wire, name: str = "a.pdf") -> dict[str, Any]:
    """A PDF as a dialect has it; Anthropic's is called a title."""
    if wire is Wire.CHAT:
        return {"type": "file", "file": {"filename": name, "file_data": HELD}}
    if wire is Wire.RESPONSES:
        return {"type": "input_file", "filename": name, "file_data": HELD}
    return document({"type": "base64", "media_type": PDF, "data": DATA}, title=name)


def document(source: dict[str, Any], **about: object) -> dict[str, Any]:
    return {"type": "document", "source": source, **about}


def sent(client: Wire, server: Wire, *parts: dict[str, Any], hidden: int = 0) -> list[Any]:
    """What a server gets of what a person says."""
    said = {"role": "user", "content": [*parts]}
    body = {"model": "m", "input" if client is Wire.RESPONSES else "messages": [said]}
    made = json.loads(translate_request(json.dumps(body).encode(), client, server, hidden=hidden).body)
    content = made["input" if server is Wire.RESPONSES else "messages"][0]["content"]
    for part in content if isinstance(content, list) else ():
        part.pop("cache_control", None)
    return content if isinstance(content, list) else [content]


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_pdf_reaches_every_server(client: Wire, server: Wire) -> None:
    assert sent(client, server, pdf(client)) == [pdf(server)]
    TypeAdapter(PART[client]).validate_python(pdf(client))
    TypeAdapter(PART[server]).validate_python(pdf(server))


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
@pytest.mark.parametrize(
    ("title", "name"), [("Report 2026", "Report 2026.pdf"), (None, "document.pdf"), ("A.PDF", "A.PDF")]
)
def test_a_title_is_a_name_that_says_the_type(server: Wire, title: str | None, name: str) -> None:
    source = {"type": "base64", "media_type": PDF, "data": DATA}
    assert sent(Wire.MESSAGES, server, document(source, title=title)) == [pdf(server, name)]


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
def test_documents_that_are_text_become_text_and_what_is_said_of_one_comes_first(server: Wire) -> None:
    plain = document({"type": "text", "media_type": "text/plain", "data": "One."}, title="Notes", context="Old.")
    parts = document({"type": "content", "content": [{"type": "text", "text": "Two."}]}, context=None)
    whole = document({"type": "content", "content": "Three."})
    found = sent(Wire.MESSAGES, server, plain, parts, whole)
    words = found[0].split("\n\n") if server is Wire.CHAT else [part["text"] for part in found]
    assert words == ["Old.", "Notes", "One.", "Two.", "Three."]
    before, file = sent(Wire.MESSAGES, server, pdf(Wire.MESSAGES) | {"context": "From the archive."})
    assert (before["text"], file) == ("From the archive.", pdf(server))


def test_an_address_reaches_the_servers_that_fetch_it() -> None:
    block, part = document({"type": "url", "url": URL}), {"type": "input_file", "file_url": URL}
    assert sent(Wire.MESSAGES, Wire.RESPONSES, block) == [part]
    assert sent(Wire.RESPONSES, Wire.MESSAGES, part) == [block]
    TypeAdapter(PART[Wire.RESPONSES]).validate_python(part)
    for client, one in ((Wire.MESSAGES, block), (Wire.RESPONSES, part)):
        with pytest.raises(Invalid, match="files at an address") as caught:
            sent(client, Wire.CHAT, one)
        assert caught.value.hint == "Send what is in it: a PDF as data, a text as text."


def test_a_text_file_is_a_document_to_anthropic_and_a_text_in_chat() -> None:
    file = {"type": "input_file", "filename": "size.md", "file_data": f"data:text/markdown;base64,{WORDS}"}
    assert sent(Wire.RESPONSES, Wire.CHAT, file) == ["size.md\n\n# Größe\n"]
    found = {"type": "text", "media_type": "text/plain", "data": "# Größe\n"}
    assert sent(Wire.RESPONSES, Wire.MESSAGES, file) == [document(found, title="size.md")]
    TypeAdapter(PART[Wire.MESSAGES]).validate_python(document(found, title="size.md"))


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.MESSAGES])
def test_a_file_that_is_neither_pdf_nor_text_is_refused(server: Wire) -> None:
    file = {"type": "input_file", "filename": "a.docx", "file_data": f"data:application/vnd.x;base64,{WORDS}"}
    with pytest.raises(Invalid, match="files that are neither PDF nor text"):
        sent(Wire.RESPONSES, server, file)
    inner = {"filename": "a.docx", "file_data": f"data:application/vnd.x;base64,{WORDS}"}
    assert sent(Wire.CHAT, Wire.RESPONSES, {"type": "file", "file": inner}) == [{"type": "input_file", **inner}]


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.MESSAGES])
@pytest.mark.parametrize(
    "head", ["DATA:application/pdf;base64", "data:Application/PDF;x=1;BASE64", "data:application/x-pdf;base64"]
)
def test_a_type_is_read_however_it_is_written(server: Wire, head: str) -> None:
    file = {"type": "input_file", "filename": "a.pdf", "file_data": f"{head},{DATA}"}
    assert sent(Wire.RESPONSES, server, file) == [pdf(server)]
    loud = document({"type": "base64", "media_type": PDF.upper(), "data": DATA}, title="a.pdf")
    assert sent(Wire.MESSAGES, Wire.CHAT, loud) == [pdf(Wire.CHAT)]


@pytest.mark.parametrize(
    ("address", "kind", "data"),
    [
        ("DATA:image/PNG;base64,QUJD", "image/png", "QUJD"),
        ("data:image/png;charset=utf-8;base64,QUJD", "image/png", "QUJD"),
        ("data:image/jpg;base64,QUJD", "image/jpeg", "QUJD"),
        ("data:image/gif,A%42C", "image/gif", "QUJD"),
    ],
)
def test_anthropic_gets_a_type_of_picture_that_it_knows(address: str, kind: str, data: str) -> None:
    found = sent(Wire.RESPONSES, Wire.MESSAGES, {"type": "input_image", "image_url": address, "detail": "auto"})
    assert found == [{"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}]


def test_bytes_of_a_text_are_read_as_they_are_or_not_at_all() -> None:
    def text(rest: str) -> str | None:
        return File.of(f"data:text/plain{rest}", "a.txt").text

    assert text(",what%20for%3F") == "what for?"
    assert text(f";base64,{WORDS[:4]}\r\n {WORDS[4:]}") == "# Größe\n"
    assert text(";base64,####") is text(";base64,QUJ") is text(";base64,/w==") is None


def test_a_picture_in_a_file_is_a_picture() -> None:
    held = "data:image/png;base64,QUJD"
    asked = {"type": "file", "file": {"filename": "a.png", "file_data": held}}
    assert sent(Wire.CHAT, Wire.RESPONSES, asked) == [{"type": "input_image", "image_url": held, "detail": "auto"}]
    asked = {"type": "input_file", "filename": "a.png", "file_data": held}
    assert sent(Wire.RESPONSES, Wire.CHAT, asked) == [{"type": "image_url", "image_url": {"url": held}}]


@pytest.mark.parametrize(
    ("data", "name", "kind", "text"),
    [
        (DATA, "", PDF, None),
        (DATA, "scan", PDF, None),
        (WORDS, "a.pdf", PDF, None),
        (WORDS, "notes.md", "text/plain", "# Größe\n"),
        (f"data:;base64,{WORDS}", "a.JSON", "text/plain", "# Größe\n"),
        (f"data:application/octet-stream;base64,{WORDS}", "a.bin", "application/octet-stream", None),
        (f"data:Application/JSON; charset=utf-8;base64,{WORDS}", "", "application/json", "# Größe\n"),
        ("data:text/plain;base64,/w==", "a.txt", "text/plain", None),
        ("data:text/plain;base64,é", "a.txt", "text/plain", None),
    ],
)
def test_what_a_file_is_stands_in_its_type_its_name_or_its_bytes(
    data: str, name: str, kind: str, text: str | None
) -> None:
    file = File.of(data, name)
    assert (file.kind, file.text, file.name) == (kind, text, name)


def result(client: Wire, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """A conversation in which a tool gave something."""
    if client is Wire.RESPONSES:
        call = {"type": "function_call", "call_id": "c", "name": "Read", "arguments": "{}"}
        return [call, {"type": "function_call_output", "call_id": "c", "output": [*parts]}]
    if client is Wire.CHAT:
        call = {"id": "c", "type": "function", "function": {"name": "Read", "arguments": "{}"}}
        given = {"role": "tool", "tool_call_id": "c", "content": [*parts]}
        return [{"role": "assistant", "tool_calls": [call]}, given]
    call = {"type": "tool_use", "id": "c", "name": "Read", "input": {}}
    given = {"type": "tool_result", "tool_use_id": "c", "content": [*parts]}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [given]}]


def talked(client: Wire, server: Wire, talk: list[dict[str, Any]], hidden: int = 0) -> tuple[list[Any], bool]:
    body = {"model": "m", "input" if client is Wire.RESPONSES else "messages": talk}
    made = translate_request(json.dumps(body).encode(), client, server, hidden=hidden)
    assert not (made.files and FILES in made.left_out)
    return json.loads(made.body)["input" if server is Wire.RESPONSES else "messages"], made.files > 0


@pytest.mark.parametrize("text", ["Read a.pdf.", ""])
def test_a_pdf_that_a_tool_gave_is_in_its_result_or_follows_it(text: str) -> None:
    words = [{"type": "text", "text": text}] if text else []
    given = result(Wire.MESSAGES, *words, pdf(Wire.MESSAGES))
    chats, shown = talked(Wire.MESSAGES, Wire.CHAT, given)
    assert [(one["role"], one["content"]) for one in chats[1:]] == [
        ("tool", text or "The file follows."), ("user", [pdf(Wire.CHAT)]),
    ]  # fmt: skip
    items, _ = talked(Wire.MESSAGES, Wire.RESPONSES, given)
    told = [{"type": "input_text", "text": text}] if text else []
    assert items[-1]["output"] == [*told, pdf(Wire.RESPONSES)]
    TypeAdapter(FunctionCallOutput).validate_python(items[-1])
    back, _ = talked(Wire.RESPONSES, Wire.MESSAGES, items)
    block = back[-1]["content"][0]
    assert block["content"] == [*words, pdf(Wire.MESSAGES)]
    TypeAdapter(ToolResultBlockParam).validate_python(block)
    assert shown


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
def test_a_pdf_beside_a_result_comes_after_it(server: Wire) -> None:
    """Claude Code puts the PDF that it read into the message of the result, behind it."""
    talk = result(Wire.MESSAGES, {"type": "text", "text": "Read a.pdf."})
    talk[-1]["content"].append(pdf(Wire.MESSAGES))
    found, shown = talked(Wire.MESSAGES, server, talk)
    assert (found[-1]["role"], found[-1]["content"], shown) == ("user", [pdf(server)], True)


BY_URL = document({"type": "url", "url": URL})
DOCX = {"type": "input_file", "filename": "a.docx", "file_data": f"data:application/vnd.x;base64,{WORDS}"}
SOUND = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}


@pytest.mark.parametrize(
    ("client", "server", "part"),
    [
        (Wire.MESSAGES, Wire.CHAT, BY_URL),
        (Wire.RESPONSES, Wire.CHAT, DOCX),
        (Wire.RESPONSES, Wire.MESSAGES, DOCX),
        (Wire.RESPONSES, Wire.MESSAGES, SOUND),
        (Wire.CHAT, Wire.MESSAGES, SOUND),
    ],
)
def test_a_model_is_told_of_what_a_tool_gave_and_it_cannot_be_shown(
    client: Wire, server: Wire, part: dict[str, Any]
) -> None:
    """Every later request of the conversation holds the result, too."""
    found, shown = talked(client, server, result(client, part))
    assert TOLD in json.dumps(found)
    assert not shown


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_file_that_a_tool_gave_gives_way_where_a_server_refuses_it(client: Wire, server: Wire) -> None:
    talk = result(client, pdf(client))
    assert talked(client, server, talk)[1]
    found, shown = talked(client, server, talk, 1)
    assert TOLD in json.dumps(found)
    assert DATA not in json.dumps(found)
    assert not shown
    assert sent(client, server, pdf(client), hidden=1) == [pdf(server)], "a person's stays"
    found, shown = talked(client, server, [*talk, *talk], 1)
    assert TOLD not in json.dumps(found), "with a further one the server is asked again"


def test_a_refusal_may_be_about_files() -> None:
    assert refused(400, b"invalid message format", "", files=True) == FILES
    assert refused(400, b"invalid message format", "", files=False) == ""
    assert refused(401, b"no key", "", files=True) == ""
    assert refused(400, b"does not support thinking", "high", files=True) == "high"


async def test_a_model_of_ours_reads_texts_and_is_told_of_other_files() -> None:
    upstream = LocalUpstream(OfflineModel())
    body = {"model": "m", "messages": [{"role": "user", "content": [pdf(Wire.CHAT)]}]}
    with pytest.raises(Invalid, match="asked about files by it"):
        await upstream.send(Passing(path="/chat/completions", headers={}, body=json.dumps(body).encode()))
    assert as_taken(File(given=True, data=DATA), lambda _: False) == (TOLD,)
    assert as_taken(File.of(WORDS, "a.md"), lambda _: False) == ("a.md\n\n# Größe\n",)
