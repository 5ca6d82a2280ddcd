"""The fields of a skill that are searched, and how much a word in each of them weighs (BM25, per field)."""

from __future__ import annotations

from dataclasses import dataclass

K1, B = 0.9, 0.75
WEIGHTS = (1.5, 1.5, 1.0)
"""Boosts of name, header (description, keywords, category) and body: chosen on the
dev queries and on long requests made of skills' own examples; 1/1/1 is half a point worse there. Only a part of the
grid was checked by leaving out one repository after the other."""
TYPICAL = (3.0, 32.0, 360.0)
"""Terms in a typical field: the mean over public skills. Fixed, so that a new document changes no other's weight."""


@dataclass(frozen=True, slots=True)
class Document:
    """What of a skill is searched."""

    key: str
    name: str
    header: str
    body: str
