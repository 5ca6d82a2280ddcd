"""A table of token vectors, distilled from a sentence model: tens of microseconds a query, a millisecond a skill.

Each token of the vocabulary is run through the model alone, the mean is taken out, the rest is turned to its strongest
directions, and tokens are weighed by how rare they are (as model2vec does it; weights a / (a + p) of Arora et al. 2017,
p by Zipf from the place in the vocabulary). A text is the weighted mean of its tokens. Made once in 25 s of CPU.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from llmos_lite.engines.cache_file import read_cache, write_cache
from llmos_lite.engines.embedder import LONGEST, unit
from llmos_lite.engines.embedder_local import LocalEmbedder, Tokenizer, open_tokenizer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float32]
    Halves: TypeAlias = npt.NDArray[np.float16]

DIMENSION = 256
"""Of 384; recall with all of them is the same, and with 128 it is .03 lower (of the table alone, without words)."""
RARITY = 1e-5
"""Of 1e-3 ... 1e-6 the best on the dev queries: alone, recall@5 is .30, .40, .44, .43."""
RECIPE = 1
"""Grows when the table of one model would become another."""


class _Table(NamedTuple):
    tokenizer: Tokenizer
    rows: Halves
    unknown: int


class StaticEmbedder:
    """A table distilled from a sentence model.

    Args:
        model: the model; it is only run when there is no table yet.
        folder: where the table is kept when none lies beside the model; it can be deleted at any time.
    """

    def __init__(self, model: LocalEmbedder, folder: Path) -> None:
        self._model = model
        self.dimension, self.latin = min(DIMENSION, model.dimension), model.latin
        self.sentences = False
        self.name = f"static{RECIPE}:{model.name.partition(':')[2]}"
        self._paths = [place / f"llmos-{self.name.replace(':', '-')}.table" for place in (model.folder.path, folder)]
        self._loading = threading.Lock()
        self._table: _Table | None = None

    @property
    def quick(self) -> bool:
        """Tell whether the table is in memory."""
        return self._table is not None

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one row for each text; see `Embedder`. A text of unknown characters only gives zero."""
        import numpy as np  # noqa: PLC0415 - slow to load, and not every server needs it at its start

        table = self._table or self._load()
        found = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(found, texts, strict=True):
            ids = table.tokenizer.encode(text[:LONGEST], add_special_tokens=False).ids
            known = [number for number in ids if number != table.unknown]
            if known:
                table.rows.take(known, axis=0).sum(axis=0, dtype=np.float32, out=row)
        return unit(found)

    def close(self) -> None:
        """Forget the table."""
        self._table = None

    def _load(self) -> _Table:
        with self._loading:
            if self._table is None:
                tokenizer = open_tokenizer(self._model.folder.path)
                shape = (tokenizer.get_vocab_size(), self.dimension)
                known = (_read(path, shape) for path in self._paths)
                rows = next((found for found in known if found is not None), None)
                if rows is None:
                    rows = self._distilled(self._paths[-1], shape[0])
                unknown = tokenizer.token_to_id("[UNK]")
                self._table = _Table(tokenizer, rows, -1 if unknown is None else unknown)
            return self._table

    def make_beside_model(self) -> bool:
        """Distil the table into the model's folder, for every data folder on this machine; True when it is there."""
        shape = (open_tokenizer(self._model.folder.path).get_vocab_size(), self.dimension)
        if _read(self._paths[0], shape) is None:
            self._distilled(self._paths[0], shape[0])
        return _read(self._paths[0], shape) is not None

    def _distilled(self, path: Path, tokens: int) -> Halves:
        rows = distil(self._model, tokens, self.dimension)
        write_cache(path, rows.astype("<f2").tobytes())
        self._model.close()
        return rows


def distil(model: LocalEmbedder, tokens: int, dimension: int) -> Halves:
    """Return the table of a model, shape (tokens, dimension)."""
    import numpy as np  # noqa: PLC0415 - as above

    first, last = model.marks()
    alone = model.run([[first, token, last] for token in range(tokens)]).astype(np.float64)
    alone -= alone.mean(axis=0)
    _, directions = np.linalg.eigh(alone.T @ alone)
    turned = alone @ directions[:, ::-1][:, :dimension]
    share = 1 / np.arange(2, tokens + 2)
    share /= share.sum()
    rows: Halves = (turned * (RARITY / (RARITY + share))[:, None]).astype(np.float16)
    return rows


def _read(path: Path, shape: tuple[int, int]) -> Halves | None:
    """Return a table that was written whole; None when there is none."""
    import numpy as np  # noqa: PLC0415 - as above

    data = read_cache(path)
    if data is None or len(data) != 2 * shape[0] * shape[1]:
        return None
    return np.frombuffer(data, dtype="<f2").reshape(shape)


if __name__ == "__main__":  # `make semantic`
    sys.exit(not StaticEmbedder(LocalEmbedder(), Path()).make_beside_model())
