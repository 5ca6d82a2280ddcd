"""`skills-lock.json`: where a volume's imported skills come from, in the form of the public `skills` command.

Its version 1 says source, address, ref, path and a hash of the files. Ours are `treeId`, the Git tree as it came in
(what stands there now differs from it when somebody edited it), `commit` and `pinned`. Keys that we do not know stay.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmos_lite.core.skills.sources import Kind, Source
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import LlmosError
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
}
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
        pinned: whether an update leaves it alone.
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
    pinned: bool = False
    more: Mapping[str, object] = field(default_factory=dict)

    @property
    def place(self) -> Source | None:
        """Return where to look again; None for a kind that is not known here."""
        kind = _KINDS.get(self.kind)
        return Source(kind, self.url, self.ref) if kind else None

    def dump(self) -> dict[str, object]:
        """Return it as it is kept."""
        ours = {key: value for key, name in _NAMES.items() if (value := getattr(self, name))}
        return {**self.more, **ours, **({"pinned": True} if self.pinned else {})}

    @classmethod
    def parse(cls, said: Mapping[str, object]) -> Locked | None:
        """Read an entry; None for one that says no source."""
        texts = {name: value for key, name in _NAMES.items() if isinstance(value := said.get(key), str)}
        if not {"source", "kind"} <= texts.keys():
            return None
        more = {key: value for key, value in said.items() if key not in _NAMES and key != "pinned"}
        texts.setdefault("url", texts["source"])
        return cls(**texts, pinned=said.get("pinned") is True, more=more)


def read_lock(volume: GitVolume) -> dict[str, Locked]:
    """Return what a volume's lock file says, by skill; what cannot be read there is left out."""
    try:
        found = json.loads(volume.store.read(LOCK))
    except (LlmosError, ValueError, RecursionError):
        return {}
    skills = found.get("skills") if isinstance(found, dict) else None
    entries = skills.items() if isinstance(skills, dict) else ()
    parsed = {key: Locked.parse(said) for key, said in entries if isinstance(said, dict) and ID.fullmatch(key)}
    return {key: one for key, one in parsed.items() if one is not None}


def dump_lock(entries: Mapping[str, Locked]) -> bytes:
    """Return a lock file, sorted by skill so that it merges well."""
    skills = {key: entries[key].dump() for key in sorted(entries)}
    return json.dumps({"version": VERSION, "skills": skills}, indent=2, ensure_ascii=False).encode() + b"\n"


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
