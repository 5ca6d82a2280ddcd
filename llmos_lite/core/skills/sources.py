"""Where skills come from, as a person writes it: read once, and told apart by what it is.

owner/repo[/FOLDER][@REF]                      a repository on GitHub
https://host/team/repo.git[//FOLDER][@REF]     a Git repository; also ssh://, git@host:path, file://
https://host/owner/repo/tree/REF/FOLDER        as a browser shows it
https://host/skills.tar.gz | .zip              an archive
https://host/…/SKILL.md                        one file
https://host/…/marketplace.json                a marketplace
https://host[/path]                            a host that lists its skills at a well-known place
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import unquote, urlsplit

from llmos_lite.core.skills.credentials import masked
from llmos_lite.errors import Invalid

Kind = Literal["git", "archive", "file", "marketplace", "site"]

LONGEST = 1000
GITHUB = "github.com"
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_REF = r"(?:@(?P<ref>[A-Za-z0-9_][\w./-]*))?"
_FOLDER = r"(?:/{0}(?P<folder>[^@]*[^@/]))?/?"
_SHORT = re.compile(rf"(?P<repo>[A-Za-z0-9][\w-]*/[\w.-]+?)(?:\.git)?{_FOLDER.format('')}{_REF}", re.ASCII)
_ON_GITHUB = re.compile(rf"https://{GITHUB}/(?P<repo>[\w-]+/[\w.-]+?)(?:\.git)?{_FOLDER.format('')}{_REF}", re.ASCII)
_TREE = re.compile(r"(?P<url>https?://[^/]+(?:/[^/]+)+?)(?:/-)?/(?:tree|blob)/(?P<ref>[^/]+)(?:/(?P<folder>.*?))?/?")
_GIT = re.compile(rf"(?P<url>(?:https?|file)://.+?\.git){_FOLDER.format('/')}{_REF}")
_SSH = re.compile(rf"(?P<url>ssh://[^@]*@?[^@]+?|[\w.-]+@[\w.-]+:[^@]+?){_FOLDER.format('/')}{_REF}", re.ASCII)
_FILE = re.compile(rf"(?P<url>file:///[^@]+?){_FOLDER.format('/')}{_REF}")


@dataclass(frozen=True, slots=True)
class Source:
    """A place that skills come from.

    Args:
        kind: what it is.
        url: its address.
        ref: branch, tag or commit; empty for what the other side shows first.
        folder: only what lies below; empty for all.
    """

    kind: Kind
    url: str
    ref: str = ""
    folder: str = ""

    @property
    def name(self) -> str:
        """Return it as the `skills` command writes it: `owner/repo` on GitHub, else the address without its scheme.

        Credentials in it are stars.
        """
        return shown_name(masked(self.url))

    @property
    def type(self) -> str:
        """Return its kind as a lock file names it."""
        if self.kind == "git":
            return "github" if _ON_GITHUB.fullmatch(self.url) else "git"
        return "well-known" if self.kind == "site" else self.kind


def shown_name(url: str) -> str:
    """Return an address as people see it; see `Source.name`."""
    on_github = _ON_GITHUB.fullmatch(url)
    return on_github["repo"] if on_github else url.partition("://")[2].removesuffix(".git") or url


def parse_source(text: str, *, ref: str = "", folder: str = "") -> Source:
    """Read what a person wrote; `ref` and `folder` win over what the text says.

    Raises:
        Invalid: `source.invalid`.
    """
    text, _, anchor = text.strip().partition("#")
    if not text or len(text) > LONGEST or text.startswith("-") or not text.isprintable():
        raise _invalid(text)
    found = _parsed(text)
    found = replace(found, ref=ref or found.ref or anchor, folder=(folder or found.folder).strip("/"))
    if any(part in {"..", "."} for part in found.folder.split("/")) or "\\" in found.folder or len(found.ref) > LONGEST:
        raise _invalid(text)
    return found


def _parsed(text: str) -> Source:
    for form in (_SHORT, _ON_GITHUB):
        if found := form.fullmatch(text):
            if found["folder"] and found["folder"].startswith(("tree/", "blob/")):
                continue
            return _git(f"https://{GITHUB}/{found['repo']}.git", found["ref"], found["folder"])
    if found := _TREE.fullmatch(text):
        url = found["url"] if found["url"].endswith(".git") else f"{found['url']}.git"
        return _git(url, unquote(found["ref"]), _of_file(unquote(found["folder"] or "")))
    if text.startswith(("https://", "http://")):
        return _on_the_web(text)
    for form in (_GIT, _FILE, _SSH):
        if found := form.fullmatch(text):
            return _git(found["url"], found["ref"], found["folder"])
    raise _invalid(text)


def _on_the_web(text: str) -> Source:
    path = urlsplit(text).path.lower() if "[" not in text else text
    if path.endswith(ARCHIVES):
        return Source("archive", text)
    if found := _GIT.fullmatch(text):
        return _git(found["url"], found["ref"], found["folder"])
    if path.endswith("/marketplace.json"):
        return Source("marketplace", text)
    return Source("file" if path.endswith(".md") else "site", text)


def _of_file(folder: str) -> str:
    """Return the folder of a SKILL.md that was named."""
    return folder.removesuffix("SKILL.md").strip("/")


def _git(url: str, ref: str | None, folder: str | None) -> Source:
    return Source("git", url, ref or "", (folder or "").strip("/"))


def _invalid(text: str) -> Invalid:
    return Invalid(
        "source.invalid",
        f"{masked(text[:LONGEST])[:200]!r} is no place that skills come from.",
        hint="As in owner/repo, https://host/repo.git@v1, https://host/skills.tar.gz or https://host.",
    )
