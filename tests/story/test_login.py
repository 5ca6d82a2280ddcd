"""Signing in from the terminal: once, and then every command is somebody, until the sign-in ends."""

from __future__ import annotations

import io
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmos_lite.cli.client import Where, connect
from llmos_lite.cli.main import run
from llmos_lite.cli.remote import HttpTransport
from llmos_lite.cli.signed_in import Places, SignedIn
from llmos_lite.errors import Unauthenticated

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server

WORDS = "tall otter window lamp"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LLMOS_URL", "LLMOS_KEY", "LLMOS_DATA", "LLMOS_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "config" / "llmos" / "signed-in.json"


@pytest.fixture
def terminal(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    assert not home.exists()
    return Terminal(monkeypatch, capsys)


class Terminal:
    """Runs commands in this process, as a person without a data folder types them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str, typed: str = "") -> tuple[int, str]:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = run(list(arguments))
        said = self._capsys.readouterr()
        return code, said.out + said.err


def _link(server: Server, user: str) -> str:
    server.ask("admin", "POST", "/users", {"user_id": user})
    return str(server.ask("admin", "POST", f"/users/{user}/sign-in-link")["link"])


def test_a_person_signs_in_once_and_works(serve: Serve, terminal: Terminal, home: Path) -> None:
    server = serve()
    assert terminal("skills", "list")[0] != 0
    code, said = terminal("login", server.url, "--link", typed=f"{_link(server, 'ana')}\n")
    assert (code, said.strip()) == (0, f"Signed in to {server.url} as ana.")
    assert stat.S_IMODE(home.stat().st_mode) == 0o600
    assert terminal("chat", "How do I review a pull request?")[0] == 0
    assert json.loads(terminal("traces", "list", "--json")[1])
    assert terminal("users", "list")[0] != 0  # with a person's rights, and no more
    assert terminal("password", typed=f"\n{WORDS}\n")[0] == 0
    assert terminal("logout")[0] == 0
    assert terminal("skills", "list")[0] != 0
    code, said = terminal("login", server.url, "--name", "ana", "--json", typed=f"{WORDS}\n")
    assert (code, json.loads(said)) == (0, {"url": server.url, "user_id": "ana"})
    code, said = terminal("login", server.url, "--name", "ana", typed="wrong\n")
    assert code != 0
    assert "wrong" in said


def test_commands_beside_each_other_take_turns_at_the_refresh_token(serve: Serve, terminal: Terminal) -> None:
    server = serve()
    terminal("login", server.url, "--link", typed=f"{_link(server, 'ana')}\n")
    env = {"XDG_CONFIG_HOME": str(Path("../config").resolve())}
    places = Places(env)

    def renewed(_: int) -> str:
        return places.token(server.url, HttpTransport(server.url))

    with places._held() as kept:
        kept.servers[server.url].until = 0.0
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(renewed, range(8)))) == 1
    with connect(Where(url=server.url), env) as client:
        assert client.get("/me")["user_id"] == "ana"


def test_a_sign_in_that_has_ended_says_so(serve: Serve, terminal: Terminal) -> None:
    server = serve()
    terminal("login", server.url, "--link", typed=f"{_link(server, 'ana')}\n")
    server.ask("admin", "PATCH", "/users/ana", {"active": False})
    code, said = terminal("skills", "list")
    assert code != 0
    places = Places({"XDG_CONFIG_HOME": str(Path("../config").resolve())})
    with places._held() as kept:
        kept.servers[server.url].until = 0.0
    with pytest.raises(Unauthenticated, match="no longer signed in"):
        places.token(server.url, HttpTransport(server.url))
    code, said = terminal("logout")
    assert (code, said.strip()) == (0, f"Signed out of {server.url}.")
    assert terminal("logout")[0] != 0


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"default": 1}', '{"default": "", "servers": {"x": 1}}'])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    places = Places({"XDG_CONFIG_HOME": str(tmp_path)})
    places.path.parent.mkdir()
    places.path.write_text(content)
    assert (places.default(), places.knows("http://x")) == ("", False)
    places.put("http://x/", SignedIn("ana", "r"))
    assert (places.default(), places.knows("http://x")) == ("http://x", True)
