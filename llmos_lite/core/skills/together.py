"""Libraries that are searched as if they were one: what their set says is found out once, until one of them changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library

if TYPE_CHECKING:
    from llmos_lite.core.skills.index import Pieces


class Together(tuple[Library, ...]):  # noqa: SLOT001 - it keeps what it found out
    """The libraries that somebody sees, of which the first wins.

    Attributes:
        states: what tells them apart; see `Library`.
        heads: the commit of each.
        commits: that of each volume that has one.
        total: how many skills there are, a few of them twice.
        is_safe: whether no scanner has anything against any of them.
        withholds: whether one holds anything back.
    """

    def __init__(self, libraries: Iterable[Library] = ()) -> None:
        del libraries  # `tuple` has them
        self.states = tuple([library.state for library in self])
        self.heads = [library.commit for library in self]
        self.commits = {library.name: library.commit for library in self if library.commit}
        self.total = sum([library.count for library in self])
        self.is_safe = not any(library.unsafe for library in self)
        self.withholds = any(library.held for library in self)

    @classmethod
    def of(cls, libraries: Sequence[Library]) -> Together:
        """Return libraries together, as they were made or anew."""
        return libraries if isinstance(libraries, cls) else cls(libraries)

    @cached_property
    def pieces(self) -> Pieces:
        """Return what of them is searched."""
        from llmos_lite.core.skills.index import Pieces  # noqa: PLC0415 - loads numpy

        return Pieces.of([library.index for library in self])

    @cached_property
    def skills(self) -> list[Mapping[str, Skill]]:
        """Return the skills of each piece's library, by id."""
        return [self[source].skills for source in self.pieces.sources]

    @cached_property
    def hidden(self) -> tuple[frozenset[str], ...] | None:
        """Return the ids in each piece that are not found, as of what is held back or shadowed; None without any."""
        hides = [_hidden_by(self[:place], library) for place, library in enumerate(self)]
        return tuple([hides[source] for source in self.pieces.sources]) if any(hides) else None

    @cached_property
    def unheld(self) -> Together:
        """Return them as they would be if nothing was held back."""
        return Together([replace(library, held={}) if library.held else library for library in self])


def _hidden_by(better: Sequence[Library], library: Library) -> frozenset[str]:
    shared = [(one, key) for one in better for key in one.skills.keys() & library.skills.keys()]
    return frozenset(key for one, key in shared if one.offers(key)).union(library.held)
