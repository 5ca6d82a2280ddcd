"""Transfers that are too large, broken off, malformed, or go on while others write."""

from __future__ import annotations

import base64
import gzip
import http.client
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from git_server import LONGEST, Git, Host, hosting, skill

from llmos_lite.api import git_http, git_transfer
from llmos_lite.settings import Settings

MAX_PUSH = 1 << 20
TYPE = "application/x-{}-request"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data = tmp_path_factory.mktemp("git-transfers") / "data"
    with hosting(Settings(data=data, llm_provider="offline", max_push=MAX_PUSH)) as host:
        yield host


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


def children(word: str) -> list[str]:
    """Return the git processes of this process that serve."""
    listed = subprocess.run(["ps", "-Ao", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    return [args for _, parent, args in rows if parent == str(os.getpid()) and word in args]


def until(true: object) -> None:
    """Wait for something that another thread does."""
    waiting = threading.Event()
    for _ in range(int(LONGEST / 0.02)):
        if true():  # type: ignore[operator]
            return
        waiting.wait(0.02)
    raise AssertionError("it never came")


def post(host: Host, address: str, service: str, body: bytes, **headers: str) -> tuple[int, bytes]:
    sent = {
        "Authorization": "Basic " + base64.b64encode(f"alice:{host.key}".encode()).decode(),
        "Content-Type": TYPE.format(service),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=LONGEST)
    try:
        connection.request("POST", f"/git/{address}/{service}", body, sent)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


LIST = b"0014command=ls-refs\n0000"


# Bounds


def test_a_push_that_is_too_large_is_refused_with_a_sentence(host: Host, git: Git) -> None:
    clone = git.clone(host.url("users/large.git", "large"), "clone")
    git.commit(clone, {f"memory/{number}.md": os.urandom(400_000) for number in range(10)})
    for options in ((), ("-c", "http.postBuffer=16777216")):
        complaint = git.fails(clone, *options, "push")
        assert "remote: fatal: pack exceeds maximum allowed size" in complaint
    gitdir = host.folder("users/large") / ".git"
    assert not [path for path in (gitdir / "objects").rglob("*") if "tmp_" in path.name or "incoming" in path.name]
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    git.commit(clone, {"memory/x.md": "X"})
    git(clone, "push", "-q")


def test_a_request_that_never_ends_is_refused(host: Host) -> None:
    line = b"0000000000000000000000000000000000000000 " * 2 + b"refs/heads/x\n"
    body = b"".join(b"%04x" % (len(line) + 4) + line for _ in range(80_000))
    assert post(host, "users/alice.git", "git-receive-pack", body)[0] == 413


def test_a_bomb_of_gzip_fills_nothing(host: Host) -> None:
    bomb = gzip.compress(bytes(64 << 20))
    status, said = post(host, "users/alice.git", "git-upload-pack", bomb, Content_Encoding="gzip")
    assert status in {413, 503}, said
    assert children("upload-pack") == []


def test_a_compressed_request_is_understood(host: Host) -> None:
    for encoding in ("gzip", "x-gzip"):
        status, answer = post(
            host, "users/alice.git", "git-upload-pack", gzip.compress(LIST), Content_Encoding=encoding,
            Git_Protocol="version=2",
        )  # fmt: skip
        assert (status, b"refs/heads/main" in answer) == (200, True)


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"no gzip", {"Content_Encoding": "gzip"}, "The body is no gzip."),
        (gzip.compress(LIST[:-4])[:-9], {"Content_Encoding": "gzip"}, "The body ends in the middle."),
        (LIST, {"Content_Encoding": "br"}, "The body may be compressed with gzip, and with nothing else."),
        (LIST, {"Content_Type": "text/plain"}, "The request is no application/x-git-upload-pack-request."),
        (b"", {}, ""),
        (b"zzzz", {}, ""),
    ],
    ids=["no gzip", "half a gzip", "another encoding", "another type", "nothing", "no packet"],
)
def test_a_malformed_request_is_refused(host: Host, body: bytes, headers: dict[str, str], said: str) -> None:
    status, answer = post(host, "users/alice.git", "git-upload-pack", body, **{"Git_Protocol": "version=2"} | headers)
    assert answer.decode().startswith(said)
    assert status == 400 if said else status in {200, 503}


def test_what_is_no_version_of_the_protocol_reaches_no_git(host: Host) -> None:
    status, answer = post(host, "users/alice.git", "git-upload-pack", LIST, Git_Protocol="version=2:$(id);x=y")
    assert (status, b"refs/heads/main" in answer) == (200, True)


def test_many_transfers_at_once_wait_for_each_other(host: Host, git: Git) -> None:
    with ThreadPoolExecutor(2 * git_http.MOST) as pool:
        url = host.url("users/busy.git", "busy")
        list(pool.map(lambda number: git.clone(url, f"clone-{number}"), range(2 * git_http.MOST)))
    assert children("upload-pack") == []


# Clients that go away


def begin(host: Host, user: str, service: str, body: bytes) -> socket.socket:
    """Send the beginning of a request."""
    key = base64.b64encode(f"{user}:{host.key}".encode()).decode()
    head = (
        f"POST /git/users/{user}.git/{service} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {key}\r\n"
        f"Content-Type: {TYPE.format(service)}\r\nGit-Protocol: version=2\r\nContent-Length: {len(body) + 10}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", host.port))
    connection.sendall(head.encode() + body)
    return connection


def test_a_client_that_goes_away_takes_its_git_along(host: Host, git: Git) -> None:
    clone = git.clone(host.url("users/gone.git", "gone"), "clone")
    for service, body in (("git-upload-pack", LIST[:-4]), ("git-receive-pack", b"00")):
        connection = begin(host, "gone", service, body)
        until(lambda service=service: children(service.removeprefix("git-")))
        connection.close()
        until(lambda service=service: not children(service.removeprefix("git-")))
    git.commit(clone, {"memory/x.md": "X"})
    git(clone, "push", "-q")


def test_a_push_that_breaks_off_leaves_nothing(host: Host, git: Git) -> None:
    clone = git.clone(host.url("users/broken.git", "broken"), "clone")
    old = git(clone, "rev-parse", "HEAD")
    new = git.commit(clone, {"memory/x.md": os.urandom(300_000)})
    command = f"{old} {new} refs/heads/main\0 report-status side-band-64k".encode()
    packed = subprocess.run(
        ["git", "-C", clone, "pack-objects", "--all", "--stdout", "-q"], input=b"", capture_output=True, check=True
    ).stdout
    body = b"%04x" % (len(command) + 4) + command + b"0000" + packed[: len(packed) // 2]
    objects = host.folder("users/broken") / ".git/objects"
    before = set(objects.rglob("*"))
    connection = begin(host, "broken", "git-receive-pack", body)
    until(lambda: children("receive-pack"))
    until(lambda: set(objects.rglob("*")) != before)
    connection.close()
    until(lambda: not children("receive-pack"))
    assert set(objects.rglob("*")) == before
    git(clone, "push", "-q")
    assert git(host.folder("users/broken"), "rev-parse", "main") == new


def test_silence_is_given_up(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_transfer, "LONGEST_SILENCE", 0.2)
    with begin(host, "alice", "git-upload-pack", LIST[:-4]) as connection:
        connection.settimeout(LONGEST)
        assert b"503" in connection.recv(1000).split(b"\r\n")[0]
    until(lambda: not children("upload-pack"))


# Others who write


def test_pushes_and_writes_over_the_api_lose_nothing(host: Host, git: Git) -> None:
    """One person pushes from two clones while the API writes and a file is dropped in by hand."""
    url, user = host.url("users/racer.git", "racer"), "racer"
    clones = [git.clone(url, f"clone-{number}") for number in range(2)]
    written: list[str] = []

    def push(number: int) -> None:
        for count in range(3):
            name = f"pushed-{number}-{count}"
            git.commit(clones[number], {f"skills/{name}/SKILL.md": skill(name)}, name)
            for _ in range(60):
                if git.run(clones[number], "push", "-q").returncode == 0:
                    break
                git(clones[number], "pull", "-q", "--rebase")
            else:
                raise AssertionError("never pushed")
            written.append(name)

    def write(number: int) -> None:
        for count in range(8):
            name = f"written-{number}-{count}"
            body = {"skill_id": name, "name": name, "content": f"# {name}\n\nDo it."}
            assert host.ask(user, "POST", "/skills", body)[0] == 201
            written.append(name)

    def drop() -> None:
        for count in range(4):
            folder = host.folder(f"users/{user}") / f"skills/dropped-{count}"
            folder.mkdir()
            (folder / "SKILL.md").write_text(skill(folder.name))
            written.append(folder.name)

    with ThreadPoolExecutor(5) as pool:
        jobs = [
            *(pool.submit(push, number) for number in range(2)),
            *(pool.submit(write, number) for number in range(2)),
        ]
        jobs.append(pool.submit(drop))
        for job in jobs:
            job.result(LONGEST * 2)
    volume = host.folder(f"users/{user}")
    until(lambda: git(volume, "status", "--porcelain") == "")
    names = set(git(volume, "ls-tree", "--name-only", "main:skills").split())
    assert names == set(written) == {path.name for path in (volume / "skills").iterdir()}
    assert [branch for branch in git(volume, "branch", "--format=%(refname)").split() if "/pr/" in branch] == []
    git(volume, "fsck", "--strict")
    subjects = git(volume, "log", "--format=%s", "main").splitlines()
    assert len([subject for subject in subjects if subject.startswith("pushed-")]) == 6
