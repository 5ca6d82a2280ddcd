"""Embedders to test with: one that knows words in several languages, and one that breaks."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from llmos_lite.engines.embedder import unit
from llmos_lite.engines.model_folder import packaged

Floats = npt.NDArray[np.float32]
DIMENSION = 512

installed = pytest.mark.skipif(packaged() is None, reason="`make semantic` was not run")

WORDS = {
    "invoice": "rechnung factura 发票",
    "translate": "übersetze traduce 翻译",
    "deploy": "ausrollen desplegar 部署",
    "tea": "tee té 茶",
    "brew": "brühen preparar 泡",
    "service": "dienst servicio 服务",
    "database": "datenbank base 数据库",
}
_ENGLISH = {other: word for word, others in WORDS.items() for other in others.split()}
_LITTLE = frozenset(
    """a an the and or of to in for it is how do i my when use who what der die das ich mir wie el la""".split()  # noqa: SIM905 - a paragraph of words
)
_CHINESE = "|".join(word for word in _ENGLISH if not word.isascii() and len(word) <= 3 and word > "\u3000")


class Babel:
    """A toy model that gives words of four languages one vector each, by their English word.

    A text is the sum of its words; one without any known letter is zero.
    """

    dimension, sentences = DIMENSION, True

    def __init__(self, *, multilingual: bool = True, quick: bool = False) -> None:
        self._multilingual, self.quick, self.latin = multilingual, quick, False
        self.name = f"babel-{multilingual}"
        self.asked: list[str] = []
        self.closed = False

    def embed(self, texts: Sequence[str]) -> Floats:
        self.asked += texts
        return unit(np.stack([self._row(text.lower()) for text in texts]) if texts else np.zeros((0, DIMENSION), "f4"))

    def _row(self, text: str) -> Floats:
        row = np.zeros(DIMENSION, dtype=np.float32)
        words = re.findall(_CHINESE, text) + re.findall(r"[^\W\d_\u3000-\u9fff]+", text)
        for word in words:
            if word not in _LITTLE:
                row += _direction((_ENGLISH.get(word, word) if self._multilingual else word).rstrip("s"))
        return row

    def close(self) -> None:
        self.closed = True


def _direction(word: str) -> Floats:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=DIMENSION).astype(np.float32)


class Broken:
    """An embedder that always fails, in a way of its own."""

    name, dimension = "broken", 4

    def __init__(self, *, quick: bool = False) -> None:
        self.quick, self.calls = quick, 0

    def embed(self, texts: Sequence[str]) -> Floats:  # noqa: ARG002 - it looks at nothing
        self.calls += 1
        raise RuntimeError("out of order")

    def close(self) -> None:
        """Do nothing."""
