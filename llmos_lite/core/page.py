"""One page of a list, as every list of the API answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a longer list.

    Args:
        items: the items, in the order of the list.
        next_cursor: opaque; hand it back for the next page; None after the last one.
        total: how many items the whole list has, with the same filters.
    """

    items: list[T]
    next_cursor: str | None
    total: int
