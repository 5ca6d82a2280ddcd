"""A server that is killed in the middle of pushes keeps every one that it acknowledged."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from git_server import Git, skill

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server


def push_until_it_ends(git: Git, clone: Path, acknowledged: list[str], name: str) -> None:
    for number in range(1000):
        oid = git.commit(clone, {f"skills/{name}-{number}/SKILL.md": skill(f"{name}-{number}")})
        if git.run(clone, "push", "-q").returncode:
            return
        acknowledged.append(oid)


def url(server: Server) -> str:
    return f"http://alice:{server.key}@127.0.0.1:{server.port}/git/users/alice.git"


@pytest.mark.parametrize("turns", [1, pytest.param(5, marks=pytest.mark.soak)])
def test_a_killed_server_keeps_every_push_that_it_acknowledged(serve: Serve, tmp_path: Path, turns: int) -> None:
    server, git = serve(), Git(tmp_path)
    clone, volume = git.clone(url(server), "clone"), tmp_path / "data/volumes/users/alice"
    acknowledged: list[str] = []
    for turn in range(turns):
        before = len(acknowledged)
        thread = threading.Thread(target=push_until_it_ends, args=(git, clone, acknowledged, f"turn-{turn}"))
        thread.start()
        while len(acknowledged) < before + 2 + turn:
            assert thread.is_alive()
            thread.join(0.01)
        server.stop(signal.SIGKILL)
        thread.join()
        server.start()
        history = git(volume, "rev-list", "main").split()
        assert set(acknowledged) <= set(history)
        git(volume, "fsck", "--strict")
        git(clone, "fetch", "-q")
        git(clone, "reset", "-q", "--hard", "origin/main")
        git.commit(clone, {f"memory/{turn}.md": "Again"})
        git(clone, "push", "-q")
        acknowledged.append(git(clone, "rev-parse", "HEAD"))
    assert server.stop() == 0
    listed = subprocess.run(["ps", "-Ao", "args="], capture_output=True, text=True, check=True, env=os.environ).stdout
    assert f"receive-pack --stateless-rpc {volume}" not in listed
