"""The seed's story on a real server, through HTTP, each step checked with stock git."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_lite.core.traces.lines import decode_event

if TYPE_CHECKING:
    from tests.story.conftest import Serve

WEEK = [
    "Write a Python script that renames my photos by date",
    "I need a Python script which renames scans by their date",
    "Please write a Python script to rename invoices by date",
    "Python script for renaming recordings by date",
    "Can you write me a Python script that renames files by date?",
]
OTHER = ["What is the capital of Mongolia?", "Suggest a birthday present for my aunt"]


def older_days(path: Path) -> Path:
    """Write a week of work as another tool logged it, a conversation a day, and ending yesterday."""
    today = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0)
    lines = [
        {
            "id": f"request-{day}",
            "created": int((today - timedelta(days=7 - day)).timestamp()),
            "messages": [
                {"role": "user", "content": goal},
                {"role": "assistant", "content": "Here is the script: ..."},
            ],
        }
        for day, goal in enumerate(WEEK)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_week_of_chats_becomes_a_skill_that_the_team_uses(
    serve: Serve, git: Callable[..., str], tmp_path: Path
) -> None:
    server = serve()
    alice = server.data / "volumes" / "users" / "alice"
    team = server.data / "volumes" / "teams" / "sre"

    # Day 1-7: work. What happened before today comes from the log of another tool; today's is chatted.
    log = older_days(tmp_path / "requests.jsonl")
    for expected in ((5, 0), (0, 5)):
        report = json.loads(server.run("import", log, "--user", "alice", "--json"))
        assert (report["traces"], report["duplicates"], report["skipped"]) == (*expected, {})
    chats = [server.ask("alice", "POST", "/chat", {"message": text}) for text in OTHER]
    assert all(chat["response"] and chat["trace_id"] for chat in chats)
    traces = server.ask("alice", "GET", "/traces?limit=50")
    assert traces["total"] == 7
    assert {trace["goal"] for trace in traces["items"]} == {*WEEK, *OTHER}
    age = datetime.now(UTC).timestamp() * 1000 - min(trace["time"] for trace in traces["items"])
    assert 6.6 < age / 86_400_000 < 7.7  # seven days, and the hours since nine

    # Night 7: evolution.
    run = server.ask("alice", "POST", "/evolve", {"scope": "user", "wait": True})
    assert (run["traces_analyzed"], run["patterns_detected"], run["skills_created"]) == (7, 1, 1), run
    skill_id = server.ask("alice", "GET", "/patterns")["items"][0]["skill_id"]
    subject, author = git(alice, "log", "-1", "--format=%s%n%an", "--", "skills").splitlines()
    assert subject.startswith("Evolution: Create skill ")
    assert subject.endswith("from 5 traces")
    assert author != "alice"
    assert (alice / "skills" / skill_id / "SKILL.md").is_file()
    assert git(alice, "status", "--porcelain") == ""

    # Again: nothing more.
    again = server.ask("alice", "POST", "/evolve", {"scope": "user", "wait": True})
    assert (again["skills_created"], again["skills_updated"]) == (0, 0)

    # Day 8: the skill is used.
    chat = server.ask("alice", "POST", "/chat", {"message": "Write a Python script that renames my videos by date"})
    used = {skill["skill_id"]: skill for skill in chat["skills_used"]}
    assert used[skill_id]["volume"] == "user:alice"
    assert used[skill_id]["version"] == git(alice, "rev-parse", f"HEAD:skills/{skill_id}").strip()

    # Day 30: promoted.
    server.ask("admin", "POST", "/teams", {"team_id": "sre", "name": "Site reliability"})
    for user in ("alice", "bob"):
        server.try_("admin", "POST", "/users", {"user_id": user})
        server.ask("admin", "POST", "/teams/sre/members", {"user_id": user, "role": "user"})
    body = {"skill_id": skill_id, "team_id": "sre", "reason": "Useful for team"}
    assert server.ask("alice", "POST", "/skills/promote", body)["status"] == "merged"
    subject, author = git(team, "log", "-1", "--format=%s%n%an").splitlines()
    assert subject == f"Promote '{skill_id}' from user:alice - Reason: Useful for team"
    assert author == "alice"

    # A team mate has it.
    chat = server.ask("bob", "POST", "/chat", {"message": "Please write a Python script to rename recordings by date"})
    used = {skill["skill_id"]: skill for skill in chat["skills_used"]}
    assert used[skill_id]["volume"] == "team:sre"

    # Everything is in Git once the server has stopped, and every commit is signed.
    assert server.stop() == 0, server.said()
    signers = f"gpg.ssh.allowedSignersFile={server.data / 'allowed_signers'}"
    for volume in (alice, team, server.data / "volumes" / "users" / "bob"):
        for commit in git(volume, "log", "--format=%H", "main").split():
            git(volume, "-c", signers, "verify-commit", commit)
    lines = [
        decode_event(line.encode())
        for month in git(alice / "traces.git", "branch", "--format=%(refname)").split()
        for path in git(alice / "traces.git", "ls-tree", "-r", "--name-only", month).splitlines()
        for line in git(alice / "traces.git", "show", f"{month}:{path}").splitlines()
    ]
    assert {line.trace.goal for line in lines if line.trace is not None} >= {*WEEK, *OTHER}
