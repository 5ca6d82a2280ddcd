"""Settings are read from a mapping, typed, and written back for a worker process without loss."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.errors import Invalid
from llmos_lite.settings import Settings

FIELDS = fields(Settings)


def test_the_defaults_are_those_of_a_laptop() -> None:
    settings = Settings.parse({})
    assert (settings.data, settings.host, settings.port) == (Path("data"), "127.0.0.1", 8420)
    assert (settings.min_pattern_count, settings.min_team_pattern_count, settings.min_success_rate) == (3, 5, 0.7)
    assert (settings.llm_url, settings.llm_provider, settings.create_users) == ("", "auto", True)


@pytest.mark.parametrize("item", FIELDS, ids=lambda item: item.name)
def test_every_setting_has_a_variable_of_its_name_and_a_sentence(item: object) -> None:
    name, metadata = getattr(item, "name", ""), getattr(item, "metadata", {})
    assert metadata["env"] == f"LLMOS_{name.upper()}"
    assert metadata["doc"]
    assert metadata["doc"][-1] in ".:" or metadata["doc"].endswith("...")


def test_the_environment_is_read_as_each_setting_s_type() -> None:
    settings = Settings.parse(
        {"LLMOS_DATA": "/srv/llmos", "LLMOS_PORT": "9000", "LLMOS_LLM_TIMEOUT": "2.5", "LLMOS_LOG_JSON": "on"}
    )
    assert (settings.data, settings.port, settings.llm_timeout, settings.log_json) == (
        Path("/srv/llmos"),
        9000,
        2.5,
        True,
    )


@pytest.mark.parametrize(
    ("text", "value"), [("on", True), ("1", True), ("TRUE", True), ("off", False), ("0", False), ("False", False)]
)
def test_switches_take_the_usual_words(text: str, value: object) -> None:
    assert Settings.parse({"LLMOS_EXPERIMENTS": text}).experiments is value


def test_what_is_given_wins_over_the_environment_and_nothing_given_does_not() -> None:
    settings = Settings.parse({"LLMOS_PORT": "9000", "LLMOS_HOST": "::1"}, port=9001, host=None)
    assert (settings.port, settings.host) == (9001, "::1")


def test_an_empty_variable_and_a_foreign_one_are_as_if_unset() -> None:
    assert Settings.parse({"LLMOS_PORT": "", "LLMOS_NO_SUCH": "1", "PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("LLMOS_PORT", "http", "a whole number"),
        ("LLMOS_EXPERIMENTS", "maybe", "on or off"),
        ("LLMOS_LLM_TIMEOUT", "x", "a number"),
    ],
)
def test_a_value_that_cannot_be_read_names_its_variable(name: str, text: str, kind: str) -> None:
    with pytest.raises(Invalid) as caught:
        Settings.parse({name: text})
    assert caught.value.code == "settings.invalid"
    assert name in caught.value.message
    assert kind in caught.value.message


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]  # the point of the test


@given(
    port=st.integers(0, 65535),
    rate=st.floats(0, 1),
    experiments=st.booleans(),
    model=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
)
def test_a_worker_reads_back_what_its_server_wrote(port: int, rate: float, experiments: object, model: str) -> None:
    settings = Settings.parse({}, port=port, min_success_rate=rate, experiments=experiments, llm_model=model)
    assert Settings.parse(settings.environment()) == settings
