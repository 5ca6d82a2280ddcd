"""Providers over the API, and what the gateway does with them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Answer, Client

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import open_services
from llmos_lite.settings import Settings
from tests.answering import answering, reply
from tests.upstream import Upstream, running

HI = [{"role": "user", "content": "hi"}]
FILE = """
[providers.fixed]
url = "http://127.0.0.1:9/v1"
models = ["fixed-*"]

[models]
nick = "fixed/fixed-1"
"""


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def admin(tmp_path: Path, fresh_data: Path) -> AsyncIterator[Client]:
    shutil.copytree(fresh_data, tmp_path / "data", symlinks=True)
    file = tmp_path / "providers.toml"
    file.write_text(FILE)
    settings = Settings(data=tmp_path / "data", llm_provider="offline", providers=str(file), llm_retries=0)
    async with open_services(settings, serve=False) as services:
        key = (settings.data / "admin.key").read_text().strip()
        yield Client(create_app(services), {"Authorization": f"Bearer {key}"})


async def put(admin: Client, name: str, **fields: Any) -> Answer:  # noqa: ANN401 - JSON
    return await admin.request("PUT", f"/providers/{name}", json_body=fields)


async def ask(client: Client, model: str) -> Answer:
    return await client.post("/v1/chat/completions", {"model": model, "messages": HI})


async def test_a_provider_holds_from_the_next_request_on(admin: Client, upstream: Upstream) -> None:
    assert "offline" in (await ask(admin, "plain")).body.decode()
    made = await put(admin, "mine", url=upstream.url, key="sk-secret", models=["plain", "c*"])
    assert made.status == 200, made.body
    assert made.json()["key"] == "kept"
    assert (await ask(admin, "plain")).json()["model"] == "plain"
    assert upstream.chats[-1].headers["authorization"] == "Bearer sk-secret"
    assert (await ask(admin, "mine/c2")).json()["model"] == "c2"
    gone = await admin.request("DELETE", "/providers/mine")
    assert gone.status == 204
    assert "offline" in (await ask(admin, "plain")).body.decode()


async def test_a_key_is_never_shown_and_lies_sealed(admin: Client, upstream: Upstream, tmp_path: Path) -> None:
    await put(admin, "mine", url=upstream.url, key="sk-secret", models=["plain"])
    listed = await admin.get("/providers")
    assert b"sk-secret" not in listed.body
    with closing(sqlite3.connect(tmp_path / "data" / "llmos.db")) as rows:
        [(document, secret)] = rows.execute("SELECT document, secret FROM providers").fetchall()
    assert "sk-secret" not in document + secret
    assert secret


async def test_a_key_stays_while_the_address_does(admin: Client, upstream: Upstream) -> None:
    await put(admin, "mine", url=upstream.url, key="sk-secret")
    assert (await put(admin, "mine", url=upstream.url, models=["plain"])).json()["key"] == "kept"
    moved = await put(admin, "mine", url="http://127.0.0.1:9/v1", models=["plain"])
    assert moved.json()["key"] == ""


async def test_what_is_set_where_the_server_runs_is_not_changed_here(admin: Client) -> None:
    tries = [await put(admin, "fixed"), await admin.request("DELETE", "/providers/fixed"), await put(admin, "default")]
    assert {(done.status, done.json()["code"]) for done in tries} == {(409, "provider.in_file")}


@pytest.mark.parametrize(
    "fields",
    [{"kind": "nobody"}, {"url": "ftp://x"}, {"url": "http://user:pass@x"}, {"key": "env:NOT_SET_ANYWHERE"},
     {"kind": "azure"}, {"headers": {"a b": "c"}}, {"headers": {"a": "b\nc"}}, {"timeout": 0}, {"extra": 1},
     {"kind": "vertex", "region": "r", "project": "p", "key": "{}"}, {"url": "https://[x/v1"},
     {"url": "http://h:99999/v1"}, {"url": "http://h/v1 x\r\nfoo: bar"}, {"key": "a\nb"}, {"key": "ü"},
     {"kind": "bedrock", "region": "["}, {"kind": "bedrock", "region": "evil.example/x"},
     {"headers": {"content-length": "5"}}, {"key": "env:PATH"}],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(admin: Client, fields: dict[str, Any]) -> None:
    assert (await put(admin, "mine", **fields)).status == 400
    assert [one["name"] for one in (await admin.get("/providers")).json()["items"]] == ["fixed"]


async def test_only_system_admins_see_and_change_them(admin: Client) -> None:
    alice = admin.acting_as("alice")
    tries = [await alice.get("/providers"), await put(alice, "mine"), await alice.request("DELETE", "/providers/x")]
    assert {done.status for done in tries} == {403}


async def test_models_are_listed_in_the_clients_form(admin: Client, upstream: Upstream) -> None:
    upstream.models = ["plain", "other"]
    await put(admin, "mine", url=upstream.url, models=["*"])
    listed = (await admin.get("/v1/models")).json()
    found = {one["id"]: one["owned_by"] for one in listed["data"]}
    assert found == {"nick": "alias", "plain": "mine", "other": "mine"}
    anthropic = (await admin.get("/v1/models", headers={"anthropic-version": "2023-06-01"})).json()
    assert {one["id"] for one in anthropic["data"]} == set(found)
    assert anthropic["has_more"] is False


async def test_one_model_is_told_by_its_name_whatever_signs_it_holds(admin: Client, upstream: Upstream) -> None:
    upstream.models = ["plain", "meta/llama-4:8b"]
    await put(admin, "mine", url=upstream.url, models=["*"])
    client = {"anthropic-version": "2023-06-01"}
    for path in ("meta/llama-4:8b", "meta%2Fllama-4%3A8b"):
        found = await admin.get(f"/v1/models/{path}")
        assert found.json() == {"id": "meta/llama-4:8b", "object": "model", "created": 0, "owned_by": "mine"}
        assert (await admin.get(f"/v1/models/{path}", headers=client)).json()["type"] == "model"
    openai = await admin.get("/v1/models/none")
    anthropic = await admin.get("/v1/models/none", headers=client)
    assert (openai.status, openai.json()["error"]["code"]) == (404, "model.unknown")
    assert (anthropic.status, anthropic.json()["error"]["type"]) == (404, "not_found_error")


async def test_a_list_that_is_no_text_hides_no_other_model(admin: Client) -> None:
    async with answering(reply(b'{"data":[{"id":"\xff"}]}')) as server:
        await put(admin, "odd", url=server.url + "/v1", models=["*"])
        listed = await admin.get("/v1/models")
    assert [one["id"] for one in listed.json()["data"]] == ["nick"]
    assert (await admin.get("/v1/models/")).status == 404


@pytest.mark.parametrize(
    ("answer", "key", "status", "code"),
    [
        (b"", "", 502, "model.cut"),
        (reply(b"{}", 401), "sk-old", 502, "model.rejected"),
        (reply(b"{}", 401), "", 200, ""),  # clients bring their own
        (reply(b"{}", 404), "", 200, ""),
    ],
)
async def test_a_server_that_cannot_be_asked_for_its_models_says_so_where_there_are_none(
    tmp_path: Path, answer: bytes, key: str, status: int, code: str
) -> None:
    async with answering(answer) as server:
        settings = Settings(data=tmp_path / "other", llm_url=server.url, llm_key=key)
        async with open_services(settings, serve=False) as services:
            ours = (settings.data / "admin.key").read_text().strip()
            admin = Client(create_app(services), {"Authorization": f"Bearer {ours}"})
            told = await admin.get("/v1/models")
            server.answers[:] = [reply(b'{"data":[{"id":"here"}]}')]
            later = (await admin.get("/v1/models")).json()["data"]
    assert (told.status, told.json().get("error", {"code": ""})["code"]) == (status, code)
    assert bool(later) is (status != 200), "a list that failed is not kept"


@pytest.mark.parametrize("alone", [True, False])
async def test_a_silent_server_is_waited_for_once(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, *, alone: bool
) -> None:
    monkeypatch.setattr("llmos_lite.core.providers.asking.PATIENCE", 0.05)
    monkeypatch.setattr("llmos_lite.core.providers.service.SLOW_SECONDS", 0.01)
    monkeypatch.setattr("llmos_lite.core.providers.service.SLOW_SHARE", 10_000)
    async with running(silent=True) as silent:
        file = tmp_path / "providers.toml"
        file.write_text("" if alone else f'[providers.good]\nurl = "{upstream.url}"\nmodels = ["*"]\n')
        settings = Settings(data=tmp_path / "other", llm_url=silent.url, providers=str(file))
        async with open_services(settings, serve=False) as services:
            ours = (settings.data / "admin.key").read_text().strip()
            admin = Client(create_app(services), {"Authorization": f"Bearer {ours}"})
            told = await asyncio.gather(*(admin.get("/v1/models") for _ in range(5)))
    assert {one.status for one in told} == ({504} if alone else {200})
    assert len(silent.requests) == 1


async def test_a_provider_that_is_set_while_the_models_are_asked_for_is_in_the_list(
    admin: Client, upstream: Upstream
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await go_on.wait()
        writer.write(reply(b'{"data":[{"id":"late"}]}'))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await put(admin, "slow", url=url, models=["late"])
        listing = asyncio.create_task(admin.get("/v1/models"))
        async with asyncio.timeout(30):
            await asked.wait()
        await put(admin, "mine", url=upstream.url, models=["brand-new"])
        go_on.set()
        first = (await listing).json()["data"]
    for listed in (first, (await admin.get("/v1/models")).json()["data"]):
        assert {"late", "brand-new"} <= {model["id"] for model in listed}


async def test_a_model_is_told_to_those_who_may_chat(admin: Client) -> None:
    assert (await admin.request("GET", "/v1/models/nick", headers={"authorization": "Bearer none"})).status == 401


async def test_embeddings_pass_without_skills_and_traces(admin: Client) -> None:
    vectors = json.dumps({"data": [{"embedding": [0.5]}]}).encode()
    async with answering(reply(vectors)) as server:
        await put(admin, "vec", url=server.url + "/v1", models=["embed"])
        body = {"model": "embed", "input": ["Write a Python script that renames my photos by date"]}
        done = await admin.post("/v1/embeddings", body)
    assert done.json() == json.loads(vectors)
    assert json.loads(server.asked[-1].body) == body
    assert server.asked[-1].path == "/v1/embeddings"
    assert (await admin.get("/traces")).json()["total"] == 0


async def test_tokens_are_counted_here_and_leave_no_trace(admin: Client) -> None:
    body = {"model": "x", "system": "Be brief.", "messages": [{"role": "user", "content": "word " * 400}]}
    count = (await admin.post("/v1/messages/count_tokens", body)).json()["input_tokens"]
    assert 400 <= count <= 600
    assert (await admin.get("/traces")).json()["total"] == 0
    refused = await admin.post("/v1/messages/count_tokens", {"model": "x"})
    assert (refused.status, refused.json()["type"]) == (400, "error")


async def test_a_provider_whose_server_is_gone_is_said_in_the_clients_words(admin: Client) -> None:
    done = await ask(admin, "fixed-1")
    assert (done.status, done.json()["error"]["code"]) == (502, "model.unreachable")
    assert (await ask(admin, "nick")).json()["error"]["code"] == "model.unreachable"


async def test_only_some_variables_can_be_named_over_the_api(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "topsecret")
    monkeypatch.setenv("LLMOS_PROVIDER_MINE", "sk-mine")
    refused = await put(admin, "mine", url="https://x.example/v1", key="env:DATABASE_PASSWORD")
    assert (refused.status, refused.json()["code"]) == (400, "provider.variable")
    assert (await put(admin, "mine", url="https://x.example/v1", key="env:LLMOS_PROVIDER_MINE")).status == 200


async def test_headers_are_as_secret_as_keys(admin: Client, upstream: Upstream, tmp_path: Path) -> None:
    await put(admin, "mine", url=upstream.url, headers={"x-team-token": "hdr-secret"}, models=["plain"])
    assert b"hdr-secret" not in (await admin.get("/providers")).body
    with closing(sqlite3.connect(tmp_path / "data" / "llmos.db")) as rows:
        [(document,)] = rows.execute("SELECT document FROM providers").fetchall()
    assert "hdr-secret" not in document
    await ask(admin, "plain")
    assert upstream.chats[-1].headers["x-team-token"] == "hdr-secret"


async def test_a_key_does_not_follow_a_provider_to_another_region(admin: Client) -> None:
    await put(admin, "b", kind="bedrock", region="eu-west-1", key="bedrock-key")
    assert (await put(admin, "b", kind="bedrock", region="eu-west-1", models=["x"])).json()["key"] == "kept"
    assert (await put(admin, "b", kind="bedrock", region="us-east-1", models=["x"])).json()["key"] == ""


async def test_a_key_that_cannot_be_opened_is_said_and_not_lost(
    admin: Client, upstream: Upstream, tmp_path: Path
) -> None:
    await put(admin, "mine", url=upstream.url, key="sk-1", models=["plain"])
    with closing(sqlite3.connect(tmp_path / "data" / "llmos.db")) as rows:
        rows.execute("UPDATE providers SET secret = 'AAAA'")
        rows.commit()
    await put(admin, "other", url=upstream.url)
    (mine,) = [one for one in (await admin.get("/providers")).json()["items"] if one["name"] == "mine"]
    assert "cannot be opened" in mine["problem"]
    refused = await put(admin, "mine", url=upstream.url, models=["plain", "c2"])
    assert (refused.status, refused.json()["code"]) == (409, "provider.sealed")
    assert (await put(admin, "mine", url=upstream.url, key="sk-2", models=["plain"])).json()["problem"] == ""


async def test_a_clients_own_key_goes_to_one_server_only(upstream: Upstream, tmp_path: Path) -> None:
    async with answering(reply(b"{}", 503)) as first:
        file = tmp_path / "two.toml"
        file.write_text(
            f'[providers.one]\nurl = "{first.url}"\n[providers.two]\nurl = "{upstream.url}"\n'
            '[models]\nfast = ["one/plain", "two/plain"]\n'
        )
        settings = Settings(data=tmp_path / "other", llm_provider="offline", providers=str(file), llm_retries=0)
        async with open_services(settings, serve=False) as services:
            ours = (settings.data / "admin.key").read_text().strip()
            client = Client(create_app(services), {"X-LLMOS-Key": ours, "Authorization": "Bearer sk-theirs"})
            done = await ask(client, "fast")
            plain = await ask(Client(client.app, {"Authorization": f"Bearer {ours}"}), "fast")
    assert (done.status, plain.status) == (503, 200)
    assert first.asked[0].headers["authorization"] == "Bearer sk-theirs"
    assert "sk-theirs" not in str([seen.headers for seen in upstream.chats])


async def test_the_server_of_the_settings_is_listed_and_left_alone_like_others(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path / "other", llm_url="http://127.0.0.1:1/v1", llm_key="sk-hidden", llm_model="m", llm_retries=0
    )
    async with open_services(settings, serve=False) as services:
        ours = (settings.data / "admin.key").read_text().strip()
        admin = Client(create_app(services), {"Authorization": f"Bearer {ours}"})
        for _ in range(5):
            await ask(admin, "m")
        listed = await admin.get("/providers")
        refused = [(await put(admin, "default")).status, (await admin.request("DELETE", "/providers/default")).status]
    (found,) = listed.json()["items"]
    assert (found["name"], found["source"], found["url"]) == ("default", "settings", settings.llm_url)
    assert (found["key"], found["models"]) == ("env:LLMOS_LLM_KEY", ["*"])
    assert found["resting"] > 0
    assert b"sk-hidden" not in listed.body
    assert refused == [409, 409]


async def test_where_a_server_is_only_admins_and_the_log_are_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(data=tmp_path / "other", llm_url="http://127.0.0.1:1/v1", llm_model="m", llm_retries=0)
    async with open_services(settings, serve=False) as services:
        key = (settings.data / "admin.key").read_text().strip()
        alice = Client(create_app(services), {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"})
        answers = [await ask(alice, "m") for _ in range(10)]
        answers += [await alice.get("/v1/models"), await alice.post("/chat", {"message": "hi"})]
        stream = await alice.post("/chat", {"message": "hi", "stream": True})
        admin = Client(alice.app, {"Authorization": f"Bearer {key}"})
        listed = await admin.get("/providers")
    assert {answer.status for answer in answers} == {502, 503}
    assert b"model.resting" in answers[9].body
    assert [answer for answer in (*answers, stream) if b"127.0.0.1" in answer.body] == []
    assert b"'default'" in answers[0].body
    assert b"127.0.0.1:1" in listed.body
    said = capfd.readouterr().err
    assert "'default' cannot be reached. It is at 127.0.0.1:1." in said
    assert said.count("llmos.chat") == 1


async def test_a_name_that_leads_nowhere_hinders_no_other_model(
    upstream: Upstream, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "names.toml"
    file.write_text('[models]\nlate = "late/plain"\nmany = ["late/plain", "default/x"]\n')
    settings = Settings(data=tmp_path / "other", llm_provider="offline", providers=str(file))
    async with open_services(settings, serve=False) as services:
        key = (settings.data / "admin.key").read_text().strip()
        admin = Client(create_app(services), {"Authorization": f"Bearer {key}"})
        before = [(await ask(admin, model)).status for model in ("any", "many", "late")]
        listed = [one["id"] for one in (await admin.get("/v1/models")).json()["data"]]
        await put(admin, "other", url=upstream.url)
        assert capfd.readouterr().err.count("leads nowhere") == 1
        await put(admin, "late", url=upstream.url)
        after = (await ask(admin, "late")).status
        client = Client(admin.app, {"X-LLMOS-Key": key, "Authorization": "Bearer sk-theirs"})
        await admin.request("DELETE", "/providers/late")
        elsewhere = await ask(client, "many")
    assert (before, after) == ([200, 200, 404], 200)
    assert (elsewhere.status, "own key" in elsewhere.json()["error"]["message"]) == (503, True)
    assert listed == ["many", "offline"]
