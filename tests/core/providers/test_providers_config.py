"""What a file says of providers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_lite.core.providers.config import Provider, key_of, read_file, target_of
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.engines.upstream_kinds import open_server
from llmos_lite.engines.upstreams import Target
from llmos_lite.errors import Invalid, UpstreamFailed

FILE = """
[providers.claude]
kind = "anthropic"
key = "env:MY_KEY"
models = ["claude-*"]

[providers.local]
url = "http://127.0.0.1:9100/v1"
dialects = ["chat", "messages"]
headers = {X-Team = "sre"}

[models]
fast = ["local/qwen3", "claude/claude-haiku-4"]
best = "claude/claude-opus-5"
"""


def test_a_file_names_servers_and_models(tmp_path: Path) -> None:
    path = tmp_path / "providers.toml"
    path.write_text(FILE)
    config = read_file(str(path))
    claude, local = config.providers
    assert (claude.name, claude.kind, claude.models) == ("claude", "anthropic", ["claude-*"])
    assert local.spec("k").spoken == {Wire.CHAT, Wire.MESSAGES}
    assert local.spec("k").headers == {"x-team": "sre"}
    assert config.aliases == {"fast": ["local/qwen3", "claude/claude-haiku-4"], "best": ["claude/claude-opus-5"]}


@pytest.mark.parametrize(
    "text",
    ["[providers.x]\nkind = 'nobody'", "[providers.x]\nurl = 'ftp://x'", "[providers.'A B']",
     "[providers.x]\nkez = 'a'", "[servers.x]", "[providers.x]\nurl = 'http://u:p@x'", "not toml",
     "[models]\nfast = 5", "[models]\nfast = 'qwen3'", "[models]\nfast = ['local/']",
     "[providers]\nx = 5", "[providers.x]\nheaders = {'a b' = 'c'}",
     "[providers.x]\ntimeout = 0"],
)  # fmt: skip
def test_what_cannot_be_meant_is_said_with_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "providers.toml"
    path.write_text(text)
    with pytest.raises(Invalid) as refused:
        read_file(str(path))
    assert refused.value.code == "settings.providers"
    assert str(path)[:100] in refused.value.message


async def test_a_server_that_cannot_be_reached_is_named_by_what_set_it() -> None:
    for name, place in (("default", "LLMOS_LLM_URL"), ("mine", "the url of the provider mine")):
        server = open_server(Provider(name=name, url="http://127.0.0.1:1/v1").spec(""))
        with pytest.raises(UpstreamFailed) as refused:
            await server.send(Passing(path="/models", headers={}, method="GET"))
        await server.close()
        assert refused.value.hint.endswith(f"or set {place}."), name


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(Invalid, match="LLMOS_PROVIDERS"):
        read_file("/nowhere/providers.toml")
    assert read_file("").providers == ()


def test_a_key_stands_in_the_environment_or_in_the_row() -> None:
    variables = {"A": " sk-2 "}
    assert key_of(Provider(name="x", key="sk-1"), lambda _: "") == "sk-1"
    assert key_of(Provider(name="x", key="env:A"), lambda name: variables[name], local=True) == "sk-2"
    with pytest.raises(Invalid, match="takes its key from A"):
        key_of(Provider(name="x", key="env:A"), lambda _: "", local=True)
    with pytest.raises(Invalid, match="begins with LLMOS_PROVIDER_"):
        key_of(Provider(name="x", key="env:A"), lambda name: variables[name])


def test_a_model_of_a_provider_is_written_with_its_name() -> None:
    assert target_of("a/meta/llama", ["a"]) == Target("a", "meta/llama")
    for text in ("a", "a/", "b/x", "/x"):
        with pytest.raises(Invalid):
            target_of(text, ["a"])


def test_a_provider_never_shows_its_key() -> None:
    assert "sk-1" not in repr(Provider(name="x", key="sk-1"))
