"""A system prompt as its pieces: many prompts share most of theirs, so that these are quoted, written and kept once."""

from __future__ import annotations

import msgspec


class Prompt(msgspec.Struct, frozen=True, gc=False):
    """A system prompt; the same pieces are the same objects, wherever they stand."""

    pieces: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return it as a model sees it."""
        return "".join(self.pieces)

    def __bool__(self) -> bool:
        return bool(self.pieces)

    def __len__(self) -> int:
        """Return how many characters it has."""
        return sum(map(len, self.pieces))


NOTHING = Prompt()
