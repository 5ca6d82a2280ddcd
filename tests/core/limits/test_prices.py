"""What models cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmos_lite.core.limits import prices as module
from llmos_lite.core.limits.prices import Price, Prices
from llmos_lite.errors import Forbidden, Invalid


def test_the_name_counts_over_patterns_and_the_longest_pattern_over_others() -> None:
    prices = Prices.parse('{"*": {"input": 9}, "gpt-*": {"input": 1}, "gpt-4o*": {"input": 2}, "gpt-4o": {"input": 3}}')
    found = {name: prices.of(name).input for name in ("gpt-4o", "gpt-4o-mini", "gpt-5", "other", "")}
    assert found == {"gpt-4o": 3, "gpt-4o-mini": 2, "gpt-5": 1, "other": 9, "": 9}


def test_a_toml_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["gpt-4o*"]\ninput = 2.5\noutput = 10\n')
    assert Prices.parse(str(file)).of("gpt-4o-mini") == Price(2.5, 10.0)


@pytest.mark.parametrize(
    ("tokens_in", "tokens_out", "micros"), [(0, 0, 0), (1, 0, 3), (1000, 500, 7500), (10**12, 0, 25 * 10**11)]
)
def test_a_million_tokens_cost_the_price(tokens_in: int, tokens_out: int, micros: int) -> None:
    assert Price(2.5, 10.0).micros(tokens_in, tokens_out) == micros


def test_what_has_no_price_costs_nothing_or_is_refused() -> None:
    assert Prices.parse("").of("any") == Price()
    refusing = Prices.parse('{"known": {}}', unknown="refuse")
    assert refusing.of("known") == Price()
    with pytest.raises(Forbidden, match="has no price"):
        refusing.of("any")
    assert refusing.find("any") is None


@pytest.mark.parametrize(
    "setting",
    [
        "{",
        "[]",
        "no/such/file.toml",
        '{"a": 1}',
        '{"a": {"input": -1}}',
        '{"a": {"input": true}}',
        '{"a": {"input": 1e10}}',
        '{"a": {"cost": 1}}',
        '{"a": {"input": NaN}}',
    ],
)
def test_what_cannot_be_read_is_said(setting: str) -> None:
    with pytest.raises(Invalid) as caught:
        Prices.parse(setting)
    assert caught.value.code == "settings.prices"
    with pytest.raises(Invalid, match="neither free nor refuse"):
        Prices.parse("", unknown="maybe")


def test_names_that_somebody_made_up_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    prices = Prices({})
    for number in range(100):
        prices.of(f"model-{number}")
        prices.of(f"model-{number}" * 1000)
    assert len(prices._known) <= 10
    assert sum(map(len, prices._known)) < 1000
