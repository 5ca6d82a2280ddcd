"""Marketplaces: what a volume offers, as a repository that Claude Code, `npx skills` and plain git install from.

A view holds `.claude-plugin/marketplace.json` and the skills as folders, in a bare repository of its own: nothing of
the volume's other branches is in it, whatever id somebody asks for. Each commit of `main` gives one commit of the view
(none, when it shows the same), whose parents are the views of its parents; of a long history the last commits. What is
held back depends on sign-offs and on the rules of scanners, too: when one of these changes, one more commit shows what
is offered now. So a fetch after a change moves forward, and a skill's folder has the id that it has in the volume. A
view is a cache: it may be deleted at any time, and is made anew as the verdicts are then.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.git.repositories import Repositories, Repository
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.parcels import Parcel
from llmos_lite.core.skills.signoffs import REF
from llmos_lite.core.skills.versions import read_version
from llmos_lite.engines.durable import make_folder
from llmos_lite.engines.git import LocalGitStore
from llmos_lite.engines.git_objects import (
    BLOB,
    COMMIT,
    FILE_MODE,
    FOLDER_MODE,
    PROGRAM_MODE,
    Author,
    Commit,
    Draft,
    NewObject,
    TreeEdit,
    compose_message,
    new_object,
)
from llmos_lite.engines.git_odb import Objects
from llmos_lite.engines.git_refs import Refs
from llmos_lite.engines.volume_interface import MAIN, PLATFORM
from llmos_lite.errors import Forbidden, LlmosError, NotFound, Unavailable
from llmos_lite.volumes.access import PLATFORM as PLATFORM_ITSELF
from llmos_lite.volumes.access import VolumeKind, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import FOLDER, SkillEntry

PREFIX = "market/"
MANIFEST = (b".claude-plugin", b"marketplace.json")
_KNOWN = "llmos-views"
"""File of a view: a line for each commit of the volume, with the commit of the view."""
_JUDGED = "llmos-judged"
"""File of a view: the head of the sign-offs, and the digest of the rules, that it was made by."""
MOST_COMMITS = 500
"""Commits of a volume that a view shows at first; a commit takes about 4 ms."""
_LINE = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40})")
_BATCH = 32 << 20
"""Bytes of objects after which they are written as one pack."""
_REMEMBERED = 64
"""Commits whose skills are in memory: parents of those that come next."""


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
        self._at: dict[VolumeRef, tuple[str, str]] = {}

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

    def _now(self, volume: GitVolume) -> tuple[str, str]:
        """Return what a view depends on: the head of the volume, and what says what is held back."""
        return volume.store.head() or "", f"{volume.notes.head(REF) or '-'} {self._catalogs.rules}"

    def _refresh(self, ref: VolumeRef) -> Path:
        volume, folder = self._volumes.open(PLATFORM_ITSELF, ref), self._folder_of(ref)
        now = self._now(volume)
        if self._at.get(ref) != now or not folder.exists():
            try:
                self._follow(volume, folder, *now)
            except Unavailable:  # a view that is broken is made anew; of a broken volume the second try says so
                shutil.rmtree(folder, ignore_errors=True)
                self._follow(volume, folder, *now)
            self._at[ref] = now
        return folder

    def _follow(self, volume: GitVolume, folder: Path, head: str, judged: str) -> None:
        view = _View.open(folder, self._volumes)
        if view.last and head not in view.known and not _leads(volume, view.last, head):
            shutil.rmtree(folder)  # history was rewritten; nothing of what it was may stay
            view = _View.open(folder, self._volumes)
        view.follow(_Shop(volume, self._catalogs), head, judged)

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


class _Shop:
    """What a view is made of."""

    def __init__(self, volume: GitVolume, catalogs: Catalogs) -> None:
        self.volume, self._catalogs = volume, catalogs
        self._entries: dict[str, dict[str, SkillEntry]] = {}

    def commit(self, oid: str) -> Commit:
        """Return a commit of the volume."""
        return self.volume.store.log(limit=1, branch=oid)[0]

    def recent(self, head: str) -> list[Commit]:
        """Return the last commits of a history, as many as a view shows."""
        return self.volume.store.log(limit=MOST_COMMITS, branch=head)

    def skills(self, commit: str) -> str:
        """Return the id of the folder of skills in a commit; empty for none."""
        entry = self.volume.store.entry(FOLDER, at=commit)
        return entry.oid if entry else ""

    def entries(self, commit: str) -> dict[str, SkillEntry]:
        """Return the skills of a commit by id; those of the last ones are kept."""
        found = self._entries.get(commit)
        if found is None:
            found = {entry.skill_id: entry for entry in self.volume.list_skills(at=commit)}
            self._entries[commit] = found
            while len(self._entries) > _REMEMBERED:
                self._entries.pop(next(iter(self._entries)))
        return found

    def parcel(self, entry: SkillEntry) -> Parcel | None:
        """Return a skill as it is offered; None for one that is kept back."""
        return self._catalogs.cleared(self.volume, read_version(self.volume, entry.skill_id, entry.version))


@dataclass
class _View:
    """A view as a repository, and which of its commits stands for which of the volume."""

    folder: Path
    store: LocalGitStore
    objects: Objects
    refs: Refs
    known: dict[str, str] = field(default_factory=dict)
    last: str = ""
    fresh: list[NewObject] = field(default_factory=list)
    weight: int = 0
    roots: dict[str, bytes] = field(default_factory=dict)
    shown: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, volumes: VolumeManager) -> _View:
        make_folder(folder.parent, 0o700)
        store = LocalGitStore(folder, signer=volumes.signer, bare=True)
        view = cls(folder, store, Objects(folder, None), Refs(folder))
        path = folder / _KNOWN
        for line in path.read_text().splitlines() if path.exists() else ():
            if found := _LINE.fullmatch(line):
                view.known[found[1]] = found[2]
                view.last = found[1]
        return view

    def follow(self, shop: _Shop, head: str, judged: str) -> None:
        """Make the views of the commits that are new, then one of what is judged otherwise; move the branch.

        Args:
            shop: what there is.
            head: of the volume.
            judged: names what verdicts depend on, beside the skills.
        """
        fresh = dict[str, str]()
        for commit in self._missing(shop, head):
            fresh[commit.oid] = self.known[commit.oid] = self._viewed(shop, commit)
            if self.weight > _BATCH:
                self._write()
        path = self.folder / _JUDGED
        if path.exists() and path.read_text() != judged:
            fresh[head] = self.known[head] = self._judged(shop, head)
        self._write()
        with (self.folder / _KNOWN).open("a") as file:
            file.writelines(f"{one} {other}\n" for one, other in fresh.items())
        now, old = self.known[head], self.refs.read(MAIN)
        if now != old:
            self.refs.update(MAIN, now, old)
            self.store.upkeep()
        path.write_text(judged)
        self.objects.close()
        self.store.close()

    def _missing(self, shop: _Shop, head: str) -> list[Commit]:
        """Return the commits without a view, each after its parents: the last ones of very many."""
        found = self._unseen(shop, head, None)
        if len(found) > MOST_COMMITS:
            found = self._unseen(shop, head, {commit.oid for commit in shop.recent(head)})
        return found

    def _unseen(self, shop: _Shop, head: str, among: set[str] | None) -> list[Commit]:
        seen, found = set[str](), list[Commit]()
        waiting: list[tuple[str, Commit | None]] = [(head, None)]
        while waiting:
            oid, commit = waiting.pop()
            if commit is not None:
                found.append(commit)
            elif oid not in self.known and oid not in seen and (among is None or oid in among):
                seen.add(oid)
                if among is None and len(seen) > MOST_COMMITS:
                    return [shop.commit(oid) for oid in seen]
                there = shop.commit(oid)
                waiting.append((oid, there))
                waiting += [(parent, None) for parent in there.parents]
        return found

    def _viewed(self, shop: _Shop, commit: Commit) -> str:
        """Return the view of a commit whose parents have theirs: a new one, or the parent's when it shows the same."""
        there = [parent for parent in commit.parents if parent in self.known]
        parents = list(dict.fromkeys(self.known[parent] for parent in there))
        if len(there) == len(commit.parents) == 1 and shop.skills(commit.oid) == shop.skills(there[0]):
            return parents[0]
        found = self._found(shop, commit, there[0] if there else "")
        if not parents and self.last:
            parents = [self.known[self.last]]  # history between was left out
        return self._made(shop, commit, parents, found, commit.subject)

    def _judged(self, shop: _Shop, head: str) -> str:
        """Return the view of a commit as verdicts are now: the one that it has, or one more."""
        commit = shop.commit(head)
        return self._made(
            shop, commit, [self.known[head]], self._found(shop, commit, ""), "What is offered has changed"
        )

    def _made(self, shop: _Shop, commit: Commit, parents: list[str], found: dict[str, bytes], subject: str) -> str:
        root = self._assembled(shop.volume.ref, found)
        if len(parents) == 1 and self._root(parents[0]) == root:
            return parents[0]
        author = Author(commit.author, commit.email)
        message = compose_message(subject, trailers={"Source-Commit": commit.oid})
        draft = Draft(root, parents, author, PLATFORM, commit.time // 1000, message)
        made = new_object(COMMIT, draft.payload())
        self._add(made)
        self.roots[made.oid.hex()] = root
        self._remember(made.oid.hex(), found)
        return made.oid.hex()

    def _found(self, shop: _Shop, commit: Commit, parent: str) -> dict[str, bytes]:
        """Return the folder of each skill that a commit offers; what did not change is that of a parent's view."""
        before, there = (shop.entries(parent), self._shows(self.known[parent])) if parent else ({}, {})
        found: dict[str, bytes] = {}
        for name, entry in shop.entries(commit.oid).items():
            if before.get(name) == entry:
                tree = there.get(name)
            else:
                parcel = shop.parcel(entry)
                tree = self._folder(parcel) if parcel is not None else None
            if tree is not None:
                found[name] = tree
        return found

    def _assembled(self, ref: VolumeRef, skills: dict[str, bytes]) -> bytes:
        edit = TreeEdit(b"", self.objects.tree)
        for name, tree in skills.items():
            edit.put((FOLDER.encode(), name.encode()), FOLDER_MODE, tree)
        edit.put(MANIFEST, FILE_MODE, self._blob(manifest_of(ref, sorted(skills))))
        return edit.write(self._add)

    def _folder(self, parcel: Parcel) -> bytes:
        edit = TreeEdit(b"", self.objects.tree)
        for path, kept in parcel.files.items():
            mode = PROGRAM_MODE if kept.executable else FILE_MODE
            edit.put(path.encode("utf-8", "surrogateescape").split(b"/"), mode, self._blob(parcel.read(path)))
        return edit.write(self._add)

    def _blob(self, data: bytes) -> bytes:
        made = new_object(BLOB, data)
        self._add(made)
        return made.oid

    def _add(self, made: NewObject) -> None:
        self.fresh.append(made)
        self.weight += len(made.data)

    def _shows(self, view: str) -> dict[str, bytes]:
        """Return the folders of skills in a view."""
        found = self.shown.get(view)
        if found is None:
            self._write()
            skills = self.objects.item(self._root(view), FOLDER)
            lines = self.objects.tree(skills.oid) if skills is not None else {}
            found = {name.decode(): oid for name, (_, oid) in lines.items()}
            self._remember(view, found)
        return found

    def _remember(self, view: str, found: dict[str, bytes]) -> None:
        self.shown[view] = found
        while len(self.shown) > _REMEMBERED:
            self.shown.pop(next(iter(self.shown)))

    def _root(self, view: str) -> bytes:
        return self.roots[view] if view in self.roots else self.objects.root(view)

    def _write(self) -> None:
        if self.fresh:
            self.objects.write(self.fresh)
            self.fresh.clear()
            self.weight = 0


def manifest_of(ref: VolumeRef, skills: Sequence[str]) -> bytes:
    """Return the `marketplace.json` of a volume: one plugin with every skill; each commit is a version of it."""
    name = ref.id or str(ref.kind)
    plugin = {
        "name": f"{name}-skills",
        "source": "./",
        "description": f"All skills of {ref}.",
        "strict": False,
        "skills": [f"./{FOLDER}/{skill}" for skill in skills],
    }
    document = {
        "name": f"llmos-{str(ref).replace(':', '-')}",
        "owner": {"name": name},
        "description": f"Skills of {ref}, kept in llmos-lite.",
        "plugins": [plugin] if skills else [],
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"
