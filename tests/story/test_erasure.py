"""Erasure in a real server: while chats go on, and when it is killed in the middle."""

from __future__ import annotations

import json
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from planted import fsck, traces_of

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server

MARKER = "eleven copper giraffes repaint lighthouses before breakfast"


def chats(server: Server, acknowledged: list[str], enough: threading.Event) -> None:
    number = 0
    with suppress(ConnectionError):
        while not enough.is_set():
            answer = server.ask("bob", "POST", "/chat", {"message": f"Question number {number}"})
            acknowledged.append(answer["trace_id"])
            number += 1
            enough.wait(0.01)  # a load that leaves this machine room for the rest


def filled(server: Server) -> list[str]:
    server.ask("admin", "POST", "/teams", {"team_id": "sre"})
    for name in ("alice", "bob"):
        server.try_("admin", "POST", "/users", {"user_id": name})
        server.ask("admin", "POST", "/teams/sre/members", {"user_id": name})
    lines = [{"messages": [{"role": "user", "content": f"{MARKER} {number}"}]} for number in range(20)]
    body = "".join(json.dumps(line) + "\n" for line in lines).encode()
    server.ask("alice", "POST", "/traces/import?wait=true&format=openai-chat", body)
    told = [{"message": f"Tell me of {MARKER}", "team_id": "sre"}, {"message": f"And {MARKER} again"}]
    return [server.ask("alice", "POST", "/chat", one)["trace_id"] for one in told]


def nothing_left(server: Server) -> None:
    assert server.stop() == 0, server.said()
    assert traces_of(server.data, MARKER) == []
    assert MARKER not in server.said()
    for gitdir in server.data.glob("volumes/**/traces.git"):
        assert fsck(gitdir) == ""


def test_a_person_is_forgotten_by_a_server_under_load(serve: Serve) -> None:
    server = serve()
    filled(server)
    acknowledged: list[str] = []
    enough = threading.Event()
    thread = threading.Thread(target=chats, args=(server, acknowledged, enough))
    thread.start()
    report = server.ask("alice", "DELETE", "/users/alice/traces?reason=Leaving")
    enough.set()
    thread.join()
    assert report["traces"] >= 3
    assert report["unfinished"] == {}
    assert server.ask("alice", "GET", "/traces")["total"] == 0
    assert server.ask("bob", "GET", "/traces?limit=1")["total"] == len(acknowledged) > 0
    server.ask("bob", "GET", f"/traces/{acknowledged[0]}")
    nothing_left(server)


@pytest.mark.parametrize("pause", [0.0, *(pytest.param(pause, marks=pytest.mark.soak) for pause in (0.1, 0.3))])
def test_a_server_that_is_killed_in_the_middle_finishes_at_the_next_start(serve: Serve, pause: float) -> None:
    server = serve()
    filled(server)
    asked = threading.Thread(target=lambda: _quietly(server))
    asked.start()
    noted = server.data / "erasures"
    until = time.monotonic() + 30
    while not list(noted.glob("*.erasure")) and asked.is_alive() and time.monotonic() < until:
        time.sleep(0.002)
    time.sleep(pause)
    server.stop(signal.SIGKILL)
    asked.join()
    server.start()
    assert server.ask("alice", "GET", "/traces")["total"] == 0
    until = time.monotonic() + 30
    while list(noted.glob("*.erasure")) and time.monotonic() < until:
        time.sleep(0.01)
    nothing_left(server)


def _quietly(server: Server) -> None:
    with suppress(Exception):
        server.ask("alice", "DELETE", "/users/alice/traces")
