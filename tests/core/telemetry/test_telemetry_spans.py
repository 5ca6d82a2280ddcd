"""Spans and log events become traces of conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from llmos_lite.core.telemetry.events import EventReader
from llmos_lite.core.telemetry.memory import Draft, Memory
from llmos_lite.core.telemetry.otlp import LogRecord, Span, read_request
from llmos_lite.core.telemetry.said import is_said, late_words
from llmos_lite.core.telemetry.spans import SpanReader
from llmos_lite.core.traces.importers.base import Target
from llmos_lite.core.traces.trace import Ended, SkillUse, Trace
from tests.finding import finding

SAMPLES = Path(__file__).parent / "samples"
GIT = SkillUse("git-workflow", "Git workflow", "user:alice", "a" * 40, 1.0)
ALICE = Target("alice", "user:alice", finding(GIT))
AGENT = read_request((SAMPLES / "agent.pb").read_bytes(), "Traces", as_json=False).spans
EVENTS = read_request((SAMPLES / "claude_code_events.pb").read_bytes(), "Logs", as_json=False).logs


class Reader:
    """Reads exports one after the other, and remembers what was stored."""

    def __init__(self) -> None:
        self.memory = Memory()

    def spans(self, spans: Sequence[Span], *, stored: bool = True) -> list[Trace]:
        draft = Draft(self.memory, "user:alice")
        traces = SpanReader(ALICE, draft).traces(spans)
        if stored:
            self.memory.keep(draft)
        return traces

    def said(self, logs: Sequence[LogRecord], *, stored: bool = True) -> list[Trace]:
        draft = Draft(self.memory, "user:alice")
        traces = SpanReader(ALICE, draft).traces(late_words(logs, draft))
        if stored:
            self.memory.keep(draft)
        return traces

    def logs(self, logs: Sequence[LogRecord]) -> list[Trace]:
        draft = Draft(self.memory, "user:alice")
        traces = EventReader(ALICE, draft).traces(logs)
        self.memory.keep(draft)
        return traces


def span(operation: str, at: int, number: int, trace: str = "c", parent: str = "", **attributes: object) -> Span:
    named = {f"gen_ai.{key.replace('__', '.')}": value for key, value in attributes.items()}
    found = {"gen_ai.operation.name": operation} | named
    return Span(
        trace * 32, f"{number:016x}", parent, operation, 1_790_000_000_000 + at, 1_790_000_000_000 + at + 5, found
    )


def said(*texts: str) -> str:
    roles = ("user", "assistant")
    return json.dumps(
        [{"role": roles[n % 2], "parts": [{"type": "text", "content": text}]} for n, text in enumerate(texts)]
    )


def test_the_spans_of_a_run_are_its_requests_with_their_calls() -> None:
    traces = Reader().spans(AGENT)
    assert [(trace.conversation, trace.goal) for trace in traces] == [("conv-7", "commit my change")] * 2
    assert traces[1].parent == traces[0].id
    assert [trace.model for trace in traces] == ["gpt-9-2026", "gpt-9"]
    assert [(trace.tokens_in, trace.tokens_out, trace.latency_ms) for trace in traces] == [
        (900, 20, 1000),
        (1000, 40, 1000),
    ]
    [call] = traces[0].tool_calls
    assert (call.name, call.arguments, call.result, call.id) == (
        "load_skill",
        '{"name":"git-workflow"}',
        "# Git workflow",
        "call_1",
    )
    assert traces[0].skills_used == (GIT,)
    assert [(one.skill_id, one.version) for one in traces[0].exposures] == [("git-workflow", "a" * 40)]
    assert [(trace.ended, trace.error) for trace in traces] == [(Ended.COMPLETE, ""), (Ended.ERROR, "it took too long")]
    assert [(one.role, one.content) for one in traces[0].messages] == [
        ("system", "You are a coder."),
        ("user", "commit my change"),
    ]
    assert [(one.role, one.content) for one in traces[1].messages] == [
        ("tool", "# Git workflow"),
        ("assistant", "Committed."),
    ]
    assert traces[0].system == traces[1].system != ""


def test_the_same_export_gives_the_same_ids() -> None:
    reader = Reader()
    assert [one.id for one in reader.spans(AGENT)] == [one.id for one in reader.spans(AGENT)]


def test_what_was_not_stored_is_told_again_in_full() -> None:
    reader = Reader()
    assert reader.spans(AGENT, stored=False) == reader.spans(AGENT)


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [1, 0, 4, 3, 2], [4, 3, 2, 1, 0]])
def test_spans_that_come_one_by_one_are_one_conversation(order: list[int]) -> None:
    reader = Reader()
    traces = [trace for number in order for trace in reader.spans([AGENT[number]])]
    assert len({trace.conversation for trace in traces}) == 1
    assert sum(len(trace.exposures) for trace in traces) == 1
    assert len({trace.id for trace in traces}) == len(traces)


def test_a_conversation_that_was_named_late_keeps_its_later_runs() -> None:
    reader = Reader()
    [first] = reader.spans([span("chat", 0, 1)])
    assert reader.spans([span("invoke_agent", 0, 2, conversation__id="mine")]) == []
    [later] = reader.spans([span("chat", 90, 3, trace="d", conversation__id="mine")])
    assert first.conversation == later.conversation
    assert later.parent == first.id


def test_only_what_is_new_is_stored() -> None:
    reader = Reader()
    more = {"conversation__id": "x", "output__messages": said("ok")}
    [first] = reader.spans([span("chat", 0, 1, input__messages=said("one"), **more)])
    [second] = reader.spans([span("chat", 9, 2, trace="d", input__messages=said("one", "ok", "two"), **more)])
    [other] = reader.spans([span("chat", 19, 3, trace="e", input__messages=said("quite", "ok", "another"), **more)])
    assert [one.content for one in first.messages] == ["one", "ok"]
    assert [one.content for one in second.messages] == ["two", "ok"]
    assert second.goal == "two"
    assert len(other.messages) == 4


def test_a_run_of_an_agent_is_a_trace_when_its_requests_are_not_told() -> None:
    outer = span("invoke_agent", 0, 1, usage__input_tokens=90)
    inner = span("invoke_agent", 1, 2, parent=outer.span_id, usage__input_tokens=40, input__messages=said("do it"))
    tool = span("execute_tool", 2, 3, parent=inner.span_id, tool__name="Bash", skill__name="git-workflow")
    [trace] = Reader().spans([tool, inner, outer])
    assert (trace.goal, trace.tokens_in, trace.skills_used) == ("do it", 40, (GIT,))
    reader = Reader()
    reader.spans([span("chat", 0, 7)])
    assert reader.spans([span("invoke_agent", 0, 8)]) == []


def test_without_content_there_are_still_tokens_tools_and_skills() -> None:
    spans = [
        span("chat", 0, 1, usage__input_tokens=5, usage__completion_tokens=6, request__model="m"),
        span("execute_tool", 9, 2, tool__name="load_skill", skill__name="strange-skill"),
    ]
    [trace] = Reader().spans(spans)
    assert (trace.goal, trace.messages, trace.tokens_in, trace.tokens_out, trace.model) == ("", (), 5, 6, "m")
    assert [(call.name, call.arguments) for call in trace.tool_calls] == [("load_skill", '{"skill":"strange-skill"}')]
    assert trace.exposures == ()


@pytest.mark.parametrize(
    ("uri", "version"),
    [
        ("llmos:user:alice/git-workflow@" + "b" * 40, "b" * 40),
        ("llmos:user:bob/git-workflow@" + "b" * 40, "a" * 40),
        ("llmos:user:alice/other@" + "b" * 40, "a" * 40),
        ("https://skills.example.com/git-workflow", "a" * 40),
        (7, "a" * 40),
    ],
)
def test_a_skills_exact_version_counts_when_it_is_ours(uri: object, version: str) -> None:
    [trace] = Reader().spans([span("execute_tool", 0, 1, skill__name="git-workflow", skill__source__uri=uri)])
    assert trace.exposures[0].version == version


def test_one_that_is_held_back_here_was_exposed_and_not_used() -> None:
    target = Target("alice", "user:alice", finding(GIT, held=True))
    asked = span("chat", 0, 1, input__messages=said("commit"))
    called = span("execute_tool", 3, 2, parent=asked.span_id, skill__name="git-workflow")
    alone = span("execute_tool", 0, 3, trace="d", skill__name="git-workflow")
    activated = LogRecord(
        "claude_code.skill_activated", 1_790_000_000_000, {"session.id": "s", "skill.name": "git-workflow"}
    )
    draft = Draft(Memory(), "user:alice")
    traces = [
        *SpanReader(target, draft).traces([asked, called, alone]),
        *EventReader(target, draft).traces([activated]),
    ]
    assert [trace.skills_used for trace in traces] == [()] * 3
    assert [[(one.skill_id, one.held) for one in trace.exposures] for trace in traces] == [[("git-workflow", True)]] * 3


def test_spans_of_one_millisecond_stand_in_their_order() -> None:
    spans = [
        span("chat", 0, 9, input__messages=said("first"))._replace(place=10),
        span("execute_tool", 0, 8, skill__name="git-workflow")._replace(place=20),
        span("chat", 0, 7, input__messages=said("second"))._replace(place=30),
        span("execute_tool", 0, 6, tool__name="Bash")._replace(place=40),
    ]
    first, second = Reader().spans(spans[::-1])
    assert (first.goal, second.goal, second.parent) == ("first", "second", first.id)
    assert [len(one.tool_calls) for one in (first, second)] == [1, 1]
    assert first.skills_used == (GIT,)


def placed(one: Span) -> Span:
    return one._replace(place=one.start * 1_000_000)


def test_a_request_that_two_libraries_tell_is_one() -> None:
    inner = span("chat", 1, 2, parent=f"{1:016x}", response__id="r1", usage__input_tokens=9, usage__output_tokens=3)
    outer = span("chat", 0, 1, response__id="r1", input__messages=said("hello"), usage__input_tokens=9)
    outer = outer._replace(end=outer.end + 5)
    [trace] = Reader().spans([inner, outer])
    assert (trace.goal, trace.tokens_in, trace.tokens_out) == ("hello", 9, 3)
    anonymous = [one._replace(attributes=one.attributes | {"gen_ai.response.id": None}) for one in (inner, outer)]
    assert len(Reader().spans(anonymous)) == 1


def test_requests_with_one_name_for_their_answers_are_several() -> None:
    """Some servers call each of their answers the same."""
    told = [span("chat", at, number, response__id="x") for number, at in enumerate((0, 10, 20), 1)]
    assert len(Reader().spans(told)) == 3
    reader = Reader()
    assert [len(reader.spans([one])) for one in told] == [1, 1, 1]


@pytest.mark.parametrize(("words", "again"), [("", 1), ("hello", 0)])
def test_what_two_exports_tell_of_one_request_counts_its_tokens_once(words: str, again: int) -> None:
    reader = Reader()
    inner = span("chat", 1, 2, response__id="r1", usage__input_tokens=9, input__messages=words and said(words))
    outer = span("chat", 0, 1, response__id="r1", usage__input_tokens=9, input__messages=said("hello"))
    outer = outer._replace(end=outer.end + 5)
    assert [one.tokens_in for one in reader.spans([inner])] == [9]
    assert [(one.tokens_in, one.goal) for one in reader.spans([outer])] == [(0, "hello")] * again


def test_a_span_that_stands_twice_in_an_export_is_one() -> None:
    one = span("chat", 0, 1, input__messages=said("hello"))
    [trace] = Reader().spans([one, one])
    assert (trace.parent, trace.messages[0].content) == ("", "hello")


def test_what_is_sent_again_late_does_not_turn_a_conversation_back() -> None:
    reader = Reader()
    asked = [said("a"), said("a", "b", "c"), said("a", "b", "c", "d", "e")]
    first, second, third = (placed(span("chat", n * 10, n + 1, input__messages=text)) for n, text in enumerate(asked))
    reader.spans([first])
    [before] = reader.spans([second])
    reader.spans([first])
    reader.spans([second])
    [trace] = reader.spans([third])
    assert (trace.parent, [one.content for one in trace.messages]) == (before.id, ["e"])


def test_what_another_export_overtook_hangs_below_nothing_later() -> None:
    reader = Reader()
    early, late = (placed(span("chat", at, n, input__messages=said("a"))) for n, at in ((1, 0), (2, 10)))
    reader.spans([late])
    assert [one.parent for one in reader.spans([early])] == [""]


def test_words_that_come_late_are_told_once() -> None:
    reader = Reader()
    [wordless] = reader.spans([placed(span("chat", 10, 2))])
    assert [one.parent for one in reader.spans([placed(span("chat", 0, 1, input__messages=said("a")))])] == [""]
    [trace] = reader.spans([placed(span("chat", 20, 3, input__messages=said("a", "b", "c")))])
    assert (trace.parent, [one.content for one in trace.messages]) == (wordless.id, ["c"])


def test_a_clock_that_is_behind_does_not_break_a_conversation() -> None:
    reader = Reader()
    [first] = reader.spans([placed(span("chat", 10, 2, input__messages=said("a")))])
    [trace] = reader.spans([placed(span("chat", 0, 1, input__messages=said("a", "b", "c")))])
    assert (trace.parent, [one.content for one in trace.messages]) == (first.id, ["c"])


def test_messages_in_numbered_attributes_are_read() -> None:
    prompt = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": '[{"type":"text","text":"hi"}]'}]
    call = {"name": "weather", "arguments": '{"city":"Rome"}', "id": "c1"}
    attributes: dict[str, object] = {"llm.request.type": "chat", "gen_ai.usage.prompt_tokens": 7}
    for number, one in enumerate([*prompt, {"role": "tool", "content": "sunny", "tool_call_id": "c0"}]):
        attributes |= {f"gen_ai.prompt.{number}.{key}": value for key, value in one.items()}
    attributes |= {f"gen_ai.completion.0.tool_calls.0.{key}": value for key, value in call.items()}
    attributes |= {"gen_ai.completion.0.role": "assistant", "gen_ai.completion.0.content": "Let me see."}
    [trace] = Reader().spans([span("chat", 0, 1)._replace(attributes=attributes)])
    assert (trace.goal, trace.answer, trace.tokens_in) == ("hi", "Let me see.", 7)
    assert [(one.role, one.content, one.tool_call_id) for one in trace.messages][2] == ("tool", "sunny", "c0")
    assert [(one.name, one.arguments, one.id) for one in trace.tool_calls] == [("weather", '{"city":"Rome"}', "c1")]


def test_events_that_are_sent_again_do_not_turn_a_session_back() -> None:
    reader = Reader()
    first, second, third = (
        LogRecord("api_request", 1_790_000_000_000 + at, {"session.id": "s", "event.sequence": at})
        for at in (0, 10, 20)
    )
    reader.logs([first])
    [before] = reader.logs([second])
    reader.logs([first])
    assert [one.parent for one in reader.logs([third])] == [before.id]


def test_what_clients_ask_on_the_side_is_no_goal() -> None:
    text = "Please write a 5-10 word title for the following conversation, and nothing else:"
    [trace] = Reader().spans([span("chat", 0, 1, input__messages=said(text))])
    assert trace.goal == ""


@pytest.mark.parametrize(
    "bad", [7, "not json", "[" * 5000, [7, "x", {"role": 1, "parts": "?"}], '{"a":1}', [{"parts": [[]]}]]
)
def test_content_without_sense_is_left_out(bad: object) -> None:
    attributes = {f"{side}__messages": bad for side in ("input", "output")}
    more = {"system_instructions": bad, "usage__input_tokens": bad, "request__model": bad, "conversation__id": bad}
    spans = [
        span("chat", 0, 1, **attributes, **more),
        span(
            "execute_tool", 1, 2, trace="d", tool__name=bad, tool__call__id=bad, skill__name=bad, tool__call__result=bad
        ),
    ]
    assert len(Reader().spans(spans)) == 2


def test_events_of_claude_code_are_requests_with_their_skills() -> None:
    traces = Reader().logs(EVENTS)
    assert [(trace.goal, trace.ended) for trace in traces] == [
        ("commit my change", Ended.COMPLETE),
        ("commit my change", Ended.COMPLETE),
        ("commit my change", Ended.ERROR),
    ]
    assert [(trace.tokens_in, trace.tokens_out, trace.latency_ms) for trace in traces] == [
        (1000, 20, 950),
        (50, 10, 400),
        (0, 0, 30),
    ]
    assert [trace.parent for trace in traces] == ["", traces[0].id, traces[1].id]
    assert traces[0].skills_used == (GIT,)
    assert [(call.name, call.is_error, call.result) for call in traces[0].tool_calls] == [
        ("Skill", False, ""),
        ("Bash", True, "exit 1"),
    ]
    assert traces[2].error == "529 overloaded"


def test_a_skill_alone_is_an_exposure_in_its_session() -> None:
    reader = Reader()
    traces = [trace for log in EVENTS for trace in reader.logs([log])]
    assert len({trace.conversation for trace in traces}) == 1
    assert [trace.skills_used for trace in traces if trace.skills_used] == [(GIT,)]
    assert [trace.id for trace in Reader().logs(EVENTS[2:3])] == [trace.id for trace in traces if trace.skills_used]


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
TOLD: list[tuple[str, object]] = [
    ("gen_ai.system.message", {"content": "Be kind."}),
    ("gen_ai.user.message", {"content": "Weather in Rome?"}),
    ("gen_ai.assistant.message", {"tool_calls": [CALL]}),
    ("gen_ai.tool.message", {"id": "c1", "content": "sunny"}),
    ("gen_ai.choice", {"index": 0, "message": {"role": "assistant", "content": "Sunny.", "tool_calls": [CALL]}}),
]


def records(*told: tuple[str, object], number: int = 1) -> list[LogRecord]:
    """As opentelemetry-instrumentation-openai-v2 2.3b0 tells them."""
    return [
        LogRecord(name, 1_790_000_000_000 + n, {}, body, "c" * 32, f"{number:016x}", 100)
        for n, (name, body) in enumerate(told)
    ]


def test_words_that_come_before_their_span_are_its_words() -> None:
    reader = Reader()
    assert reader.said(records(*TOLD[:2])) == []
    assert reader.said(records(*TOLD[2:])) == []
    [trace] = reader.spans([span("chat", 0, 1, usage__input_tokens=9)])
    assert (trace.goal, trace.answer, trace.tokens_in) == ("Weather in Rome?", "Sunny.", 9)
    assert [(one.role, one.content) for one in trace.messages] == [
        ("system", "Be kind."),
        ("user", "Weather in Rome?"),
        ("tool", "sunny"),
        ("assistant", "Sunny."),
    ]
    assert [(one.name, one.id) for one in trace.tool_calls] == [("weather", "c1")]
    assert not reader.memory.words


def test_words_that_an_exporter_sends_again_are_said_once() -> None:
    """What a person says twice in one export stays."""
    yes = ("gen_ai.user.message", {"content": "yes"})
    twice = [one._replace(at=1_790_000_000_009) for one in records(yes, yes)]
    reader = Reader()
    for told in (records(*TOLD[:2]), records(*TOLD), twice, twice):
        reader.said(told)
    [trace] = reader.spans([span("chat", 0, 1)])
    assert [one.content for one in trace.messages] == ["Be kind.", "Weather in Rome?", "sunny", "yes", "yes", "Sunny."]


def test_words_that_come_after_their_span_follow_it_without_tokens() -> None:
    reader = Reader()
    [bare] = reader.spans([span("chat", 0, 1, usage__input_tokens=9, response__id="r1")])
    [trace] = reader.said(records(*TOLD))
    assert (trace.parent, trace.conversation) == (bare.id, bare.conversation)
    assert (trace.goal, trace.answer, trace.tokens_in) == ("Weather in Rome?", "Sunny.", 0)
    assert [one.id for one in reader.said(records(*TOLD))] == [trace.id]


def test_words_that_come_after_a_span_from_before_the_conventions_are_read() -> None:
    """OpenLLMetry without `use_legacy_attributes` tells such events beside such spans."""
    reader = Reader()
    [bare] = reader.spans([span("", 0, 1)._replace(attributes={"llm.request.type": "chat"})])
    assert [(one.goal, one.parent) for one in reader.said(records(*TOLD))] == [("Weather in Rome?", bare.id)]


def test_a_span_that_waits_for_words_is_small() -> None:
    reader = Reader()
    reader.spans([span("chat", 0, 1, response__id="x" * 9000, request__model=["y" * 9000])._replace(name="z" * 9000)])
    [kept] = reader.memory.wordless.values()
    assert (kept.name, kept.attributes) == (
        "",
        {"gen_ai.operation.name": "chat", "gen_ai.response.id": "x" * 200},
    )


def test_words_in_one_event_of_the_operation_are_read() -> None:
    reader = Reader()
    told = {
        "gen_ai.input.messages": said("hello"),
        "gen_ai.output.messages": said("hi"),
        "gen_ai.system_instructions": 7,
    }
    name = "gen_ai.client.inference.operation.details"
    reader.said([LogRecord(name, 1_790_000_000_000, told, None, "c" * 32, f"{1:016x}", 100)])
    [trace] = reader.spans([span("chat", 0, 1)])
    assert (trace.goal, trace.answer) == ("hello", "hi")


def test_words_of_a_span_that_says_them_itself_are_not_told_twice() -> None:
    reader = Reader()
    reader.spans([span("chat", 0, 1, input__messages=said("hello"))])
    assert reader.said(records(*TOLD)) == []


@pytest.mark.parametrize("body", [None, "text", {}, {"content": 7}, {"tool_calls": [1, {}, {"function": 7}]}])
def test_events_without_sense_are_no_words(body: object) -> None:
    reader = Reader()
    reader.said(records(("gen_ai.user.message", body), ("gen_ai.choice", body), ("gen_ai.choice", {"message": body})))
    [trace] = reader.spans([span("chat", 0, 1)])
    assert (trace.goal, trace.messages) == ("", ())


def test_words_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.core.telemetry.memory.WAITING_BYTES", 2500)
    monkeypatch.setattr("llmos_lite.core.telemetry.memory.WAITING", 2)
    reader = Reader()
    reader.said(records(TOLD[1]), stored=False)
    assert not reader.memory.words
    for number in range(5):
        reader.said(records(TOLD[1], number=number + 1))
        reader.spans([span("chat", number, number + 100)])
    assert (len(reader.memory.words), len(reader.memory.wordless)) == (2, 2)
    few = Reader()
    few.memory = Memory(most=1)
    for number in range(3):
        few.said(records(TOLD[1], number=number + 1))
    assert len(few.memory.words) == 1


def test_a_record_without_a_span_says_nothing() -> None:
    assert not is_said(LogRecord("gen_ai.choice", 1, {}))
    assert not is_said(LogRecord("other", 1, {}, None, "c" * 32, "1" * 16))


def events(*told: tuple[str, dict[str, object]]) -> list[LogRecord]:
    return [
        LogRecord(f"claude_code.{name}", 1_790_000_000_000 + n, {"session.id": "s", "event.sequence": n} | attributes)
        for n, (name, attributes) in enumerate(told)
    ]


def test_a_skill_that_the_model_loads_is_one_call_with_what_it_said_after() -> None:
    """As Claude Code 2.1.197 tells it, with its words."""
    called = {"tool_name": "Skill", "tool_use_id": "t1", "success": "true", "tool_input": '{"skill":"git-workflow"}'}
    parameters = '{"bash_command":"exit","full_command":"exit 3"}'
    bash = {
        "tool_name": "Bash",
        "tool_use_id": "t2",
        "tool_parameters": parameters,
        "tool_input": '{"command":"exit 3"}',
    }
    [trace] = Reader().logs(
        events(
            ("user_prompt", {"prompt": "commit it"}),
            ("skill_activated", {"skill.name": "git-workflow"}),
            ("tool_result", called),
            ("api_request", {"model": "m"}),
            ("assistant_response", {"response": "Committed."}),
            ("tool_result", bash),
        )
    )
    assert [(call.name, call.arguments, call.id) for call in trace.tool_calls] == [
        ("Skill", '{"skill":"git-workflow"}', "t1"),
        ("Bash", '{"command":"exit 3"}', "t2"),
    ]
    assert (trace.goal, trace.answer, trace.skills_used) == ("commit it", "Committed.", (GIT,))


@pytest.mark.parametrize(
    "called",
    [
        {"tool_name": "Skill", "tool_parameters": '{"skill_name":"git-workflow"}'},
        {"tool_name": "Read", "tool_input": '{"file_path":"/x/.claude/skills/git-workflow/SKILL.md"}'},
    ],
)
def test_a_skill_is_known_by_the_call_that_loads_it(called: dict[str, object]) -> None:
    [trace] = Reader().logs(events(("api_request", {}), ("tool_result", called)))
    assert trace.skills_used == (GIT,)


def test_a_skill_without_a_name_is_one_call() -> None:
    told = (("api_request", {}), ("skill_activated", {}), ("tool_result", {"tool_name": "Skill", "tool_use_id": "t1"}))
    [trace] = Reader().logs(events(*told))
    assert ([call.id for call in trace.tool_calls], trace.skills_used) == (["t1"], ())


def test_events_of_others_are_passed_over() -> None:
    records = [
        LogRecord("skill_activated", 1_790_000_000_000, {}),
        LogRecord("other", 1_790_000_000_000, {"session.id": "x"}),
    ]
    assert Reader().logs(records) == []


def test_a_trace_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.core.telemetry.spans.MOST_TEXT", 1000)
    [trace] = Reader().spans([span("chat", 0, 1, input__messages=said(*(f"{n} " + "x" * 200 for n in range(9))))])
    assert [message.content[0] for message in trace.messages] == ["6", "7", "8"]


def test_memory_is_bounded() -> None:
    memory = Memory(most=3)
    for number in range(10):
        draft = Draft(memory, "user:alice")
        SpanReader(ALICE, draft).traces([span("chat", number, number + 1, trace="abcdef0123"[number])])
        memory.keep(draft)
    assert (len(memory.runs), len(memory.talks)) == (3, 3)


def test_a_conversation_that_goes_on_is_remembered_however_many_others_come() -> None:
    memory, parents = Memory(most=3), []
    for number in range(9):
        draft = Draft(memory, "user:alice")
        others = span("chat", number, 100 + number, trace="abcdef012"[number])
        *_, trace = SpanReader(ALICE, draft).traces([others, span("chat", number, 200 + number, trace="7")])
        memory.keep(draft)
        parents.append(trace.parent)
    assert (parents[0], all(parents[1:])) == ("", True)
