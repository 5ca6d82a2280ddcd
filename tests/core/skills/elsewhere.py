"""Repositories and sites that skills are imported from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from remote_server import git

from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.remotes.dialing import Dialer, Reach
from llmos_lite.core.skills.fetching import Fetcher
from llmos_lite.core.skills.importing import Followed, SkillImports, read_source
from llmos_lite.core.skills.install import Installed
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.git import File
from llmos_lite.engines.git_children import Children
from llmos_lite.engines.sealing import Seals
from llmos_lite.records.remotes import RemoteRecord, RemoteRows
from llmos_lite.volumes.git_volume import author_of

AUTHOR = author_of("alice")
ALICE = Actor("alice", teams={"sre": Role.USER})
Files = Mapping[str, File | None]


def skill(name: str, more: str = "", key: str = "") -> File:
    return File(f"---\nname: {name}\ndescription: Does {name}. Use when asked.\n{key}---\n# {name}\n{more}".encode())


class NoRows(RemoteRows):
    """No remotes at all."""

    def __init__(self) -> None:
        pass

    async def all(self) -> list[RemoteRecord]:
        return []


@dataclass
class Elsewhere:
    """A folder of repositories, and an importer that may look into it."""

    imports: SkillImports
    folder: Path

    def write(self, name: str, files: Files, tag: str = "") -> str:
        """Commit files to a repository, made when it is not there; return the commit."""
        root = self.folder / name
        if not root.exists():
            root.mkdir(parents=True)
            git(root, "-c", "init.defaultBranch=main", "init", "-q")
        for path, file in files.items():
            target = root / path
            if file is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.data)
            target.chmod(0o755 if file.executable else 0o644)
        git(root, "-c", "core.autocrlf=false", "add", "-A", "-f")
        git(root, "commit", "-q", "-m", "Theirs")
        if tag:
            git(root, "tag", "-a", tag, "-m", tag)
        return git(root, "rev-parse", "HEAD")

    def url(self, name: str) -> str:
        return f"file://{self.folder / name}"

    async def take(self, source: str, *wanted: str, replace: bool = False, look: bool = False) -> list[Installed]:
        return await self.imports.take(ALICE, read_source(source), wanted=wanted, replace_there=replace, only_look=look)

    async def follow(self, *wanted: str, force: bool = False, look: bool = False) -> dict[str, Followed]:
        found = await self.imports.follow(ALICE, wanted=wanted, force=force, only_look=look)
        return {one.skill_id: one for one in found}


def elsewhere(service: SkillService, tmp_path: Path) -> Elsewhere:
    """Return an empty one; its imports have no remotes."""
    folder, data = tmp_path / "repositories", tmp_path / "data"
    data.mkdir()
    dialer = Dialer(Reach(data, private=True, folder=str(folder)), Seals(data / "keys"), Children(), lambda _: "")
    return Elsewhere(SkillImports(service, Fetcher(dialer, data / "tmp"), dialer, NoRows()), folder)


def states(found: Mapping[str, Followed]) -> dict[str, str]:
    return {key: one.state for key, one in found.items()}
