"""The child that serves: what it may know, and how it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

import pytest

from llmos_lite.engines.git_hooks import Arrival, HookPipes, Moved, Update, install_hooks
from llmos_lite.engines.git_incoming import clear_abandoned, clear_quarantine, inside
from llmos_lite.engines.git_serve import Serving, running
from llmos_lite.errors import Unavailable


@pytest.fixture
def gitdir(tmp_path: Path) -> Path:
    path = tmp_path / "repository.git"
    subprocess.run(["git", "init", "-q", "--bare", path], check=True)
    return path


async def test_a_machine_without_git_says_so(gitdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable) as caught:
        async with running(Serving(gitdir, "git-upload-pack")):
            pass
    assert caught.value.code == "git.missing"


async def test_what_git_complains_about_is_kept(tmp_path: Path) -> None:
    async with running(Serving(tmp_path / "none", "git-upload-pack", advertise=True)) as child:
        assert await child.read() == b""
        assert "does not appear to be a git repository" in await child.failed()
        assert not await child.feed(b"x" * (1 << 20))


async def test_git_that_waits_for_more_ends_all_the_same(gitdir: Path) -> None:
    async with running(Serving(gitdir, "git-upload-pack", protocol="version=2")) as child:
        assert await child.feed(b"0014command=ls-refs\n")
    # killed, unless git was faster in seeing that its input had ended
    assert await child.failed() in {"git ended with -9", "fatal: the remote end hung up unexpectedly"}


def test_the_environment_holds_nothing_of_ours(gitdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_LLM_KEY", "secret")
    monkeypatch.setenv("GIT_SSH_COMMAND", "evil")
    env = Serving(gitdir, "git-upload-pack", protocol="version=2").environment()
    assert env["GIT_PROTOCOL"] == "version=2"
    assert not {"LLMOS_LLM_KEY", "GIT_SSH_COMMAND"} & env.keys()
    assert "secret" not in env.values()


def test_hooks_are_written_once_and_mended(tmp_path: Path) -> None:
    folder = install_hooks(tmp_path / "hooks")
    before = {path.name: path.stat().st_ino for path in folder.iterdir()}
    install_hooks(folder)
    assert {path.name: path.stat().st_ino for path in folder.iterdir()} == before
    (folder / "pre-receive").write_text("#!/bin/sh\nexit 0\n")
    (folder / "proc-receive").chmod(0o600)
    install_hooks(folder)
    assert set(before) == {path.name for path in folder.iterdir()} == {"pre-receive", "proc-receive"}
    assert all(os.access(path, os.X_OK) for path in folder.iterdir())
    assert "llmos-lite" in (folder / "pre-receive").read_text()


def test_only_old_quarantines_of_pushes_are_removed(gitdir: Path) -> None:
    old, young = gitdir / "objects/tmp_objdir-incoming-old", gitdir / "objects/tmp_objdir-incoming-young"
    for folder in (old, young):
        (folder / "pack").mkdir(parents=True)
    hours = time.time() - 3 * 3600
    os.utime(old, (hours, hours))
    clear_abandoned(gitdir)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_quarantine_is_inside_the_repository(gitdir: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (None, elsewhere, gitdir / "objects", gitdir / "objects/../refs", Path("../elsewhere")):
        assert inside(gitdir, path) is None
        clear_quarantine(gitdir, path)
    assert elsewhere.exists()
    assert (gitdir / "objects").exists()
    assert inside(gitdir, Path("objects/tmp_objdir-incoming-x")) == (gitdir / "objects/tmp_objdir-incoming-x").resolve()


class Refuser:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Arrival] = []

    async def check(self, arrival: Arrival) -> list[str]:
        self.asked.append(arrival)
        return ["accept", "not yet"]

    async def apply(self, arrival: Arrival) -> tuple[list[Moved], list[str]]:
        raise AssertionError(arrival)


async def test_a_line_of_a_refusal_is_no_answer(tmp_path: Path) -> None:
    """The hook asks about many refs, and a line that reads `accept` accepts nothing."""
    pipes, receiver = HookPipes(), Refuser()
    hook = install_hooks(tmp_path / "hooks") / "pre-receive"
    updates = "".join(f"{'0' * 40} {'1' * 40} refs/heads/{number}\n" for number in range(300))
    options = {"GIT_PUSH_OPTION_COUNT": "2", "GIT_PUSH_OPTION_0": "topic=$(id) 'x'", "GIT_PUSH_OPTION_1": "other"}
    process = await asyncio.create_subprocess_exec(
        hook,
        env={name: str(handle) for name, handle in pipes.given.items()} | options | {"GIT_QUARANTINE_PATH": "/q"},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=tuple(pipes.given.values()),
    )
    pipes.started()
    talk = asyncio.create_task(pipes.talk(receiver))
    assert (await process.communicate(updates.encode()))[1] == b"accept\nnot yet\n"
    assert process.returncode == 1
    await talk
    pipes.close()
    (arrival,) = receiver.asked
    assert (arrival.quarantine, arrival.options) == (Path("/q"), {"topic": "$(id) 'x'", "other": ""})
    assert arrival.updates[1] == Update("refs/heads/1", "", "1" * 40)
    assert len(arrival.updates) == 101
