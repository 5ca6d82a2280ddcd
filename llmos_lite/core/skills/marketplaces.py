"""`.claude-plugin/marketplace.json`: a list of plugins, of which only the skills are taken."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from llmos_lite.core.skills.sources import GITHUB, Source
from llmos_lite.engines.git_refs import OID
from llmos_lite.errors import Invalid

AT = ".claude-plugin/marketplace.json"
MOST_PLUGINS = 2000
_REPO = re.compile(r"[A-Za-z0-9][\w-]*/[\w.-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that is kept elsewhere; None as its source, and a problem, for one that cannot be had."""

    name: str
    source: Source | None
    problem: str = ""


@dataclass(slots=True)
class Marketplace:
    """What a marketplace lists.

    Args:
        here: the folders, in the marketplace's own repository, that hold the skills of each plugin.
        elsewhere: plugins of other repositories.
        problems: why entries cannot be meant, by name.
    """

    here: dict[str, list[str]] = field(default_factory=dict)
    elsewhere: list[Plugin] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes, folder: str = "") -> Marketplace:
        """Read a marketplace.

        Args:
            data: the file.
            folder: where the repository's marketplace begins.

        Raises:
            Invalid: `marketplace.invalid`.
        """
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        plugins = found.get("plugins") if isinstance(found, dict) else None
        if not isinstance(plugins, list) or len(plugins) > MOST_PLUGINS:
            raise Invalid("marketplace.invalid", "That is no marketplace: it has no list of plugins that can be read.")
        about = found.get("metadata")
        base = about.get("pluginRoot") if isinstance(about, dict) else None
        made = cls()
        for entry in plugins:
            if isinstance(entry, dict) and isinstance(entry.get("name"), str):
                made._add(entry, PurePosixPath(folder), str(base or ""))
        return made

    def has(self, path: str) -> bool:
        """Tell whether a file belongs to a skill of a plugin that is kept here."""
        places = {path, *map(str, PurePosixPath(path).parents)}
        return any(folder in places for folders in self.here.values() for folder in folders)

    def _add(self, entry: Mapping[str, object], root: PurePosixPath, base: str) -> None:
        name, source = str(entry["name"])[:100], entry.get("source")
        if isinstance(source, str):
            start = root / _plain(source if source.startswith("./") else f"{base}/{source}")
            skills = entry.get("skills")
            listed = [skills] if isinstance(skills, str) else skills if isinstance(skills, list) else ["skills"]
            folders = [start / _plain(one) for one in listed if isinstance(one, str)]
            if ".." in source or any(".." in one.parts for one in folders):
                self.problems[name] = "Its source leads out of the marketplace."
                return
            self.here[name] = [str(one) for one in folders] + ([str(start / "SKILL.md")] if skills is None else [])
            return
        place = _place(source) if isinstance(source, dict) else None
        self.elsewhere.append(Plugin(name, place, "" if place else "Its source is of a kind that is not fetched here."))


def _plain(path: str) -> str:
    return path.strip().removeprefix("./").strip("/")


def _place(source: Mapping[str, object]) -> Source | None:
    said = {key: value for key, value in source.items() if isinstance(value, str)}
    sha = said.get("sha", "")
    ref = sha if OID.fullmatch(sha) else said.get("ref", "")
    folder = said.get("path", "").strip("./")
    if said.get("source") == "github" and _REPO.fullmatch(said.get("repo", "")):
        return Source("git", f"https://{GITHUB}/{said['repo'].removesuffix('.git')}.git", ref)
    if said.get("source") in {"url", "git-subdir"} and said.get("url") and ".." not in folder:
        url = said["url"]
        if _REPO.fullmatch(url):
            url = f"https://{GITHUB}/{url}.git"
        return Source("git", url, ref, folder if said["source"] == "git-subdir" else "")
    return None
