"""What a server says when it starts: what it refuses."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.bootstrap import open_services
from llmos_lite.bootstrap.starting import check_model
from llmos_lite.errors import Invalid
from llmos_lite.settings import Settings


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
        check_model(Settings(llm_key=key))
    assert "sk-1" not in caught.value.message + caught.value.hint
