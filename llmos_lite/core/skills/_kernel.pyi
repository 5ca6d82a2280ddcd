# What `_kernel.c` does; see `compiled.py` and `text.py`, and `matches.py` for what it means.

from collections.abc import Callable, Collection
from typing import NewType, TypeAlias

import numpy as np
import numpy.typing as npt

SOURCE: int
FLAGS: int

Array: TypeAlias = npt.NDArray[np.generic]
Piece = NewType("Piece", object)
Rules = NewType("Rules", object)
Query = NewType("Query", object)
Words = NewType("Words", object)

# Return a piece, whose arrays are looked at once: those, the keys of its documents, and how many of these count.
def piece(arrays: tuple[Array | None, ...], keys: tuple[str, ...], count: int, /) -> Piece: ...

# Return what the search knows beside the pieces.
def rules(
    levels: npt.NDArray[np.uint8],
    shares: npt.NDArray[np.float64],
    step: float,
    pair_weight: float,
    prior_documents: float,
    prior_matches: float,
    background: float,
    most: int,
    /,
) -> Rules: ...

# Give points to the documents of the pieces; return what can be asked about the query.
def match(rules: Rules, pieces: tuple[Piece, ...], hashes: list[int], /) -> Query: ...

# Return the points of all documents, 64-bit floats, where they lie; they may be changed.
def scores(query: Query, /) -> bytearray: ...

# Return hash, idf and number of documents of each term that counts.
def terms(query: Query, /) -> list[tuple[int, float, int]]: ...

# Return the best that are wanted: their score, piece, and number there.
def top(
    query: Query,
    limit: int,
    hidden: tuple[Collection[str], ...] | None,
    collapse: bool,
    share: float,
    sure: int,
    /,
) -> list[tuple[float, int, int]]: ...

# Return what a document of a piece holds of the query; see `Held`.
def held(query: Query, piece: int, document: int, /) -> tuple[float, float, int]: ...

# Return room for the hashes of words.
def words() -> Words: ...

# Return the hashes of the words of a text, without those that are 0; None where words are not told apart so easily.
def hashes(words: Words, text: str, hash_of: Callable[[str], int], /) -> list[int] | None: ...
