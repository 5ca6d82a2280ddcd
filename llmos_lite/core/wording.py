"""Numbers in sentences for people."""

from __future__ import annotations


def count_of(number: object, one: str, several: str = "") -> str:
    """Return a number with what it counts: 1 skill, 2 skills.

    Args:
        number: how many; what is no number is none.
        one: what follows a 1, as in `event waits`.
        several: what follows every other number; empty is `one` with an s.
    """
    count = number if isinstance(number, int) else 0
    return f"{count:,} {one if count == 1 else several or f'{one}s'}"
