"""Skills from elsewhere: a source is asked, and gives packages with what a lock file keeps of them.

Everything blocks, is bounded, and follows the rules for addresses that people name (`engines.addresses`): the server
does this itself, so that `update` and `outdated` need no terminal, and one place checks where it may go.
"""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from llmos_lite.core.remotes.dialing import Dialer
from llmos_lite.core.skills.credentials import masked
from llmos_lite.core.skills.install import LEFT_OUT, MOST_SKILL_BYTES, Package, packages_of, unpacked
from llmos_lite.core.skills.lockfile import Locked, computed_hash
from llmos_lite.core.skills.marketplaces import AT, Marketplace, Plugin
from llmos_lite.core.skills.sources import Source
from llmos_lite.core.skills.wellknown import Index, candidates
from llmos_lite.engines.git_peer import Credential, Peer
from llmos_lite.engines.git_snapshot import Listed, Snapshot, snapshot
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import Invalid, LlmosError, NotFound, TooLarge, UpstreamFailed, UpstreamTimeout
from llmos_lite.volumes.skill_paths import FILE

if TYPE_CHECKING:
    from llmos_lite.engines.web import Page, Web

MOST_REPOSITORY, MOST_ARCHIVE, MOST_TEXT = 256 << 20, 64 << 20, 4 << 20
"""Bytes of a repository, of an archive, and of an index or a marketplace."""
MOST_SKILLS, MOST_PLUGINS, MOST_BYTES = 500, 10, 128 << 20
"""Skills of an import, plugins of a marketplace that are fetched from elsewhere, bytes of all skills."""
PATIENCE = 300.0
"""Seconds for an import: for all its files and repositories together."""
FOUND, BUSY, BROKEN = 200, 429, 500
DENIED = frozenset({401, 403, 407})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A skill as it came, with what the lock file will say of it, but for what only its new home knows."""

    package: Package
    locked: Locked
    plugin: str = ""


@dataclass(slots=True)
class Haul:
    """What a source gave: skills, and why others could not be had, by name."""

    skills: list[Fetched] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


class Fetcher:
    """Asks sources.

    Args:
        dialer: knows which Git addresses may be called.
        scratch: folder for what is fetched, meanwhile.
    """

    def __init__(self, dialer: Dialer, scratch: Path) -> None:
        self._dialer, self._scratch = dialer, scratch

    @cached_property
    def _web(self) -> Web:
        from llmos_lite.engines.web import Web  # noqa: PLC0415 - loads http.client, which a start need not wait for

        return Web(private=self._dialer.reach.private, shown=masked)

    def fetch(
        self,
        source: Source,
        wanted: Collection[str] = (),
        credential: Credential | None = None,
        *,
        ends: float = math.inf,
    ) -> Haul:
        """Return the skills of a source.

        Args:
            source: where.
            wanted: names of skills or plugins; all when empty.
            credential: opens a Git repository.
            ends: when all of it has to be done, on the clock `time.monotonic`; PATIENCE from now at the latest.

        Raises:
            Invalid: `source.…`, `remote.…`, `address.private`, `index.…`, `marketplace.invalid`, `install.…`.
            TooLarge: `source.too_large`, `remote.too_large`, `archive.too_large`.
            NotFound: `source.no_skills`.
            UpstreamFailed: `source.failed`, `remote.failed`, `address.unknown`.
            UpstreamTimeout: `source.timeout`, `remote.timeout`.
        """
        ends = min(ends, time.monotonic() + PATIENCE)
        try:
            return _Errand(self._dialer, self._scratch, self._web, ends).fetch(source, wanted, credential)
        except LlmosError as error:
            error.message = error.message.replace(source.url, masked(source.url))
            raise


@dataclass(frozen=True, slots=True)
class _Errand:
    """One import: all its files and repositories share one time."""

    dialer: Dialer
    scratch: Path
    web: Web
    ends: float

    def fetch(self, source: Source, wanted: Collection[str], credential: Credential | None) -> Haul:
        if source.kind == "git":
            return self._git(source, wanted, credential)
        ways: dict[str, Callable[[Source, Collection[str]], Haul]] = {
            "archive": self._archive,
            "file": self._file,
            "marketplace": self._marketplace,
            "site": self._site,
        }
        return ways[source.kind](source, wanted)

    def _left(self) -> float:
        """Return the seconds that are left.

        Raises:
            UpstreamTimeout: `source.timeout`.
        """
        left = self.ends - time.monotonic()
        if left <= 0:
            raise UpstreamTimeout(
                "source.timeout", f"It took more than {PATIENCE:.0f} seconds together.", hint="Name single skills."
            )
        return left

    # Git

    def _git(
        self, source: Source, wanted: Collection[str], credential: Credential | None, *, nested: bool = False
    ) -> Haul:
        peer = self._peer(source.url, credential)
        with snapshot(peer, source.ref, self.scratch, most=MOST_REPOSITORY, patience=self._left()) as found:
            files = {file.path: file for file in found.files if _is_below(file.path, source.folder)}
            market = None if nested else _marketplace_in(found, files, source.folder)
            files = {path: file for path, file in files.items() if market is None or market.has(path)}
            skills = _skills_of(found, files)
            haul = Haul([_locked(source, package, commit=found.commit) for package in skills])
        if market is not None:
            self._add_plugins(haul, market, wanted)
        if not haul.skills and not haul.problems:
            raise _no_skills(source)
        return haul

    def _peer(self, url: str, credential: Credential | None) -> Peer:
        address: RemoteUrl = self.dialer.url(url)
        reach = self.dialer.reach
        known = reach.data / "known_hosts"
        return Peer(address, self.dialer.addresses(address), credential or Credential(), known, self.dialer.children)

    def _add_plugins(self, haul: Haul, market: Marketplace, wanted: Collection[str]) -> None:
        """Add what plugins of a marketplace keep elsewhere."""
        haul.problems |= market.problems
        others = [one for one in market.elsewhere if not wanted or one.name in wanted]
        for plugin in others[:MOST_PLUGINS]:
            self._add_plugin(haul, plugin)
        for plugin in others[MOST_PLUGINS:]:
            haul.problems[plugin.name] = f"Only {MOST_PLUGINS} plugins are fetched at once; name it to have it."

    def _add_plugin(self, haul: Haul, plugin: Plugin) -> None:
        try:
            if plugin.source is None:
                raise Invalid("marketplace.invalid", plugin.problem)
            found = self._git(plugin.source, (), None, nested=True)
        except LlmosError as error:
            haul.problems[plugin.name] = error.message
            return
        haul.skills += [replace(skill, plugin=plugin.name) for skill in found.skills]

    # The web

    def _archive(self, source: Source, _wanted: Collection[str]) -> Haul:
        page = self._page(source.url, MOST_ARCHIVE)
        found = unpacked(io.BytesIO(page.body), MOST_BYTES)
        files = {path: file for path, file in found.items() if _is_below(path, source.folder)}
        skills = _without_copies(one for one in packages_of(files) if one.is_folder)
        if not skills:
            raise _no_skills(source)
        return Haul([_locked(source, one) for one in skills])

    def _file(self, source: Source, _wanted: Collection[str]) -> Haul:
        page = self._page(source.url, MOST_TEXT)
        parts = PurePosixPath(source.url)
        folder = parts.parent.name if parts.name == FILE else parts.stem
        [package] = packages_of({f"{folder}/{FILE}": page.body})
        return Haul([_locked(source, replace(package, path=FILE))])

    def _marketplace(self, source: Source, wanted: Collection[str]) -> Haul:
        market, haul = Marketplace.parse(self._page(source.url, MOST_TEXT).body), Haul()
        self._add_plugins(haul, market, wanted)
        for name in market.here:
            haul.problems[name] = "It lies in the marketplace's repository: import that, as https://host/repo.git."
        return haul

    def _site(self, source: Source, wanted: Collection[str]) -> Haul:
        for address in candidates(source.url):
            page = self.web.get(address, most=MOST_TEXT, ends=self.ends)
            if page.status == FOUND:
                return self._of_index(source, Index.parse(page.body), page.url, wanted)
            _check_status(page)
        if source.url.endswith(".json"):
            raise _no_skills(source)
        git = Source("git", source.url.rstrip("/") + ".git", source.ref, source.folder)
        try:
            return self._git(git, wanted, None)
        except LlmosError as error:
            where = masked(source.url)[:200]
            said = f"{where} lists no skills at a well-known place, and is no Git repository: {error.message}"
            raise NotFound("source.no_skills", said) from None

    def _of_index(self, source: Source, index: Index, address: str, wanted: Collection[str]) -> Haul:
        haul, left = Haul(problems=dict(index.problems)), MOST_BYTES
        entries = [one for one in index.entries if not wanted or one.name in wanted]
        if len(entries) > MOST_SKILLS:
            raise TooLarge("source.too_large", f"It lists {len(entries):,} skills.", hint="Name those that you want.")
        for entry in entries:
            try:
                files = entry.files(address, lambda url, most: self._page(url, most).body)
            except LlmosError as error:
                haul.problems[entry.name] = error.message
                continue
            left -= sum(len(file.data) for file in files.values())
            if left < 0:
                raise TooLarge("source.too_large", "Its skills are too large together.", hint="Name those you want.")
            package = packages_of({f"{entry.name}/{name}": file for name, file in files.items()})[0]
            fetched = _locked(replace(source, url=address), replace(package, path=f"{entry.name}/{FILE}"))
            haul.skills.append(replace(fetched, locked=replace(fetched.locked, digest=entry.digest)))
        return haul

    def _page(self, url: str, most: int) -> Page:
        self._left()
        page = self.web.get(url, most=most, ends=self.ends)
        _check_status(page)
        if page.status != FOUND:
            raise NotFound("source.missing", f"There is nothing at {masked(url)[:200]} (status {page.status}).")
        return page


def _check_status(page: Page) -> None:
    """Refuse an answer that does not say whether something is there.

    Raises:
        UpstreamFailed: `source.denied`, `source.failed`.
    """
    if page.status in DENIED:
        raise UpstreamFailed(
            "source.denied",
            f"{masked(page.url)[:200]} lets nobody in with that address (status {page.status}).",
            hint="Its token may be revoked or at its end: import it again with a new one and --force.",
        )
    if page.status == BUSY or page.status >= BROKEN:
        raise UpstreamFailed("source.failed", f"{masked(page.url)[:200]} cannot answer now (status {page.status}).")


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def _marketplace_in(found: Snapshot, files: Mapping[str, Listed], folder: str) -> Marketplace | None:
    """Return the marketplace that a repository is; None for one that is none, or whose plugins have no skills here."""
    file = files.get(f"{folder}/{AT}".lstrip("/"))
    if file is None or found.size(file) > MOST_TEXT:
        return None
    market = Marketplace.parse(found.read(file).data, folder)
    has_skills = any(market.has(path) and PurePosixPath(path).name in {FILE, FILE.lower()} for path in files)
    return market if has_skills or market.elsewhere else None


def _skills_of(found: Snapshot, files: Mapping[str, Listed]) -> list[Package]:
    """Return the skills among the files of a commit; only what lies in a skill's folder is read."""
    kept = {path: file for path, file in files.items() if not LEFT_OUT & set(PurePosixPath(path).parts)}
    roots = {PurePosixPath(path).parent for path in kept if PurePosixPath(path).name in {FILE, FILE.lower()}}
    if len(roots) > MOST_SKILLS:
        raise TooLarge("source.too_large", f"It has {len(roots):,} skills.", hint="Name a folder of it.")
    inside = {path: file for path, file in kept.items() if roots & set(PurePosixPath(path).parents)}
    sizes = {path: found.size(file) for path, file in inside.items()}
    large = {path for path, size in sizes.items() if size > MOST_SKILL_BYTES}
    if sum(size for path, size in sizes.items() if path not in large) > MOST_BYTES:
        raise TooLarge("source.too_large", "Its skills are too large together.", hint="Name a folder of it.")
    packages = packages_of({path: found.read(file) for path, file in inside.items() if path not in large})
    return _without_copies(_without_large(package, large) for package in packages)


def _without_large(package: Package, large: Collection[str]) -> Package:
    """Return a package that says so when a file of it was too large to be read."""
    root = PurePosixPath(package.path).parent
    if any(root in PurePosixPath(path).parents for path in large):
        return replace(package, problem=f"It is larger than {MOST_SKILL_BYTES >> 20} MiB.")
    return package


def _without_copies(packages: Iterable[Package]) -> list[Package]:
    """Return packages without those that are the same as another one in a place that is less deep."""
    kept: dict[tuple[str, str], Package] = {}
    for package in sorted(packages, key=lambda one: (one.path.count("/"), one.path)):
        kept.setdefault((package.name, computed_hash(package.all_files())), package)
    return [*kept.values()]


def _locked(source: Source, package: Package, *, commit: str = "") -> Fetched:
    said = Locked(
        source=source.name,
        url=source.url,
        kind=source.type,
        ref=source.ref,
        path=package.path,
        computed_hash=computed_hash(package.all_files()),
        commit=commit,
        folder=source.folder,
    )
    return Fetched(package, said)


def _no_skills(source: Source) -> NotFound:
    where = f"{masked(source.url)[:200]}{f' below {source.folder}' if source.folder else ''}"
    return NotFound("source.no_skills", f"There is no skill at {where}.", hint="A skill is a folder with a SKILL.md.")
