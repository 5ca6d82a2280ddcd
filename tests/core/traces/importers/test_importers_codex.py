"""Codex logs become traces: a whole session, and each rule of the format on its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.traces.importers import Skipped, Source, Target, choose, importers
from llmos_lite.core.traces.importers.answers import OPEN
from llmos_lite.core.traces.importers.codex import Codex
from llmos_lite.core.traces.importers.skill_use import skills_read
from llmos_lite.core.traces.trace import Ended, SkillUse, Trace
from tests.finding import finding

SAMPLES = Path(__file__).parent / "samples"
SESSION = next((SAMPLES / "codex").glob("rollout-*.jsonl"))
GIT = SkillUse("git-workflow", "Git workflow", "user:alice", "a" * 40, 0.0)
ALICE = Target("alice", "user:alice", finding(GIT))
HELD = Target("alice", "user:alice", finding(GIT, held=True))


def read(path: Path, target: Target = ALICE) -> tuple[list[Trace], list[Skipped]]:
    found = list(Codex().read(Source(path), target))
    return [item for item in found if isinstance(item, Trace)], [item for item in found if isinstance(item, Skipped)]


class Log:
    """Writes a session line by line, a second apart."""

    def __init__(self, folder: Path) -> None:
        self.path, self.lines = folder / "rollout.jsonl", []
        self.add("session_meta", {"id": "s1", "timestamp": "2026-09-01T10:00:00Z"})

    def add(self, kind: str, payload: object) -> None:
        number = len(self.lines)
        at = f"2026-09-01T10:{number // 60:02d}:{number % 60:02d}.000Z"
        self.lines.append(json.dumps({"timestamp": at, "type": kind, "payload": payload}))

    def item(self, kind: str, **more: object) -> None:
        self.add("response_item", {"type": kind} | more)

    def event(self, kind: str, **more: object) -> None:
        self.add("event_msg", {"type": kind} | more)

    def user(self, text: str) -> None:
        self.item("message", role="user", content=[{"type": "input_text", "text": text}])

    def answer(self, text: str) -> None:
        self.item("message", role="assistant", content=[{"type": "output_text", "text": text}])

    def call(self, call_id: str, arguments: str = "{}", name: str = "exec_command") -> None:
        self.item("function_call", name=name, arguments=arguments, call_id=call_id)

    def output(self, call_id: str, output: object) -> None:
        self.item("function_call_output", call_id=call_id, output=output)

    def tokens(self, total: tuple[int, int] | None, last: tuple[int, int] | None = None) -> None:
        def usage(pair: tuple[int, int] | None) -> object:
            return pair and {"input_tokens": pair[0], "output_tokens": pair[1]}

        self.event("token_count", info={"total_token_usage": usage(total), "last_token_usage": usage(last)})

    def read(self, target: Target = ALICE) -> tuple[list[Trace], list[Skipped]]:
        self.path.write_text("\n".join(self.lines))
        return read(self.path, target)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_a_session_becomes_a_chain_of_requests() -> None:
    traces, skipped = read(SESSION)
    assert [trace.parent for trace in traces] == ["", *(trace.id for trace in traces[:-1])]
    assert {trace.conversation for trace in traces} == {"5d0f2c7e-0000-7000-8000-0000000000aa"}
    assert {trace.source for trace in traces} == {"import:codex"}
    assert [trace.model for trace in traces] == ["gpt-9-codex"] * 3 + ["gpt-9-codex-mini"]
    assert [(trace.tokens_in, trace.tokens_out) for trace in traces] == [(1000, 50), (1200, 80), (1300, 20), (1500, 10)]
    assert [trace.ended for trace in traces] == [Ended.COMPLETE, Ended.COMPLETE, Ended.ABORTED, Ended.COMPLETE]
    goal = "Add a test for the discount and commit it\n[input_image]"
    assert [trace.goal for trace in traces] == [goal] * 3 + ["what does the discount do?"]
    assert traces[0].time == 1788256805000
    assert traces[0].latency_ms == 3900
    assert {item.reason for item in skipped} == {
        "no message: agent_message",
        "no message: developer",
        "no message: reasoning",
        "no message: scaffolding",
        "no message: task_complete",
        "no message: task_started",
        "no message: user_message",
    }


def test_a_command_has_one_result_and_says_whether_it_failed() -> None:
    calls = [call for trace in read(SESSION)[0] for call in trace.tool_calls]
    assert [(call.name, call.result.splitlines()[0], call.is_error) for call in calls] == [
        ("exec_command", "test_cart.py", False),
        ("apply_patch", "Success. Updated the following files:", False),
        ("exec_command", "Exit code: 1", True),
    ]
    assert calls[0].arguments == '{"cmd":"ls tests"}'


def test_a_skill_that_codex_put_in_is_an_exposure() -> None:
    traces = read(SESSION)[0]
    assert traces[0].skills_used == (GIT,)
    assert [(item.skill_id, item.version) for item in traces[0].exposures] == [("git-workflow", "a" * 40)]
    assert not traces[1].exposures
    assert all("<skill>" not in message.content for trace in traces for message in trace.messages)


def test_a_skill_that_the_model_reads_is_an_exposure(log: Log) -> None:
    log.user("commit")
    log.call("c1", json.dumps({"cmd": "sed -n '1,200p' /repo/.agents/skills/git-workflow/SKILL.md 2>/dev/null"}))
    log.output("c1", "# Git workflow")
    log.call("c2", json.dumps({"cmd": "cat > .agents/skills/git-workflow/SKILL.md <<EOF"}))
    traces = log.read()[0]
    assert [trace.skills_used for trace in traces] == [(GIT,), ()]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ('{"command":["cat","/home/a/.codex/skills/.system/pdf/SKILL.md"]}', ["pdf"]),
        (r'{"cmd":"type C:\\repo\\.agents\\skills\\pdf\\SKILL.md"}', ["pdf"]),
        ('{"cmd":"cat a/skills/x/SKILL.md b/skills/y/SKILL.md"}', ["x", "y"]),
        ('{"cmd":"cat notes/SKILL.md"}', []),
        ("*** Begin Patch\n*** Update File: /skills/x/SKILL.md", []),
    ],
)
def test_where_skills_are_read(arguments: str, ids: list[str]) -> None:
    assert list(skills_read(arguments)) == ids


def test_calls_side_by_side_are_one_answer_with_words_around_them(log: Log) -> None:
    log.user("look around")
    log.answer("Two things.")
    log.call("c1")
    log.call("c2")
    log.tokens((10, 5))
    log.output("c2", {"content": "two", "success": False})
    log.output("c1", [{"type": "input_text", "text": "one"}])
    log.answer("Done.")
    traces = log.read()[0]
    assert [[(call.result, call.is_error) for call in trace.tool_calls] for trace in traces] == [
        [("one", False), ("two", True)],
        [],
    ]
    assert traces[1].answer == "Done."


@pytest.mark.parametrize("command_first", [True, False])
def test_what_the_command_said_counts_before_what_the_model_was_shown(log: Log, *, command_first: bool) -> None:
    log.user("run it")
    log.call("c1")
    for is_command in (command_first, not command_first):
        if is_command:
            log.event("exec_command_end", call_id="c1", stdout="all of it", stderr="oops", exit_code=2)
        else:
            log.output("c1", "some of it")
    call = log.read()[0][0].tool_calls[0]
    assert (call.result, call.is_error) == ("all of it\noops", True)


def test_a_call_of_an_mcp_server_that_failed_is_known_as_such(log: Log) -> None:
    log.user("ask them")
    log.call("c1", name="docs__search")
    log.event("mcp_tool_call_end", call_id="c1", result={"Err": "no such index"})
    log.call("c2", name="docs__search")
    log.event(
        "mcp_tool_call_end", call_id="c2", result={"Ok": {"content": [{"type": "text", "text": "?"}], "isError": True}}
    )
    calls = [call for trace in log.read()[0] for call in trace.tool_calls]
    assert [(call.result, call.is_error) for call in calls] == [("no such index", True), ("?", True)]


def test_tokens_are_counted_once_however_often_they_are_told(log: Log) -> None:
    log.user("a")
    log.answer("b")
    for _ in range(3):
        log.tokens((100, 10), (100, 10))
    log.user("c")
    log.answer("d")
    log.tokens((250, 30), (150, 20))
    log.user("e")
    log.answer("f")
    log.tokens((40, 4), (40, 4))  # the count began anew
    assert [(trace.tokens_in, trace.tokens_out) for trace in log.read()[0]] == [(100, 10), (150, 20), (40, 4)]


def test_a_log_that_begins_in_the_middle_counts_its_first_answer_by_itself(log: Log) -> None:
    log.user("a")
    log.answer("b")
    log.tokens((9000, 900), (100, 10))
    assert log.read()[0][0].tokens_in == 100


def test_a_turn_that_was_stopped_before_any_answer_is_aborted(log: Log) -> None:
    log.user("count to a million")
    log.event("turn_aborted", reason="interrupted")
    log.user("<turn_aborted>\nThe user interrupted.\n</turn_aborted>")
    log.user("never mind")
    log.answer("Fine.")
    traces = log.read()[0]
    assert [(trace.goal, trace.ended, trace.answer) for trace in traces] == [
        ("count to a million", Ended.ABORTED, ""),
        ("never mind", Ended.COMPLETE, "Fine."),
    ]


def test_a_stop_with_nothing_to_stop_changes_nothing(log: Log) -> None:
    log.event("turn_aborted")
    log.event("error", message="x")
    assert log.read()[0] == []


def test_a_failed_request_is_an_error(log: Log) -> None:
    log.user("hello")
    log.event("error", message="stream disconnected", codex_error_info="other")
    trace = log.read()[0][0]
    assert (trace.ended, trace.error, trace.goal) == (Ended.ERROR, "stream disconnected", "hello")


def test_a_turn_that_says_only_at_its_end_that_it_failed_is_an_error(log: Log) -> None:
    log.user("hello")
    log.event("task_complete", last_agent_message=None, error={"message": "bad thing", "codex_error_info": "other"})
    log.user("again")
    log.event("error", message="worse")
    log.event("task_complete", error={"message": "worse"})
    traces = log.read()[0]
    assert [(trace.goal, trace.ended, trace.error) for trace in traces] == [
        ("hello", Ended.ERROR, "bad thing"),
        ("again", Ended.ERROR, "worse"),
    ]


@pytest.mark.parametrize("output", ["unsupported call: shell", "unsupported custom tool call: apply_patch"])
def test_a_call_that_could_not_be_made_failed(log: Log, output: str) -> None:
    log.user("hello")
    log.call("c1")
    log.output("c1", output)
    assert log.read()[0][0].tool_calls[0].is_error


def test_the_same_file_gives_the_same_ids_and_a_longer_one_the_same_beginning(log: Log) -> None:
    log.user("a")
    log.answer("b")
    first = log.read()[0]
    log.user("c")
    log.answer("d")
    again = log.read()[0]
    assert again[0] == first[0]
    assert len({trace.id for trace in again}) == 2
    bob = log.read(Target("bob", "user:bob"))[0]
    assert not {trace.id for trace in again} & {trace.id for trace in bob}


def test_a_turn_on_its_own_gives_the_id_that_it_has_in_the_whole_session() -> None:
    lines = SESSION.read_bytes().splitlines(keepends=True)
    part = [lines[0], *lines[lines.index(next(line for line in lines if b'"t-2"' in line)) :]]
    path = SESSION.with_name("nowhere")
    source = Source(path)
    source._raw = lambda: iter(part)  # type: ignore[method-assign]
    alone = [item for item in Codex().read(source, ALICE) if isinstance(item, Trace)]
    assert [trace.id for trace in alone] == [read(SESSION)[0][-1].id]


def test_old_flat_lines_are_read_with_the_time_of_their_session(tmp_path: Path) -> None:
    path = tmp_path / "rollout-2025-05-01-old.jsonl"
    lines = (
        {"id": "0196aaaa-0000-7000-8000-000000000001", "timestamp": "2025-05-01T08:00:00.000Z", "instructions": "x"},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list the files"}]},
        {"type": "reasoning", "summary": []},
        {"type": "local_shell_call", "call_id": "c1", "action": {"type": "exec", "command": ["ls"]}},
        {"type": "function_call_output", "call_id": "c1", "output": '{"output":"a","metadata":{"exit_code":3}}'},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "One file."}]},
    )
    path.write_text("\n".join(map(json.dumps, lines)))
    assert Codex().sniff(Source(path).head())
    traces, skipped = read(path)
    assert [(trace.goal, trace.answer) for trace in traces] == [("list the files", ""), ("list the files", "One file.")]
    assert [(call.name, call.result, call.is_error) for call in traces[0].tool_calls] == [("local_shell", "a", True)]
    assert traces[0].time // 1000 == 1746086400
    assert [item.reason for item in skipped] == ["unknown line", "no message: reasoning"]
    assert read(path)[0] == traces


def test_a_session_that_went_on_from_another_is_its_own(log: Log) -> None:
    log.add("session_meta", {"id": "the one before"})
    log.user("a")
    log.answer("b")
    trace = log.read()[0][0]
    assert (trace.conversation, trace.forked_from) == ("s1", "the one before")


OLD, FORK = (f"01a23157-{part}-7000-8000-000000000000" for part in ("397b", "3b31"))
OLD_TURN, NEW_TURN = (f"01a23157-{part}-7000-8000-000000000000" for part in ("39ee", "3b4e"))


def forked(folder: Path) -> Log:
    """Return what Codex 0.171 writes (`historyMode: legacy`): the head, then the whole old session at new times."""
    log = Log(folder)
    log.lines.clear()
    log.add("session_meta", {"id": FORK, "forked_from_id": OLD, "timestamp": "2026-09-01T10:00:00Z"})
    log.add("session_meta", {"id": OLD})
    log.event("task_started", turn_id=OLD_TURN)
    log.add("turn_context", {"turn_id": OLD_TURN, "model": "m"})
    log.user("said before")
    log.answer("heard before")
    log.tokens((100, 10), (100, 10))
    log.event("task_complete", turn_id=OLD_TURN)
    log.event("task_started", turn_id=NEW_TURN)
    log.user("said now")
    log.answer("heard now")
    log.tokens((250, 30), (150, 20))
    return log


def test_what_a_fork_copied_from_another_session_is_not_told_twice(tmp_path: Path) -> None:
    traces, skipped = forked(tmp_path).read()
    assert [(one.goal, one.answer, one.conversation, one.tokens_in) for one in traces] == [
        ("said now", "heard now", FORK, 150)
    ]
    assert [one.reason for one in skipped].count("copy of another session") == 4
    assert traces[0].forked_from == OLD


def test_only_the_first_trace_of_a_fork_says_so(tmp_path: Path) -> None:
    log = forked(tmp_path)
    log.user("said last")
    log.answer("heard last")
    assert [(one.goal, one.forked_from) for one in log.read()[0]] == [("said now", OLD), ("said last", "")]


def test_a_copy_without_ids_of_turns_is_known_by_its_time(log: Log) -> None:
    for kind, payload in (("session_meta", {"id": "the one before"}), ("response_item", None)):
        line = json.loads(log.lines[0]) | {"type": kind}
        log.lines.append(json.dumps(line | {"payload": payload or {"type": "message", "role": "user", "content": "a"}}))
    log.user("said now")
    log.answer("heard now")
    assert [[message.content for message in trace.messages] for trace in log.read()[0]] == [["said now", "heard now"]]


@pytest.mark.parametrize(
    "meta",
    [
        {"session_id": "root", "source": {"subagent": {"thread_spawn": {"parent_thread_id": "parent"}}}},
        {"session_id": "s1", "source": {"subagent": {"thread_spawn": {"parent_thread_id": "root"}}}},
        {"parent_thread_id": "root", "source": {"subagent": "review"}},
    ],
)
def test_a_sub_agent_works_in_the_conversation_that_asked_for_it(log: Log, meta: dict[str, object]) -> None:
    log.lines.clear()
    log.add("session_meta", {"id": "s1"} | meta)
    log.user("look for parsers")
    log.answer("found two")
    trace = log.read()[0][0]
    assert (trace.conversation, trace.messages[0].name) == ("root", "agent")


def test_news_of_a_sub_agent_are_said_and_no_goal(log: Log) -> None:
    log.user("refactor the parser")
    log.answer("It runs.")
    log.user('<subagent_notification>\n{"status": "done"}\n</subagent_notification>')
    log.answer("Done.")
    last = log.read()[0][-1]
    assert (last.goal, last.messages[0].name, last.answer) == ("refactor the parser", "agent", "Done.")


def test_the_findings_of_a_review_are_told_once(log: Log) -> None:
    """The reviewer has a session of its own; the person's holds its answer again, which no model gave there."""
    log.user("<user_action>\n  <context>User initiated a review task.</context>\n</user_action>")
    log.answer("Two bugs.")
    log.user("mend them")
    log.answer("Mended.")
    traces, skipped = log.read()
    assert [(trace.goal, trace.answer, trace.messages[0].name) for trace in traces] == [
        ("mend them", "Mended.", "agent")
    ]
    assert [one.reason for one in skipped] == ["no message: made up by the client"]


def test_a_long_run_of_tools_is_given_out_as_it_goes(log: Log) -> None:
    log.user("go on")
    for number in range(OPEN + 10):
        log.call(f"t{number}")
        log.output(f"t{number}", f"result {number}")
    traces = log.read()[0]
    assert [trace.tool_calls[0].result for trace in traces] == [f"result {n}" for n in range(OPEN + 10)]


def test_only_logs_of_its_kind_are_recognised() -> None:
    known = importers()
    for path in SAMPLES.rglob("*.jsonl"):
        assert Codex().sniff(Source(path).head()) is (path.parent.name == "codex")
        found = choose(Source(path), known)
        assert found is not None
        assert (found.name == "codex") is (path.parent.name == "codex")
    assert not Codex().sniff(b"")
    assert not Codex().sniff(b"\xff\x00{{{")


WORDS = st.sampled_from(
    [
        "type",
        "payload",
        "role",
        "content",
        "text",
        "call_id",
        "output",
        "info",
        "id",
        "timestamp",
        "result",
        "Ok",
        "action",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)
KINDS = ["message", "function_call", "function_call_output", "exec_command_end", "token_count", "turn_aborted", "error"]
LINES = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["response_item", "event_msg", "session_meta", "turn_context", *KINDS]) | JSON,
            "payload": JSON
            | st.fixed_dictionaries({"type": st.sampled_from(KINDS)}, optional={"role": JSON, "info": JSON}),
        }
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(lines=LINES)
def test_nothing_that_a_line_can_be_fails_the_file(
    tmp_path_factory: pytest.TempPathFactory, lines: list[object]
) -> None:
    path = tmp_path_factory.mktemp("hostile") / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    traces, _ = read(path)
    assert len({trace.id for trace in traces}) == len(traces)
