"""What models cost: input and output by the million tokens, for names and patterns of names."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple, Self

from llmos_lite.errors import Forbidden, Invalid, LlmosError

MOST = 1e9
_REMEMBERED, _LONGEST = 1000, 200
"""How many names of models are known by heart, and how long they may be; clients make them up."""


class Price(NamedTuple):
    """Price of a million tokens, which is the millionth of a unit for one."""

    input: float = 0.0
    output: float = 0.0

    def micros(self, tokens_in: int, tokens_out: int) -> int:
        """Return what tokens cost, in millionths of the unit of money, rounded up."""
        return math.ceil(tokens_in * self.input + tokens_out * self.output - 1e-6)


FREE = Price()


class Prices:
    """Prices of models.

    Args:
        prices: by name, or pattern as in `gpt-4o*`; the longest that fits counts.
        refuse_unknown: whether a model without a price may not be used; otherwise it costs nothing.
    """

    def __init__(self, prices: Mapping[str, Price], *, refuse_unknown: bool = False) -> None:
        self._prices = sorted(prices.items(), key=lambda one: (one[0].count("*") > 0, -len(one[0])))
        self._refuse = refuse_unknown
        self._known: dict[str, Price | None] = {}

    @classmethod
    def parse(cls, setting: str, *, unknown: str = "free") -> Self:
        """Read a setting: JSON, the path of a TOML file, or nothing; `unknown` models are `free` or `refuse`.

        Raises:
            Invalid: `settings.prices`, `settings.invalid`.
        """
        if unknown not in {"free", "refuse"}:
            raise Invalid("settings.invalid", f"LLMOS_UNKNOWN_PRICE={unknown[:40]!r} is neither free nor refuse.")
        try:
            found = _read(setting.strip()) if setting.strip() else {}
            prices = {name: _price(value) for name, value in found.items()}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _unreadable(error) from error
        return cls(prices, refuse_unknown=unknown == "refuse")

    def of(self, model: str) -> Price:
        """Return the price of a model.

        Raises:
            Forbidden: `price.unknown`.
        """
        found = self._known[model] if model in self._known else self.find(model)
        if found is None and self._refuse:
            raise Forbidden(
                "price.unknown",
                f"The model {model[:100]!r} has no price, and so may not be used here.",
                hint="Ask a system admin to add it to LLMOS_PRICES.",
            )
        return found or FREE

    def find(self, model: str) -> Price | None:
        """Return the price of a model, None for one that has none."""
        if model not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = next((price for name, price in self._prices if fnmatchcase(model, name)), None)
            if len(model) > _LONGEST:
                return found
            self._known[model] = found
        return self._known[model]


def _read(setting: str) -> dict[str, object]:
    found = json.loads(setting) if setting.startswith("{") else tomllib.loads(Path(setting).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise TypeError("it is no table of models")
    return found


def _price(value: object) -> Price:
    if not isinstance(value, dict) or value.keys() - {"input", "output"}:
        raise TypeError("each model has `input` and `output`")
    numbers = [value.get("input", 0), value.get("output", 0)]
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) and 0 <= one <= MOST for one in numbers):
        raise ValueError("a price is a number from 0 up")
    return Price(*map(float, numbers))


def _unreadable(error: Exception) -> LlmosError:
    return Invalid(
        "settings.prices",
        f"LLMOS_PRICES cannot be read: {error}.",
        hint='Write {"gpt-4o*": {"input": 2.5, "output": 10}}, or name a TOML file with the same.',
    )
