"""The view of a volume that stock clients install from: `.claude-plugin/marketplace.json`, and the skills as folders.

Each commit of `main` gives one commit of the view (none, when it shows the same), whose parents are the views of its
parents; of a long history the last commits. When other versions are held back, one more commit shows what is offered
now. So a fetch after a change moves forward, and a skill's folder has the id that it has in the volume.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from llmos_lite.core.skills.parcels import Parcel, parcel_of
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
    Lines,
    NewObject,
    TreeEdit,
    compose_message,
    new_object,
)
from llmos_lite.engines.git_odb import Objects
from llmos_lite.engines.git_refs import Refs
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.volume_interface import MAIN, PLATFORM
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FOLDER, SkillEntry

K = TypeVar("K")
V = TypeVar("V")
MANIFEST = (b".claude-plugin", b"marketplace.json")
MOST_COMMITS = 500
"""Commits of a volume that a view shows at first, a commit takes about 4 ms. With another number, views that are made
anew have other ids than those that clients know."""
_KNOWN = "llmos-views"
"""File of a view: a line for each commit of the volume, with the commit of the view."""
_AT = "llmos-at"
"""File of a view: the last time that it moved, and the commit of the volume that it moved to."""
_LINE = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40})")
_BATCH = 32 << 20
"""Bytes of objects after which they are written as one pack."""
_REMEMBERED, _TREES = 64, 8
"""Commits whose skills are in memory, and trees: parents of those that come next."""


class Judge:
    """Says which versions are held back, and remembers them.

    Args:
        holds: finds out.
    """

    def __init__(self, holds: Callable[[SkillEntry], bool]) -> None:
        self._holds = holds
        self._known: dict[str, bool] = {}

    @classmethod
    def of(cls, held: Iterable[str]) -> Judge:
        """Return one that says what was said before."""
        versions = frozenset(held)
        return cls(lambda entry: entry.version in versions)

    @property
    def held(self) -> list[str]:
        """Return what it was asked for and held back."""
        return [version for version, held in self._known.items() if held]

    def holds(self, entry: SkillEntry) -> bool:
        """Tell whether a skill is held back."""
        if entry.version not in self._known:
            self._known[entry.version] = self._holds(entry)
        return self._known[entry.version]


class Shop:
    """What a view is made of.

    Args:
        volume: its skills.
    """

    def __init__(self, volume: GitVolume) -> None:
        self.volume = volume
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
            _remember(self._entries, commit, found)
        return found

    def parcel(self, entry: SkillEntry) -> Parcel | None:
        """Return a skill as other tools get it; None for one that they could not use."""
        return parcel_of(read_version(self.volume, entry.skill_id, entry.version))


@dataclass
class MarketView:
    """A view as a repository, and which of its commits stands for which of the volume.

    Args:
        folder: where it is.
        main: the commit of the volume that it shows; empty for none yet.
        at: the last time that it moved.
        known: the commit of the view by that of the volume.
        added: what of this is not saved yet.
    """

    folder: Path
    store: LocalGitStore
    objects: Objects
    refs: Refs
    main: str = ""
    at: str = ""
    known: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    fresh: list[NewObject] = field(default_factory=list)
    weight: int = 0
    roots: dict[str, bytes] = field(default_factory=dict)
    shown: dict[str, dict[str, bytes]] = field(default_factory=dict)
    trees: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    lines: dict[bytes, Lines] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, signer: Signer) -> MarketView:
        """Open a view as it was saved; an empty one, when it was not."""
        make_folder(folder.parent, 0o700)
        view = cls(folder, LocalGitStore(folder, signer=signer, bare=True), Objects(folder, None), Refs(folder))
        saved = _LINE.fullmatch(_text(folder / _AT).strip())
        if saved:
            view.at, view.main = saved[1], saved[2]
            lines = map(_LINE.fullmatch, _text(folder / _KNOWN).splitlines())
            view.known = {line[1]: line[2] for line in lines if line}
        return view

    def copy(self) -> MarketView:
        """Return the view as it is now, which moves on its own."""
        return replace(self, known=dict(self.known), added=dict(self.added))

    def move(self, shop: Shop, head: str, judge: Judge) -> bool:
        """Show another commit of the volume, and what is held back now; tell whether that is something else.

        What comes of it depends on the moves before and on the arguments alone.

        Args:
            shop: what there is.
            head: of the volume; what was shown before leads to it.
            judge: says what is held back.
        """
        before, missing = self.known.get(self.main), self._missing(shop, head)
        if self.main:
            self._knows(self.main, self._judged(shop, judge))
        for commit in missing:
            self._knows(commit.oid, self._viewed(shop, commit, judge))
            if self.weight > _BATCH:
                self._write()
        self.main = head
        return self.known[head] != before

    def save(self) -> None:
        """Write everything down, and move the branch."""
        self._write()
        with (self.folder / _KNOWN).open("a") as file:
            file.writelines(f"{one} {other}\n" for one, other in self.added.items())
        now, old = self.known[self.main], self.refs.read(MAIN)
        if now != old:
            self.refs.update(MAIN, now, old)
            self.store.upkeep()
        (self.folder / _AT).write_text(f"{self.at} {self.main}\n")
        self.objects.close()
        self.store.close()

    def _knows(self, commit: str, view: str) -> None:
        if self.known.get(commit) != view:
            self.known[commit] = self.added[commit] = view

    def _missing(self, shop: Shop, head: str) -> list[Commit]:
        """Return the commits without a view, each after its parents: the last ones of very many."""
        found = self._unseen(shop, head, None)
        if len(found) > MOST_COMMITS:
            found = self._unseen(shop, head, {commit.oid for commit in shop.recent(head)})
        return found

    def _unseen(self, shop: Shop, head: str, among: set[str] | None) -> list[Commit]:
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

    def _viewed(self, shop: Shop, commit: Commit, judge: Judge) -> str:
        """Return the view of a commit whose parents have theirs: a new one, or the parent's when it shows the same."""
        there = [parent for parent in commit.parents if parent in self.known]
        parents = list(dict.fromkeys(self.known[parent] for parent in there))
        if len(there) == len(commit.parents) == 1 and shop.skills(commit.oid) == shop.skills(there[0]):
            return parents[0]
        found = self._found(shop, commit.oid, there[0] if there else "", judge)
        if not parents and self.main:
            parents = [self.known[self.main]]  # history between was left out
        return self._made(shop, commit, parents, found, commit.subject)

    def _judged(self, shop: Shop, judge: Judge) -> str:
        """Return the view of the commit that is shown as verdicts are now: the one that it has, or one more."""
        before = self.known[self.main]
        found = self._found(shop, self.main, self.main, judge)
        if found == self._shows(before):
            return before
        return self._made(shop, shop.commit(self.main), [before], found, "What is offered has changed")

    def _found(self, shop: Shop, commit: str, parent: str, judge: Judge) -> dict[str, bytes]:
        """Return the folder of each skill that a commit offers; what did not change is that of a parent's view."""
        before, there = (shop.entries(parent), self._shows(self.known[parent])) if parent else ({}, {})
        found: dict[str, bytes] = {}
        for name, entry in shop.entries(commit).items():
            if not judge.holds(entry):
                tree = there.get(name) if before.get(name) == entry else None
                if tree is not None or (tree := self._tree(shop, entry)) is not None:
                    found[name] = tree
        return found

    def _tree(self, shop: Shop, entry: SkillEntry) -> bytes | None:
        """Return the folder of a skill, written; None for one that nobody could use."""
        key = (entry.skill_id, entry.version)
        if key not in self.trees:
            parcel = shop.parcel(entry)
            self.trees[key] = self._folder(parcel) if parcel is not None else None
        return self.trees[key]

    def _made(self, shop: Shop, commit: Commit, parents: list[str], found: dict[str, bytes], subject: str) -> str:
        root = self._assembled(shop.volume.ref, found, parents[0] if parents else "")
        if len(parents) == 1 and self._root(parents[0]) == root:
            return parents[0]
        author = Author(commit.author, commit.email)
        message = compose_message(subject, trailers={"Source-Commit": commit.oid})
        draft = Draft(root, parents, author, PLATFORM, commit.time // 1000, message)
        made = new_object(COMMIT, draft.payload())
        self._add(made)
        self.roots[made.oid.hex()] = root
        _remember(self.shown, made.oid.hex(), found)
        return made.oid.hex()

    def _assembled(self, ref: VolumeRef, skills: dict[str, bytes], base: str) -> bytes:
        """Return the root of a view that shows these skills, made from that of another one by what differs."""
        before = self._shows(base) if base else {}
        edit = TreeEdit(self._root(base) if base else b"", self._lines)
        for name in before.keys() - skills.keys():
            edit.delete((FOLDER.encode(), name.encode()))
        for name, tree in skills.items():
            if before.get(name) != tree:
                edit.put((FOLDER.encode(), name.encode()), FOLDER_MODE, tree)
        if not base or before.keys() != skills.keys():
            edit.put(MANIFEST, FILE_MODE, self._blob(manifest_of(ref, sorted(skills))))
        return edit.write(self._add_tree)

    def _lines(self, oid: bytes) -> Lines:
        """Return the lines of a tree, also of one that is not written yet."""
        found = self.lines.get(oid)
        if found is None:
            self._write()
            found = self.objects.tree(oid)
        return found

    def _add_tree(self, made: NewObject) -> None:
        self._add(made)
        if made.lines is not None:
            _remember(self.lines, made.oid, made.lines, _TREES)

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
            _remember(self.shown, view, found)
        return found

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


def _remember(kept: dict[K, V], key: K, value: V, most: int = _REMEMBERED) -> None:
    """Keep something among the last ones."""
    kept[key] = value
    while len(kept) > most:
        kept.pop(next(iter(kept)))


def _text(path: Path) -> str:
    """Return a file; nothing for one that is not there."""
    return path.read_text() if path.exists() else ""
