"""What a client sees of answers behind which a model called tools of ours: in every dialect, however it is cut."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.gateway.asked import Raw
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.core.gateway.tools.chat import ChatTools
from llmos_lite.core.gateway.tools.dialect import Screen, ToolDialect
from llmos_lite.core.gateway.tools.messages import MessagesTools
from llmos_lite.core.gateway.tools.responses import ResponsesTools
from llmos_lite.core.gateway.translation import chat, messages, responses
from llmos_lite.core.gateway.translation.chat_answers import ChatIn, ChatOut
from llmos_lite.core.gateway.translation.messages_answers import MessagesIn, MessagesOut
from llmos_lite.core.gateway.translation.neutral import (
    Argued,
    Began,
    Called,
    Counted,
    Gathered,
    Said,
    Stopped,
    Text,
    Use,
    Words,
)
from llmos_lite.core.gateway.translation.responses_answers import ResponsesIn, ResponsesOut
from llmos_lite.core.gateway.translation.translator import AnswerIn, AnswerOut
from llmos_lite.engines.llm import Completion, ToolCall
from llmos_lite.engines.sse import whole_events
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import UpstreamFailed

TOOLS: dict[Wire, ToolDialect] = {
    Wire.CHAT: ChatTools(),
    Wire.MESSAGES: MessagesTools(),
    Wire.RESPONSES: ResponsesTools(),
}
OUTS: dict[Wire, type[AnswerOut]] = {Wire.CHAT: ChatOut, Wire.MESSAGES: MessagesOut, Wire.RESPONSES: ResponsesOut}
INS: dict[Wire, type[AnswerIn]] = {Wire.CHAT: ChatIn, Wire.MESSAGES: MessagesIn, Wire.RESPONSES: ResponsesIn}
READ = {
    Wire.CHAT: chat.read_request,
    Wire.MESSAGES: messages.read_request,
    Wire.RESPONSES: responses.read_request,
}
OURS = "load_skill"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(str.strip)
ARGUMENTS = st.dictionaries(st.text("ab", min_size=1), st.text(max_size=5), max_size=2).map(json.dumps)
THEIRS = st.tuples(st.sampled_from(["ls", "cat", "load"]), ARGUMENTS)
CUTS = st.lists(st.integers(0, 4000), max_size=8)
every = pytest.mark.parametrize("wire", list(Wire))


def is_ours(name: str) -> bool:
    return name == OURS


def said(number: int, texts: Sequence[str], calls: Sequence[tuple[str, str]]) -> list[Said]:
    """An answer: words, then calls whose arguments come in pieces."""
    found: list[Said] = [Began(f"id{number}", "m"), *map(Words, texts)]
    for at, (name, arguments) in enumerate(calls):
        found.append(Called(at, f"call{number}{at}", name))
        found += [Argued(at, arguments[:2]), Argued(at, arguments[2:])]
    return [*found, Counted(10, 5, 2, 1), Stopped("tools" if calls else "end")]


def streamed(wire: Wire, answer: Sequence[Said]) -> bytes:
    out = OUTS[wire]()
    return b"".join(map(out.event, answer)) + out.end()


def whole(wire: Wire, answer: Sequence[Said]) -> bytes:
    gathered = Gathered()
    for one in answer:
        gathered.take(one)
    return OUTS[wire]().whole(gathered)


def completion(answer: Sequence[Said]) -> Completion:
    gathered = Gathered()
    for one in answer:
        gathered.take(one)
    calls = tuple(ToolCall(use.id, use.name, use.arguments) for use in gathered.uses)
    return Completion(text=gathered.text, model="m", tokens_in=10, tokens_out=5, tool_calls=calls)


def fed(screen: Screen, data: bytes, cuts: Sequence[int]) -> bytes:
    """Feed a stream that is cut anywhere, as a passage does: whole events."""
    places, begun = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)}), bytearray()
    pieces = [whole_events(begun, data[start:end]) for start, end in pairwise(places)]
    return b"".join(map(screen.feed, filter(None, pieces)))


def read(wire: Wire, data: bytes) -> Gathered:
    gathered = Gathered()
    for one in INS[wire]().feed(data):
        gathered.take(one)
    return gathered


@every
@settings(deadline=None)
@given(texts=st.lists(TEXT, max_size=4), calls=st.lists(THEIRS, max_size=3), cuts=CUTS)
def test_what_calls_nothing_of_ours_passes_byte_for_byte(
    wire: Wire, texts: list[str], calls: list[tuple[str, str]], cuts: list[int]
) -> None:
    data = streamed(wire, said(1, texts, calls))
    screen = TOOLS[wire].screen(is_ours)
    assert fed(screen, data, cuts) + screen.end() == data
    body = whole(wire, said(1, texts, calls))
    screen = TOOLS[wire].screen(is_ours)
    screen.take(body)
    assert screen.end() == body


@every
@settings(deadline=None)
@given(
    before=st.lists(TEXT, max_size=2),
    ours=st.lists(st.tuples(st.just(OURS), ARGUMENTS), min_size=1, max_size=2),
    texts=st.lists(TEXT, max_size=3),
    calls=st.lists(THEIRS, max_size=2),
    cuts=CUTS,
)
def test_two_answers_are_one(  # noqa: PLR0917 - the cases
    wire: Wire,
    before: list[str],
    ours: list[tuple[str, str]],
    texts: list[str],
    calls: list[tuple[str, str]],
    cuts: list[int],
) -> None:
    first, second = said(1, before, ours), said(2, texts, calls)
    screen = TOOLS[wire].screen(is_ours)
    data = fed(screen, streamed(wire, first), cuts)
    data += screen.next(completion(first))
    data += fed(screen, streamed(wire, second), cuts) + screen.end()
    assert b"load_skill" not in data
    got = read(wire, data)
    check(got, before, texts, calls)
    assert consistent(wire, data)

    screen = TOOLS[wire].screen(is_ours)
    screen.take(whole(wire, first))
    screen.next(completion(first))
    screen.take(whole(wire, second))
    body = screen.end()
    assert b"load_skill" not in body
    got = Gathered()
    for one in INS[wire]().whole(body):
        got.take(one)
    check(got, before, texts, calls)


def check(got: Gathered, before: list[str], texts: list[str], calls: list[tuple[str, str]]) -> None:
    one, two = "".join(before), "".join(texts)
    assert got.text in {one + two, "\n\n".join(filter(None, (one, two)))}
    assert [(use.name, json.loads(use.arguments)) for use in got.uses] == [
        (name, json.loads(arguments)) for name, arguments in calls
    ]
    assert got.count[:4] == Counted(20, 10, 4, 2)[:4]
    assert got.why == ("tools" if calls else "end")


def events(data: bytes) -> list[dict[str, Any]]:
    lines = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def consistent(wire: Wire, data: bytes) -> bool:
    """Tell whether ids and numbers are those of one answer."""
    found = events(data)
    if wire is Wire.CHAT:
        return len({event["id"] for event in found}) == 1
    if wire is Wire.MESSAGES:
        starts = [event["index"] for event in found if event["type"] == "content_block_start"]
        stops = [event["index"] for event in found if event["type"] == "content_block_stop"]
        ends = [event["type"] for event in found].count("message_start"), [event["type"] for event in found][-1]
        return starts == stops == list(range(len(starts))) and ends == (1, "message_stop")
    items = [event["item"]["id"] for event in found if event["type"] == "response.output_item.added"]
    places = [event["output_index"] for event in found if event["type"] == "response.output_item.added"]
    return (
        [event["sequence_number"] for event in found] == list(range(len(found)))
        and places == list(range(len(items)))
        and len({event["response"]["id"] for event in found if "response" in event}) == 1
        and [item["id"] for item in found[-1]["response"]["output"]] == items
        and [event["type"] for event in found].count("response.created") == 1
    )


@every
@settings(deadline=None)
@given(ours=ARGUMENTS, theirs=st.lists(THEIRS, min_size=1, max_size=2), first=st.booleans(), cuts=CUTS)
def test_calls_of_the_client_beside_ours_keep_their_order(
    wire: Wire, ours: str, theirs: list[tuple[str, str]], cuts: list[int], *, first: bool
) -> None:
    calls = [(OURS, ours), *theirs] if first else [*theirs, (OURS, ours)]
    screen = TOOLS[wire].screen(is_ours)
    data = fed(screen, streamed(wire, said(1, ["a"], calls)), cuts) + screen.end()
    got = read(wire, data)
    assert [(use.name, json.loads(use.arguments)) for use in got.uses] == [
        (name, json.loads(text)) for name, text in theirs
    ]
    assert (got.why, got.text) == ("tools", "a")
    assert consistent(wire, data)
    screen.take(whole(wire, said(1, ["a"], calls)))
    assert b"load_skill" not in screen.end()


@every
def test_a_call_that_is_not_answered_leaves_no_hole(wire: Wire) -> None:
    """A model that calls to the end, or whose call was cut: what it said stands, and it does not wait for a tool."""
    answer = said(1, ["a"], [(OURS, "{}")])
    screen = TOOLS[wire].screen(is_ours)
    got = read(wire, screen.feed(streamed(wire, answer)) + screen.end())
    assert (got.text, got.uses, got.why) == ("a", [], "end")


@every
def test_an_answer_is_said_again_as_it_was(wire: Wire) -> None:
    """What the next request holds reads as the answer did; a stream gives the same as an answer at once."""
    answer = said(1, ["One ", "moment."], [(OURS, '{"name": "x"}'), (OURS, "{}")])
    found = []
    for stream in (True, False):
        screen = TOOLS[wire].screen(is_ours)
        if stream:
            screen.feed(streamed(wire, answer))
        else:
            screen.take(whole(wire, answer))
        items = screen.items(completion(answer))
        key = "input" if wire is Wire.RESPONSES else "messages"
        request = json.dumps({"model": "m", key: [json.loads(bytes(item)) for item in items]}).encode()
        parts = [part for turn in READ[wire](request).turns for part in turn.parts]
        assert "".join(part.text for part in parts if isinstance(part, Text)) == "One moment."
        calls = [(part.id, json.loads(part.arguments)) for part in parts if isinstance(part, Use)]
        assert calls == [("call10", {"name": "x"}), ("call11", {})]
        found.append(parts)
    assert found[0] == found[1]


# -- what servers do -------------------------------------------------------------------------------------------------


def sse(*events: object) -> bytes:
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)


def delta(finish: str | None = None, usage: object = None, **fields: object) -> dict[str, object]:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": "c", "choices": [choice]} | ({"usage": usage} if usage else {})


def part(name: str = "", text: str = "", **more: object) -> dict[str, object]:
    return {**more, "function": ({"name": name} if name else {}) | {"arguments": text}}


def test_everything_in_one_chunk() -> None:
    """Gemini's way: words, calls, the end and the count at once."""
    screen = ChatTools().screen(is_ours)
    calls = [part("load_skill", "{}", index=0, id="a", extra_content={"google": {"thought_signature": "s"}})]
    chunk = delta("tool_calls", {"prompt_tokens": 3}, content="hm", tool_calls=calls)
    assert screen.feed(sse(chunk)) == b""
    done = Completion(text="hm", model="m", tool_calls=(ToolCall("a", "load_skill", "{}"),))
    [item] = screen.items(done)
    assert json.loads(bytes(item))["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "s"}}
    [left] = events(screen.next(done))
    assert left["choices"][0]["delta"] == {"content": "hm"}
    assert left["choices"][0]["finish_reason"] is None
    data = screen.feed(sse(delta(role="assistant", content="x"), delta("stop", {"prompt_tokens": 4}))) + screen.end()
    shown = events(data)
    assert shown[0]["choices"][0]["delta"] == {"content": "\n\nx"}
    assert shown[-1]["usage"] == {"prompt_tokens": 7}


@pytest.mark.parametrize("at", [{}, {"index": 0}])
def test_servers_that_say_no_number_or_always_0(at: dict[str, int]) -> None:
    screen = ChatTools().screen(is_ours)
    calls = [
        part("load_skill", "{", id="a", **at),
        part(text="}", **at),
        part("ls", "{", id="b", **at),
        part(text="}", **at),
    ]
    data = screen.feed(sse(*(delta(tool_calls=[call]) for call in calls), delta("tool_calls"))) + screen.end()
    got = read(Wire.CHAT, data)
    assert [(use.name, use.arguments) for use in got.uses] == [("ls", "{}")]


def test_a_first_chunk_without_a_choice_holds_nothing_back() -> None:
    """Azure begins with what its filters said."""
    screen = ChatTools().screen(is_ours)
    first = sse({"id": "", "choices": [], "prompt_filter_results": []}, delta(content="x"))
    assert screen.feed(first) == first


def test_comments_pings_and_other_line_ends_pass() -> None:
    screen = ChatTools().screen(is_ours)
    data = b": working\r\n\r\n" + sse(delta(content="x")).replace(b"\n", b"\r\n")
    assert screen.feed(data) == data
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    assert MessagesTools().screen(is_ours).feed(ping) == ping


def block(index: int, kind: str, **more: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def grown(index: int, kind: str, **more: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def stop(index: int) -> dict[str, object]:
    return {"type": "content_block_stop", "index": index}


def test_thoughts_wait_for_what_they_lead_to_and_go_back_with_their_signature() -> None:
    screen = MessagesTools().screen(is_ours)
    thought = sse(
        block(0, "thinking", thinking="", signature=""),
        grown(0, "thinking_delta", thinking="I load "),
        grown(0, "thinking_delta", thinking="it."),
        grown(0, "signature_delta", signature="sig"),
        stop(0),
    )
    assert screen.feed(sse({"type": "message_start", "message": {"usage": {"input_tokens": 3}}}))
    assert screen.feed(thought) == b""
    call = sse(
        block(1, "tool_use", id="t", name=OURS, input={}), grown(1, "input_json_delta", partial_json="{}"), stop(1)
    )
    assert screen.feed(call) == b""
    done = Completion(text="", model="m", tool_calls=(ToolCall("t", OURS, "{}"),))
    [item] = screen.items(done)
    content = json.loads(bytes(item))["content"]
    assert content[0] == {"type": "thinking", "thinking": "I load it.", "signature": "sig"}
    assert screen.next(done) == b""
    assert screen.feed(thought) == b""
    answer = sse(block(1, "text", text=""), grown(1, "text_delta", text="x"), stop(1))
    assert screen.feed(answer) == thought + answer


def test_an_answer_is_known_by_the_name_that_the_client_got() -> None:
    """Without words before the call that is the last one's, which the provider keeps with all that was read."""
    for texts, name in (([], "id2"), (["hm"], "id1")):
        screen = ResponsesTools().screen(is_ours)
        first = said(1, texts, [(OURS, "{}")])
        data = screen.feed(streamed(Wire.RESPONSES, first)) + screen.next(completion(first))
        data += screen.feed(streamed(Wire.RESPONSES, said(2, ["x"], []))) + screen.end()
        assert {event["response"]["id"] for event in events(data) if "response" in event} == {name}
        assert screen.answer_id == name


def test_tools_of_ours_are_not_said_to_have_been_there() -> None:
    tools = [{"type": "function", "name": "ls"}, {"type": "function", "name": OURS}]
    response = {"id": "r", "output": [], "tools": tools}
    screen = ResponsesTools().screen(is_ours)
    data = screen.feed(sse({"type": "response.created", "response": response}))
    data += screen.feed(sse({"type": "response.completed", "response": response})) + screen.end()
    assert [[tool["name"] for tool in event["response"]["tools"]] for event in events(data)] == [["ls"], ["ls"]]
    screen.take(json.dumps(response).encode())
    assert OURS.encode() not in screen.end()


def test_what_a_provider_does_not_keep_is_said_without_its_id() -> None:
    dialect = ResponsesTools()
    asked = ResponsesDialect().read(b'{"input": "hi", "store": false}')
    items = [{"type": "reasoning", "id": "rs"}, {"type": "reasoning", "id": "rs2", "encrypted_content": "e"}]
    items.append(
        {"type": "function_call", "id": "fc", "call_id": "c", "name": "x", "arguments": "{}", "status": "completed"}
    )
    extended = dialect.extended(asked, [Raw(json.dumps(item).encode()) for item in items])
    assert json.loads(bytes(extended.fields["input"]))[1:] == [
        {"type": "reasoning", "encrypted_content": "e"},
        {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"},
    ]


@every
@settings(deadline=None)
@given(data=st.binary(max_size=300))
def test_garbage_is_an_error_or_nothing(wire: Wire, data: bytes) -> None:
    screen = TOOLS[wire].screen(is_ours)
    with suppress(UpstreamFailed):
        screen.feed(data)
        screen.feed(b"data: " + data + b"\n\n")
        screen.end()


@every
@settings(deadline=None)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "delta",
                        "tool_calls",
                        "usage",
                        "content",
                        "index",
                        "type",
                        "item",
                        "response",
                        "output",
                        "finish_reason",
                        "message",
                        "content_block",
                        "name",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_odd_json_is_an_error_or_nothing(wire: Wire, value: object) -> None:
    body = json.dumps(value).encode()
    done = Completion(text="", model="m")
    for stream in (True, False):
        screen = TOOLS[wire].screen(is_ours)
        with suppress(UpstreamFailed):
            if stream:
                screen.feed(b"data: %b\n\n" % body)
            else:
                screen.take(body)
            screen.items(done)
            screen.next(done)
            if not stream:
                screen.take(body)
            screen.end()
