# What `_kernel.c` does; see `compiled.py`, and `matches.py` for what it means.

from typing import NewType, TypeAlias

import numpy as np
import numpy.typing as npt

SOURCE: int
FLAGS: int

Array: TypeAlias = npt.NDArray[np.generic]
Found: TypeAlias = tuple[float, int, int]
Query = NewType("Query", object)

# Fill `scores`; return what else can be asked about the query.
def match(
    pieces: tuple[tuple[Array | None, ...], ...],
    hashes: list[int],
    total: int,
    scores: npt.NDArray[np.float64],
    levels: npt.NDArray[np.uint8],
    shares: npt.NDArray[np.float64],
    rules: tuple[float, float, float, float, float, int],
) -> Query: ...

# Return hash, idf and number of documents of each term that counts.
def terms(query: Query) -> list[tuple[int, float, int]]: ...

# Return the best.
def best(query: Query, scores: npt.NDArray[np.float64], width: int) -> list[Found]: ...

# Return what documents hold of the query; see `Held`.
def held(query: Query, found: list[Found]) -> list[tuple[float, float, int]]: ...

# Tell whether the print of one of those that were found nearly equals that of one of some others.
def repeats_any(query: Query, found: list[Found], at: int, others: list[int]) -> bool: ...
