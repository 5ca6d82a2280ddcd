"""What a server says when it starts: what it refuses, what it warns of, and who answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.bootstrap import open_services, warnings, who_answers
from llmos_lite.bootstrap.starting import check_model
from llmos_lite.errors import Invalid
from llmos_lite.settings import Settings

FILE = """
[providers.azure]
kind = "azure"
url = "https://mine.openai.azure.com"
key = "env:LLMOS_AZURE"
[providers.claude]
kind = "anthropic"
[providers.local]
url = "http://127.0.0.1:9100/v1"
"""


def said(tmp_path: Path = Path(), file: str = "", **env: str) -> list[str]:
    """The warnings for an environment, with a file of providers."""
    if file:
        path = tmp_path / "providers.toml"
        path.write_text(file)
        env["LLMOS_PROVIDERS"] = str(path)
    return warnings(Settings.parse(env), env)


@pytest.mark.parametrize(
    ("url", "flaw"),
    [
        ("127.0.0.1:11434", "does not begin with http://"),
        ("htp://host/v1", "does not begin with http://"),
        ("http://", "names no host"),
        ("http://host:99999/v1", "no URL"),
        ("http://host:port/v1", "no URL"),
        ("http://[::1/v1", "no URL"),
        ("http://host:0/v1", "port 0"),
        ("http://a host/v1", "blank"),
        ("http://host/v1?key=1", "behind"),
        ("http://me:hidden@host/v1", "a name or a password"),
    ],
)
@pytest.mark.parametrize("provider", ["auto", "openai", "anthropic"])
async def test_a_url_that_is_none_stops_the_start_before_anything_is_made(
    settings: Settings, provider: str, url: str, flaw: str
) -> None:
    with pytest.raises(Invalid, match="LLMOS_LLM_URL") as caught:
        async with open_services(replace(settings, llm_provider=provider, llm_url=url), serve=True):
            pass
    assert caught.value.code == "settings.invalid"
    assert flaw in caught.value.message
    assert "hidden" not in caught.value.message + caught.value.hint
    assert not settings.data.exists()


@given(st.text())
def test_no_text_as_a_url_is_worse_than_refused(text: str) -> None:
    with suppress(Invalid):
        check_model(Settings(llm_url=text))


async def test_a_server_of_models_that_cannot_be_reached_stops_no_start(settings: Settings) -> None:
    async with open_services(replace(settings, llm_provider="openai", llm_url="http://127.0.0.1:1/v1"), serve=True):
        pass


@pytest.mark.parametrize("key", ["sk-1\n", "“sk-1”"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(Invalid, match="LLMOS_LLM_KEY") as caught:
        check_model(Settings(llm_provider="openai", llm_key=key))
    assert "sk-1" not in caught.value.message + caught.value.hint
    check_model(Settings(llm_key=key, llm_provider="somebodys-plugin"))  # may take what it likes


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_hosted_provider_without_key_and_model_is_a_warning_since_clients_may_bring_them(name: str) -> None:
    key, model = said(LLMOS_LLM_PROVIDER=name)
    assert key.startswith(f"LLMOS_LLM_KEY is not set, and api.{name}.com answers nobody without")
    assert "a key of their own" in key
    assert model.startswith("LLMOS_LLM_MODEL is not set")
    assert said(LLMOS_LLM_PROVIDER=name, LLMOS_LLM_KEY="k", LLMOS_LLM_MODEL="m") == []
    assert said(LLMOS_LLM_URL=f"https://api.{name}.com/v1", LLMOS_LLM_MODEL="m") == [key]


def test_nothing_is_missing_where_none_is_needed() -> None:
    assert said() == said(LLMOS_LLM_PROVIDER="offline") == said(LLMOS_LLM_PROVIDER="somebodys-plugin") == []
    assert said(LLMOS_LLM_PROVIDER="openai", LLMOS_LLM_URL="http://127.0.0.1:9100/v1") == []
    assert said(LLMOS_LLM_URL="https://openai.com.example/v1") == []


@pytest.mark.parametrize("name", ["auto", "offline"])
def test_a_key_that_nobody_gets_is_a_warning(name: str) -> None:
    (line,) = said(LLMOS_LLM_PROVIDER=name, LLMOS_LLM_KEY="k")
    assert "LLMOS_LLM_PROVIDER" in line


@pytest.mark.parametrize("tail", ["/chat/completions", "/messages/", "/embeddings"])
def test_a_url_with_the_path_of_a_request_is_a_warning(tail: str) -> None:
    (line,) = said(LLMOS_LLM_URL=f"http://127.0.0.1:9100/v1{tail}")
    assert tail.rstrip("/") in line


def test_providers_of_the_file_without_a_key_are_named(tmp_path: Path) -> None:
    azure, claude = said(tmp_path, FILE)
    assert "azure takes its key from LLMOS_AZURE, which is not set" in azure
    assert "claude has no key, and api.anthropic.com" in claude
    assert said(tmp_path, FILE.replace('"anthropic"', '"anthropic"\nkey = "k"'), LLMOS_AZURE="k") == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("LLMOS_LLM_MODLE", "LLMOS_LLM_MODEL"),
        ("LLMOS_MODEL", "LLMOS_LLM_MODEL"),
        ("LLMOS_PROVIDER", "LLMOS_LLM_PROVIDER"),
        ("LLMOS_RETENTION_DAY", "LLMOS_RETENTION_DAYS"),
        ("LLMOS_LOGLEVEL", "LLMOS_LOG_LEVEL"),
    ],
)
def test_a_name_that_nothing_reads_is_told_with_the_nearest(name: str, near: str) -> None:
    assert said(**{name: "hidden"}) == [f"{name} is not known; did you mean {near}?"]


def test_a_name_that_is_like_none_is_told_with_where_all_are() -> None:
    assert said(LLMOS_XYZZY="1") == ["LLMOS_XYZZY is not known; docs/settings.md lists all names."]


def test_names_that_are_somebodys_are_not_told() -> None:
    assert said(**Settings().environment()) == []
    names = ["LLMOS_URL", "LLMOS_KEY", "LLMOS_USER", "LLMOS_PROVIDER_MINE", "LLMOS_REMOTE_X", "OTHER", "llmos_x"]
    assert said(**dict.fromkeys(names, "1"), LLMOS_EMPTY="") == []


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({"LLMOS_LLM_PROVIDER": "offline"}, "none; the offline model answers from the skills"),
        ({}, "the first of Ollama at 127.0.0.1:11434 while it runs, else the offline model"),
        ({"LLMOS_LLM_PROVIDER": "openai", "LLMOS_LLM_MODEL": "gpt-x"}, "gpt-x at api.openai.com"),
        ({"LLMOS_LLM_URL": "http://127.0.0.1:9100/v1"}, "the first that is listed at 127.0.0.1:9100"),
        ({"LLMOS_LLM_PROVIDER": "parrot", "LLMOS_LLM_MODEL": "p"}, "p of the plugin parrot"),
    ],
)
def test_who_answers_is_a_line(env: dict[str, str], line: str) -> None:
    assert who_answers(Settings.parse(env)) == line


def test_who_answers_names_the_providers_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(FILE)
    shown = who_answers(Settings(llm_provider="offline", providers=str(tmp_path / "p.toml")))
    assert shown.endswith("; further providers: azure, claude, local")


def test_a_name_that_leads_to_no_provider_is_a_warning(tmp_path: Path) -> None:
    names = '[models]\nfast = ["local/qwen3", "lokal/qwen3"]\nusual = "default/gpt-x"\n'
    told = said(tmp_path, '[providers.local]\nurl = "http://127.0.0.1:9100/v1"\n' + names)
    assert told == ["'lokal/qwen3' leads nowhere: there is no provider 'lokal'. Name one that there is, or set it."]
