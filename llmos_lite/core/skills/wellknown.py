"""Skills that a host lists at a well-known place: the discovery format 0.2.0, and 0.1.0 before it.

0.2.0 names one artifact a skill, a SKILL.md or an archive, with its digest. 0.1.0 lists the files.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from llmos_lite.core.skills.install import MOST_SKILL_BYTES, MOST_SKILL_FILES, inside, unpacked
from llmos_lite.engines.git_objects import File
from llmos_lite.errors import Invalid, TooLarge
from llmos_lite.volumes.access import ID, ID_LENGTH
from llmos_lite.volumes.skill_paths import FILE

SCHEMA = "https://schemas.agentskills.io/discovery/0.2.0/schema.json"
PLACE, PLACE_BEFORE = "/.well-known/agent-skills/index.json", "/.well-known/skills/index.json"
MOST_ENTRIES = 10_000
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

Get: TypeAlias = Callable[[str, int], bytes]
"""Fetches an address, so many bytes at most."""


def candidates(url: str) -> list[str]:
    """Return where a site may list its skills: below the path that was named, then at its root."""
    parts = urlsplit(url)
    if parts.path.endswith("/index.json"):
        return [url]
    bases = dict.fromkeys((parts.path.rstrip("/"), ""))
    paths = [f"{base}{PLACE}" for base in bases] + [f"{base}{PLACE_BEFORE}" for base in bases]
    return [urlunsplit((parts.scheme, parts.netloc, path, "", "")) for path in paths]


@dataclass(frozen=True, slots=True)
class Entry:
    """A skill of an index.

    Args:
        name: an id.
        url: of its artifact, relative to the index; empty in 0.1.0.
        digest: of the artifact, `sha256:…`; empty in 0.1.0.
        packed: whether the artifact is an archive.
        paths: of its files, in 0.1.0.
    """

    name: str
    url: str = ""
    digest: str = ""
    packed: bool = False
    paths: tuple[str, ...] = ()

    def files(self, index: str, get: Get) -> dict[str, File]:
        """Return the files of the skill.

        Args:
            index: address of the index, in the end.
            get: fetches.

        Raises:
            Invalid: `index.digest`, `index.artifact`, `install.…`.
            TooLarge: `source.too_large`, `archive.too_large`.
            NotFound, UpstreamFailed: as `get`.
        """
        files = self._listed(index, get) if self.paths else self._artifact(index, get)
        if FILE not in files:
            raise Invalid("index.artifact", f"What is listed as {self.name} has no {FILE} at its root.")
        return files

    def _artifact(self, index: str, get: Get) -> dict[str, File]:
        data = get(urljoin(index, self.url), MOST_SKILL_BYTES)
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if found != self.digest:
            raise Invalid("index.digest", f"{self.name} is not what its index says: its digest is {found[:19]}….")
        if not self.packed:
            return {FILE: File(data)}
        files = unpacked(io.BytesIO(data), MOST_SKILL_BYTES)
        return {name: file if isinstance(file, File) else File(file) for name, file in files.items()}

    def _listed(self, index: str, get: Get) -> dict[str, File]:
        left, files = MOST_SKILL_BYTES, dict[str, File]()
        for path in self.paths:
            name = inside(path)
            files[name] = File(get(urljoin(index, f"{quote(self.name)}/{quote(name)}"), left))
            left -= len(files[name].data)
        return files


@dataclass(slots=True)
class Index:
    """What a host lists: entries that can be meant, and why others cannot, by name."""

    entries: list[Entry] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """Read an index.

        Raises:
            Invalid: `index.invalid`, `index.unknown_schema`.
            TooLarge: `index.too_many`.
        """
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        skills = found.get("skills") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not isinstance(skills, list):
            raise Invalid("index.invalid", "What the host lists as its skills is no index.")
        schema = found.get("$schema")
        if schema not in {None, SCHEMA}:
            raise Invalid("index.unknown_schema", f"The index has the form {str(schema)[:200]!r}, unknown here.")
        if len(skills) > MOST_ENTRIES:
            raise TooLarge("index.too_many", f"The index lists {len(skills):,} skills; {MOST_ENTRIES:,} are read.")
        made = cls()
        for said in skills:
            made._add(said if isinstance(said, dict) else {}, listed=schema is None)
        return made

    def _add(self, said: Mapping[str, object], *, listed: bool) -> None:
        name = str(said.get("name", ""))
        if len(name) > ID_LENGTH or not ID.fullmatch(name):
            self.problems[name[:ID_LENGTH]] = "Its name is no id."
            return
        entry = _listing(name, said) if listed else _artifact(name, said)
        if isinstance(entry, str):
            self.problems[name] = entry
        else:
            self.entries.append(entry)


def _artifact(name: str, said: Mapping[str, object]) -> Entry | str:
    kind, url, digest = said.get("type"), said.get("url"), said.get("digest")
    if kind not in {"skill-md", "archive"}:
        return f"It is of the type {str(kind)[:80]!r}, unknown here."
    if not isinstance(url, str) or not url:
        return "Its entry names no address."
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return "Its entry has no digest that could be checked."
    return Entry(name, url, digest, packed=kind == "archive")


def _listing(name: str, said: Mapping[str, object]) -> Entry | str:
    paths = said.get("files")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths) or FILE not in paths:
        return f"Its entry lists no files with a {FILE} among them."
    if len(paths) > MOST_SKILL_FILES:
        return f"It has more than {MOST_SKILL_FILES} files."
    return Entry(name, paths=tuple(dict.fromkeys(paths)))
