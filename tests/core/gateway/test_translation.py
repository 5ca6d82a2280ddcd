"""Every dialect into every other: requests and answers, at once and in events, with tools and pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.core.gateway.messages_dialect import MessagesDialect
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.core.gateway.translation import chat, messages, messages_thinking, responses
from llmos_lite.core.gateway.translation.chat_answers import ChatOut
from llmos_lite.core.gateway.translation.messages_answers import MessagesOut
from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Ask,
    Began,
    Called,
    Counted,
    Gathered,
    Image,
    Raw,
    Result,
    Said,
    Stop,
    Stopped,
    Text,
    ToolSpec,
    Turn,
    Use,
    Words,
)
from llmos_lite.core.gateway.translation.responses_answers import ResponsesOut
from llmos_lite.core.gateway.translation.translator import AnswerOut, AnswerTranslation, translate_request
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid, UpstreamFailed

MODULES: dict[Wire, Any] = {Wire.CHAT: chat, Wire.MESSAGES: messages, Wire.RESPONSES: responses}
DIALECTS: dict[Wire, Dialect] = {
    Wire.CHAT: ChatDialect(),
    Wire.MESSAGES: MessagesDialect(),
    Wire.RESPONSES: ResponsesDialect(),
}
OUTS = {Wire.CHAT: ChatOut, Wire.MESSAGES: MessagesOut, Wire.RESPONSES: ResponsesOut}
PAIRS = [(server, client) for server in Wire for client in Wire if server is not client]

NAME = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
WORDS = st.text(min_size=1).filter(str.strip)
ARGUMENTS = st.dictionaries(NAME, st.text() | st.integers(), max_size=3).map(json.dumps)
PICTURE = Image("https://x.example/p.png")
SHOWN = st.builds(Text, WORDS) | st.just(PICTURE)
USERS = st.tuples(st.just("user"), st.lists(SHOWN, min_size=1, max_size=3))
ASSISTANTS = st.tuples(st.just("assistant"), st.lists(st.builds(Text, WORDS), min_size=1, max_size=1))


def alternating(turns: list[Any]) -> list[Turn]:
    """Turns that take turns, the person first."""
    return [Turn(*turn) for at, turn in enumerate(turns) if turn[0] == ("user", "assistant")[at % 2]]


def plain(name: str, description: str) -> ToolSpec:
    return ToolSpec(name, description, Raw(b'{"type":"object"}'))


CONVERSATIONS = st.lists(USERS | ASSISTANTS, max_size=6).map(alternating)
ASKS = st.builds(
    Ask,
    model=NAME,
    turns=CONVERSATIONS.map(lambda turns: [Turn("system", [Text("Be brief.")]), *turns]),
    tools=st.lists(st.builds(plain, NAME, st.text()), max_size=2, unique_by=lambda tool: tool.name),
    choice=st.sampled_from(["auto", "none", "required", "named_tool"]),
    stream=st.booleans(),
    most_tokens=st.integers(responses.FEWEST_TOKENS, 10_000),
)


def flat(turns: Sequence[Turn]) -> list[tuple[str, Any]]:
    """Who says what, however it is cut into turns; texts that stand together are one."""
    found: list[tuple[str, Any]] = []
    for turn in turns:
        for part in turn.parts:
            if found and isinstance(part, Text) and found[-1][0] == turn.role and isinstance(found[-1][1], str):
                found[-1] = (turn.role, found[-1][1] + "\n\n" + part.text)
            else:
                found.append((turn.role, part.text if isinstance(part, Text) else part))
    return found


@pytest.mark.parametrize("wire", Wire)
@given(ask=ASKS)
def test_what_is_written_is_read_again(wire: Wire, ask: Ask) -> None:
    again = MODULES[wire].read_request(MODULES[wire].write_request(ask))
    assert (again.model, again.stream, again.most_tokens) == (ask.model, ask.stream, ask.most_tokens)
    assert flat(again.turns) == flat(ask.turns)
    assert [(tool.name, tool.description, bytes(tool.schema)) for tool in again.tools] == [
        (tool.name, tool.description, bytes(tool.schema)) for tool in ask.tools
    ]
    assert again.choice == (ask.choice if ask.tools else "auto")


CALLS = [
    Turn("user", [Text("look")]),
    Turn("assistant", [Text("I look."), Use("c1", "ls", '{"p": 1}'), Use("c2", "cat", "{}")]),
    Turn("user", [Result("c1", "a b"), Result("c2", "no such file", is_error=True)]),
    Turn("user", [Text("go on")]),
]


@pytest.mark.parametrize("wire", Wire)
def test_calls_and_their_results_stay_together(wire: Wire) -> None:
    body = MODULES[wire].write_request(Ask(model="m", turns=CALLS))
    parts = [part for turn in MODULES[wire].read_request(body).turns for part in turn.parts]
    uses = [part for part in parts if isinstance(part, Use)]
    assert [(use.id, use.name, json.loads(use.arguments)) for use in uses] == [
        ("c1", "ls", {"p": 1}),
        ("c2", "cat", {}),
    ]
    assert [(part.id, part.text) for part in parts if isinstance(part, Result)] == [
        ("c1", "a b"),
        ("c2", "no such file"),
    ]
    assert parts[-1] == Text("go on")


def test_anthropic_gets_turns_that_take_turns_with_results_first() -> None:
    said = json.loads(messages.write_request(Ask(model="m", turns=[Turn("system", [Text("early")]), *CALLS])))
    assert [message["role"] for message in said["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in said["messages"][2]["content"]] == ["tool_result", "tool_result", "text"]
    assert said["system"] == [{"type": "text", "text": "early", "cache_control": {"type": "ephemeral"}}]
    assert said["max_tokens"] == messages_thinking.MOST_TOKENS


def test_pictures_are_addresses_or_bytes() -> None:
    ask = Ask(model="m", turns=[Turn("user", [Image(data="QUJD", kind="image/jpeg"), Image("https://x.example/a")])])
    said = json.loads(messages.write_request(ask))["messages"][0]["content"]
    assert said[0]["source"] == {"type": "base64", "media_type": "image/jpeg", "data": "QUJD"}
    assert said[1]["source"] == {"type": "url", "url": "https://x.example/a"}
    for module in (chat, responses):
        assert module.read_request(module.write_request(ask)).turns == ask.turns


SEEN = Result("c1", "", images=(Image(data="QUJD", kind="image/png"),))


@pytest.mark.parametrize("wire", [Wire.MESSAGES, Wire.RESPONSES])
def test_pictures_that_a_tool_gave_are_in_its_result(wire: Wire) -> None:
    module = MODULES[wire]
    ask = Ask(model="m", turns=[*CALLS[:2], Turn("user", [SEEN, Result("c2", "text", images=(PICTURE,))])])
    parts = [part for turn in module.read_request(module.write_request(ask)).turns for part in turn.parts]
    assert [part for part in parts if isinstance(part, Result)] == ask.turns[-1].parts


def test_pictures_that_tools_gave_come_after_all_results_where_these_hold_only_text() -> None:
    said = [*CALLS[:2], Turn("user", [SEEN]), Turn("user", [Result("c2", "b", images=(PICTURE,))])]
    for more in ([], [Turn("assistant", [Text("I see.")])]):
        found = json.loads(chat.write_request(Ask(model="m", turns=[*said, *more])))["messages"]
        assert [message["role"] for message in found[2:]] == ["tool", "tool", "user", *(["assistant"] if more else [])]
        assert [message["content"] for message in found[2:4]] == ["The picture follows.", "b"]
        assert [part["image_url"]["url"] for part in found[4]["content"]] == ["data:image/png;base64,QUJD", PICTURE.url]


@pytest.mark.parametrize(("effort", "budget"), [("low", 2048), ("high", 16384), ("", None), ("none", None)])
def test_how_hard_to_think_becomes_a_budget(effort: str, budget: int | None) -> None:
    turns = [*CALLS, Turn("assistant", [Text("done")]), Turn("user", [Text("and now?")])]
    said = json.loads(messages.write_request(Ask(model="m", turns=turns, effort=effort, most_tokens=32_000)))
    assert said.get("thinking", {}).get("budget_tokens") == budget


def test_there_is_no_thinking_when_results_come_in_and_no_temperature_beside_it() -> None:
    thinking = Ask(model="m", turns=[Turn("user", [Text("hi")])], effort="low", numbers={"temperature": Raw(b"0.5")})
    written = json.loads(messages.write_request(thinking))
    assert "thinking" in written
    assert "temperature" not in written
    turns = [*thinking.turns, Turn("assistant", [Use("c", "f", "{}")]), Turn("user", [Result("c", "x")])]
    assert "thinking" not in json.loads(messages.write_request(replace(thinking, turns=turns)))


def test_anthropic_is_told_what_to_keep_of_a_conversation_that_goes_on() -> None:
    opening = [Turn("system", [Text("Own.")]), Turn("user", [Text("hi")])]
    once = messages.write_request(Ask(model="m", turns=opening))
    assert b"cache_control" not in once
    more = [*opening, Turn("assistant", [Text("yes")]), Turn("user", [Text("and?"), PICTURE])]
    for turns in (more, [*opening, Turn("assistant", [Use("c", "f", "{}")]), Turn("user", [Result("c", "x")])]):
        written = json.loads(messages.write_request(Ask(model="m", turns=turns)))
        assert written["system"][-1]["cache_control"] == {"type": "ephemeral"}
        assert written["messages"][-1]["content"][-1]["cache_control"] == {"type": "ephemeral"}
        assert json.dumps(written).count("cache_control") == 2
    bare = Ask(model="m", turns=[], tools=[ToolSpec("f", "", Raw(b"{}"))])
    assert json.loads(messages.write_request(bare))["messages"] == []


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
def test_openai_is_not_told_a_name_that_it_does_not_take(server: Wire) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    for user, kept in (("u" * 64, True), (json.dumps({"device": "d" * 60, "session": "s"}), False)):
        raw = json.dumps(body | {"metadata": {"user_id": user}}).encode()
        assert ("user" in json.loads(translate_request(raw, Wire.MESSAGES, server).body)) is kept


@pytest.mark.parametrize("client", [Wire.RESPONSES, Wire.MESSAGES])
def test_calls_whose_pieces_are_mixed_come_one_after_the_other(client: Wire) -> None:
    """Only chat completions may mix them; both other dialects end a call before the next begins."""
    translation = AnswerTranslation(Wire.CHAT, client)
    first = [{"index": at, "id": f"c{at}", "function": {"name": f"f{at}", "arguments": ""}} for at in (0, 1, 2)]
    pieces = [{"index": at, "function": {"arguments": text}} for text in ('{"a"', ":1}") for at in (0, 1)]
    chunks = [{"choices": [{"delta": {"tool_calls": [part]}}]} for part in [*first, *pieces]]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]})
    stream = b"".join(translation.feed(b"data: %b\n\n" % json.dumps(chunk).encode()) for chunk in chunks)
    stream += translation.end()
    reader = DIALECTS[client].reader("m")
    reader.feed(stream)
    calls = reader.completion().tool_calls
    assert [(call.name, json.loads(call.arguments or "{}")) for call in calls] == [
        ("f0", {"a": 1}), ("f1", {"a": 1}), ("f2", {})
    ]  # fmt: skip
    kinds = re.findall(rb"event: (?:response\.output_item|content_block)[._](\w+)", stream)
    assert [kind for kind in kinds if kind != b"delta"] in ([b"added", b"done"] * 3, [b"start", b"stop"] * 3)


def test_the_calls_of_openai_are_counted_from_nought() -> None:
    """Anthropic counts the blocks before them, too; OpenAI's library takes the number for a place in a list."""
    translation = AnswerTranslation(Wire.MESSAGES, Wire.CHAT)
    events = [{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    for at in (1, 2):
        block = {"type": "tool_use", "id": f"t{at}", "name": "f", "input": {}}
        events.append({"type": "content_block_start", "index": at, "content_block": block})
        events.append({"type": "content_block_delta", "index": at, "delta": {"partial_json": "{}"}})
    stream = b"".join(translation.feed(b"data: %b\n\n" % json.dumps(event).encode()) for event in events)
    assert re.findall(rb'"index":(\d),"id"', stream) == [b"0", b"1"]


def user_says(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look."}, *parts]}]}


def user_puts_in(*items: dict[str, Any]) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "Look."}, *items]}


def test_claude_codes_schema_of_an_answer_reaches_openai() -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}}
    config = {"effort": "high", "format": {"type": "json_schema", "schema": schema}}
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "output_config": config}).encode()
    found = json.loads(translate_request(raw, Wire.MESSAGES, Wire.CHAT).body)["response_format"]
    assert found == {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def test_a_schema_of_the_answer_is_kept_between_openais_two() -> None:
    body = b'{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"n","schema":{"a":1}}}}'
    said = json.loads(translate_request(body, Wire.RESPONSES, Wire.CHAT).body)
    assert said["response_format"] == {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}}


SCHEMA = {"type": "object", "properties": {"a": {"type": "null"}}}
CHAT_SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}}
RESPONSES_SCHEMA = {"text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}}}


@pytest.mark.parametrize(
    ("client", "body"), [(Wire.CHAT, user_says() | CHAT_SCHEMA), (Wire.RESPONSES, {"input": "x"} | RESPONSES_SCHEMA)]
)
def test_a_schema_of_the_answer_reaches_anthropic(client: Wire, body: dict[str, Any]) -> None:
    said = json.loads(translate_request(json.dumps({"model": "m"} | body).encode(), client, Wire.MESSAGES).body)
    schema = {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": False}
    assert said["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert "system" not in said


def test_a_schema_that_anthropic_does_not_know_is_said_in_words() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"additionalProperties": {"type": "null"}}}}
    raw = json.dumps(user_says() | {"model": "m", "response_format": form}).encode()
    said = json.loads(translate_request(raw, Wire.CHAT, Wire.MESSAGES).body)
    assert "output_config" not in said
    assert said["system"][0]["text"].startswith(f"{messages.JSON_ALONE} {messages.JSON_OF} ")
    assert json.loads(said["system"][0]["text"].partition(messages.JSON_OF)[2]) == form["json_schema"]["schema"]


@pytest.mark.parametrize("schema", [{}, {"schema": None}])
def test_a_schema_that_is_left_out_is_json_without_one(schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n"} | schema}
    chats = json.dumps(user_says() | {"model": "m", "response_format": form}).encode()
    asked = json.dumps({"model": "m", "input": "x", "text": {"format": {"type": "json_schema", "name": "n"} | schema}})
    assert json.loads(translate_request(chats, Wire.CHAT, Wire.RESPONSES).body)["text"] == {
        "format": {"type": "json_object"}
    }
    said = json.loads(translate_request(asked.encode(), Wire.RESPONSES, Wire.CHAT).body)
    assert said["response_format"] == {"type": "json_object"}


def test_json_without_a_schema_is_wanted_in_every_dialect() -> None:
    chats = json.dumps(user_says() | {"model": "m", "response_format": {"type": "json_object"}}).encode()
    asked = json.dumps({"model": "m", "input": "x", "text": {"format": {"type": "json_object"}}}).encode()
    said = json.loads(translate_request(chats, Wire.CHAT, Wire.RESPONSES).body)
    assert said["text"] == {"format": {"type": "json_object"}}
    assert json.loads(translate_request(asked, Wire.RESPONSES, Wire.CHAT).body)["response_format"] == {
        "type": "json_object"
    }
    for body, client in ((chats, Wire.CHAT), (asked, Wire.RESPONSES)):
        system = json.loads(translate_request(body, client, Wire.MESSAGES).body)["system"]
        assert [part["text"] for part in system] == [messages.JSON_ALONE]


def test_free_text_is_asked_for_nowhere() -> None:
    body = json.dumps(
        user_says() | {"model": "m", "response_format": {"type": "text"}, "n": 1, "functions": []}
    ).encode()
    for server, field in ((Wire.RESPONSES, "text"), (Wire.MESSAGES, "system")):
        assert field not in json.loads(translate_request(body, Wire.CHAT, server).body)


@pytest.mark.parametrize(("client", "field"), [(Wire.CHAT, "stop"), (Wire.MESSAGES, "stop_sequences")])
def test_where_to_stop_is_refused_where_nobody_could_be_told(client: Wire, field: str) -> None:
    body = json.dumps(user_says() | {"model": "m", field: ["END"]}).encode()
    with pytest.raises(Invalid, match="where to stop"):
        translate_request(body, client, Wire.RESPONSES)


def test_a_conversation_that_only_openai_keeps_cannot_be_translated() -> None:
    with pytest.raises(Invalid, match="previous_response_id"):
        translate_request(b'{"model":"m","input":"x","previous_response_id":"r"}', Wire.RESPONSES, Wire.CHAT)


BY_ID = {"type": "file", "file_id": "file_1"}
TEXT = {"type": "text", "text": "Found."}
KEPT_ELSEWHERE = [
    (Wire.RESPONSES, {"input": "x", "conversation": "conv_1"}, "`conversation`"),
    (Wire.RESPONSES, {"input": "x", "conversation": {"id": "conv_1"}}, "`conversation`"),
    (Wire.RESPONSES, {"prompt": {"id": "pmpt_1"}}, "`prompt`"),
    (Wire.RESPONSES, user_puts_in({"type": "item_reference", "id": "msg_1"}), "`item_reference`"),
    (Wire.RESPONSES, user_puts_in({"type": "compaction", "encrypted_content": "x"}), "`compaction`"),
    *(
        (Wire.RESPONSES, user_puts_in({"role": "user", "content": [part]}), said)
        for part, said in (
            ({"type": "input_file", "file_id": "file_1"}, "`file_id`"),
            ({"type": "input_image", "file_id": "file_1"}, "`file_id`"),
            ({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}, "sound"),
        )
    ),
    (Wire.MESSAGES, user_says({"type": "image", "source": BY_ID}), "`file_id`"),
    (Wire.MESSAGES, user_says({"type": "document", "source": BY_ID}), "`file_id`"),
    (Wire.MESSAGES, user_says({"type": "container_upload", "file_id": "file_1"}), "`file_id`"),
    (Wire.MESSAGES, user_says({"type": "tool_result", "content": [{"type": "image", "source": BY_ID}]}), "`file_id`"),
    (Wire.MESSAGES, user_says() | {"container": "container_1"}, "`container`"),
    (Wire.MESSAGES, user_says() | {"container": {"skills": [{"skill_id": "pdf"}]}}, "`container`"),
    (Wire.CHAT, user_says({"type": "file", "file": {"file_id": "file_1"}}), "`file_id`"),
    (Wire.CHAT, user_says({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}), "sound"),
    (Wire.CHAT, user_says() | {"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, "sound"),
    (Wire.CHAT, {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, "`audio`"),
    (Wire.CHAT, user_says() | {"n": 2}, "several answers"),
    (Wire.CHAT, user_says() | {"functions": [{"name": "f"}]}, "`functions`"),
]  # fmt: skip


@pytest.mark.parametrize(("client", "body", "said"), KEPT_ELSEWHERE)
def test_what_only_the_clients_provider_keeps_or_takes_is_refused(
    client: Wire, body: dict[str, Any], said: str
) -> None:
    for server in set(Wire) - {client}:
        with pytest.raises(Invalid, match=re.escape(said)) as caught:
            translate_request(json.dumps({"model": "m"} | body).encode(), client, server)
        assert caught.value.code == "request.invalid"
        assert caught.value.hint


NOTHING = {"previous_response_id": None, "conversation": None, "prompt": None, "container": None, "audio": None}
HINTS = {
    "store": True,
    "prediction": {"type": "content", "content": "x"},
    "service_tier": "auto",
    "metadata": {"a": "b"},
}


@pytest.mark.parametrize(("server", "client"), PAIRS)
def test_hints_and_fields_that_say_nothing_are_dropped(server: Wire, client: Wire) -> None:
    body = {"model": "m", "mcp_servers": [], "modalities": ["text"]} | NOTHING | HINTS
    body |= {"input": "x"} if client is Wire.RESPONSES else user_says()
    said = json.loads(translate_request(json.dumps(body).encode(), client, server).body)
    assert not (NOTHING | HINTS).keys() & said.keys() - {"store", "metadata"}
    assert said.get("store", False) is False


def test_servers_of_tools_that_anthropic_asks_are_named_as_left_out() -> None:
    body = {"model": "m", "mcp_servers": [{"type": "url", "url": "https://x.example/mcp", "name": "x"}]} | user_says()
    assert translate_request(json.dumps(body).encode(), Wire.MESSAGES, Wire.CHAT).left_out == ["mcp_servers"]


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
def test_a_search_result_becomes_text(server: Wire) -> None:
    found = {"type": "search_result", "source": "https://x.example/a", "title": "A", "content": [TEXT]}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [found]}
    for body in (user_says(found), user_says(result)):
        said = translate_request(json.dumps({"model": "m"} | body).encode(), Wire.MESSAGES, server).body
        assert all(one in said for one in (b"A", b"https://x.example/a", b"Found."))


FIELDS = st.sampled_from(["model", "messages", "input", "tools", "system"])
ITEMS = st.lists(st.dictionaries(st.sampled_from(["role", "content", "type"]), st.text() | st.integers()), max_size=2)


@pytest.mark.parametrize(("server", "client"), PAIRS)
@given(raw=st.dictionaries(FIELDS, st.none() | st.integers() | st.text() | ITEMS))
def test_what_is_no_request_is_refused(server: Wire, client: Wire, raw: dict[str, Any]) -> None:
    with suppress(Invalid):
        json.loads(translate_request(json.dumps(raw).encode(), client, server).body)


# Answers

PIECES: list[Said] = [
    Began("id-1", "m-1"), Words("Hello "), Words("é\u2028"), Called(0, "c1", "ls"), Argued(0, '{"p":'), Argued(0, "1}"),
    Called(1, "c2", "cat"), Argued(1, "{}"), Counted(10, None, 4), Counted(None, 7), Stopped("tools"),
]  # fmt: skip


def streamed(out: AnswerOut, pieces: list[Said] = PIECES) -> bytes:
    return b"".join(map(out.event, pieces)) + out.end()


@pytest.mark.parametrize("wire", Wire)
def test_a_written_stream_is_read_by_our_own_reader(wire: Wire) -> None:
    reader = DIALECTS[wire].reader("")
    reader.feed(streamed(OUTS[wire]()))
    done = reader.completion()
    assert reader.ended
    assert (done.text, done.model) == ("Hello é\u2028", "m-1")
    assert [(call.id, call.name, json.loads(call.arguments)) for call in done.tool_calls] == [
        ("c1", "ls", {"p": 1}),
        ("c2", "cat", {}),
    ]
    assert (done.tokens_in, done.tokens_out, done.stop_reason) == (10, 7, "tools")


@pytest.mark.parametrize(("server", "client"), PAIRS)
@given(cuts=st.lists(st.integers(0, 4000), max_size=5))
def test_a_stream_is_translated_whatever_its_cut(server: Wire, client: Wire, cuts: list[int]) -> None:
    data = streamed(OUTS[server]())
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    translation = AnswerTranslation(server, client)
    said = b"".join(translation.feed(data[start:end]) for start, end in pairwise(edges)) + translation.end()
    reader = DIALECTS[client].reader("")
    reader.feed(said)
    done = reader.completion()
    assert reader.ended
    assert done.text == "Hello é\u2028"
    assert [(call.name, json.loads(call.arguments)) for call in done.tool_calls] == [("ls", {"p": 1}), ("cat", {})]
    assert (done.tokens_in, done.tokens_out) == (10, 7)
    assert translation.end() == b""


@pytest.mark.parametrize(("server", "client"), PAIRS)
def test_an_answer_at_once_is_translated(server: Wire, client: Wire) -> None:
    gathered = Gathered()
    for piece in PIECES:
        gathered.take(piece)
    said = AnswerTranslation(server, client).whole(OUTS[server]().whole(gathered))
    done = DIALECTS[client].whole(said, "")
    assert (done.text, done.model, done.tokens_in, done.tokens_out) == ("Hello é\u2028", "m-1", 10, 7)
    assert [(call.name, json.loads(call.arguments)) for call in done.tool_calls] == [("ls", {"p": 1}), ("cat", {})]


@pytest.mark.parametrize("why", ["end", "length", "filtered"])
@pytest.mark.parametrize(("server", "client"), PAIRS)
def test_why_it_ended_is_kept(server: Wire, client: Wire, why: Stop) -> None:
    pieces: list[Said] = [Began("i", "m"), Words("x"), Stopped(why)]
    translation = AnswerTranslation(server, client)
    said = translation.feed(streamed(OUTS[server](), pieces)) + translation.end()
    reader = DIALECTS[client].reader("")
    reader.feed(said)
    assert reader.completion().stop_reason in {why, {"filtered": "end"}.get(why, why)}
    assert reader.ended


@pytest.mark.parametrize(("server", "client"), PAIRS)
def test_a_stream_that_is_cut_has_no_end(server: Wire, client: Wire) -> None:
    translation = AnswerTranslation(server, client)
    translation.feed(b"".join(map(OUTS[server]().event, PIECES[:3])))
    assert translation.end() == b""


@pytest.mark.parametrize(("server", "client"), PAIRS)
@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: 5\n\n", b"data: [1]\n\n", b'data: {"id": 1, "type": 7}\n\n'])
def test_garbage_is_the_servers_fault(server: Wire, client: Wire, data: bytes) -> None:
    with pytest.raises(UpstreamFailed, match="not its protocol"):
        AnswerTranslation(server, client).feed(data)


def test_anthropics_events_come_in_the_order_that_its_libraries_want() -> None:
    said = streamed(MessagesOut())
    kinds = [line[7:].decode() for line in said.splitlines() if line.startswith(b"event: ")]
    assert kinds == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip


def test_the_events_of_a_response_are_numbered_and_end_with_all_of_it() -> None:
    said = streamed(ResponsesOut())
    events = [json.loads(line[6:]) for line in said.splitlines() if line.startswith(b"data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call", "function_call"]


@pytest.mark.parametrize(
    ("client", "body", "server"),
    [
        (Wire.MESSAGES, {"messages": [{"role": "user", "content": [{"type": "none"}]}]}, Wire.CHAT),
        (Wire.MESSAGES, {"messages": [{"role": "user"}]}, Wire.RESPONSES),
        (Wire.CHAT, {"messages": [{"role": "user", "content": [{"type": "none"}]}]}, Wire.MESSAGES),
        (Wire.CHAT, {"messages": [{"role": "system", "content": "x"}]}, Wire.MESSAGES),
        (Wire.RESPONSES, {"input": [{"type": "none"}]}, Wire.CHAT),
    ],
)
def test_a_conversation_of_which_nothing_is_left_is_refused(client: Wire, body: dict[str, Any], server: Wire) -> None:
    with pytest.raises(Invalid) as refused:
        translate_request(json.dumps({"model": "m", "max_tokens": 1} | body).encode(), client, server)
    assert refused.value.code == "request.invalid"
    assert refused.value.message == "Nothing in the conversation can be said in the API of the model's server."


def test_a_conversation_of_instructions_alone_passes_where_a_server_takes_it() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "system", "content": "x"}]}).encode()
    assert json.loads(translate_request(body, Wire.CHAT, Wire.RESPONSES).body)["input"] is not None


def test_parts_that_nobody_else_knows_are_named_as_left_out() -> None:
    told = {"type": "text", "text": "Look:"}
    parts = [told, {"type": "hologram", "size": 3}, {"type": "hologram"}, {"type": "smell\r\nx: y"}, {"size": 3}]
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}, told]}
    talk = [{"role": "user", "content": parts[:1]}, thought, {"role": "user", "content": parts}]
    for client in (Wire.MESSAGES, Wire.CHAT):
        body = json.dumps({"model": "m", "messages": talk, "max_tokens": 9}).encode()
        found = translate_request(body, client, Wire.RESPONSES)
        assert found.left_out == ["hologram", "smell__x__y", "untyped"]
        assert b"hologram" not in found.body
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look:"}, parts[2]]}]
    asked = json.dumps({"model": "m", "input": items}).encode()
    assert translate_request(asked, Wire.RESPONSES, Wire.CHAT).left_out == ["hologram"]


@pytest.mark.parametrize("server", [Wire.MESSAGES, Wire.RESPONSES])
def test_a_call_of_before_there_were_ids_keeps_what_it_gave(server: Wire) -> None:
    call = {"name": "weather", "arguments": '{"at":"Graz"}'}
    gave = {"role": "function", "name": "weather", "content": "rain"}
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": None, "function_call": call}, gave]
    body = {"model": "m", "max_completion_tokens": 99, "messages": [*talk, {"role": "user", "content": "!"}, gave]}
    made = translate_request(json.dumps(body).encode(), Wire.CHAT, server)
    said = json.loads(made.body)["messages" if server is Wire.MESSAGES else "input"]
    assert made.left_out == []
    if server is Wire.RESPONSES:
        assert said[1] == {"type": "function_call", "call_id": "call_1", **call}
        assert said[2] == {"type": "function_call_output", "call_id": "call_1", "output": "rain"}
    else:
        assert said[1]["content"] == [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"at": "Graz"}}]
        assert said[2]["content"][0] == {"type": "tool_result", "tool_use_id": "call_1", "content": "rain"}
    assert json.dumps(said[-1]["content"]).count('"text": "rain"') == 1, "what no call asked for is words"


@pytest.mark.parametrize("streamed", [False, True])
def test_no_two_answers_have_one_id_whatever_the_server_calls_them(*, streamed: bool) -> None:
    """Ollama has 999 ids, servers of before have none for calls; Claude Code joins answers and drops calls then."""
    call = {"index": 0, "function": {"name": "f", "arguments": "{}"}}
    said = {"id": "chatcmpl-1", "choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]}
    found = []
    for _ in range(2):
        out = AnswerTranslation(Wire.CHAT, Wire.MESSAGES)
        raw = json.dumps(said).encode()
        found.append((out.streamed(raw) if streamed else out.whole(raw)).decode())
    ids = [set(re.findall(r'"id":"((?:msg|call)_\w+)"', one)) for one in found]
    assert [len(one) for one in ids] == [2, 2]
    assert not ids[0] & ids[1]


def test_a_call_has_an_id_of_its_own_where_a_server_counts_from_0_each_time() -> None:
    talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "call_0"}]}]
    made = translate_request(json.dumps({"messages": talk}).encode(), Wire.MESSAGES, Wire.CHAT)
    calls = [{"index": at, "id": "call_0", "function": {"name": "f", "arguments": "{}"}} for at in range(2)]
    raw = json.dumps({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}).encode()
    out = json.loads(AnswerTranslation(Wire.CHAT, Wire.MESSAGES, made.tools, made.calls).whole(raw))
    assert len({"call_0", *(block["id"] for block in out["content"])}) == 3
    assert json.loads(AnswerTranslation(Wire.CHAT, Wire.MESSAGES).whole(raw))["content"][0]["id"] == "call_0"


@pytest.mark.parametrize("client", [Wire.CHAT, Wire.RESPONSES])
def test_what_the_system_says_on_the_way_leaves_the_beginning_as_it_was(client: Wire) -> None:
    """A skill that comes in, or what Codex tells its model later, would else move all of it out of the cache."""
    talk = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "developer", "content": "The folder is another now."},
        {"role": "user", "content": "two"},
    ]
    sent = []
    for length in (2, 5):
        body = {"model": "m", "input" if client is Wire.RESPONSES else "messages": talk[:length]}
        made = translate_request(json.dumps(body).encode(), client, Wire.MESSAGES)
        sent.append(json.loads(made.body.replace(b',"cache_control":{"type":"ephemeral"}', b"")))
    one, two = sent
    assert (two["system"], two["messages"][:1]) == (one["system"], one["messages"])
    told, words = two["messages"][2]["content"]
    assert told["text"] == "<system-reminder>\nThe folder is another now.\n</system-reminder>"
    assert words["text"] == "two"
