"""Stock git as our client, against servers that are honest and others: what it is told, and what it may do."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from remote_server import GitHost, bare, commit, git, git_host

from llmos_lite.engines import git_peer
from llmos_lite.engines.git_children import Children
from llmos_lite.engines.git_peer import Aside, Credential, Peer
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import LlmosError, StorageFailed, TooLarge, UpstreamFailed, UpstreamTimeout

SECRET = "hunter2-is-my-token"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with git_host(tmp_path / "there") as host:
        yield host


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    made = bare(tmp_path / "ours.git")
    commit(made, {"x": "1"}, "Ours")
    return made


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return bare(tmp_path / "there" / "x.git")


def peer(url: str, credential: Credential | None = None, *, folder: str = "/", data: Path = Path("/nowhere")) -> Peer:
    address = RemoteUrl.parse(url, plain=True, folder=folder)
    known = ("127.0.0.1",) if address.host else ()
    return Peer(address, known, credential or Credential(), data / "known_hosts", Children())


def head(repository: Path, branch: str = "main") -> str:
    return git(repository, "rev-parse", branch)


def test_a_secret_is_seen_by_the_server_alone(host: GitHost, ours: Path, theirs: Path) -> None:
    host.password = host.watch = SECRET
    with Aside(ours, [head(ours)]) as aside:
        one = peer(host.url("x.git"), Credential("git", SECRET))
        assert one.push(aside, {"main": head(ours)}) == {}
        assert one.heads() == {"main": head(theirs)}
    assert head(theirs) == head(ours)
    assert len(host.asked) > 3
    assert host.seen == []
    assert SECRET not in repr(one)


@pytest.mark.parametrize("password", ["", "wrong-token"])
def test_a_credential_that_does_not_hold_is_said_without_it(host: GitHost, theirs: Path, password: str) -> None:
    host.password = SECRET
    assert theirs.exists()
    with pytest.raises(UpstreamFailed) as caught:
        peer(host.url("x.git"), Credential("git", password)).heads()
    assert caught.value.code == "remote.failed"
    assert host.url("x.git") in caught.value.message
    assert "wrong-token" not in caught.value.message


def test_a_redirect_is_not_followed(host: GitHost, tmp_path: Path, theirs: Path) -> None:
    commit(theirs, {"x": "1"})
    with git_host(tmp_path / "there") as inside:
        host.moved = f"http://127.0.0.1:{inside.port}"
        with pytest.raises(UpstreamFailed, match=r"redirect|302"):
            peer(host.url("x.git")).heads()
        assert inside.asked == []


def test_git_connects_only_where_it_was_looked(host: GitHost, theirs: Path) -> None:
    """The name is not asked for again: it does not even exist."""
    commit(theirs, {"x": "1"})
    assert peer(f"http://no-such-host.invalid:{host.port}/x.git").heads() == {"main": head(theirs)}


@pytest.mark.parametrize("body", [b"garbage", b"001e# service=git-upload-pack\n", b"ffff" + b"x" * 70000, b"\0" * 1000])
def test_a_server_that_speaks_something_else(host: GitHost, body: bytes) -> None:
    host.body = body
    with pytest.raises(UpstreamFailed) as caught:
        peer(host.url("x.git")).heads()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


def test_a_server_that_never_answers(host: GitHost) -> None:
    host.hang = "info/refs"
    with pytest.raises(UpstreamTimeout):
        peer(host.url("x.git")).heads(patience=0.3)


def test_nobody_listens() -> None:
    with pytest.raises(UpstreamFailed):
        peer("http://127.0.0.1:9/x.git").heads()


def test_refs_with_strange_names_are_not_seen(host: GitHost, theirs: Path) -> None:
    made = commit(theirs, {"x": "1"})
    for name in ("ok", "-x", "a@b", "ä", "x;y"):
        (theirs / "refs/heads" / name).write_text(f"{made}\n")
    assert set(peer(host.url("x.git")).heads()) == {"main", "ok"}


# Fetching


def test_what_is_fetched_is_aside_until_it_is_accepted(host: GitHost, ours: Path, theirs: Path) -> None:
    git(ours, "push", "-q", str(theirs), "main")
    made = commit(theirs, {"y": "2"})
    with Aside(ours, [head(ours)]) as aside:
        assert peer(host.url("x.git")).fetch(aside, "main", most=1 << 20) == made
        assert subprocess.run(["git", "-C", ours, "cat-file", "-e", made], capture_output=True, check=False).returncode
        aside.accept()
    assert git(ours, "cat-file", "-t", made) == "commit"
    assert git(ours, "fsck", "--strict", "--no-dangling") == ""
    assert list((ours / "objects").glob("incoming-*")) == []


def test_what_is_not_accepted_leaves_nothing(host: GitHost, ours: Path, theirs: Path) -> None:
    before = sorted((ours / "objects").rglob("*"))
    commit(theirs, {"y": "2"})
    with Aside(ours) as aside:
        peer(host.url("x.git")).fetch(aside, "main", most=1 << 20)
    assert sorted((ours / "objects").rglob("*")) == before


def test_a_fetch_is_bounded(host: GitHost, ours: Path, theirs: Path) -> None:
    commit(theirs, {"large": os.urandom(300_000).hex()})
    with Aside(ours) as aside, pytest.raises(TooLarge) as caught:
        peer(host.url("x.git")).fetch(aside, "main", most=100_000)
    assert caught.value.code == "remote.too_large"


def test_objects_that_are_none_are_refused(host: GitHost, ours: Path, theirs: Path) -> None:
    """A tree that names `.git`, which a checkout would write over."""
    blob = git(theirs, "hash-object", "-w", "--stdin")
    tree = subprocess.run(
        ["git", "-C", theirs, "hash-object", "-t", "tree", "-w", "--literally", "--stdin"],
        input=b"100644 .git\0" + bytes.fromhex(blob), capture_output=True, check=True,
    ).stdout.decode().strip()  # fmt: skip
    git(theirs, "update-ref", "refs/heads/main", git(theirs, "commit-tree", tree, "-m", "Evil"))
    with Aside(ours) as aside, pytest.raises(UpstreamFailed, match=r"hasDotgit|\.git"):
        peer(host.url("x.git")).fetch(aside, "main", most=1 << 20)


def test_a_full_disk_is_said(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with Aside(ours) as aside:
        (aside.objects / "pack" / "pack-1.idx").write_text("x")
        monkeypatch.setattr(Path, "rename", full)
        with pytest.raises(StorageFailed) as caught:
            aside.accept()
    assert caught.value.code == "storage.full"
    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageFailed):
        Aside(ours)


# Pushing


def test_a_push_is_never_forced(host: GitHost, ours: Path, theirs: Path) -> None:
    made = commit(theirs, {"y": "2"})
    with Aside(ours) as aside:
        refused = peer(host.url("x.git")).push(aside, {"main": head(ours), "other": head(ours)})
    assert list(refused) == ["main"]
    assert "rejected" in refused["main"]
    assert (head(theirs), head(theirs, "other")) == (made, head(ours))


def test_a_lease_replaces_only_what_was_known(host: GitHost, ours: Path, theirs: Path) -> None:
    old = commit(theirs, {"y": "2"}, branch="2026-11")
    gone = commit(theirs, {"y": "2"}, branch="2026-10")
    one = peer(host.url("x.git"))
    with Aside(ours) as aside:
        refused = one.push(aside, {"2026-11": head(ours)}, {"2026-11": head(ours)})
        assert list(refused) == ["2026-11"]
        assert head(theirs, "2026-11") == old
        assert one.push(aside, {"2026-11": head(ours), "2026-10": ""}, {"2026-11": old, "2026-10": gone}) == {}
    assert one.heads() == {"2026-11": head(ours)}


def test_what_the_other_side_refuses_is_said(host: GitHost, ours: Path, theirs: Path) -> None:
    hook = theirs / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nprintf 'go \\033[31maway\\n' >&2\nexit 1\n")
    hook.chmod(0o755)
    with Aside(ours) as aside:
        refused = peer(host.url("x.git")).push(aside, {"main": head(ours)})
    assert "pre-receive hook declined" in refused["main"]


def test_a_repository_that_is_not_there(host: GitHost, ours: Path) -> None:
    with Aside(ours) as aside, pytest.raises(UpstreamFailed):
        peer(host.url("none.git")).push(aside, {"main": head(ours)})


# What the child gets to know


def test_nothing_in_our_repository_is_obeyed(host: GitHost, ours: Path, theirs: Path, tmp_path: Path) -> None:
    ran, script = tmp_path / "ran", tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n")
    script.chmod(0o755)
    (ours / "hooks").mkdir(exist_ok=True)
    (ours / "hooks" / "pre-push").symlink_to(script)
    with (ours / "config").open("a") as config:
        config.write(f'[core]\n\tsshCommand = {script}\n\tfsmonitor = {script}\n[credential]\n\thelper = "!{script}"\n')
        config.write(f'[url "http://127.0.0.1:9/"]\n\tinsteadOf = http://\n[core]\n\talternateRefsCommand = {script}\n')
    host.password = SECRET
    with Aside(ours) as aside:
        assert peer(host.url("x.git"), Credential("git", SECRET)).push(aside, {"main": head(ours)}) == {}
    assert head(theirs) == head(ours)
    assert not ran.exists()


def test_the_environment_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMOS_LLM_KEY", "other secret")
    monkeypatch.setenv("https_proxy", "http://proxy.example")
    monkeypatch.setenv("GIT_SSL_CAINFO", "/etc/our.pem")
    with ExitStack() as stack:
        env, handles = peer("https://host/x.git", Credential("git", SECRET)).environment(stack)
        assert os.read(handles[0], 1000) == f"username=git\npassword={SECRET}\n".encode()
    assert SECRET not in str(env)
    assert not {"LLMOS_LLM_KEY", "https_proxy", "SSH_AUTH_SOCK"} & set(env)
    assert (env["GIT_ALLOW_PROTOCOL"], env["GIT_SSL_CAINFO"]) == ("https", "/etc/our.pem")
    config = {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))}
    assert (config["http.followRedirects"], config["http.proxy"]) == ("false", "")
    assert config["http.curloptResolve"] == "host:443:127.0.0.1"


def private_key() -> str:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()  # fmt: skip


def test_ssh_gets_a_key_in_no_place_and_connects_only_where_it_was_looked(tmp_path: Path) -> None:
    data = tmp_path / "with space"
    data.mkdir()
    key = private_key()
    with ExitStack() as stack:
        env, handles = peer("ssh://git@host.example:2222/x", Credential(key=key), data=data).environment(stack)
        command = env["GIT_SSH_COMMAND"]
        assert handles == []
        assert key not in str(env)
        told = subprocess.run(
            ["sh", "-c", f"{command} -G -p 2222 git@host.example"], capture_output=True, text=True, check=False, env=env
        )
        if told.returncode == 0:  # there is an ssh here
            said = dict(line.partition(" ")[::2] for line in told.stdout.splitlines())
            assert said["hostname"] == "127.0.0.1"
            assert said["hostkeyalias"] == "[host.example]:2222"
            assert (said["batchmode"], said["forwardagent"], said["stricthostkeychecking"]) == (
                "yes",
                "no",
                "accept-new",
            )
            assert str(data / "known_hosts") in said["userknownhostsfile"]
            read = subprocess.run(["ssh-keygen", "-y", "-f", said["identityfile"]], capture_output=True, check=False)
            assert read.stdout.startswith(b"ssh-ed25519 ")
    assert list(data.iterdir()) == []


def test_where_the_system_has_no_nameless_files_a_private_one_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(git_peer.os, "memfd_create")
    with ExitStack() as stack:
        path = Path(git_peer._nameless(stack, "key"))
        assert (path.read_text(), path.stat().st_mode & 0o777) == ("key", 0o600)
    assert not path.exists()


def test_an_ssh_host_that_is_not_there_is_said(ours: Path, tmp_path: Path) -> None:
    with Aside(ours) as aside, pytest.raises(LlmosError) as caught:
        peer("ssh://git@localhost:9/x", Credential(key=private_key()), data=tmp_path).push(aside, {"main": head(ours)})
    assert caught.value.code == "remote.failed"


def test_six_numbered_addresses_are_written_as_curl_wants_them() -> None:
    url = RemoteUrl.parse("https://host/x")
    one = Peer(url, ["2606:4700::1111", "1.1.1.1"], Credential(), Path("/x"), Children())
    assert one._pinned() == [("http.curloptResolve", "host:443:[2606:4700::1111],1.1.1.1")]
