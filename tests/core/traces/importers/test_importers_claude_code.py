"""Claude Code logs become traces: real samples, and each rule of the format on its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from llmos_lite.core.traces.importers import Skipped, Source, Target
from llmos_lite.core.traces.importers.answers import OPEN
from llmos_lite.core.traces.importers.claude_code import ClaudeCode
from llmos_lite.core.traces.trace import Ended, SkillUse, Trace
from tests.finding import finding

SAMPLES = Path(__file__).parent / "samples"
GIT = SkillUse("git-workflow", "Git workflow", "user:alice", "a" * 40, 0.0)
ALICE = Target("alice", "user:alice", finding(GIT))
HELD = Target("alice", "user:alice", finding(GIT, held=True))


def read(path: Path, target: Target = ALICE) -> tuple[list[Trace], list[Skipped]]:
    found = list(ClaudeCode().read(Source(path), target))
    return [item for item in found if isinstance(item, Trace)], [item for item in found if isinstance(item, Skipped)]


class Log:
    """Writes a session line by line; each line hangs below the one before."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self.parent = path / "session.jsonl", [], None

    def add(self, kind: str, said: object, /, **more: object) -> str:
        number = len(self.lines)
        uuid = f"u{number}"
        message = {"role": kind, "content": said} | dict(more.pop("message", {}))  # type: ignore[call-overload]
        line = {
            "type": kind,
            "uuid": uuid,
            "parentUuid": self.parent,
            "sessionId": "s1",
            "timestamp": f"2026-09-01T10:{number // 60:02d}:{number % 60:02d}.000Z",
            "message": message,
        } | more
        self.lines.append(json.dumps(line))
        self.parent = uuid
        return uuid

    def user(self, content: object, **more: object) -> str:
        return self.add("user", content, **more)

    def answer(self, content: object, message_id: str, **more: object) -> str:
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        extra = {"id": message_id, "model": "claude-x", "usage": {"input_tokens": 10, "output_tokens": 5}}
        return self.add("assistant", content, message=extra, **more)

    def result(self, call_id: str, text: object, **more: object) -> str:
        return self.user([{"type": "tool_result", "tool_use_id": call_id, "content": text} | more])

    def read(self, target: Target = ALICE) -> tuple[list[Trace], list[Skipped]]:
        self.path.write_text("\n".join(self.lines))
        return read(self.path, target)


def call(call_id: str, name: str = "Bash", **given: object) -> dict[str, object]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": given}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_real_session_becomes_a_chain_of_requests() -> None:
    traces, skipped = read(SAMPLES / "daaain_representative_messages.jsonl")
    assert [item.reason for item in skipped] == ["no message: summary"]
    assert [trace.goal.partition("?")[0] for trace in traces] == [
        "Hello Claude! Can you help me understand how Python decorators work",
        "Great! Can you also show me how to create a decorator that takes parameters",
        "Great! Can you also show me how to create a decorator that takes parameters",
        "Can you run that example to show the output",
        "Can you run that example to show the output",
    ]
    assert [trace.parent for trace in traces] == ["", *(trace.id for trace in traces[:-1])]
    assert {trace.conversation for trace in traces} == {"test_session"}
    assert traces[0].time == 1749895230000
    assert traces[0].latency_ms == 30_000
    assert traces[0].source == "import:claude-code"
    assert traces[1].tool_calls[0].result.startswith("File created successfully")


def test_the_odd_lines_of_a_real_session_are_counted_and_passed_over() -> None:
    traces, skipped = read(SAMPLES / "daaain_edge_cases.jsonl")
    assert len(traces) == 4
    assert traces[1].tool_calls[0].is_error
    assert traces[2].goal == "/test-command --verbose --output /tmp/test.log"
    assert sorted(item.reason for item in skipped) == [
        "empty message",
        "no message",
        "no message: meta",
        "no message: meta",
        "no message: summary",
        *["not a JSON object"] * 3,
        "unknown line",
    ]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.jsonl")), ids=lambda path: path.name)
def test_the_same_file_gives_the_same_ids(path: Path) -> None:
    first, again = read(path)[0], read(path)[0]
    assert first == again
    assert len({trace.id for trace in first}) == len(first)


def test_another_persons_import_of_the_same_file_has_ids_of_its_own() -> None:
    path = SAMPLES / "daaain_todowrite_examples.jsonl"
    bob = read(path, Target("bob", "user:bob"))[0]
    assert not {trace.id for trace in read(path)[0]} & {trace.id for trace in bob}


def test_one_answer_over_several_lines_is_one_trace_and_counts_its_usage_once(log: Log) -> None:
    log.user("list the files")
    log.answer("I will look.", "msg_1", requestId="r1")
    log.answer([call("t1", command="ls")], "msg_1", requestId="r1")
    log.result("t1", "a.py")
    log.answer([call("t2", command="ls -a")], "msg_1", requestId="r1")
    log.result("t2", [{"type": "text", "text": ".git"}], is_error=True)
    log.answer("Two files.", "msg_2")
    traces, skipped = log.read()
    assert not skipped
    assert [(trace.tokens_in, trace.tokens_out) for trace in traces] == [(10, 5), (10, 5)]
    assert [(item.result, item.is_error) for item in traces[0].tool_calls] == [("a.py", False), (".git", True)]
    assert traces[0].tool_calls[0].arguments == '{"command":"ls"}'
    assert traces[1].parent == traces[0].id
    assert traces[1].goal == "list the files"
    assert [message.role for message in traces[1].messages] == ["assistant"]


def test_cache_tokens_are_tokens_that_went_in(log: Log) -> None:
    log.user("x")
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": -4}
    log.add("assistant", "hello", message={"usage": usage})
    trace = log.read()[0][0]
    assert (trace.tokens_in, trace.tokens_out, trace.answer) == (321, 0, "hello")


def test_a_copied_session_is_recognised_by_its_messages(log: Log) -> None:
    log.user("first")
    log.answer("one", "msg_1", requestId="r1")
    first = log.read()[0]
    log.lines = [line.replace('"s1"', '"s2"') for line in log.lines]
    log.user("second", sessionId="s2")
    log.answer("two", "msg_2", sessionId="s2")
    again = log.read()[0]
    assert again[0].id == first[0].id
    assert again[1].id != first[0].id


def fork(log: Log, last: str = "", origin: str = "s1", name: str = "s2") -> None:
    """Make of a session what a fork of it begins with; `last` is the time that its last line then has."""
    lines = [json.loads(line) for line in log.lines]
    for line in lines:
        line["forkedFrom"] = {"sessionId": origin, "messageUuid": line["uuid"]}
        line["sessionId"], line["uuid"] = name, f"f{line['uuid']}"
        line["parentUuid"] = line["parentUuid"] and f"f{line['parentUuid']}"
    if last:
        lines[-1]["timestamp"] = last
        title = {"type": "custom-title", "sessionId": name, "customTitle": "x (fork)", "uuid": "title"}
        lines.append(title | {"timestamp": last})
    log.lines, log.parent = [json.dumps(line) for line in lines], f"f{log.parent}"


def test_a_fork_is_a_conversation_of_its_own_and_says_from_which_it_was_forked(log: Log) -> None:
    log.user("first")
    log.answer("one", "msg_1")
    old = log.read()[0]
    fork(log)
    log.user("second", sessionId="s2")
    log.answer("two", "msg_2", sessionId="s2")
    log.user("third", sessionId="s2")
    log.answer("three", "msg_3", sessionId="s2")
    copied, two, three = log.read()[0]
    assert copied == old[0]
    assert (two.conversation, two.parent, two.forked_from) == ("s2", copied.id, "s1")
    assert (three.conversation, three.parent, three.forked_from) == ("s2", two.id, "")


def test_a_fork_of_a_fork_names_the_one_that_it_was_made_from(log: Log) -> None:
    log.user("first")
    log.answer("one", "msg_1")
    fork(log)
    log.user("second", sessionId="s2")
    log.answer("two", "msg_2", sessionId="s2")
    fork(log, origin="s2", name="s3")
    log.user("third", sessionId="s3")
    log.answer("three", "msg_3", sessionId="s3")
    assert [(one.conversation, one.forked_from) for one in log.read()[0]] == [("s2", ""), ("s2", ""), ("s3", "s2")]


@pytest.mark.parametrize("pieces", [1, 2])
def test_the_last_answer_of_a_copy_is_not_told_at_the_time_of_the_copy(log: Log, pieces: int) -> None:
    log.user("first")
    log.answer("one", "msg_1")
    log.user("again")
    for number in range(pieces):
        log.answer(f"more {number}", "msg_2")
    old = log.read()[0]
    fork(log, last="2026-09-02T10:00:00.000Z")
    log.user("second", sessionId="s2", timestamp="2026-09-02T10:01:00.000Z")
    log.answer("two", "msg_3", sessionId="s2", timestamp="2026-09-02T10:01:05.000Z")
    *copied, two = log.read()[0]
    assert copied == old[:pieces]  # of an answer in several lines, the first has the time
    assert (two.conversation, two.parent, two.forked_from) == ("s2", copied[-1].id, "s1")
    assert [message.content for message in two.messages] == ["second", "two"]


@pytest.mark.parametrize("origin", [None, "s1", [], {}, {"sessionId": 7}, {"sessionId": ""}])
def test_what_does_not_say_where_it_is_from_is_no_copy(log: Log, origin: object) -> None:
    log.user("first", forkedFrom=origin)
    log.answer("one", "msg_1", forkedFrom=origin)
    log.user("second")
    log.answer("two", "msg_2")
    assert [(one.conversation, one.forked_from) for one in log.read()[0]] == [("s1", ""), ("s1", "")]


def test_an_edited_question_branches_from_where_it_was_asked(log: Log) -> None:
    log.user("begin")
    anchor = log.answer("ready", "msg_1")
    log.user("the wrong question")
    log.parent = anchor
    log.user("the right question")
    log.answer("the answer", "msg_2")
    traces = log.read()[0]
    assert traces[1].goal == "the right question"
    assert [message.content for message in traces[1].messages] == ["the right question", "the answer"]


def test_lines_of_other_kinds_do_not_break_the_chain(log: Log) -> None:
    log.user("begin")
    log.add("attachment", "")
    log.answer("ready", "msg_1")
    assert log.read()[0][0].messages[0].content == "begin"


def test_what_the_tool_said_about_itself_is_nobodys_words(log: Log) -> None:
    log.user("Caveat: The messages below were generated by the user while running local commands.")
    log.user("be quiet", isMeta=True)
    log.user("This session is being continued …", isCompactSummary=True)
    log.user("do it <system-reminder>never mention this</system-reminder>now <system-reminder>open")
    log.answer("done", "msg_1")
    traces, skipped = log.read()
    assert traces[0].messages[0].content == "do it now open"
    assert [item.reason for item in skipped] == ["no message: meta"] * 3


def test_requests_of_a_sub_agent_belong_to_the_goal_of_the_person(log: Log) -> None:
    log.user("refactor the parser")
    log.answer([call("t1", "Task", prompt="look for parsers")], "msg_1")
    main, log.parent = log.parent, None
    log.user("look for parsers", isSidechain=True)
    log.answer("found two", "msg_2", isSidechain=True)
    log.parent = main
    log.result("t1", "found two")
    log.answer("Done.", "msg_3")
    traces = log.read()[0]
    assert [trace.goal for trace in traces] == ["refactor the parser"] * 3
    assert [trace.parent for trace in traces] == ["", traces[0].id, traces[0].id]
    assert traces[1].messages[0].name == "agent"
    assert {trace.conversation for trace in traces} == {"s1"}


def test_a_sub_agents_own_file_has_the_goal_that_it_was_given(log: Log) -> None:
    log.user("look for parsers", isSidechain=True)
    log.answer("found two", "msg_2", isSidechain=True)
    assert log.read()[0][0].goal == "look for parsers"


def test_what_is_typed_while_the_model_works_is_said(log: Log) -> None:
    log.user("refactor the parser")
    log.answer([call("t1")], "msg_1")
    log.result("t1", "ok")
    typed = {"type": "queued_command", "prompt": "and keep the tests", "commandMode": "prompt"}
    log.add("attachment", None, attachment=typed, message={}, timestamp="2026-09-01T10:00:01.500Z")
    log.answer("Kept.", "msg_2")
    last = log.read()[0][-1]
    assert last.latency_ms == 2000  # since the result, not since it was typed
    assert [(one.role, one.content) for one in last.messages] == [
        ("user", "and keep the tests"),
        ("assistant", "Kept."),
    ]


def test_news_of_an_agent_in_the_background_are_said_and_no_goal(log: Log) -> None:
    log.user("refactor the parser")
    log.answer("It runs.", "msg_1")
    log.user("<task-notification>\n<task-id>a1</task-id>\n</task-notification>")
    log.answer("Done.", "msg_2")
    last = log.read()[0][-1]
    assert (last.goal, last.messages[0].name) == ("refactor the parser", "agent")
    assert last.messages[0].content.startswith("<task-notification>")


def test_what_a_person_ran_in_the_shell_is_said_and_no_goal(log: Log) -> None:
    log.user("what is in here?")
    log.answer("Let me see.", "msg_1")
    log.user("<bash-input>ls</bash-input>")
    log.user("<bash-stdout>a.py</bash-stdout><bash-stderr></bash-stderr>")
    log.answer("One file.", "msg_2")
    last = log.read()[0][-1]
    assert (last.goal, len(last.messages)) == ("what is in here?", 3)


@pytest.mark.parametrize("output", ["user", "system"])
def test_a_command_that_the_client_ran_itself_is_not_said(log: Log, output: str) -> None:
    """As 2.1.197 writes `/compact` and `/clear`."""
    log.user("<command-name>/clear</command-name>\n<command-args></command-args>")
    done = "<local-command-stdout></local-command-stdout>"
    if output == "user":
        log.user(done)
    else:
        log.add("system", None, message={}, subtype="local_command", content=done)
    log.user("hello")
    log.answer("Hi.", "msg_1")
    [trace] = log.read()[0]
    assert [(one.role, one.content) for one in trace.messages] == [("user", "hello"), ("assistant", "Hi.")]
    assert trace.goal == "hello"


def test_an_answer_that_the_client_made_up_is_none(log: Log) -> None:
    log.user("<command-name>/compact</command-name>")
    log.add("assistant", "No response requested.", message={"id": "m", "model": "<synthetic>"})
    log.user("hello")
    log.add("assistant", "API Error", message={"id": "n", "model": "<synthetic>"}, isApiErrorMessage=True)
    traces, skipped = log.read()
    assert [(trace.goal, trace.model, trace.ended) for trace in traces] == [("hello", "", Ended.ERROR)]
    assert [one.reason for one in skipped] == ["no message: made up by the client"]


def test_an_interrupted_answer_is_aborted(log: Log) -> None:
    log.user("count to a million")
    log.answer("1 2 3", "msg_1")
    log.user([{"type": "text", "text": "[Request interrupted by user]"}])
    traces, skipped = log.read()
    assert traces[0].ended is Ended.ABORTED
    assert not skipped


def test_an_interruption_before_any_answer_changes_nothing(log: Log) -> None:
    log.user("[Request interrupted by user]")
    assert log.read() == ([], [])


def test_an_error_of_the_api_is_kept_as_such(log: Log) -> None:
    log.user("hello")
    log.answer("API Error: 529 overloaded", "msg_1", isApiErrorMessage=True)
    trace = log.read()[0][0]
    assert (trace.ended, trace.error) == (Ended.ERROR, "API Error: 529 overloaded")


def test_use_of_a_skill_is_known_when_the_skill_exists(log: Log) -> None:
    log.user("commit my change")
    log.answer([call("t1", "Skill", skill="plug:git-workflow"), call("t2", "Skill", skill="unknown")], "msg_1")
    trace = log.read()[0][0]
    assert trace.skills_used == (GIT,)
    assert [(item.skill_id, item.version, item.arm) for item in trace.exposures] == [
        ("git-workflow", "a" * 40, "treatment")
    ]
    assert [item.name for item in trace.tool_calls] == ["Skill", "Skill"]


def test_one_that_is_held_back_here_was_in_the_context_and_is_none_of_the_skills_used(log: Log) -> None:
    log.user("commit my change")
    log.answer([call("t1", "Skill", skill="git-workflow")], "msg_1")
    trace = log.read(HELD)[0][0]
    assert trace.skills_used == ()
    [exposure] = trace.exposures
    assert (exposure.skill_id, exposure.version, exposure.arm, exposure.held) == (
        "git-workflow",
        "a" * 40,
        "treatment",
        True,
    )


def test_a_slash_command_is_a_skill_when_one_has_its_name(log: Log) -> None:
    log.user(
        "<command-name>/git-workflow</command-name><command-message>x</command-message><command-args>now</command-args>"
    )
    log.answer("done", "msg_1")
    trace = log.read()[0][0]
    assert trace.goal == "/git-workflow now"
    assert trace.skills_used == (GIT,)


def test_a_skill_whose_file_is_read_was_used(log: Log) -> None:
    log.user("commit")
    log.answer([call("t1", "Read", file_path="/repo/.claude/skills/git-workflow/SKILL.md")], "msg_1")
    log.answer([call("t2", "Write", file_path="/repo/.claude/skills/git-workflow/SKILL.md")], "msg_2")
    assert [trace.skills_used for trace in log.read()[0]] == [(GIT,), ()]


def test_the_synthetic_sample_uses_the_skill() -> None:
    traces, _ = read(SAMPLES / "skill_use.SYNTHETIC.jsonl")
    assert [trace.skills_used for trace in traces] == [(GIT,)]


def test_a_long_run_of_tools_is_given_out_as_it_goes(log: Log) -> None:
    log.user("go on")
    for number in range(OPEN + 10):
        log.answer([call(f"t{number}")], f"msg_{number}")
        log.result(f"t{number}", f"result {number}")
    traces = log.read()[0]
    assert [trace.tool_calls[0].result for trace in traces] == [f"result {n}" for n in range(OPEN + 10)]


def test_a_result_that_comes_too_late_is_left_out_of_its_call(log: Log) -> None:
    log.user("go on")
    log.answer([call("late")], "msg_late")
    for number in range(OPEN + 1):
        log.answer("next", f"msg_{number}")
    log.result("late", "too late")
    assert log.read()[0][0].tool_calls[0].result == ""


def test_lines_without_ids_times_or_sense_still_give_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    lines: Iterable[object] = (
        {"type": "user", "sessionId": "x" * 300, "message": {"content": ["bare words", 7, {"type": "image"}]}},
        {"type": "assistant", "sessionId": "x" * 300, "message": {"content": "yes", "usage": "none"}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "input": "raw"}, "?"]}},
        {"type": 7},
        {"type": "user", "message": {"content": None}},
    )
    path.write_text("\n".join(map(json.dumps, lines)))
    traces, skipped = read(path)
    assert traces[0].conversation != "x" * 300
    assert len(traces[0].conversation) == 64
    assert traces[0].time // 86_400_000 == traces[1].time // 86_400_000 == 10_957
    assert [item.reason for item in skipped] == ["unknown line", "empty message"]
    assert traces[1].tool_calls[0].arguments == "raw"


def test_a_line_with_results_and_words_says_both(log: Log) -> None:
    log.user("go")
    log.answer([call("t1")], "msg_1")
    log.user([{"type": "tool_result", "tool_use_id": "t1", "content": "ok"}, {"type": "text", "text": "and now this"}])
    log.answer("sure", "msg_2")
    traces = log.read()[0]
    assert traces[1].goal == "and now this"
    assert [message.content for message in traces[1].messages] == ["and now this", "sure"]


def test_only_logs_of_its_kind_are_recognised() -> None:
    sniff = ClaudeCode().sniff
    for path in SAMPLES.glob("*.jsonl"):
        assert sniff(Source(path).head()) is not path.name.startswith("toy")
    assert not sniff(b"")
    assert not sniff(b"\xff\x00{{{")
