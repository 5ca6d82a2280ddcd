"""Logs are followed while they are written: whole turns, once each, in their places."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.traces.importers import Source, Target, choose, following, importers
from llmos_lite.core.traces.importers.following import FORGOTTEN, QUIET, Followed, Part, Place
from llmos_lite.core.traces.trace import Trace

SAMPLES = Path(__file__).parent / "samples"
CODEX = next((SAMPLES / "codex").glob("*.jsonl")).read_bytes().splitlines(keepends=True)
CLAUDE = (SAMPLES / "daaain_representative_messages.jsonl").read_bytes().splitlines(keepends=True)
ALICE = Target("alice", "user:alice")
WRITTEN = 1_800_000_000.0


class File:
    """A log, and what came of its parts."""

    def __init__(self, path: Path) -> None:
        self.path, self.followed, self.traces = path, Followed(path), {}
        self.parts: list[Part] = []
        self.time = WRITTEN

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)
        self.time += 1
        os.utime(self.path, (self.time, self.time))

    def take(self, later: float = 0.0) -> list[Trace]:
        """Send what is there, and return the traces that are new."""
        new: list[Trace] = []
        while part := self.followed.look(self.time + later):
            new += [one for one in read(part) if one.id not in self.traces]
            self.traces |= {one.id: one for one in new}
            self.parts.append(part)
            self.followed.sent(part)
        return new

    def restart(self) -> None:
        self.followed = Followed(
            self.path, Place(**{key: getattr(self.followed.place, key) for key in Place.__slots__})
        )


def read(part: Part) -> list[Trace]:
    with part.path.open("rb") as file:
        file.seek(part.start)
        data = part.head + file.read(part.end - part.start)
    spool = part.path.with_name("spool")
    spool.write_bytes(data)
    importer = choose(Source(spool), importers())
    assert importer is not None
    return [item for item in importer.read(Source(spool), ALICE) if isinstance(item, Trace)]


@pytest.fixture
def log(tmp_path: Path) -> File:
    return File(tmp_path / "rollout.jsonl")


def whole(path: Path, lines: list[bytes]) -> list[Trace]:
    path.write_bytes(b"".join(lines))
    importer = choose(Source(path), importers())
    assert importer is not None
    return [item for item in importer.read(Source(path), ALICE) if isinstance(item, Trace)]


def test_a_turn_is_taken_when_it_is_over_and_not_before(log: File) -> None:
    log.write(b"".join(CODEX[:20]))
    assert log.take(QUIET) == []
    log.write(b"".join(CODEX[20:-1]))
    first = log.take()
    assert [trace.goal[:9] for trace in first] == ["Add a tes"] * 3
    assert log.take(QUIET) == []
    log.write(CODEX[-1])
    assert log.take(QUIET - 1) == []
    assert [trace.goal for trace in log.take(QUIET)] == ["what does the discount do?"]
    assert log.take(FORGOTTEN) == []


def test_a_turn_whose_program_was_stopped_is_taken_in_the_end(log: File) -> None:
    log.write(b"".join(CODEX[:20]))
    assert log.take(FORGOTTEN - 1) == []
    assert log.take(FORGOTTEN)


@pytest.mark.parametrize("lines", [CODEX, CLAUDE], ids=["codex", "claude-code"])
def test_in_parts_it_is_what_it_is_as_a_whole(tmp_path: Path, log: File, lines: list[bytes]) -> None:
    for line in lines:
        log.write(line)
        log.take(QUIET)
        log.restart()
    log.take(FORGOTTEN)
    assert list(log.traces.values()) == whole(tmp_path / "whole.jsonl", lines)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, sum(map(len, CODEX))), max_size=6).map(sorted), restarts=st.sets(st.integers(0, 6)))
def test_wherever_it_is_cut_nothing_is_lost_or_doubled(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], restarts: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    log, data, last = File(folder / "log.jsonl"), b"".join(CODEX), 0
    for number, cut in enumerate([*cuts, len(data)]):
        log.write(data[last:cut])
        last = cut
        log.take()
        if number in restarts:
            log.restart()
    log.take(FORGOTTEN)
    assert list(log.traces.values()) == whole(folder / "whole.jsonl", CODEX)


def test_a_sub_agents_own_file_is_followed_as_well(log: File) -> None:
    said = {"sessionId": "s1", "isSidechain": True, "agentId": "a1", "timestamp": "2026-09-01T10:00:00Z"}
    asked = said | {"type": "user", "uuid": "u1", "message": {"role": "user", "content": "look for parsers"}}
    text = [{"type": "text", "text": "found two"}]
    message = {"id": "m1", "role": "assistant", "content": text, "stop_reason": "end_turn"}
    answered = said | {"type": "assistant", "uuid": "u2", "parentUuid": "u1", "message": message}
    log.write(b"".join(json.dumps(line).encode() + b"\n" for line in (asked, answered)))
    assert [trace.goal for trace in log.take(QUIET)] == ["look for parsers"]


def test_news_of_agents_serve_the_goal_of_the_person_however_many_come(tmp_path: Path, log: File) -> None:
    texts = ["start two agents", *(f"<task-notification>{n}</task-notification>" for n in range(9)), "thanks"]
    lines = []
    for number, text in enumerate(texts):
        said = {
            "sessionId": "s1",
            "timestamp": f"2026-09-01T10:00:{number:02}Z",
            "parentUuid": number and f"a{number - 1}",
        }
        message = {"id": f"m{number}", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"}
        asked = {"type": "user", "uuid": f"u{number}", "message": {"role": "user", "content": text}}
        answered = {"type": "assistant", "uuid": f"a{number}", "parentUuid": f"u{number}", "message": message}
        lines += [json.dumps(said | one).encode() + b"\n" for one in (asked, answered)]
    for asked_line, answered_line in zip(lines[::2], lines[1::2], strict=True):
        log.write(asked_line + answered_line)
        assert len(log.take(QUIET)) == 1
        log.restart()
    assert [trace.goal for trace in log.traces.values()] == ["start two agents"] * 10 + ["thanks"]
    assert max(part.size for part in log.parts) <= sum(map(len, lines[:5]))  # two turns, and what was asked for
    assert list(log.traces.values()) == whole(tmp_path / "whole.jsonl", lines)


def test_a_fork_that_is_followed_is_told_once(tmp_path: Path, log: File) -> None:
    """The copy of the old session is quiet for long before the person goes on."""
    old, fork, *turns = (f"01a23157-{part}-7000-8000-000000000000" for part in ("397b", "3b31", "39ee", "3b4e", "3c4e"))
    told: list[tuple[str, dict[str, object]]] = [("session_meta", {"id": fork}), ("session_meta", {"id": old})]
    for turn in turns:
        told.append(("event_msg", {"type": "task_started", "turn_id": turn}))
        told.append(("turn_context", {"turn_id": turn, "model": turn}))
        for role in ("user", "assistant"):
            content = [{"type": "text", "text": f"{role} {turn}"}]
            told.append(("response_item", {"type": "message", "role": role, "content": content}))
        told.append(("event_msg", {"type": "task_complete", "turn_id": turn}))
    lines = [
        json.dumps({"timestamp": f"2026-09-01T10:00:{n:02}Z", "type": kind, "payload": payload}).encode() + b"\n"
        for n, (kind, payload) in enumerate(told)
    ]
    for end in range(7, len(lines) + 1, 5):
        log.write(b"".join(lines[max(0, end - 5) if end > 7 else 0 : end]))
        log.take(QUIET)
        log.restart()
    assert [trace.goal for trace in log.traces.values()] == [f"user {turn}" for turn in turns[1:]]
    assert list(log.traces.values()) == whole(tmp_path / "whole.jsonl", lines)


def test_a_fork_of_claude_code_that_is_followed_names_its_origin(tmp_path: Path, log: File) -> None:
    lines = []
    for number in range(3):
        name = {"sessionId": "new"} | ({} if number else {"forkedFrom": {"sessionId": "old", "messageUuid": "m"}})
        asked = {"type": "user", "message": {"role": "user", "content": f"question {number}"}}
        said = {"id": f"msg_{number}", "model": "m", "content": f"answer {number}", "stop_reason": "end_turn"}
        for place, line in enumerate((asked, {"type": "assistant", "message": {"role": "assistant", **said}})):
            at = 2 * number + place
            chain = {"uuid": f"u{at}", "parentUuid": f"u{at - 1}" if at else None}
            lines.append(json.dumps(line | name | chain | {"timestamp": f"2026-09-01T10:00:{at:02}Z"}).encode() + b"\n")
    for end in (2, 4, 6):
        log.write(b"".join(lines[end - 2 : end]))
        log.take(QUIET)
        log.restart()
    found = [(trace.conversation, trace.forked_from) for trace in log.traces.values()]
    assert found == [("old", ""), ("new", "old"), ("new", "")]
    assert list(log.traces.values()) == whole(tmp_path / "whole.jsonl", lines)


def test_a_half_written_line_waits(log: File) -> None:
    log.write(b"".join(CODEX)[:-20])
    log.take()
    log.write(b"".join(CODEX)[-20:])
    assert [trace.goal for trace in log.take(QUIET)] == ["what does the discount do?"]


@pytest.mark.parametrize("how", ["shorter", "other file", "other content"])
def test_a_file_that_is_another_one_now_begins_anew(log: File, how: str) -> None:
    log.write(b"".join(CODEX))
    log.take(QUIET)
    assert log.followed.place.sent == sum(map(len, CODEX))
    other = b"".join(CODEX).replace(b"5d0f2c7e", b"6e1f2c7e").replace(b"discount", b"rebate, or the discount")
    if how == "shorter":
        other = b"".join(CODEX[:-6]).replace(b"5d0f2c7e", b"6e1f2c7e")
    if how == "other file":
        log.path.rename(log.path.with_name("away"))
    log.path.write_bytes(other)
    log.write(b"")
    assert log.take(FORGOTTEN)


def test_nothing_is_opened_that_did_not_change(log: File, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(b"".join(CODEX))
    log.take(FORGOTTEN)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("was opened"))
    assert log.followed.look(log.time + FORGOTTEN) is None


def test_other_files_are_left_alone(log: File) -> None:
    log.write(b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}\n')
    assert log.take(FORGOTTEN) == []


def test_long_logs_go_in_parts_of_some_size(log: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PART", 2000)
    turn = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go on " + "x" * 300}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]},
    ]
    log.write(CODEX[0])
    for number in range(30):
        for item in turn:
            at = f"2026-09-01T11:{number:02d}:00Z"
            log.write(json.dumps({"timestamp": at, "type": "response_item", "payload": item}).encode() + b"\n")
    log.take(FORGOTTEN)
    assert len(log.traces) == 30
    assert len(log.parts) > 3
    assert max(part.end - part.start for part in log.parts) < 2 * 2000 + 1000
    assert [trace.parent for trace in log.traces.values()] == ["", *list(log.traces)[:-1]]


def test_a_turn_without_end_goes_in_parts_as_well(log: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LONGEST_TURN", 3000)
    log.write(b"".join(CODEX[:7]))
    for number in range(50):
        item = {"type": "function_call", "name": "x", "arguments": "{}", "call_id": f"c{number}"}
        log.write(
            json.dumps(
                {"timestamp": f"2026-09-01T11:00:{number:02d}Z", "type": "response_item", "payload": item}
            ).encode()
            + b"\n"
        )
    assert log.take(0)


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\n", b"[1]\n", b'{"type": [], "payload": {"type": {}}}\n', b"[" * 5000 + b"\n"]
)
def test_lines_without_sense_do_not_stop_it(log: File, line: bytes) -> None:
    log.write(b"".join([*CODEX[:10], line, *CODEX[10:]]))
    assert len(log.take(QUIET)) == 4
