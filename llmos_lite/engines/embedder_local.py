"""A sentence model in this process: onnxruntime and tokenizers, no torch. 5 ms of CPU a query, 25 to 85 a skill."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, cast

from llmos_lite.engines.embedder import LONGEST, checked
from llmos_lite.engines.model_folder import ModelFolder, broken, packaged
from llmos_lite.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float32]

BATCH_TOKENS = 4096
"""Of texts of about one length that are run together: 16 of the longest; more make it no faster on one thread."""
THREADS = 1
"""Of one run. What is embedded in the background must leave the other cores to those who chat."""


_MARKS = (("[CLS]", "<s>"), ("[SEP]", "</s>"), ("[UNK]", "<unk>"))


class _RunOptions(Protocol):
    terminate: bool


class _Runtime(Protocol):
    def run(self, outputs: None, feed: Mapping[str, object], options: _RunOptions) -> Sequence[Floats]: ...


class _Session(NamedTuple):
    """A session, what ends its runs, and the weights that it reads from our memory."""

    runtime: _Runtime
    options: _RunOptions
    weights: object


class _Encoding(Protocol):
    ids: list[int]


class Tokenizer(Protocol):
    """The part of `tokenizers.Tokenizer` that is used."""

    def encode(self, text: str, *, add_special_tokens: bool) -> _Encoding:
        """Cut a text into tokens; unlike `encode_batch`, on this thread alone."""

    def token_to_id(self, token: str) -> int | None:
        """Return the number of a token."""

    def get_vocab_size(self) -> int:
        """Return how many tokens there are."""


class _Loaded(NamedTuple):
    session: _Session
    tokenizer: Tokenizer
    first: int
    last: int
    unknown: int


def open_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a model's folder, without padding and cutting.

    Raises:
        Unavailable: `embedder.broken`.
    """
    try:
        found = importlib.import_module("tokenizers").Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # the library raises bare ones
        raise broken(path, f"its tokenizer cannot be read ({error})") from error
    found.no_truncation()
    found.no_padding()
    return cast("Tokenizer", found)


class LocalEmbedder:
    """A sentence model of a folder; loaded on first use, a quarter of a second and 100 MB.

    Args:
        path: folder of a BERT; None takes the packaged MiniLM.

    Raises:
        Unavailable: `embedder.missing`, `embedder.broken`.
    """

    quick = False

    def __init__(self, path: Path | None = None) -> None:
        found = path or packaged()
        if found is None:
            raise Unavailable(
                "embedder.missing",
                "No sentence model is installed.",
                hint="Run `make semantic`.",
            )
        self.folder = ModelFolder.read(found)
        self.name = f"local:{'all-MiniLM-L6-v2' if path is None else found.name}"
        self.latin = path is None  # MiniLM was trained on English
        self.sentences = True
        self.dimension = self.folder.shape.width
        self._loading = threading.Lock()
        self._loaded: _Loaded | None = None

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one row for each text; see `Embedder`. A text of unknown characters only gives zero."""
        model = self._model()
        cut = (model.tokenizer.encode(text[:LONGEST], add_special_tokens=False).ids for text in texts)
        room = self.folder.tokens - 2
        known = (ids[:room] if any(one != model.unknown for one in ids) else [] for ids in cut)
        return self._run(model, [[model.first, *ids, model.last] if ids else [] for ids in known])

    def run(self, rows: Sequence[Sequence[int]]) -> Floats:
        """Return the vectors of tokens, both marks among them, shape (n, dimension); an empty row gives zero."""
        return self._run(self._model(), rows)

    def _run(self, model: _Loaded, rows: Sequence[Sequence[int]]) -> Floats:
        import numpy as np  # noqa: PLC0415 - slow to load, and not every server needs it at its start

        found = np.zeros((len(rows), self.dimension), dtype=np.float32)
        for places in _batches(rows):
            if model.session.options.terminate:
                raise closed()
            found[places] = _pooled(model.session, [rows[place] for place in places])
        return checked(found, len(rows)) if rows else found

    def marks(self) -> tuple[int, int]:
        """Return the tokens that stand before and after every text."""
        model = self._model()
        return model.first, model.last

    def close(self) -> None:
        """Forget the model; what it is doing ends at once, and with an error."""
        with self._loading:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.session.options.terminate = True

    def _model(self) -> _Loaded:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Loaded:
        tokenizer = open_tokenizer(self.folder.path)
        first, last, unknown = (_mark(tokenizer, names) for names in _MARKS)
        try:
            session = open_session(self.folder)
        except KeyError as error:
            raise broken(self.folder.path, f"it has no tensor {error}") from error
        return _Loaded(session, tokenizer, first, last, unknown)


def closed() -> Unavailable:
    """Return the error for a model that was closed while it was asked."""
    return Unavailable("embedder.closed", "The sentence model was closed.", hint="Try again after the restart.")


def open_session(folder: ModelFolder) -> _Session:
    """Return a session of one thread on the encoder of a folder.

    Raises:
        KeyError: a tensor is not there.
        Unavailable: `embedder.broken`.
    """
    from llmos_lite.engines.bert_onnx import build  # noqa: PLC0415 - loads numpy

    graph = build(folder.tensors(), folder.shape)
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    options.log_severity_level = 3
    values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in graph.weights.values()]
    options.add_external_initializers(list(graph.weights), values)
    try:
        found = runtime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the library's own have no common base
        raise broken(folder.path, f"onnxruntime refused it ({error})") from error
    return _Session(cast("_Runtime", found), runtime.RunOptions(), (values, graph.weights))


def _mark(tokenizer: Tokenizer, names: Iterable[str]) -> int:
    return next((number for name in names if (number := tokenizer.token_to_id(name)) is not None), -1)


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the places of rows that are run together, the shortest first; empty ones are left out."""
    batch: list[int] = []
    for place in sorted((place for place, row in enumerate(rows) if row), key=lambda place: len(rows[place])):
        if batch and (len(batch) + 1) * len(rows[place]) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _pooled(session: _Session, rows: Sequence[Sequence[int]]) -> Floats:
    """Return the mean of the last states of each row, shape (n, dimension)."""
    import numpy as np  # noqa: PLC0415 - as above

    ids = np.zeros((len(rows), max(map(len, rows))), dtype=np.int64)
    mask = np.zeros(ids.shape, dtype=np.int32)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
    feed = {"ids": ids, "mask": mask, "positions": np.arange(ids.shape[1], dtype=np.int64)}
    states = session.runtime.run(None, feed, session.options)[0]
    sums: Floats = np.einsum("bsd,bs->bd", states, mask.astype(np.float32))
    means: Floats = sums / mask.sum(axis=1, keepdims=True, dtype=np.float32)
    return means
