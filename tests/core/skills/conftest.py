"""Real volumes in a temporary folder, and the people who act on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from elsewhere import Elsewhere, elsewhere
from web_server import Site, serving

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

ALICE = Actor("alice", teams={"sre": Role.USER})
BOB = Actor("bob", teams={"sre": Role.TEAM_ADMIN, "data": Role.USER})
ADMIN = Actor("admin", role=Role.SYSTEM_ADMIN, scopes=EVERYTHING)
SRE = VolumeRef.team("sre")
DATA = VolumeRef.team("data")


def skill_text(name: str, description: str, body: str = "# Steps\n\n1. Do it.\n", keywords: str = "") -> str:
    """Return a skill in the standard's form."""
    metadata = f'metadata:\n  keywords: "{keywords}"\n' if keywords else ""
    return f"---\nname: {name}\ndescription: {description}\n{metadata}---\n{body}"


class People:
    """Who there is."""

    async def all_teams(self) -> list[str]:
        return ["sre", "data"]

    async def named(self, user_id: str) -> str:
        if user_id not in {"admin", "alice", "bob"}:
            raise NotFound("user.unknown", "There is nobody of that name.")
        return user_id


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[VolumeManager]:
    manager = VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))
    yield manager
    manager.close()


@pytest.fixture
def system(volumes: VolumeManager) -> GitVolume:
    return volumes.open(PLATFORM, SYSTEM, write=True)


@pytest.fixture
def team(volumes: VolumeManager) -> GitVolume:
    return volumes.open(PLATFORM, SRE, write=True)


@pytest.fixture
def own(volumes: VolumeManager) -> GitVolume:
    return volumes.open(ALICE.principal, ALICE.volume, write=True)


@pytest.fixture
def manager(volumes: VolumeManager) -> SkillsManager:
    return SkillsManager(volumes)


@pytest.fixture
def service(volumes: VolumeManager, manager: SkillsManager) -> SkillService:
    return SkillService(volumes, manager, People())


@pytest.fixture
def there(service: SkillService, tmp_path: Path) -> Elsewhere:
    return elsewhere(service, tmp_path)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found
