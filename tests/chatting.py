"""A room to chat in: real volumes, journal, rows and accounts in a folder of the test's own."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

from llmos_lite.core.accounts.accounts import Accounts
from llmos_lite.core.accounts.keys import make_key
from llmos_lite.core.accounts.permissions import Actor, Role
from llmos_lite.core.chat.assignment import Assignment
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.chat.service import ChatService
from llmos_lite.core.chat.tools import ToolBounds
from llmos_lite.core.limits import Limits
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.traces.log import TraceLog
from llmos_lite.core.traces.trace import Trace
from llmos_lite.engines.database import Database
from llmos_lite.engines.journal_disk import FolderDisk
from llmos_lite.engines.journal_local import LocalJournal
from llmos_lite.engines.llm import LanguageModel
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict
from llmos_lite.observability import Metrics
from llmos_lite.records.accounts import AccountStore
from llmos_lite.records.catalog import Catalog
from llmos_lite.records.schema import prepare
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager


class FullDisk(FolderDisk):
    """A folder that can run full."""

    full = False

    def write_durably(self, name: str, offset: int, parts: Sequence[bytes]) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write_durably(name, offset, parts)


class ToolOptions(TypedDict, total=False):
    """What a chat is told of skills and tools."""

    max_skills: int
    skill_tokens: int
    disclosure: Disclosure
    bounds: ToolBounds
    tool_tokens: int


@dataclass
class Room:
    """Everything a chat needs, and short ways to look at what it did."""

    url: str
    key: str
    volumes: VolumeManager
    accounts: Accounts
    skills: SkillsManager
    traces: TraceLog
    disk: FullDisk
    metrics: Metrics = field(default_factory=Metrics)

    def service(
        self,
        model: str | LanguageModel = "plain",
        *,
        timeout: float = 10.0,
        assignment: Assignment | None = None,
        limits: Limits | None = None,
        **options: Unpack[ToolOptions],
    ) -> ChatService:
        """Return a chat with a model, or with the one of that name on the test's own server."""
        if isinstance(model, str):
            model = OpenAIModel(self.url, model=model, timeout=timeout)
        return ChatService(
            self.skills,
            self.traces,
            self.accounts,
            model,
            metrics=self.metrics,
            assignment=assignment,
            limits=limits,
            **options,
        )

    async def actor(self, user_id: str) -> Actor:
        return await self.accounts.authenticate(self.key, user_id)

    async def join(self, user_id: str, team_id: str) -> Actor:
        """Return a person who is in a team, made when missing."""
        admin = await self.accounts.authenticate(self.key)
        with suppress(Conflict):
            await self.accounts.create_team(admin, team_id)
        await self.accounts.ensure(user_id)
        await self.accounts.set_member(admin, team_id, user_id, Role.USER)
        return await self.actor(user_id)

    def volume(self, name: str) -> GitVolume:
        return self.volumes.open(PLATFORM, VolumeRef.parse(name), write=True)

    def write_skill(self, volume: str, skill_id: str, text: str) -> None:
        self.volume(volume).write_skill(skill_id, text)

    def delete_skill(self, volume: str, skill_id: str) -> None:
        self.volume(volume).delete_skill(skill_id)

    def head(self, volume: str) -> str | None:
        return self.volume(volume).store.head()

    def version(self, volume: str, skill_id: str) -> str:
        entry = self.volume(volume).skill_entry(skill_id)
        assert entry
        return entry.version

    async def trace(self, actor: Actor, trace_id: str | None) -> Trace:
        assert trace_id
        return (await self.traces.get(actor, trace_id)).trace

    async def all_traces(self, actor: Actor) -> list[Trace]:
        page = await self.traces.page(actor)
        return [await self.trace(actor, row.trace_id) for row in page.items]

    async def shared(self, team_id: str) -> list[Trace]:
        """Return what a team got."""
        ref = VolumeRef.team(team_id)
        member = await self.join("witness", team_id)
        page = await self.traces.page(member, volume=ref)
        return [await self.trace(member, row.trace_id) for row in page.items]

    def break_journal(self) -> None:
        self.disk.full = True


@asynccontextmanager
async def room(folder: Path, url: str = "") -> AsyncIterator[Room]:
    """Open a room in `folder`; `url` is where the models are."""
    data = folder / "data"
    data.mkdir()
    disk = FullDisk(data / "journal")
    volumes = VolumeManager(data, Signer.open(data / "keys"))
    database = Database(f"sqlite+aiosqlite:///{data}/rows.db")
    await prepare(database)
    journal = LocalJournal(data / "journal", disk=disk)
    key = make_key()
    traces = TraceLog(volumes, journal, Catalog(database))
    yield Room(
        url=url,
        key=key,
        volumes=volumes,
        accounts=Accounts(AccountStore(database), Settings(data=data), key),
        skills=SkillsManager(volumes),
        traces=traces,
        disk=disk,
    )
    disk.full = False
    await traces.stop()
    journal.close()
    await database.close()
