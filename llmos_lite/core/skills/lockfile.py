"""`skills-lock.json`: where a volume's imported skills come from, in the form of the public `skills` command.

Its version 1 says source, address, ref, path and a hash of the files. Ours are `treeId`, the Git tree as it came in
(what stands there now differs from it when somebody edited it), `commit`, `folder` (only what lies below it is looked
at), `pinned`, `unpinnedRef` (what is followed once it is not pinned any more) and `sealedUrl` (the address, when it
holds a credential; `sourceUrl` shows stars then), and `renamedFrom` (the id that it came in under, when it has
another one here now). Keys and entries that we do not know stay as they are, to the letter.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from llmos_lite.core.skills.sources import Kind, Source, parse_source
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import Conflict, Invalid, NotFound
from llmos_lite.volumes.access import ID
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import LOCK

VERSION = 1
_NAMES = {
    "source": "source",
    "sourceUrl": "url",
    "sourceType": "kind",
    "ref": "ref",
    "skillPath": "path",
    "computedHash": "computed_hash",
    "wellKnownDigest": "digest",
    "treeId": "tree_id",
    "commit": "commit",
    "folder": "folder",
    "sealedUrl": "sealed",
    "renamedFrom": "renamed_from",
}
_PINNED, _TRACKED = "pinned", "unpinnedRef"
_KINDS: dict[str, Kind] = {
    "github": "git",
    "git": "git",
    "well-known": "site",
    "archive": "archive",
    "file": "file",
    "marketplace": "marketplace",
}
_ORDER = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789"
"""ASCII in the order in which JavaScript's `localeCompare` has it, before the letters (CLDR root collation)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """Where one skill comes from.

    Args:
        source: for people, as `owner/repo`.
        url: its address.
        kind: `github`, `git`, `well-known`, `archive`, `file`.
        ref: branch, tag or commit; empty for what the other side shows first.
        path: of its SKILL.md there.
        computed_hash: of its files as they came.
        digest: of its artifact, where the other side gave one.
        tree_id: Git id of the folder as it came in.
        commit: of the other side.
        folder: below which it was looked for; empty for everywhere.
        sealed: its address, when `url` shows stars.
        renamed_from: the id that it came in under; empty when it has that one.
        pinned: whether an update leaves it alone.
        tracked: the ref that it had before it was pinned; None when it was not.
        more: keys of others.
    """

    source: str
    url: str
    kind: str
    ref: str = ""
    path: str = ""
    computed_hash: str = ""
    digest: str = ""
    tree_id: str = ""
    commit: str = ""
    folder: str = ""
    sealed: str = ""
    renamed_from: str = ""
    pinned: bool = False
    tracked: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def place(self) -> Source | None:
        """Return where to look again; None for a kind, or an address, that nothing is known of here."""
        kind = _KINDS.get(self.kind)
        if kind is None or self.sealed:
            return None
        try:
            url = parse_source(self.url).url if kind == "git" and "://" not in self.url else self.url
            urlsplit(url).port  # noqa: B018 - it raises
        except (Invalid, ValueError):
            return None
        return Source(kind, url, self.ref, self.folder)

    def dump(self) -> dict[str, object]:
        """Return it as it is kept."""
        ours: dict[str, object] = {key: value for key, name in _NAMES.items() if (value := getattr(self, name))}
        pin = {_PINNED: True} if self.pinned else {}
        return {**self.more, **ours, **pin, **({_TRACKED: self.tracked} if self.tracked is not None else {})}

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> Locked | None:
        """Read an entry; None for one that says no source."""
        texts = {name: value for key, name in _NAMES.items() if isinstance(value := said.get(key), str)}
        if not {"source", "kind"} <= texts.keys() or not all(map(_is_text, texts.values())):
            return None
        tracked = said.get(_TRACKED)
        more = {key: value for key, value in said.items() if key not in {*_NAMES, _PINNED, _TRACKED}}
        texts.setdefault("url", texts["source"])
        return cls(
            **texts,
            pinned=said.get(_PINNED) is True,
            tracked=tracked if isinstance(tracked, str) and _is_text(tracked) else None,
            more=more,
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """A volume's lock file.

    Args:
        said: all that it says.
        entries: what is known of it, by skill.
    """

    said: Mapping[str, object]
    entries: Mapping[str, Locked]

    @classmethod
    def read(cls, volume: GitVolume) -> Lock:
        """Read it; a volume without one has an empty one.

        Raises:
            Conflict: `lock.broken`: it is no lock file of this form, and is not overwritten.
        """
        try:
            data = volume.store.read(LOCK)
        except NotFound:
            return cls({}, {})
        return cls.parse(data)

    @classmethod
    def parse(cls, data: bytes) -> Lock:
        """Read its text; see `read`."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _broken(f"it is no JSON ({type(error).__name__})") from None
        skills = found.get("skills", {}) if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(skills, dict):
            raise _broken("it has no list of skills")
        if found.get("version", VERSION) != VERSION:
            raise _broken(f"it has the version {str(found['version'])[:20]}, and {VERSION} is known here")
        known = {key: one for key, said in skills.items() if ID.fullmatch(key) and (one := _entry(said)) is not None}
        return cls(found, known)

    def renamed(self, skill_id: str, new_id: str, before: str, after: str) -> bytes | None:
        """Return its text with an entry under another id; None when nothing changes.

        Args:
            skill_id: its id until now.
            new_id: its id from now on.
            before: Git id of its folder until now.
            after: the same from now on; what was not edited since it came in is not edited then either.
        """
        one = self.entries.get(skill_id)
        if one is None:  # what it says of the new id is of a skill that went away
            return self.changed({new_id: None}) if new_id in self.entries else None
        came = one.renamed_from or skill_id
        moved = replace(
            one,
            tree_id=after if one.tree_id == before else one.tree_id,
            renamed_from="" if came == new_id else came,
        )
        return self.changed({skill_id: None, new_id: moved})

    def changed(self, changes: Mapping[str, Locked | None]) -> bytes:
        """Return its text with some entries changed, or taken out; sorted by skill, so that it merges well."""
        before = self.said.get("skills")
        skills = dict(before) if isinstance(before, dict) else {}
        for key, one in changes.items():
            skills.pop(key, None)
            if one is not None:
                skills[key] = one.dump()
        said = {"version": VERSION, **self.said, "skills": {key: skills[key] for key in sorted(skills)}}
        try:
            return json.dumps(said, indent=2, ensure_ascii=False).encode() + b"\n"
        except UnicodeEncodeError:  # half of a character, in what others wrote
            return json.dumps(said, indent=2).encode() + b"\n"


def read_lock(volume: GitVolume) -> dict[str, Locked]:
    """Return what a volume's lock file says, by skill, as it is kept.

    Raises:
        Conflict: `lock.broken`.
    """
    return dict(Lock.read(volume).entries)


def _entry(said: object) -> Locked | None:
    return Locked.parse(said) if isinstance(said, dict) else None


def _is_text(text: str) -> bool:
    """Tell whether a text of JSON is one: it may hold half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _broken(why: str) -> Conflict:
    return Conflict(
        "lock.broken",
        f"{LOCK} of this volume cannot be read, and is not overwritten: {why}.",
        hint="Mend it with Git, or remove it there; what was imported is not followed then.",
    )


def computed_hash(files: Mapping[str, File]) -> str:
    """Return the hash of a skill's files as the `skills` command computes it.

    SHA-256 over path and content of each file, in the order of JavaScript's `localeCompare`, without `.git` and
    `node_modules`.
    """
    found = hashlib.sha256()
    for name in sorted(files, key=_collated):
        if not {".git", "node_modules"} & set(name.split("/")):
            found.update(name.encode("utf-8", "replace") + files[name].data)
    return found.hexdigest()


def _collated(name: str) -> tuple[list[tuple[int, str]], str, str]:
    """Return what sorts as `localeCompare`: letters first without accents and case, then with, lower case first."""
    plain = "".join(char for char in unicodedata.normalize("NFD", name) if not unicodedata.combining(char))
    places = [(_ORDER.find(char), "") if char in _ORDER else (len(_ORDER), char.lower()) for char in plain]
    return places, unicodedata.normalize("NFD", name).lower(), name.swapcase()
