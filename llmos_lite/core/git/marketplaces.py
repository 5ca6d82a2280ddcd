"""Marketplaces: what a volume offers, as a repository that Claude Code, `npx skills` and plain git install from.

A view is a bare repository of its own: nothing of the volume's other branches is in it, whatever id somebody asks for.
It moves when somebody asks and it would show something new; each move is written down (`market_record`), and a view is
made of that and of the history of `main` alone (`market_view`). So it may be deleted at any time, and any node makes
the same one.
"""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.git.market_record import Shown, record, recorded, since
from llmos_lite.core.git.market_view import Judge, MarketView, Shop
from llmos_lite.core.git.repositories import Repositories, Repository
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.signoffs import REF, SIGNED
from llmos_lite.errors import Conflict, Forbidden, LlmosError, NotFound, Unavailable
from llmos_lite.volumes.access import PLATFORM as PLATFORM_ITSELF
from llmos_lite.volumes.access import VolumeKind, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

PREFIX = "market/"
_UNRECORDED = 50
"""Commits that change nothing of what is shown and are looked at again each time; more are written down."""


class _Now(NamedTuple):
    """What a view depends on: the last time that it moved, the volume, its sign-offs, and the rules of scanners."""

    recorded: str
    head: str
    signed: str
    rules: str


class Marketplaces:
    """The marketplaces of all volumes.

    Args:
        volumes: what they show.
        repositories: knows who may fetch.
        catalogs: knows what may be offered.
        folder: where the views are.
    """

    def __init__(self, volumes: VolumeManager, repositories: Repositories, catalogs: Catalogs, folder: Path) -> None:
        self._volumes, self._repositories, self._catalogs = volumes, repositories, catalogs
        self._folder = folder
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="marketplaces")
        self._waiting: dict[VolumeRef, asyncio.Lock] = {}
        self._at: dict[VolumeRef, _Now] = {}

    async def find(self, actor: Actor, address: str, *, push: bool) -> Repository:
        """Return the view at an address, brought up to date: `market/` before that of the volume's repository.

        Raises:
            NotFound: `volume.unknown`, for nothing there, and for what is not for the actor.
            Forbidden: `scope.missing`; `market.readonly`.
        """
        volume = await self._repositories.find(actor, address.removeprefix(PREFIX), push=False)
        if address.endswith("/traces.git"):
            raise NotFound("volume.unknown", "There is no such repository that you may see.")
        if push:
            raise Forbidden(
                "market.readonly",
                "A marketplace is made from the skills of a volume, and cannot be pushed to.",
                hint=f"Push to /git/{address.removeprefix(PREFIX)}.",
            )
        gitdir = await asyncio.to_thread(self._ready, volume.ref)
        if gitdir is None:
            async with self._waiting.setdefault(volume.ref, asyncio.Lock()):  # of many that ask, one waits in a thread
                gitdir = await asyncio.get_running_loop().run_in_executor(self._worker, self._refresh, volume.ref)
        return Repository(ref=volume.ref, gitdir=gitdir, shown=("refs/heads",), writable=False)

    def refresh(self, ref: VolumeRef) -> Path:
        """Bring the view of a volume up to date, and return its folder; views are made one after the other."""
        return self._worker.submit(self._refresh, ref).result()

    def drop(self, ref: VolumeRef) -> None:
        """Forget the view of a volume, as after its history was rewritten."""
        self._worker.submit(self._drop, ref).result()

    def _ready(self, ref: VolumeRef) -> Path | None:
        """Return the folder of a view that is up to date."""
        folder = self._folder_of(ref)
        now = self._now(self._volumes.open(PLATFORM_ITSELF, ref))
        return folder if self._at.get(ref) == now and folder.exists() else None

    def _now(self, volume: GitVolume) -> _Now:
        last = recorded(volume)  # before the head, so that it never names a later one
        notes = volume.notes.head(REF)
        signed = volume.notes.entry(SIGNED, at=notes) if notes else None
        return _Now(last, volume.store.head() or "", signed.oid if signed else "", self._catalogs.rules)

    def _refresh(self, ref: VolumeRef) -> Path:
        volume, folder = self._volumes.open(PLATFORM_ITSELF, ref, write=True), self._folder_of(ref)
        while (now := self._now(volume)) != self._at.get(ref) or not folder.exists():
            try:
                last = self._followed(volume, folder, now)
            except Conflict:  # another node was quicker, and what it wrote down counts
                continue
            self._at[ref] = now._replace(recorded=last)
            break  # whatever has happened since is for whoever asks next
        return folder

    def _followed(self, volume: GitVolume, folder: Path, now: _Now) -> str:
        try:
            return self._follow(volume, folder, now)
        except Unavailable:  # a view that is broken is made anew; of a broken volume the second try says so
            shutil.rmtree(folder, ignore_errors=True)
            return self._follow(volume, folder, now)

    def _follow(self, volume: GitVolume, folder: Path, now: _Now) -> str:
        """Bring a view up to date, and return the last time that it moved."""
        shop = Shop(volume)
        view = self._caught_up(shop, folder, now)
        self._catalogs.look_at(volume)
        kept, judge = view.copy(), Judge(lambda entry: self._catalogs.holds(volume, entry))
        if view.move(shop, now.head, judge) or len(view.added) - len(kept.added) > _UNRECORDED:
            shown = Shown(main=now.head, held=tuple(sorted(judge.held)), first=not kept.main)
            view.at = record(volume, shown, now.recorded)
        else:
            view = kept  # of what is not written down, another node knows nothing
        view.save()
        return view.at

    def _caught_up(self, shop: Shop, folder: Path, now: _Now) -> MarketView:
        """Return a view as it was the last time that it moved, on whatever node; an empty one that has to begin."""
        view = MarketView.open(folder, self._volumes.signer)
        times = since(shop.volume, now.recorded, view.at)
        main = times[-1][1].main if times else view.main
        if main and not _leads(shop.volume, main, now.head):
            return self._begun(folder)  # history was rewritten; nothing of what it was may stay
        if times and times[0][1].first:
            view = self._begun(folder)
        for commit, shown in times:
            view.move(shop, shown.main, Judge.of(shown.held))
            view.at = commit
        return view

    def _begun(self, folder: Path) -> MarketView:
        shutil.rmtree(folder, ignore_errors=True)
        return MarketView.open(folder, self._volumes.signer)

    def _drop(self, ref: VolumeRef) -> None:
        self._at.pop(ref, None)
        shutil.rmtree(self._folder_of(ref), ignore_errors=True)

    def _folder_of(self, ref: VolumeRef) -> Path:
        kind = {VolumeKind.SYSTEM: "system", VolumeKind.TEAM: "teams", VolumeKind.USER: "users"}[ref.kind]
        return (self._folder / kind / ref.id if ref.id else self._folder / kind).with_suffix(".git")


def _leads(volume: GitVolume, old: str, new: str) -> bool:
    """Tell whether a commit has another one before it, which may be gone since history was rewritten."""
    try:
        return volume.store.merge_base(old, new) == old
    except LlmosError:
        return False
