"""Volumes, people and proposals, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from llmos_lite.core.accounts.permissions import EVERYTHING, PERSONAL, Actor, Role
from llmos_lite.core.proposals.service import Promoted, Proposals, ProposalView
from llmos_lite.engines.database import Database
from llmos_lite.engines.signing import Signer
from llmos_lite.records.proposals import ProposalRecord, ProposalRows, Wanted
from llmos_lite.records.schema import prepare
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

SRE = VolumeRef.team("sre")
HOME = VolumeRef.user("alice")
SKILL = "---\nname: my-skill\ndescription: What it does.\n---\n\n# My skill\n"
MAIN = "skills/my-skill/SKILL.md"
ALICE = Actor("alice", teams={"sre": Role.USER}, scopes=PERSONAL)
BOB = Actor("bob", teams={"sre": Role.TEAM_ADMIN}, scopes=PERSONAL)
EVE = Actor("eve", teams={"sre": Role.TEAM_ADMIN}, scopes=PERSONAL)
CAROL = Actor("carol", teams={"sre": Role.USER}, scopes=PERSONAL)
ADMIN = Actor("admin", role=Role.SYSTEM_ADMIN, scopes=EVERYTHING)


class Room:
    """The team sre asks for reviews; bob and eve are its admins, alice and carol its members."""

    def __init__(self, data: Path, database: Database) -> None:
        self.volumes = VolumeManager(data, Signer.open(data / "keys"))
        self.rows = ProposalRows(database)
        self.proposals = Proposals(self.rows, self.volumes)
        self.team.set_metadata({"policy": {"review": "required"}})

    @property
    def team(self) -> GitVolume:
        return self.volumes.open(PLATFORM, SRE, write=True)

    def write(self, ref: VolumeRef, text: str, skill_id: str = "my-skill") -> None:
        volume = self.volumes.open(PLATFORM, ref, write=True)
        volume.write_skill(skill_id, SKILL.replace("my-skill", skill_id) + text, author=author_of(ref.id))

    async def promote(self, text: str = "", actor: Actor = ALICE, reason: str = "Useful for team") -> Promoted:
        self.write(actor.volume, text)
        return await self.proposals.promote(actor, "my-skill", SRE, reason)

    async def get(self, promoted: Promoted, actor: Actor = BOB) -> ProposalView:
        return await self.proposals.get(actor, promoted.proposal_id)

    async def all_rows(self) -> list[ProposalRecord]:
        return (await self.rows.page(Wanted(), limit=500)).items


@asynccontextmanager
async def furnished(folder: Path) -> AsyncIterator[Room]:
    database = Database(f"sqlite+aiosqlite:///{folder}/rows.db")
    await prepare(database)
    room = Room(folder / "data", database)
    yield room
    room.volumes.close()
    await database.close()
