"""What a cosine is worth: measured, for each embedder and each library, on requests that are about something else.

Models differ widely: two unrelated texts have a cosine of .05 in one and .75 in another, and the best of 10,000 skills
is nearer than the best of ten. So a fixed list of everyday requests is compared with the vectors that are searched.
The mean and spread of all those cosines say what *near* means when skills are ordered; the usual best of each request
says what *nearer than by accident* means when nothing at all should be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.vectors import Vectors

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float32]

LEAST_SPREAD = 0.02
"""Of cosines: below it an embedder calls everything equal, and its last digits would decide."""
USUAL = 0.1
"""Spread of MiniLM's cosines among public skills is .08, of its table .09: a closeness is a cosine of such a model."""

REQUESTS = (
    "what will the weather be like tomorrow",
    "tell me a joke about cats",
    "how are you doing today",
    "set an alarm for seven in the morning",
    "what is the capital of Australia",
    "play some quiet music",
    "how do I get a red wine stain out of a carpet",
    "book a table for two tonight",
    "what does my bank account look like",
    "who won the football match yesterday",
    "recommend a film for a rainy evening",
    "how long do I boil an egg",
    "remind me to call my mother on Sunday",
    "what time is it in Tokyo",
    "my car makes a strange noise when I brake",
    "is this plant poisonous for dogs",
    "translate thank you into Italian",
    "how far away is the moon",
    "I have a headache, what should I take",
    "find me a cheap flight to Lisbon",
    "what should I wear to a wedding in winter",
    "thanks, that was very helpful",
    "can you speak more slowly",
    "where did I park the car",
    "how many calories are in a banana",
    "what is the meaning of life",
    "tell me something interesting",
    "my neighbours are too loud at night",
    "when is my next dentist appointment",
    "give me a synonym for happy",
    "how do I tie a tie",
    "turn the lights off in the kitchen",
)


@dataclass(frozen=True, slots=True)
class Scale:
    """What `REQUESTS` found in one volume.

    Args:
        count: cosines that were taken.
        total: their sum.
        squares: the sum of their squares.
        best: the largest of each request, shape (requests,).
    """

    count: int
    total: float
    squares: float
    best: Floats

    @classmethod
    def of(cls, vectors: Vectors, volume: str, requests: Floats, limit: int) -> Scale | None:
        """Measure a volume; None when it is empty."""
        found = [vectors.nearest(volume, row, limit).cosines for row in requests]
        if not all(len(cosines) for cosines in found):
            return None
        every = np.concatenate(found).astype(np.float64)
        best = np.array([cosines.max() for cosines in found], dtype=np.float32)
        return cls(len(every), float(every.sum()), float((every**2).sum()), best)


@dataclass(frozen=True, slots=True)
class Measure:
    """How cosines of some volumes together are read."""

    mean: float
    spread: float
    usual_best: float
    best_spread: float

    @classmethod
    def of(cls, scales: Sequence[Scale]) -> Measure:
        """Join the scales of at least one volume."""
        count = sum(scale.count for scale in scales)
        mean = sum(scale.total for scale in scales) / count
        variance = max(sum(scale.squares for scale in scales) / count - mean**2, 0.0)
        best = np.max([scale.best for scale in scales], axis=0)
        usual = float(np.median(best))
        middle = 1.4826 * float(np.median(np.abs(best - usual)))  # a spread that a request in scope does not widen
        return cls(mean, max(variance**0.5, LEAST_SPREAD), usual, max(middle, LEAST_SPREAD))

    def closeness(self, cosines: Floats) -> Floats:
        """Return cosines as a model would give them whose unrelated texts lie around 0 with a spread of `USUAL`."""
        found: Floats = (cosines - np.float32(self.mean)) * np.float32(USUAL / self.spread)
        return found

    def surprise(self, cosines: Floats) -> Floats:
        """Return by how many spreads cosines are larger than the usual best of an unrelated request."""
        found: Floats = (cosines - np.float32(self.usual_best)) / np.float32(self.best_spread)
        return found


def embed_requests(embedder: Embedder) -> Floats:
    """Return the vectors of `REQUESTS`, shape (requests, d)."""
    return embedder.embed(REQUESTS)
