"""What crosses a process: start, stop, a second server, a backup under load."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_lite.cli.serve import GRACE
from tests.story.conftest import LONGEST
from tests.upstream import running

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server


def test_a_server_starts_answers_and_stops_with_everything_folded(serve: Serve, git: Callable[..., str]) -> None:
    server = serve()
    print(f"first answer of /health after {server.started:.2f} s")  # noqa: T201 - measured, not asserted
    assert "Sign in:" in server.said()
    assert "Model:     none; the offline model answers" in server.said()
    trace = server.ask("alice", "POST", "/chat", {"message": "How do I review a pull request?"})["trace_id"]
    assert server.stop() == 0, server.said()
    traces = server.data / "volumes" / "users" / "alice" / "traces.git"
    assert git(traces, "log", "--all", "--oneline")
    month = git(traces, "branch", "--format=%(refname)").split()[-1]
    segment = git(traces, "ls-tree", "-r", "--name-only", month).split()[-1]
    assert trace in git(traces, "show", f"{month}:{segment}")
    assert "Traceback" not in server.said()


def until_told(server: Server) -> None:
    while "Ctrl-C again" not in server.said():
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {server.process.wait(0.02)}")


async def test_a_second_ctrl_c_ends_a_stream_at_once_and_its_trace_is_kept(serve: Serve) -> None:
    async with running() as upstream:
        server = serve(LLMOS_LLM_PROVIDER="openai", LLMOS_LLM_URL=upstream.url, LLMOS_SKILL_EXAMPLES="off")
        body = json.dumps({"model": "c200-i100", "stream": True, "messages": [{"role": "user", "content": "Sing."}]})
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.key}\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        trace = (await reader.readuntil(b"data: ")).lower().partition(b"x-llmos-trace: ")[2][:26].decode().upper()
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        await asyncio.to_thread(until_told, server)
        code = await asyncio.to_thread(server.stop, signal.SIGINT)
        assert (code, "Traceback" in server.said()) == (0, False), server.said()
        assert time.monotonic() - began < GRACE
        writer.close()
    assert "aborted" in server.run("traces", "show", trace)


def test_a_folder_or_port_in_use_and_a_folder_of_a_newer_version_are_refused(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    said = server.run("serve", "--port", "0", code=8)
    assert f"is served at {server.url}" in said
    said = server.run("serve", "--port", server.port, "--data", tmp_path / "other", code=8)
    assert f"127.0.0.1:{server.port}" in said
    assert not (tmp_path / "other").exists()
    server.stop()
    (server.data / "format").write_text("99\n")
    assert "99" in server.run("serve", "--port", "0", code=8)


def chat(server: Server, name: str, acknowledged: list[str], enough: threading.Event) -> None:
    number = 0
    with suppress(ConnectionError):
        while not enough.is_set():
            answer = server.ask("alice", "POST", "/chat", {"message": f"{name} asks for number {number}"})
            acknowledged.append(answer["trace_id"])
            number += 1
            enough.wait(0.01)  # a load that leaves this machine room for the rest


def test_a_backup_of_a_server_under_load_has_every_acknowledged_trace(
    serve: Serve, git: Callable[..., str], tmp_path: Path
) -> None:
    server = serve("data", LLMOS_FOLD_SECONDS="0.2", LLMOS_FOLD_EVENTS="20")
    acknowledged: list[str] = []
    enough = threading.Event()
    threads = [threading.Thread(target=chat, args=(server, name, acknowledged, enough)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 50:
        assert threads[0].is_alive()
        threads[0].join(0.02)
    dropped = server.data / "volumes" / "users" / "alice" / "skills" / "by-hand.md"
    before = set(acknowledged)
    dropped.write_text("---\nname: By hand\ndescription: Dropped in by hand.\n---\n# By hand\n")
    server.run("backup", tmp_path / "backup.tar.gz")
    enough.set()
    for thread in threads:
        thread.join()
    server.stop()

    new = tmp_path / "elsewhere"
    server.run("restore", tmp_path / "backup.tar.gz", "--data", new)
    for gitdir in [*new.glob("volumes/**/.git"), *new.glob("volumes/**/traces.git")]:
        git(gitdir, "fsck", "--full", "--strict")
    again = serve("elsewhere")
    assert again.key == server.key
    found: set[str] = set()
    cursor = ""
    while cursor is not None:
        page = again.ask("alice", "GET", f"/traces?limit=200&cursor={cursor}")
        found |= {item["trace_id"] for item in page["items"]}
        cursor = page["next_cursor"]
    assert before <= found
    assert found <= set(acknowledged)
    give_up = time.monotonic() + LONGEST  # dropped just before the backup: the new server adopts it at its first look
    while "by-hand" not in {skill["skill_id"] for skill in again.ask("alice", "GET", "/skills?limit=500")["items"]}:
        assert time.monotonic() < give_up, again.said()
    stats = again.ask("alice", "GET", "/volumes/stats")["items"]
    again.run("reindex")
    assert again.ask("alice", "GET", "/traces?limit=1")["total"] == len(found)
    assert again.ask("alice", "GET", "/volumes/stats")["items"] == stats


def test_the_terminal_works_with_and_without_a_server(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "rotate-keys").mkdir()
    (tmp_path / "rotate-keys" / "SKILL.md").write_text(
        "---\nname: rotate-keys\ndescription: Rotate the keys of a service when one leaked.\n---\n# Rotate keys\n"
    )
    server = serve()
    volume = ["--volume", "user:alice", "--user", "alice"]
    server.run("skills", "add", tmp_path / "rotate-keys", *volume)
    assert "rotate-keys" in server.run("skills", "search", "rotate", "keys", "--user", "alice")
    assert "server: journal" in server.run("doctor")
    assert "`rotate-keys`" in server.run("chat", "How do I rotate keys?", "--user", "alice")
    server.stop()
    assert "rotate-keys" in server.run("traces", "list", "--user", "alice")


def test_a_demonstration_is_ready_and_says_what_it_is(serve: Serve) -> None:
    server = serve("data", "--demo")
    assert server.ask("admin", "GET", "/ready")["demo"] is True
    assert server.ask("demo-ana", "GET", "/traces")["total"] > 20
    assert "called demo-" in server.said()
    server.stop()
