"""Figures that can be taken again: every module here with a `run()` adds rows to one table.

`python -m benchmarks` runs all of them, `python -m benchmarks start load` only those two. A figure stands
beside a reference that is measured in the same run on the same machine, because only the ratio travels.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BOUND = re.compile(r"(ratio|value)?\s*(<=|>=|<|>)\s*(\d*\.?\d+)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: what was done, as in "chat p99 while 10,000 traces are imported".
        value: what we measured, in `unit`.
        reference: the same measure of the thing we compare with, in the same run; None when there is none.
        ratio: `value / reference` unless given.
        unit: of value and reference, as in "ms" or "appends/s".
        target: the bounds that we hold ourselves to, as in "ratio <= 3, value <= 100"; a bound without a
            word is one on the ratio.
    """

    name: str
    value: float
    reference: float | None = None
    ratio: float | None = None
    unit: str = ""
    target: str = ""

    @property
    def times(self) -> float | None:
        """Return the ratio, as given or computed."""
        if self.ratio is not None or not self.reference:
            return self.ratio
        return self.value / self.reference

    @property
    def met(self) -> bool | None:
        """Tell whether every bound of the target holds; None when there is no bound to check."""
        verdicts = list(self._verdicts())
        return all(verdicts) if verdicts else None

    def _verdicts(self) -> Iterator[bool]:
        for noun, sign, bound in _BOUND.findall(self.target):
            measured = self.value if noun == "value" else self.times
            if measured is not None:
                yield _COMPARE[sign](measured, float(bound))
