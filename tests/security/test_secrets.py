"""A session with every kind of secret, at the most talkative log level: none of them is in clear anywhere."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from asgi_client import Answer, Client
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from upstream import running

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts import passwords
from llmos_lite.observability import configure_logging
from llmos_lite.settings import Settings

PASSWORD, OTHER = "tall otter window lamp", "quiet copper harbour seven"
MODEL_KEY, OIDC_SECRET, REMOTE_TOKEN = "sk-model-0123456789abcdef", "oidc-secret-0123456789", "remote-token-0123456789"
WRONG = "llmos_0badbad0_" + "b" * 64
FORM = {"content-type": "application/x-www-form-urlencoded", "origin": "http://localhost"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(passwords, "_hasher", lambda: hasher)


@pytest.fixture
def told() -> Iterator[io.StringIO]:
    """Everything that our loggers say, and what those of libraries say as they are set up."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


class Session:
    """Asks, and keeps what was answered; what an answer is meant to hand out is a secret from then on."""

    def __init__(self, app: Any, key: str) -> None:  # noqa: ANN401 - an ASGI app
        self.app, self.secrets = app, {PASSWORD, OTHER, MODEL_KEY, OIDC_SECRET, REMOTE_TOKEN, WRONG, key}
        self.answers: list[Answer] = []
        self.admin = {"authorization": f"Bearer {key}"}

    async def ask(self, method: str, url: str, body: object = None, *, hands_out: str = "", **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await Client(self.app, sent).request(method, url, json_body=body)
        if hands_out:
            assert answer.status < 300, answer.body
            self.secrets |= {text for name, text in answer.json().items() if name in hands_out.split()}
        else:
            self.answers.append(answer)
        return answer

    async def form(self, **fields: str) -> Answer:
        answer = await Client(self.app, FORM).request("POST", "/sign-in", content=urlencode(fields).encode())
        for name, value in answer.raw:
            if name == "set-cookie":
                self.secrets.add(value.partition("=")[2].partition(";")[0])
        self.answers.append(Answer(answer.status, {}, [], answer.pieces))
        return answer


async def people(session: Session, services: Services) -> None:
    """Everything that has to do with who somebody is."""
    ask, admin = session.ask, session.admin
    await ask("POST", "/teams", {"team_id": "sre"}, **admin)
    await ask("POST", "/users", {"user_id": "ana", "email": "ana@example.org"}, **admin)
    link = (await ask("POST", "/users/ana/sign-in-link", hands_out="token link", **admin)).json()["token"]
    await ask("GET", "/sign-in?token=nonsense")
    pair = (await ask("POST", "/sign-in/link", {"token": link}, hands_out="access_token refresh_token")).json()
    await ask("POST", "/sign-in/link", {"token": link})
    bearer = {"authorization": f"Bearer {pair['access_token']}"}
    await ask("PUT", "/me/password", {"new": PASSWORD}, **bearer)
    await ask("PUT", "/me/password", {"current": OTHER, "new": PASSWORD}, **bearer)
    pair = (await ask("POST", "/sign-in/password", {"user": "ana", "password": PASSWORD},
                      hands_out="access_token refresh_token")).json()  # fmt: skip
    await ask("POST", "/sign-in/password", {"user": "ana", "password": OTHER})
    await ask("POST", "/sign-in/password", {"user": "ana", "password": OTHER, "key": WRONG})
    await ask(
        "POST", "/sign-in/refresh", {"refresh_token": pair["refresh_token"]}, hands_out="access_token refresh_token"
    )
    await ask("POST", "/sign-in/refresh", {"refresh_token": pair["refresh_token"]})
    await session.form(user="ana", password=OTHER)
    await session.form(user="ana", password=PASSWORD)
    await session.form(key=WRONG)
    await session.form(key=admin["authorization"].partition(" ")[2])
    invited = (
        await ask("POST", "/invitations", {"team_id": "sre", "role": "user"}, hands_out="token link", **admin)
    ).json()
    await ask("POST", "/invitations/accept", {"token": invited["token"], "user_id": "../x"})
    await ask("POST", "/invitations/accept", {"token": invited["token"], "user_id": "ben"}, hands_out="key")
    await ask("POST", "/invitations/accept", {"token": invited["token"], "user_id": "cem"})
    await ask("GET", "/sign-in/oidc")
    services.entrance.first_link("ana")


async def misplaced(session: Session) -> None:
    """Secrets where they do not belong."""
    ask, admin = session.ask, session.admin
    made = (await ask("POST", "/keys", {"name": "x", "scopes": ["chat"]}, hands_out="key", **admin)).json()
    key = made["key"]
    await ask("DELETE", f"/keys/{key}", **admin)
    await ask("GET", f"/runs/{key}", **admin)
    await ask("GET", f"/skills?query={key}", **admin)
    await ask("GET", f"/audit?target={key}", **admin)
    await ask("GET", "/skills", x_api_key=WRONG)
    await ask("GET", "/git/system.git/info/refs?service=git-upload-pack", authorization=f"Bearer {WRONG}")
    await ask("POST", "/sign-in/password", {"user": key, "password": "x"})
    await ask("POST", "/users", {"user_id": key}, **admin)
    await ask("POST", "/keys", {"name": "y", "scopes": [key]}, **admin)
    await ask("POST", "/chat", {"message": 1, key: 2}, **admin)
    remote = {"name": "web", "url": "https://127.0.0.1:9/x", "credential": {"username": "bot", "token": REMOTE_TOKEN}}
    await ask("POST", "/volumes/team:sre/remotes", remote, **admin)
    await ask("POST", "/volumes/team:sre/remotes/web/sync", **admin)
    hidden = {"name": "bad", "url": f"https://bot:{REMOTE_TOKEN}@127.0.0.1:9/x"}
    await ask("POST", "/volumes/team:sre/remotes", hidden, **admin)
    await ask("PUT", f"/limits/key:{key}", {"tokens": 5}, **admin)
    session.answers = [one for one in session.answers if key not in one.body.decode("latin-1") or one.status >= 400]


def in_rows(path: Path) -> str:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = [str(row) for table in tables for row in database.execute(f'SELECT * FROM "{table}"')]  # noqa: S608
    database.close()
    return "\n".join(found)


async def test_no_secret_is_told_or_kept_in_clear(tmp_path: Path, told: io.StringIO) -> None:
    data = tmp_path / "data"
    async with running() as upstream:
        settings = Settings(
            data=data, log_level="debug", allow_private_urls=True, llm_provider="openai", llm_key=MODEL_KEY,
            llm_url=f"http://127.0.0.1:{upstream.port}/v1", llm_model="e401-echo", limit_strangers=0,
            oidc_issuer="http://127.0.0.1:9", oidc_client_id="llmos", oidc_client_secret=OIDC_SECRET,
        )  # fmt: skip
        async with open_services(settings, serve=False) as services:
            configure_logging("debug", as_json=True, stream=told)
            session = Session(create_app(services), (data / "admin.key").read_text().strip())
            await people(session, services)
            await misplaced(session)
            assert (await session.ask("POST", "/chat", {"message": "Hello"}, **session.admin)).status == 502
            await session.ask("GET", "/audit?limit=500", **session.admin)
            await session.ask("GET", "/metrics", **session.admin)
            await session.ask("GET", "/ready", **session.admin)
    assert len(session.secrets) > 15
    shown = b"\n".join(answer.body for answer in session.answers).decode("latin-1")
    headers = json.dumps([answer.raw for answer in session.answers])
    rows = in_rows(data / "llmos.db")
    kept = {
        str(path.relative_to(data)): path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and path.name != "admin.key" and not path.is_relative_to(data / "keys")
    }
    log = told.getvalue()
    assert log
    for secret in sorted(session.secrets):
        hint = secret[:22]
        assert secret not in log, hint
        assert secret not in shown, hint
        assert secret not in headers, hint
        assert secret not in rows, hint
        assert [name for name, content in kept.items() if secret.encode() in content] == [], hint


def test_what_is_secret_is_for_its_owner_alone(tmp_path: Path) -> None:
    import asyncio  # noqa: PLC0415 - only here

    async def start() -> None:
        async with open_services(Settings(data=tmp_path / "data", llm_provider="offline"), serve=False):
            pass

    asyncio.run(start())
    data = tmp_path / "data"
    secret = [data / "admin.key", data / "llmos.db", *(data / "keys").rglob("*"), *(data / "journal").rglob("*")]
    loose = [str(path) for path in secret if path.stat().st_mode & 0o077 and path.is_file()]
    assert [path for path in loose if not path.endswith((".pub", "signers.json"))] == []
    assert not (data / "keys").stat().st_mode & 0o077
