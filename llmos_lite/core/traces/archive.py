"""Archives: a month of a volume's traces as one compressed Git bundle with a manifest, out of the repository.

`<volume>/<month>-<sha256, 8 hex>.bundle.xz` unpacks to a bundle that stock git clones; `<volume>/<month>.json` names it
and says what it holds. The manifest is written last and read first, so a bundle that no manifest names is nobody's.
Whatever a crash leaves is finished by `finish`: a month with manifest and branch was about to be archived, unless the
mark `<month>.restoring` says that it was about to come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import lzma
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, permit, require
from llmos_lite.core.traces.cutting import Doomed, Head, cut_branch, heads, of_traces
from llmos_lite.core.traces.fold import trace_author
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.segments import Placed, read_segment
from llmos_lite.core.traces.state import fold_events
from llmos_lite.core.traces.trace import Event, now_ms
from llmos_lite.engines.git import Entry
from llmos_lite.engines.git_history import History, Writable
from llmos_lite.engines.objects import Objects
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound, StorageFailed
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.catalog_traces import ARCHIVED, Location
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.access import require as require_access
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

FORMAT = 1
MONTH = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])")
PRESET = 3
"""xz: 6 takes three times as long for 4 % less of a month of conversations."""
BLOCK = 1 << 20
DRAFT = "restoring-"
"""Prefix of the branch that a month comes back on, while erased traces are taken out of it."""
KEPT_AFTER_RESTORE = 30 * 86_400_000
"""Milliseconds for which a month that was brought back is not archived again by itself."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A month in the archive: its manifest.

    `first` and `last` are the times (milliseconds) of its first and last event, `tip` the commit that its branch was
    at, `sha256` the hash of the file `bundle`, `size` that file's bytes, and `plain_size` the bundle's before xz.
    """

    format: int = FORMAT
    volume: str
    month: str
    tip: str
    traces: int
    events: int
    first: int
    last: int
    bundle: str
    sha256: str
    size: int
    plain_size: int
    archived: int


class _Mark(msgspec.Struct, frozen=True):
    """Says since when (milliseconds) a month comes back, or is back."""

    at: int


class Archives:
    """Takes months of traces out of Git, and brings them back.

    Args:
        volumes: whose months.
        catalog: rows say where a trace lies.
        traces: the log of traces.
        objects: where archives are kept.
        scratch: a folder for what is on its way; on the disk of the data folder.
    """

    def __init__(
        self, volumes: VolumeManager, catalog: Catalog, traces: TraceLog, objects: Objects, scratch: Path
    ) -> None:
        self._volumes, self._catalog, self._traces = volumes, catalog, traces
        self._objects, self._scratch = objects, scratch

    # What people ask for

    async def listed(self, actor: Actor, volume: VolumeRef | None = None) -> list[Archived]:
        """Return what of a volume (the actor's own by default) is archived, oldest month first.

        Raises:
            NotFound: `volume.unknown`, for one that is not theirs.
        """
        require(actor, Scope.TRACES_READ)
        ref = volume or actor.volume
        require_access(actor.principal_for(ref), ref, write=False)
        permit(actor, Verb.INSPECT_TRACES, ref)
        return await asyncio.to_thread(self.of, ref)

    async def archive(self, actor: Actor, month: str, volume: VolumeRef | None = None) -> Archived:
        """Archive a month of a volume (the actor's own by default); one that is archived already stays as it is.

        Raises:
            Invalid: `month.invalid`, `month.not_over`.
            Forbidden: `role.missing`, for anybody but an admin of the volume.
            NotFound: `month.unknown`, when the volume has no traces of it.
            StorageFailed: it is still where it was.
        """
        ref = _administered(actor, volume)
        if _checked(month) >= month_of(now_ms()):
            raise Invalid("month.not_over", f"The month {month} is not over yet.", hint="Archive the months before it.")
        return await self.pack(ref, month)

    async def restore(self, actor: Actor, month: str, volume: VolumeRef | None = None) -> Archived:
        """Bring a month of a volume (the actor's own by default) back, byte for byte but for what was erased meanwhile.

        Raises:
            Invalid: `month.invalid`.
            Forbidden: `role.missing`, for anybody but an admin of the volume.
            NotFound: `archive.unknown`.
            StorageFailed: `archive.damaged`; nothing was changed.
        """
        return await self.unpack(_administered(actor, volume), _checked(month))

    # The work itself

    def of(self, ref: VolumeRef) -> list[Archived]:
        """Return what of a volume is archived, oldest month first."""
        keys = self._objects.listed(_folder(ref))
        return [_manifest(self._objects.read(key)) for key in keys if key.endswith(".json")]

    async def pack(self, ref: VolumeRef, month: str) -> Archived:
        """Archive a month; see `archive`."""
        async with self._traces.quiet(ref):
            with contextlib.closing(await asyncio.to_thread(self._volumes.traces_history, ref)) as history:
                there = await asyncio.to_thread(self._find, ref, month)
                head = history.branches().get(month)
                if head is None and there is None:
                    raise NotFound("month.unknown", f"The volume {ref} has no traces of {month}.")
                await asyncio.to_thread(self._objects.remove, _key(ref, month, ".restoring"))
                if there is not None and head not in {None, there.tip}:  # an import brought more of that month
                    await asyncio.to_thread(self._join, ref, history, there)
                if there is None or head not in {None, there.tip}:
                    there = await asyncio.to_thread(self._write, ref, month, history)
                await self._drop(ref, history, there)
        await asyncio.to_thread(self._volumes.forget_traces, ref)
        return there

    async def _drop(self, ref: VolumeRef, history: History, archived: Archived) -> None:
        """Take a month out of the repository, once its archive is durable."""
        if archived.month in history.branches():
            await asyncio.to_thread(history.drop, archived.month)
        await self._catalog.erasure.set_archived(str(ref), archived.month)
        await asyncio.to_thread(history.prune)

    async def unpack(self, ref: VolumeRef, month: str) -> Archived:
        """Bring a month back; see `restore`."""
        async with self._traces.quiet(ref):
            found = await asyncio.to_thread(self._find, ref, month)
            if found is None:
                raise NotFound("archive.unknown", f"The month {month} of {ref} is not archived.")
            with contextlib.closing(await asyncio.to_thread(self._volumes.traces_history, ref)) as history:
                await asyncio.to_thread(self._load_packed, history, found)
                await asyncio.to_thread(self._mark, ref, month)
                await self._bring_back(ref, history, found)
            await self._place(ref, month)
            await asyncio.to_thread(self._remove, ref, month)
        return found

    async def _bring_back(self, ref: VolumeRef, history: History, found: Archived) -> None:
        """Let a branch lead to what was loaded, without what was erased since."""
        tip: str | None = found.tip
        buried = await self._buried(history, tip or "")
        if buried:
            tip = await asyncio.to_thread(_cut_out, history, found, buried)
        head = history.branches().get(found.month)
        if tip is not None and head is None:
            await asyncio.to_thread(history.point, found.month, tip, None)
        elif tip is not None and head != tip:
            await asyncio.to_thread(self._join_tip, ref, found.month, tip, history)
        if buried:
            await asyncio.to_thread(history.prune)
            await asyncio.to_thread(self._volumes.forget_traces, ref)

    async def _buried(self, history: History, tip: str) -> set[str]:
        ids = await asyncio.to_thread(lambda: list({head.trace_id for head in _heads_at(history, tip)}))
        return await self._catalog.erasure.tombstones(ids)

    async def _place(self, ref: VolumeRef, month: str) -> None:
        """Write the rows of a month that is back; those of traces that did not come back are removed."""
        traces, events = await self._catalog.erasure.archived(str(ref), month)
        with contextlib.closing(await asyncio.to_thread(self._volumes.traces_history, ref)) as history:
            for file in await asyncio.to_thread(lambda: list(history.files(month))):
                placed = list(read_segment(month, file.oid, await asyncio.to_thread(history.blob, file.oid)))
                await self._traces.place(placed)
                await self._traces.judge([event.id for event, _ in placed if event.trace is not None])
                for event, _ in placed:
                    (traces if event.trace is not None else events).discard(event.id)
        await self._catalog.traces.remove(sorted(traces), sorted(events))
        self._traces.reload()

    # Erasure

    async def cut(self, ref: VolumeRef, doomed: Doomed, *, since: int = 0) -> list[str]:
        """Take lines out of the archives of a volume; return the months that held some.

        The caller keeps everybody from adding to the volume meanwhile.
        """

        def work() -> list[str]:
            self._sweep(ref)
            return [one.month for one in self.of(ref) if one.last >= since and self._cut(ref, one, doomed)]

        return await asyncio.to_thread(work)

    def _cut(self, ref: VolumeRef, archived: Archived, doomed: Doomed) -> bool:
        with self._scratch_folder() as folder, contextlib.closing(self._volumes.draft_history(folder)) as history:
            self._load(history, archived)
            history.point(archived.month, archived.tip, None)
            done = cut_branch(history, archived.month, doomed)
            if done is not None and done.after is None:
                self._remove(ref, archived.month)
            elif done is not None:
                self._write(ref, archived.month, history, archived=archived.archived)
            return done is not None

    # Rows

    async def index(self, volume: GitVolume) -> None:
        """Write the rows of what is archived of a volume, where they are missing: a hook for `TraceLog.reindex`."""
        for archived in await asyncio.to_thread(self.of, volume.ref):
            traces, events = await self._catalog.erasure.archived(str(volume.ref), archived.month)
            if len(traces) + len(events) < archived.events:
                await self._index(await asyncio.to_thread(self._lines, archived))

    async def _index(self, lines: Sequence[Placed]) -> None:
        later: dict[str, list[Event]] = defaultdict(list)
        for event, _ in lines:
            if event.trace is None:
                later[event.trace_id].append(event)
        await self._traces.place(lines)
        states = [fold_events(event.trace, later[event.trace_id]) for event, _ in lines if event.trace is not None]
        outcomes = [(state.trace.id, state.trace.outcome, state.rating) for state in states if later[state.trace.id]]
        await self._catalog.traces.set_outcomes(outcomes)

    def _lines(self, archived: Archived) -> list[Placed]:
        """Return the events of an archive, at places that say so."""
        month = archived.month
        with self._scratch_folder() as folder, contextlib.closing(self._volumes.draft_history(folder)) as history:
            self._load(history, archived)
            return [
                Placed(event, Location(month, ARCHIVED, place.offset, place.length))
                for file in history.files_at(archived.tip)
                for event, place in read_segment(month, file.oid, history.blob(file.oid))
            ]

    # After a crash

    def volumes(self) -> list[VolumeRef]:
        """Return the volumes of which something is archived."""
        folders = {key.rpartition("/")[0] for key in self._objects.listed()}
        return [ref for ref in self._volumes.refs() if _folder(ref) in folders]

    async def finish(self, ref: VolumeRef) -> None:
        """Finish what a crash cut short in the archives of a volume."""
        keys = await asyncio.to_thread(self._objects.listed, _folder(ref))
        if not keys:
            return
        with contextlib.closing(await asyncio.to_thread(self._volumes.traces_history, ref)) as history:
            branches = history.branches()
            drafts = [name for name in branches if name.startswith(DRAFT)]
            for name in drafts:
                await asyncio.to_thread(history.drop, name)
            if drafts:
                await asyncio.to_thread(history.prune)
        for archived in await asyncio.to_thread(self.of, ref):
            back = _key(ref, archived.month, ".restoring") in keys
            if back:
                await self.unpack(ref, archived.month)
            elif branches.get(archived.month) == archived.tip:
                await self.pack(ref, archived.month)
        async with self._traces.quiet(ref):
            await asyncio.to_thread(self._sweep, ref)

    def restored_at(self, ref: VolumeRef, month: str) -> int:
        """Return when a month was brought back (milliseconds); 0 when it was not."""
        try:
            return msgspec.json.decode(self._objects.read(_key(ref, month, ".restored")), type=_Mark).at
        except NotFound:
            return 0

    # Files

    def _find(self, ref: VolumeRef, month: str) -> Archived | None:
        try:
            return _manifest(self._objects.read(_key(ref, month, ".json")))
        except NotFound:
            return None

    def _write(self, ref: VolumeRef, month: str, history: History, *, archived: int = 0) -> Archived:
        """Write bundle and manifest, durably, and read the bundle back."""
        with self._scratch_folder() as folder:
            path = folder / "bundle.xz"
            with lzma.open(path, "wb", preset=PRESET) as packed:
                plain = _Counted(packed)
                tip = history.bundle(month, plain)
            digest = _sha256(_blocks(path))
            name = f"{month}-{digest[:8]}.bundle.xz"
            heads_ = list(_heads_at(history, tip))
            manifest = Archived(
                volume=str(ref),
                month=month,
                tip=tip,
                traces=sum(head.kind == "trace" for head in heads_),
                events=len(heads_),
                first=min(head.at for head in heads_),
                last=max(head.at for head in heads_),
                bundle=name,
                sha256=digest,
                size=path.stat().st_size,
                plain_size=plain.count,
                archived=archived or now_ms(),
            )
            self._objects.put(f"{_folder(ref)}/{name}", path)
        if _sha256(self._objects.blocks(f"{_folder(ref)}/{name}")) != digest:
            raise _damaged(manifest)
        self._objects.put(_key(ref, month, ".json"), msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
        self._sweep(ref)
        return manifest

    def _load(self, history: History, archived: Archived) -> None:
        """Check an archive and store its objects in a repository; no branch moves."""
        digest = hashlib.sha256()
        with self._scratch_folder() as folder:
            path = folder / "bundle.xz"
            try:
                with path.open("wb") as file:
                    for block in self._objects.blocks(f"{_folder(VolumeRef.parse(archived.volume))}/{archived.bundle}"):
                        digest.update(block)
                        file.write(block)
            except NotFound:
                raise _damaged(archived) from None
            if digest.hexdigest() != archived.sha256:
                raise _damaged(archived)
            with lzma.open(path) as bundle:
                history.unbundle(bundle, archived.tip)

    def _load_packed(self, history: History, archived: Archived) -> None:
        """Do the same, and compress the objects as Git does: in an archive, they are compressed together."""
        with self._scratch_folder() as folder, contextlib.closing(self._volumes.draft_history(folder)) as draft:
            self._load(draft, archived)
            draft.point(archived.month, archived.tip, None)
            with (folder / "packed.bundle").open("w+b") as file:
                draft.bundle(archived.month, file, plain=False)
                file.seek(0)
                history.unbundle(file, archived.tip)

    def _join(self, ref: VolumeRef, history: History, archived: Archived) -> None:
        """Bring what is archived of a month into the branch that exists beside it."""
        self._load_packed(history, archived)
        self._join_tip(ref, archived.month, archived.tip, history)

    def _join_tip(self, ref: VolumeRef, month: str, tip: str, history: History) -> None:
        store = self._volumes.open(PLATFORM, ref, write=True).traces
        files = {file.path: Entry(file.path, file.oid, is_tree=False) for file in history.files_at(tip)}
        store.commit(files, f"Bring {month} back", trace_author(ref), branch=month, merges=[tip])

    def _mark(self, ref: VolumeRef, month: str) -> None:
        mark = msgspec.json.encode(_Mark(now_ms()))
        self._objects.put(_key(ref, month, ".restored"), mark)
        self._objects.put(_key(ref, month, ".restoring"), mark)

    def _remove(self, ref: VolumeRef, month: str) -> None:
        """Remove an archive: first the manifest, since a bundle that none names is nobody's."""
        self._objects.remove(_key(ref, month, ".json"))
        self._sweep(ref)
        self._objects.remove(_key(ref, month, ".restoring"))

    def _sweep(self, ref: VolumeRef) -> None:
        """Remove the bundles of a volume that no manifest names: they may hold what was erased."""
        keys = self._objects.listed(_folder(ref))
        named = {f"{_folder(ref)}/{one.bundle}" for one in self.of(ref)}
        for key in keys:
            if key.endswith(".bundle.xz") and key not in named:
                self._objects.remove(key)

    @contextlib.contextmanager
    def _scratch_folder(self) -> Iterator[Path]:
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="archive-") as folder:
            yield Path(folder)


class _Counted:
    """Counts what is written."""

    def __init__(self, file: Writable) -> None:
        self._file, self.count = file, 0

    def write(self, data: bytes, /) -> object:
        self.count += len(data)
        return self._file.write(data)


def _cut_out(history: History, found: Archived, buried: Sequence[str] | set[str]) -> str | None:
    """Return the commit of a month without traces that were erased since it was archived; None when none is left."""
    draft = f"{DRAFT}{found.month}"
    if draft in history.branches():
        history.drop(draft)
    history.point(draft, found.tip, None)
    done = cut_branch(history, draft, of_traces(buried))
    if done is None or done.after is not None:
        history.drop(draft)
    return found.tip if done is None else done.after


def _administered(actor: Actor, volume: VolumeRef | None) -> VolumeRef:
    require(actor, Scope.CHAT)
    ref = volume or actor.volume
    require_access(actor.principal_for(ref), ref, write=False)
    if not allowed(actor, Verb.EXPORT, ref):
        raise Forbidden("role.missing", f"Only an admin of {ref} may do this.")
    require_access(actor.principal_for(ref), ref, write=True)
    return ref


def month_of(at: int) -> str:
    """Return the month of a time (milliseconds), as branches are named."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m}"


def _checked(month: str) -> str:
    if not MONTH.fullmatch(month):
        raise Invalid("month.invalid", f"{month[:20]!r} is no month.", hint="Write it as 2026-03.")
    return month


def _heads_at(history: History, tip: str) -> Iterator[Head]:
    return (head for file in history.files_at(tip) for head in heads(history.blob(file.oid)))


def _manifest(content: bytes) -> Archived:
    try:
        return msgspec.json.decode(content, type=Archived)
    except msgspec.DecodeError as error:
        raise StorageFailed("archive.damaged", f"A manifest in the archive cannot be read: {error}.") from error


def _folder(ref: VolumeRef) -> str:
    return f"{ref.kind}s/{ref.id}" if ref.id else str(ref.kind)


def _key(ref: VolumeRef, month: str, suffix: str) -> str:
    return f"{_folder(ref)}/{month}{suffix}"


def _sha256(blocks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _damaged(archived: Archived) -> LlmosError:
    return StorageFailed(
        "archive.damaged",
        f"The archive of {archived.month} of {archived.volume} is not what its manifest says.",
        hint="Bring it back from a backup; nothing was changed.",
    )
