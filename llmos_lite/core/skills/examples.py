"""Writes example requests for skills with the model, once for each text, in the background; the search stays lexical.

It looks at the head of every volume, so it hears of a skill however it came: written, promoted, pushed, edited by
hand. The requests lie in rows, by a digest of what they were written from: they are derived, nobody reviewed them, and
they must not travel with a clone. The same text in another volume, or one that comes back, is not asked about again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.requests import (
    MOST_REQUESTS,
    MOST_TOKENS,
    SYSTEM,
    UnusableRequestsError,
    digest,
    question,
    read,
)
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.engines.llm import OFFLINE, ChatRequest, LanguageModel
from llmos_lite.errors import LlmosError
from llmos_lite.records.catalog_examples import ExampleRecord, ExampleRows
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

if TYPE_CHECKING:
    from llmos_lite.core.skills.asked import AskedIndex
    from llmos_lite.core.skills.manager import SkillsManager

log = logging.getLogger("llmos.examples")

PERIOD = 5.0
"""Seconds from one look at the volumes to the next."""
PAUSE = 2.0
"""Seconds between two questions: 30 a minute at most, beside everything else that the model does."""
MOST_SECONDS = 60.0
"""For one answer."""
RESTS = 600_000
"""Milliseconds without a question after `MOST_FAILURES` in a row: models that are down stay down for a while."""
MOST_FAILURES = 2
MOST_AT_ONCE = 10
"""Texts of one volume in one look, so that a large volume keeps no other waiting."""
DAY = 86_400_000
MOST_TRIES = 2
"""Answers that were of no use, after which a text is asked about no more."""
KEPT = 30 * 86_400_000
"""Milliseconds for which the requests of a text are kept that no volume holds any more; it may come back."""
WEIGHT = 0.5
"""What an invented request counts beside one that was asked."""
ALWAYS = 1 << 62
"""Time of a request that grows no older."""


class Examples:
    """The example requests of all skills.

    Args:
        volumes: whose skills.
        manager: reads them.
        rows: keep the requests.
        model: writes them.
        active: whether it writes any; what is there counts all the same.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        manager: SkillsManager,
        rows: ExampleRows,
        model: LanguageModel,
        *,
        active: bool = True,
        pause: float = PAUSE,
    ) -> None:
        self._volumes, self._manager, self._rows, self._model = volumes, manager, rows, model
        self._active, self._pause = active, pause
        self._analyzer = Analyzer()
        self._known: dict[str, ExampleRecord] = {}
        self._digests: dict[str, str] = {}
        """By version of a skill, which is much quicker to compare."""
        self._seen: dict[VolumeRef, str] = {}
        self._placed: dict[VolumeRef, dict[str, str]] = {}
        self._views: dict[VolumeRef, AskedIndex] = {}
        self._failures = 0
        self._rests_until = self._pruned = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def of(self, refs: Sequence[VolumeRef]) -> Sequence[AskedIndex]:
        """Return what is known of the skills of some volumes, as the search takes it."""
        return [self._views[ref] for ref in refs if ref in self._views] if self._views else ()

    # In the background

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="examples")

    async def stop(self) -> None:
        """End; a question that is on its way is given up, and asked again at the next start."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while not await self._stops_within(PERIOD):
            try:
                await self.look()
            except LlmosError as error:
                log.warning("no example requests are written: %s", error.told)
            except Exception:
                log.exception("no example requests are written")

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    async def look(self) -> int:
        """Look once at every volume; return how many texts got requests."""
        if not self._known:
            self._known = await self._rows.all()
        if not self._known and not self._writes:
            return 0
        written = 0
        for ref in await asyncio.to_thread(self._volumes.refs):
            library = await asyncio.to_thread(self._changed, ref)
            if library is not None:
                written += await self._update(library)
        if now_ms() - self._pruned > DAY:
            self._pruned = now_ms()
            await self.prune(older_than=KEPT)
        return written

    @property
    def _writes(self) -> bool:
        return self._active and self._model.name != OFFLINE and now_ms() >= self._rests_until

    def _changed(self, ref: VolumeRef) -> Library | None:
        """Return the library of a volume that has changed since it was finished."""
        try:
            volume = self._volumes.open(PLATFORM, ref)
            head = volume.store.head() or ""
            return None if self._seen.get(ref) == head else self._manager.library_of(volume)
        except LlmosError as error:
            log.debug("%s: %s", ref, error)
            return None

    async def _update(self, library: Library) -> int:
        """Bring a volume's requests up to date; of those that are missing, write some."""
        digests = await asyncio.to_thread(self._digests_of, library)
        await asyncio.to_thread(self._place, library.ref, digests)
        if not self._writes:
            return 0
        missing = {key: skill_id for skill_id, key in digests.items() if self._is_missing(key)}
        written = 0
        for key, skill_id in list(missing.items())[:MOST_AT_ONCE]:
            written += await self._write(key, library.skills[skill_id])
            if self._stopping.is_set() or not self._writes:
                break
        await asyncio.to_thread(self._place, library.ref, digests)
        if not any(map(self._is_missing, digests.values())):
            self._seen[library.ref] = library.commit
        return written

    def _digests_of(self, library: Library) -> dict[str, str]:
        """Return the digest of each skill that can be used."""
        found: dict[str, str] = {}
        for skill_id, skill in library.skills.items():
            if skill.error is None:
                version = f"{skill_id} {skill.version}"
                found[skill_id] = self._digests.get(version) or self._digests.setdefault(version, digest(skill))
        return found

    def _is_missing(self, key: str) -> bool:
        record = self._known.get(key)
        return record is None or (record.requests == "[]" and record.tries < MOST_TRIES)

    def _place(self, ref: VolumeRef, digests: Mapping[str, str]) -> None:
        """Put what is known into the index of a volume; costs what is new."""
        from llmos_lite.core.skills.asked import AskedIndex, Goal  # noqa: PLC0415 - loads numpy

        known = self._known.copy()
        wanted = {skill_id: key for skill_id, key in digests.items() if key in known}
        placed = self._placed.get(ref, {})
        gone = {name for skill_id, key in placed.items() - wanted.items() for name in _names(skill_id, key)}
        fresh = [
            Goal(name, str(ref), skill_id, text, ALWAYS, WEIGHT)
            for skill_id, key in wanted.items() - placed.items()
            for name, text in zip(_names(skill_id, key), known[key].texts, strict=False)
        ]
        if gone or fresh:
            view = self._views.get(ref) or AskedIndex.empty(self._analyzer)
            self._views[ref] = view.updated(fresh, gone)
        self._placed[ref] = wanted

    # The model

    async def _write(self, key: str, skill: Skill) -> bool:
        """Ask for the requests of a text, keep them, and tell whether there are any."""
        await self._stops_within(self._pause)
        before = self._known.get(key)
        tries = (before.tries if before else 0) + 1
        try:
            texts, model = await self._ask(skill)
        except UnusableRequestsError as error:
            log.info("no example requests for %s: %s", skill.skill_id, error)
            await self._keep(ExampleRecord(key, tries=tries, time=now_ms()))
            return False
        except Exception as error:  # noqa: BLE001 - a plugged-in model may raise anything
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                self._failures, self._rests_until = 0, now_ms() + RESTS
            log.warning("no example requests for %s: %s", skill.skill_id, error or type(error).__name__)
            return False
        self._failures = 0
        if texts:
            await self._keep(ExampleRecord(key, json.dumps(texts, ensure_ascii=False), model[:200], tries, now_ms()))
        return bool(texts)

    async def _ask(self, skill: Skill) -> tuple[list[str], str]:
        request = ChatRequest(
            messages=[{"role": "user", "content": question(skill)}],
            system=SYSTEM,
            max_tokens=MOST_TOKENS,
            temperature=0.7,
        )
        async with asyncio.timeout(MOST_SECONDS):
            completion = await self._model.complete(request)
        if completion.model == OFFLINE:
            return [], OFFLINE
        return read(completion.text), completion.model or self._model.name

    async def _keep(self, record: ExampleRecord) -> None:
        await self._rows.put(record)
        self._known[record.digest] = record

    # What is not there any more

    async def prune(self, *, older_than: int = 0) -> int:
        """Remove the requests of texts that no volume holds any more; return how many texts these were.

        Args:
            older_than: milliseconds for which they are kept; 0 removes all, as after a text was taken out of a history.
        """
        held = await asyncio.to_thread(self._held)
        rows, now = await self._rows.all(), now_ms()
        gone = [key for key, row in rows.items() if key not in held and now - row.time >= older_than]
        await self._rows.remove(gone)
        for key in gone:
            self._known.pop(key, None)
        return len(gone)

    def _held(self) -> set[str]:
        """Return the digests of all skills that there are; a volume that cannot be read is asked about again."""
        found: set[str] = set()
        for ref in self._volumes.refs():
            with contextlib.suppress(LlmosError):
                library = self._manager.library_of(self._volumes.open(PLATFORM, ref))
                found.update(self._digests_of(library).values())
        return found


def _names(skill_id: str, key: str) -> list[str]:
    """Return what the requests of a text are called in an index."""
    return [f"{key}-{place}-{skill_id}" for place in range(MOST_REQUESTS)]
