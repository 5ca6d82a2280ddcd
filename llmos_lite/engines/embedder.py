"""Texts as vectors: the seam, what every engine's answer is held to, and the embedders of other packages.

None is needed: without one, skills and goals are compared by their words. `embedder_local` runs a sentence model in
this process, `embedder_static` a table distilled from it, `embedder_http` asks an API, `embedder_auto` chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from llmos_lite.engines import plugins
from llmos_lite.errors import Invalid, UpstreamFailed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats: TypeAlias = npt.NDArray[np.float32]

LONGEST = 8_000
"""Characters of a text that count; what a model does not read of them it leaves away."""


class Embedder(Protocol):
    """Turns texts into vectors. Everything is synchronous and safe to call from several threads at once."""

    @property
    def name(self) -> str:
        """Name of the vector space: texts that were embedded under one name can be compared."""

    @property
    def dimension(self) -> int:
        """Width of a row; 0 while it is not known, before the first answer of an API."""

    @property
    def quick(self) -> bool:
        """Tell whether one short text costs less now than handing it to a thread: tens of microseconds."""

    @property
    def latin(self) -> bool:
        """Tell whether it knows Latin script alone: to a model of English, every Chinese text means much the same."""

    @property
    def sentences(self) -> bool:
        """Tell whether it reads sentences. Of a sum of words, nearness does not say whether anything fits at all."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one row for each text, in their order, shape (n, dimension).

        A row has length 1, or is zero for a text of which the embedder knows nothing. The same text gives the same
        row, whatever stands beside it, to about 1e-4. May take long: milliseconds a text, or the timeout of an API.

        Raises:
            UpstreamFailed: `model.*` of an API, or `embedder.garbage`, for an answer that is no such rows.
            UpstreamTimeout: `model.timeout`.
            Unavailable: `embedder.missing`, `embedder.broken`: the model is not there, or cannot be read.
        """

    def close(self) -> None:
        """Let go of connections and memory; an `embed` that waits may fail."""


def checked(found: object, count: int, dimension: int = 0) -> Floats:
    """Return rows of length 1 (or 0), or raise.

    Args:
        found: what an embedder answered.
        count: how many rows there must be.
        dimension: how wide they must be; 0 for any width.

    Raises:
        UpstreamFailed: `embedder.garbage`.
    """
    import numpy as np  # noqa: PLC0415 - slow to load, and not every server needs it at its start

    try:
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
            rows: Floats = np.asarray(found, dtype=np.float32)
    except (TypeError, ValueError):
        raise _garbage("not numbers") from None
    if rows.ndim != 2 or len(rows) != count or not rows.shape[1]:  # noqa: PLR2004 - a row for each text
        raise _garbage(f"an array of the shape {rows.shape} for {count} texts")
    if dimension and rows.shape[1] != dimension:
        raise _garbage(f"rows of {rows.shape[1]} numbers, and before of {dimension}")
    if not np.isfinite(rows).all():
        raise _garbage("numbers that are not finite")
    return unit(rows)


def unit(rows: Floats) -> Floats:
    """Return rows at length 1; zero stays zero."""
    import numpy as np  # noqa: PLC0415 - as above

    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    found: Floats = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
    return found


def _garbage(what: str) -> UpstreamFailed:
    return UpstreamFailed("embedder.garbage", f"The embedder answered {what}.", hint="Check LLMOS_EMBEDDER.")


class Plain(Protocol):
    """What a package has to offer at least, in the group `llmos_lite.embedders`.

    It may have a `name`, which it changes when its vectors change, and `quick`; see `Embedder`.
    """

    def embed(self, texts: list[str]) -> Floats:
        """Return one row for each text, shape (n, d); any length will do."""


class PluggedEmbedder:
    """An embedder of another package.

    Args:
        found: the object.
        name: of its entry point.
    """

    def __init__(self, found: Plain, name: str) -> None:
        self._found = found
        self.name = f"plugin:{getattr(found, 'name', name)}"
        self.dimension = 0

    @property
    def quick(self) -> bool:
        """Tell what the package says of itself; False when it says nothing."""
        return bool(getattr(self._found, "quick", False))

    @property
    def latin(self) -> bool:
        """Tell what the package says of itself; False when it says nothing."""
        return bool(getattr(self._found, "latin", False))

    @property
    def sentences(self) -> bool:
        """Tell whether it reads sentences; True unless the package says otherwise."""
        return bool(getattr(self._found, "sentences", True))

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return one row for each text; see `Embedder`."""
        rows = checked(self._found.embed([text[:LONGEST] for text in texts]), len(texts), self.dimension)
        self.dimension = rows.shape[1]
        return rows

    def close(self) -> None:
        """Close it, if it can be closed."""
        if callable(close := getattr(self._found, "close", None)):
            close()


def find_embedder(name: str) -> PluggedEmbedder:
    """Return the embedder of an installed package: an object with `embed`, or something to call that makes one.

    Raises:
        NotFound: `plugin.unknown`.
        Invalid: `plugin.broken`, or `plugin.embedder` when it is none.
    """
    found = plugins.find(plugins.EMBEDDERS, name)
    if isinstance(found, type) or not hasattr(found, "embed"):
        found = found() if callable(found) else found
    if not hasattr(found, "embed"):
        raise Invalid("plugin.embedder", f"The plug-in {name!r} is no embedder: it has no embed.", hint="Mend it.")
    return PluggedEmbedder(cast("Plain", found), name)
