"""What skills and queries mean, beside their words: embedded off the event loop, within a time budget, or not at all.

Words decide where there is no embedder, where it fails or is late, and until all skills of a volume have a vector. What
went wrong is logged and never reaches a chat.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.text import QUERY_CHARACTERS, is_latin
from llmos_lite.engines.daemon import Daemon
from llmos_lite.engines.embedder import Embedder, unit
from llmos_lite.engines.vectors import Entry, Vectors
from llmos_lite.errors import LlmosError, Unavailable
from llmos_lite.volumes.access import VolumeRef

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llmos_lite.core.skills.closeness import Alignments, Closeness
    from llmos_lite.core.skills.scale import Scale

    Floats: TypeAlias = npt.NDArray[np.float32]

log = logging.getLogger("llmos")

BUDGET = 0.03
REMEMBERED = 1024
"""Queries whose vectors are kept; 1.5 KB each."""
MOST_WAITING = 4
"""With more queries in front of it, one more would be late anyway; it goes by words at once."""
PATIENCE = 5.0
"""Seconds that a stop waits for what is being embedded."""
REST = 30.0
"""Seconds for which an embedder that failed is not asked again."""
BATCH = 16
SAVED = 256
"""Skills after which vectors are put away: each time costs a copy of the volume's."""
NEAREST = 256


class Semantics:
    """Embeds skills in the background, and queries when they come.

    Args:
        embedder: turns texts into vectors.
        vectors: keeps those of skills.
        budget: most seconds that a query may take.
    """

    def __init__(self, embedder: Embedder, vectors: Vectors, *, budget: float = BUDGET) -> None:
        self._embedder, self._vectors, self._budget = embedder, vectors, budget
        self._asking, self._reading = Daemon("meaning of queries"), Daemon("meaning of skills")
        self._guard = threading.Lock()
        self._queries: OrderedDict[str, Future[Floats]] = OrderedDict()
        self._scales: dict[VolumeRef, Scale] = {}
        self._seen: dict[VolumeRef, str] = {}
        self._requests: Floats | None = None
        self._alignments: Alignments | None = None
        self._rested = 0.0

    @property
    def name(self) -> str:
        """Return the name of the embedder."""
        return self._embedder.name

    async def meaning(self, libraries: Sequence[Library], query: str) -> Meaning | None:
        """Return what a query means, or None: nothing to compare with, too late, or the embedder failed."""
        asked = self._asked(libraries, query)
        if asked is not None and not asked.done():
            await asyncio.wait([asyncio.wrap_future(asked)], timeout=self._budget)
        return self._answer(query, asked)

    def meaning_now(self, libraries: Sequence[Library], query: str, *, patience: float | None = None) -> Meaning | None:
        """Do the same on a thread that may wait; `patience` in seconds takes the place of the budget."""
        asked = self._asked(libraries, query)
        if asked is not None and not asked.done():
            wait_for([asked], timeout=self._budget if patience is None else patience)
        return self._answer(query, asked)

    def look_at(self, libraries: Iterable[Library]) -> None:
        """Have the vectors of libraries brought up to date in the background; costs nothing when they are."""
        for library in libraries:
            if self._seen.get(library.ref) != library.commit and self._is_awake:
                self._seen[library.ref] = library.commit
                self._reading.submit(lambda library=library: self._refresh(library))  # type: ignore[misc]

    def closeness(self, libraries: Sequence[Library], meaning: Meaning) -> Closeness | None:
        """Return how near the skills of libraries are; None when none of them is ready."""
        from llmos_lite.core.skills.closeness import Aligned, Alignments, Closeness  # noqa: PLC0415 - loads numpy
        from llmos_lite.core.skills.scale import Measure  # noqa: PLC0415 - loads numpy

        scales = [self._scales.get(library.ref) for library in libraries]
        known = [scale for scale in scales if scale is not None]
        if not known:
            return None
        self._alignments = self._alignments or Alignments()
        sources = [
            Aligned(library, self._vectors.nearest(str(library.ref), meaning.row, NEAREST)) if scale else None
            for library, scale in zip(libraries, scales, strict=True)
        ]
        return Closeness(Measure.of(known), sources, self._alignments, tells=self._embedder.sentences)

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until what the background was given is done, and tell whether it is; for tests and benchmarks."""
        try:
            self._reading.submit(lambda: None).result(timeout)
        except FutureTimeoutError:
            return False
        return True

    def close(self) -> None:
        """Stop; what is being embedded is given up."""
        self._rested = float("inf")
        self._embedder.close()
        self._asking.stop(PATIENCE)  # a process must not end while another thread runs a model: the runtime aborts it
        self._reading.stop(PATIENCE)
        self._vectors.close()

    @property
    def _is_awake(self) -> bool:
        return time.monotonic() >= self._rested

    # Queries

    def _asked(self, libraries: Sequence[Library], query: str) -> Future[Floats] | None:
        """Return the vector of a query that is, or will be, there; None when nobody needs it or can make it."""
        self.look_at(libraries)
        text = query.strip()[:QUERY_CHARACTERS]
        if not text or not any(library.ref in self._scales for library in libraries):
            return None
        if self._embedder.latin and not is_latin(text):
            return None
        with self._guard:
            found = self._queries.get(text)
            if found is not None:
                self._queries.move_to_end(text)
                return found
            if not self._is_awake or self._asking.waiting >= MOST_WAITING:
                return None
            found = self._queries[text] = self._ask(text)
            while len(self._queries) > REMEMBERED:
                self._queries.popitem(last=False)
        return found

    def _ask(self, text: str) -> Future[Floats]:
        if not self._embedder.quick:
            return self._asking.submit(lambda: self._embedded(text))
        done: Future[Floats] = Future()
        try:
            done.set_result(self._embedder.embed([text])[0])
        except Exception as error:  # noqa: BLE001 - a package's code; it must not reach the chat
            done.set_exception(error)
        return done

    def _embedded(self, text: str) -> Floats:
        if self._rested == float("inf"):
            raise Unavailable("embedder.closed", "The server stops.", hint="Try again after the restart.")
        row: Floats = self._embedder.embed([text])[0]
        return row

    def _answer(self, query: str, asked: Future[Floats] | None) -> Meaning | None:
        if asked is None or not asked.done():
            return None
        if (error := asked.exception()) is not None:
            self._forget_query(asked)
            self._failed(error)
            return None
        row = asked.result()
        return Meaning(query, row) if row.any() else None

    def _forget_query(self, asked: Future[Floats]) -> None:
        with self._guard:
            for text in [text for text, one in self._queries.items() if one is asked]:
                del self._queries[text]

    def _failed(self, error: BaseException) -> None:
        if self._is_awake:
            self._rested = time.monotonic() + REST
            said = error.told if isinstance(error, LlmosError) else type(error).__name__
            log.warning("The embedder failed (%s). Skills are chosen by words for the next %.0f s.", said, REST)

    # Skills

    def _refresh(self, library: Library) -> None:
        """Bring the vectors of a volume up to what a library holds."""
        if not self._is_awake:
            self._seen.pop(library.ref, None)
            return
        try:
            self._embed(library)
            if self._requests is None and library.skills:
                from llmos_lite.core.skills.scale import embed_requests  # noqa: PLC0415 - loads numpy

                self._requests = embed_requests(self._embedder)
            if self._requests is not None:
                self._measure(library, self._requests)
        except Exception as error:  # noqa: BLE001 - a thread that dies would leave every later skill without a vector
            self._seen.pop(library.ref, None)
            self._failed(error)

    def _measure(self, library: Library, requests: Floats) -> None:
        from llmos_lite.core.skills.scale import Scale  # noqa: PLC0415 - loads numpy

        scale = Scale.of(self._vectors, str(library.ref), requests, NEAREST)
        if scale is None:
            self._scales.pop(library.ref, None)
        else:
            self._scales[library.ref] = scale

    def _embed(self, library: Library) -> None:
        volume = str(library.ref)
        known = self._vectors.versions(volume)
        wanted = {skill.skill_id: skill for skill in library.skills.values() if skill.error is None}
        gone = known.keys() - wanted.keys()
        stale = [skill for skill in wanted.values() if known.get(skill.skill_id) != skill.version]
        self._vectors.update(volume, [], gone)
        entries: list[Entry] = []
        for start in range(0, len(stale), BATCH):
            if self._rested == float("inf"):
                return
            entries += self._entries(stale[start : start + BATCH])
            if len(entries) >= SAVED:
                self._vectors.update(volume, entries)
                entries = []
        self._vectors.update(volume, entries)

    def _entries(self, skills: Sequence[Skill]) -> list[Entry]:
        """Return the vectors of some skills: what a skill says of itself counts as much as how its text begins.

        On the dev queries, MiniLM alone finds .553 of the skills among five by name and description, .515 by the whole
        text as far as it reads, .561 by the mean of both.
        """
        heads = [f"{skill.name.replace('-', ' ')}. {skill.header}" for skill in skills]
        whole = [f"{head}\n{skill.body}" for head, skill in zip(heads, skills, strict=True)]
        rows = self._embedder.embed([*heads, *whole])
        means = unit(rows[: len(skills)] + rows[len(skills) :])
        return [Entry(skill.skill_id, skill.version, row) for skill, row in zip(skills, means, strict=True)]


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a query means: a row of length 1, shape (d,)."""

    query: str
    row: Floats
