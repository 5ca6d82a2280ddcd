"""Whether model servers can be reached: what a doctor is told of each, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos_lite.bootstrap import reach
from llmos_lite.bootstrap.reaching import Reached
from llmos_lite.settings import Settings
from tests.answering import answering, reply
from tests.upstream import running

FILE = """
[providers.paid]
kind = "openai"
url = "{url}/v1"
key = "env:PAID_KEY"
[providers.cloud]
kind = "bedrock"
region = "eu-central-1"
"""


async def reached(**env: str) -> list[Reached]:
    return await reach(Settings.parse(env), env)


async def only(**env: str) -> Reached:
    [found] = await reached(LLMOS_LLM_PROVIDER="openai", **env)
    return found


async def test_where_no_server_is_set_none_is_asked() -> None:
    assert await reached() == []
    assert await reached(LLMOS_LLM_PROVIDER="offline") == []


async def test_a_server_that_lists_the_model_is_fine() -> None:
    async with running(["plain", "llama3:latest"]) as server:
        for model in ("", "plain", "llama3", "llama3:latest"):
            found = await only(LLMOS_LLM_URL=server.url, LLMOS_LLM_MODEL=model)
            assert (found.provider, found.fine, found.hint) == ("default", True, "")
            assert found.message.endswith("answers, and lists 2 models.")


async def test_a_model_that_is_not_listed_is_named_with_those_that_are() -> None:
    async with running(["a", "b"]) as server:
        found = await only(LLMOS_LLM_URL=server.url, LLMOS_LLM_MODEL="gpt-x")
    assert not found.fine
    assert found.message.endswith("lists 2 models, and 'gpt-x' is none of them.")
    assert found.hint == "Set LLMOS_LLM_MODEL to one of them: 'a', 'b' …"


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (reply(b"{}", 401), "refuses the key (401)", "Check LLMOS_LLM_KEY."),
        (reply(b"{}", 403), "refuses the key (403)", "Check LLMOS_LLM_KEY."),
        (reply(b"gone", 404, "text/plain"), "/api/models answers with 404", "Check LLMOS_LLM_URL. OpenAI's base URL"),
        (reply(b"<html>", 200, "text/html"), "not as a model server does", "Check LLMOS_LLM_URL."),
        (reply(b'{"data":[{"id":"\xff"}]}'), "not as a model server does", "Check LLMOS_LLM_URL."),
        (b"", "broke the connection", "Try again."),
    ],
)
async def test_what_is_wrong_names_the_setting(answer: bytes, message: str, hint: str) -> None:
    async with answering(answer) as server:
        found = await only(LLMOS_LLM_URL=f"{server.url}/api", LLMOS_LLM_KEY="sk-secret")
    assert not found.fine
    assert message in found.message
    assert hint in found.hint
    assert "sk-secret" not in str(found)


async def test_a_server_that_is_not_there_is_told() -> None:
    async with running() as server:
        url = server.url
    found = await only(LLMOS_LLM_URL=url)
    assert not found.fine
    assert url.removeprefix("http://").removesuffix("/v1") in found.message
    assert "LLMOS_LLM_URL" in found.hint


async def test_servers_of_the_file_are_asked_with_their_keys(tmp_path: Path) -> None:
    path = tmp_path / "providers.toml"
    body = json.dumps({"data": [{"id": "m"}]}).encode()
    async with answering(reply(body)) as server:
        path.write_text(FILE.format(url=server.url))
        [found] = await reached(LLMOS_PROVIDERS=str(path), PAID_KEY="sk-paid")
        assert (found.provider, found.fine) == ("paid", True)
        assert server.asked[0].headers["authorization"] == "Bearer sk-paid"
        assert await reached(LLMOS_PROVIDERS=str(path)) == []  # `warnings` says that the variable is missing


async def test_one_that_is_set_wrongly_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "providers.toml"
    path.write_text('[providers.z]\nkind = "azure"\n')
    async with running(["a\x1b[31m"]) as server:
        env = {"LLMOS_PROVIDERS": str(path), "LLMOS_LLM_URL": server.url, "LLMOS_LLM_MODEL": "b"}
        default, azure = await reached(**env)
    assert (default.provider, azure.provider, azure.fine) == ("default", "z", False)
    assert "no url" in azure.message
    assert "\x1b" not in default.hint
