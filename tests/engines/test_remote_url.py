"""Which addresses of repositories are taken, and how they are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import Invalid


@pytest.mark.parametrize(
    ("text", "origin", "user"),
    [
        ("https://github.com/example/skills.git", "https://github.com:443", ""),
        ("https://Git.Example.org:8443/a/b", "https://git.example.org:8443", ""),
        ("https://[2606:4700::1111]/x.git", "https://2606:4700::1111:443", ""),
        ("ssh://git@host.example/a/b.git", "ssh://host.example:22", "git"),
        ("ssh://host.example:2222/~team/b.git", "ssh://host.example:2222", ""),
        ("git@github.com:example/skills.git", "ssh://github.com:22", "git"),
        ("git@host:/srv/git/x.git", "ssh://host:22", "git"),
    ],
)
def test_addresses_that_are_taken(text: str, origin: str, user: str) -> None:
    url = RemoteUrl.parse(text)
    assert (url.text, url.origin, url.user) == (text, origin, user)


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "--upload-pack=touch x", "-oProxyCommand=x@host:path", "ext::sh -c id", "fd::17", "git://host/x",
        "https://", "https://host", "https://host/", "https:///x", "https://-host/x", "https://host-/x",
        "https://host/x y", "https://host/x\n", "https://host/x?y=z", "https://host/x#y", "https://host\\evil/x",
        "https://host:0/x", "https://host:99999/x", "https://host:/x", "https://[::1/x", "https://ho%73t/x",
        "ssh://-oProxyCommand=id/x", "ssh://user:secret@host/x", "ssh://-l@host/x", "-x@host:path", "git@host:-x",
        "git@host:", "/etc", "../x", "x", "file://host/x", "file:///x\0y", "http::https://host/x", "ftp://host/x",
        "HTTPS://host/x", "https://host/" + "x" * 1000,
    ],
)  # fmt: skip
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        RemoteUrl.parse(text, plain=True, folder="/srv")
    assert caught.value.code in {"remote.invalid", "remote.file"}


@pytest.mark.parametrize("text", ["https://bob@host/x", "https://bob:hunter2@host/x", "HTTP://x:hunter2@host/"])
def test_a_secret_does_not_stand_in_an_address(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        RemoteUrl.parse(text)
    assert caught.value.code == "remote.secret_in_url"
    assert "hunter2" not in caught.value.message


def test_plain_http_is_for_those_who_allow_it() -> None:
    assert RemoteUrl.parse("http://host/x", plain=True).port == 80
    with pytest.raises(Invalid) as caught:
        RemoteUrl.parse("http://host/x")
    assert caught.value.code == "remote.unencrypted"


def test_a_file_lies_in_the_folder_for_it(tmp_path: Path) -> None:
    disk, outside = tmp_path / "disk", tmp_path / "outside"
    for folder in (disk, outside):
        folder.mkdir()
    (disk / "link").symlink_to(outside)
    assert RemoteUrl.parse(f"file://{disk}/x.git", folder=str(disk)).path == f"{disk}/x.git"
    for path in (disk, f"{disk}/../outside/x", f"{disk}/link/x", outside):
        with pytest.raises(Invalid) as caught:
            RemoteUrl.parse(f"file://{path}", folder=str(disk))
        assert caught.value.code == "remote.file"
    with pytest.raises(Invalid):
        RemoteUrl.parse(f"file://{disk}/x.git")


@given(st.text(max_size=60) | st.from_regex(r"[-a-z:/@.%\[\]]{1,40}", fullmatch=True))
def test_nothing_is_taken_that_git_or_ssh_could_read_as_something_else(text: str) -> None:
    try:
        url = RemoteUrl.parse(text, plain=True)
    except Invalid:
        return
    assert url.scheme in {"https", "http", "ssh"}
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*|[0-9a-f:.]+", url.host)
    assert not url.text.startswith("-")
    assert "::" not in url.text.partition("/")[0].partition("[")[0]
