"""OpenAI chat JSONL becomes traces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos_lite.core.traces.importers import Skipped, Source, Target, openai_chat
from llmos_lite.core.traces.importers.openai_chat import OpenAIChat
from llmos_lite.core.traces.trace import Trace

SAMPLE = Path(__file__).parent / "samples" / "toy_chat_fine_tuning_head3.jsonl"
ALICE = Target("alice", "user:alice")
DAY = 86_400_000


def read(path: Path) -> list[Trace | Skipped]:
    return list(OpenAIChat().read(Source(path), ALICE))


def written(path: Path, *lines: object) -> list[Trace]:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read(path)
    assert all(isinstance(item, Trace) for item in found), found
    return [item for item in found if isinstance(item, Trace)]


def user(text: str) -> dict[str, object]:
    return {"role": "user", "content": text}


def answer(text: str | None, **more: object) -> dict[str, object]:
    return {"role": "assistant", "content": text} | more


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.jsonl"


def test_a_real_file_becomes_one_trace_for_each_answer() -> None:
    traces = [item for item in read(SAMPLE) if isinstance(item, Trace)]
    assert [trace.goal for trace in traces] == [
        "I fell off my bike today.",
        "I lost my tennis match today.",
        "But I trained so hard!",
        "I'm going to switch to golf.",
        "I don't even know how to play golf.",
        "I lost my book today.",
    ]
    chain = traces[1:5]
    assert [trace.parent for trace in chain] == ["", *(trace.id for trace in chain[:-1])]
    assert len({trace.conversation for trace in traces}) == 3
    assert [message.role for message in chain[0].messages] == ["system", "user", "assistant"]
    assert [message.content for message in chain[1].messages] == [
        "But I trained so hard!",
        "It will pay off next time.",
    ]
    assert [trace.time for trace in chain] == sorted(trace.time for trace in chain)
    assert {trace.source for trace in traces} == {"import:openai-chat"}


def test_the_same_file_gives_the_same_ids_even_when_it_is_copied(tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(SAMPLE.read_bytes())
    assert read(SAMPLE) == read(copy)


def test_a_line_without_a_time_lies_on_the_first_day_of_2000() -> None:
    assert {item.time // DAY for item in read(SAMPLE) if isinstance(item, Trace)} == {10_957}


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1_767_225_600, 1_767_225_600_000),
        (1_767_225_600_500, 1_767_225_600_500),
        ("2026-01-01T00:00:00Z", 1_767_225_600_000),
        ("2026-01-01T01:00:00+01:00", 1_767_225_600_000),
        ("2026-01-01 00:00:00", 1_767_225_600_000),
    ],
)
def test_a_time_is_read_in_each_way_that_it_is_written(path: Path, value: object, time: int) -> None:
    two = [user("a"), answer("1"), user("b"), answer("2")]
    traces = written(path, {"messages": two, "created": value})
    assert [trace.time for trace in traces] == [time - 1000, time]


@pytest.mark.parametrize("value", ["yesterday", -1, True, None, 1e300, [], "9999-12-31T23:59:59Z"])
def test_a_time_that_is_none_is_as_good_as_no_time(path: Path, value: object) -> None:
    assert written(path, {"messages": [user("a"), answer("1")], "created": value})[0].time // DAY == 10_957


def test_a_message_may_have_its_own_time(path: Path) -> None:
    trace = written(path, {"messages": [user("a"), answer("1", timestamp="2026-01-01T00:00:00Z")]})[0]
    assert trace.time == 1_767_225_600_000


def test_tool_calls_have_their_results(path: Path) -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": {"zone": "CET"}}},
        {"id": "c3", "function": {"arguments": "nameless"}},
        "broken",
    ]
    first, second = written(
        path,
        {
            "messages": [
                user("What should I wear?"),
                answer(None, tool_calls=calls),
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
                {"role": "tool", "tool_call_id": "c2", "content": "10:00"},
                answer("A coat."),
            ]
        },
    )
    assert [(call.name, call.arguments, call.result) for call in first.tool_calls] == [
        ("weather", '{"city":"Bern"}', "rain"),
        ("time", '{"zone":"CET"}', "10:00"),
    ]
    assert second.goal == "What should I wear?"
    assert [message.role for message in second.messages] == ["assistant"]


def test_a_call_of_the_old_kind_is_one(path: Path) -> None:
    call = {"name": "weather", "arguments": "{}"}
    trace = written(path, {"messages": [user("weather?"), answer(None, function_call=call)]})[0]
    assert [(one.name, one.arguments) for one in trace.tool_calls] == [("weather", "{}")]


@pytest.mark.parametrize("key", ["request", "body"])
def test_what_was_asked_may_stand_beside_the_answer(path: Path, key: str) -> None:
    response = {"choices": [{"message": answer("hi")}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    trace = written(path, {key: {"model": "gpt-9", "messages": [user("hello")]}, "response": response})[0]
    assert (trace.goal, trace.answer, trace.model, trace.tokens_in) == ("hello", "hi", "gpt-9", 3)


def test_a_log_of_requests_repeats_its_history_and_is_stored_once(path: Path) -> None:
    call = {"id": "c1", "function": {"name": "weather", "arguments": "{}"}}
    first = [user("What should I wear?")]
    second = [*first, answer(None, tool_calls=[call]), {"role": "tool", "tool_call_id": "c1", "content": "rain"}]
    asked, told = written(
        path,
        {
            "id": "r1",
            "created": 1_767_225_600,
            "messages": first,
            "choices": [{"message": answer(None, tool_calls=[call])}],
        },
        {
            "id": "r2",
            "created": 1_767_225_700,
            "messages": second,
            "response": {"choices": [{"message": answer("Coat")}]},
        },
    )
    assert told.parent == asked.id
    assert told.conversation == asked.conversation
    assert [(message.role, message.content) for message in told.messages] == [("tool", "rain"), ("assistant", "Coat")]


def test_equal_conversations_with_ids_are_two_and_without_are_one(path: Path) -> None:
    same = [user("hello"), answer("hi")]
    one, two = written(path, {"id": "a", "messages": same}, {"id": "b", "messages": same})
    assert one.id != two.id
    one, two = written(path, {"messages": same}, {"messages": same})
    assert one.id == two.id


def test_the_name_of_a_conversation_is_kept(path: Path) -> None:
    trace = written(path, {"conversation_id": "thread-7", "messages": [user("hello"), answer("hi")]})[0]
    assert trace.conversation == "thread-7"


def test_model_usage_and_names_are_kept(path: Path) -> None:
    trace = written(
        path,
        {
            "messages": [
                {"role": "user", "name": "ann", "content": [{"type": "text", "text": "hello"}, {"type": "image_url"}]}
            ],
            "response": {
                "model": "gpt-x",
                "usage": {"prompt_tokens": 7, "completion_tokens": True},
                "choices": [{"message": answer("hi")}],
            },
        },
    )[0]
    assert (trace.model, trace.tokens_in, trace.tokens_out) == ("gpt-x", 7, 0)
    assert trace.messages[0].content == "hello\n[image_url]"
    assert trace.messages[0].name == "ann"


def test_lines_without_an_answer_are_counted(path: Path) -> None:
    path.write_text(
        '{"messages": [{"role": "user", "content": "?"}]}\n{"messages": "no"}\n{"other": 1}\n7\n{broken\n\n'
    )
    assert read(path) == [
        Skipped("no answer of the assistant", 1),
        Skipped("no messages", 2),
        Skipped("no messages", 3),
        Skipped("not a JSON object", 4),
        Skipped("not JSON", 5),
    ]


def test_memory_of_repeated_history_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_chat, "KEPT", 1)
    lines = [{"id": str(number), "messages": [user(f"q{number}"), answer("a")]} for number in range(5)]
    assert len(written(path, *lines)) == 5


def test_only_files_of_its_kind_are_recognised() -> None:
    sniff = OpenAIChat().sniff
    assert sniff(SAMPLE.read_bytes())
    assert sniff(b'\xef\xbb\xbf{"messages":[{"role":"user"')
    assert sniff(b'nonsense\n{"model":"x","messages":[{"role":"user"}]}')
    assert not sniff(b'{"message":[{"role":"user"}]}')
    assert not sniff(b"")
