"""Kills an instance at the n-th call that reaches its files: a surer moment than any timer, and a cheaper one."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asgi_client import Client
    from fork_server import ForkServer

    from llmos_lite.bootstrap import Services

DEADLY = (
    "write",
    "pwrite",
    "pwritev",
    "ftruncate",
    "fsync",
    "fdatasync",
    "rename",
    "replace",
    "link",
    "unlink",
    "rmdir",
    "mkdir",
)
MARCH = 1_772_600_000_000

Ack = Callable[..., None]


def skill(name: str, text: str) -> dict[str, str]:
    return {"skill_id": name, "description": f"Use it for {text}.", "content": f"# {name}\n\n{text}\n"}


async def ok(answer: Awaitable[Any]) -> Any:  # noqa: ANN401 - JSON
    got = await answer
    assert got.status < 300, (got.status, got.body)
    return got.json() if got.body else None


# What is done, and what was acknowledged of it


async def chat(client: Client, services: Services, ack: Ack) -> None:
    del services
    for number in range(8):
        ack("trace", (await ok(client.post("/chat", {"message": f"Question {number}"})))["trace_id"])


async def fold(client: Client, services: Services, ack: Ack) -> None:
    for turn in range(4):
        for number in range(3):
            ack("trace", (await ok(client.post("/chat", {"message": f"Question {turn} {number}"})))["trace_id"])
        await services.traces.fold()


EDITS: list[tuple[str, str | None]] = [
    ("one", "first"), ("two", "first"), ("one", "second"), ("two", None), ("three", "first"), ("one", "third"),
]  # fmt: skip


async def edit(client: Client, services: Services, ack: Ack) -> None:
    del services
    known: set[str] = set()
    for name, text in EDITS:
        if text is None:
            await ok(client.request("DELETE", f"/skills/{name}"))
            known.discard(name)
        elif name in known:
            await ok(client.request("PATCH", f"/skills/{name}", json_body={"content": skill(name, text)["content"]}))
        else:
            await ok(client.post("/skills", skill(name, text)))
            known.add(name)
        ack("edit", name, text)


PROPOSED = ["zero", "one", "two"]


async def prepare_merge(client: Client, services: Services, ack: Ack) -> None:
    from llmos_lite.volumes.access import PLATFORM, VolumeRef  # noqa: PLC0415 - as all of the product, only forks

    admin = client.acting_as("admin")
    await ok(admin.post("/teams", {"team_id": "sre", "name": "SRE"}))
    for user_id, role in (("alice", "user"), ("bob", "team_admin")):
        await services.accounts.ensure(user_id)
        await ok(admin.post("/teams/sre/members", {"user_id": user_id, "role": role}))
    services.volumes.open(PLATFORM, VolumeRef.team("sre"), write=True).set_metadata({"policy": {"review": "required"}})
    for name in PROPOSED:
        await ok(client.post("/skills", skill(name, "a proposal")))
        body = {"skill_id": name, "team_id": "sre", "reason": "Useful"}
        ack("proposal", (await ok(client.post("/skills/promote", body)))["proposal_id"])


async def merge(client: Client, services: Services, ack: Ack) -> None:
    del services
    bob = client.acting_as("bob")
    for row in (await ok(bob.get("/proposals?state=open")))["items"]:
        found = await ok(bob.get(f"/proposals/{row['proposal_id']}"))
        await ok(
            bob.post(f"/proposals/{row['proposal_id']}/reviews", {"verdict": "approve", "digest": found["digest"]})
        )
        ack("approved", row["skill_id"], row["proposal_id"])
        await ok(bob.post(f"/proposals/{row['proposal_id']}/merge", {"digest": found["digest"]}))
        ack("merged", row["skill_id"], row["proposal_id"])


async def prepare_repack(client: Client, services: Services, ack: Ack) -> None:
    for number in range(12):
        await ok(client.post("/skills", skill(f"s{number}", "packs")))
        ack("edit", f"s{number}", "packs")
        ack("trace", (await ok(client.post("/chat", {"message": f"Question {number}"})))["trace_id"])
        await services.traces.fold()


async def repack(client: Client, services: Services, ack: Ack) -> None:
    del services
    await ok(client.acting_as("admin").post("/admin/maintain", {"volume": "user:alice"}))
    await ok(client.post("/skills", skill("after", "packs")))
    ack("edit", "after", "packs")


async def checkout(client: Client, services: Services, ack: Ack) -> None:
    from llmos_lite.engines.git import Author  # noqa: PLC0415
    from llmos_lite.volumes.access import PLATFORM, VolumeRef  # noqa: PLC0415

    ref = VolumeRef.user("alice")
    await ok(client.post("/skills", skill("one", "first")))
    store = services.volumes.open(PLATFORM, ref, write=True).store
    root = services.volumes.folder(ref)
    for turn in range(2):
        files: dict[str, bytes | None] = {f"skills/many{n}/SKILL.md": b"turn %d of %d" % (turn, n) for n in range(12)}
        store.commit(files, "Many", Author("alice", "alice@localhost"))
        ack("many", turn)
        (root / "skills" / f"dropped-{turn}.md").write_text(f"dropped {turn}")
        services.volumes.adopt(ref)
        ack("dropped", turn)
    store.commit({f"skills/many{n}/SKILL.md": None for n in range(12)}, "None", Author("alice", "alice@localhost"))
    ack("many", 2)


async def prepare_archive(client: Client, services: Services, ack: Ack) -> None:
    from llmos_lite.core.traces.trace import Message, Trace, make_ulid  # noqa: PLC0415
    from llmos_lite.volumes.access import VolumeRef  # noqa: PLC0415

    await ok(client.get("/skills"))
    traces = []
    for number in range(5):
        at = MARCH + number * 3_600_000
        traces.append(
            Trace(id=make_ulid(at, f"{number}"), actor="alice", volume="user:alice", conversation=f"c{number}", time=at,
                  goal=f"Goal {number}", messages=(Message("user", f"Goal {number}"),), model="offline")
        )  # fmt: skip
    await services.traces.store_many(VolumeRef.user("alice"), traces)
    for trace in traces:
        ack("trace", trace.id)


async def archive(client: Client, services: Services, ack: Ack) -> None:
    del services
    await ok(client.post("/archives", {"month": "2026-03"}))
    ack("archived")
    await ok(client.post("/archives/restore", {"month": "2026-03"}))
    ack("restored")


async def nothing(client: Client, services: Services, ack: Ack) -> None:
    del client, services, ack


Work = Callable[["Client", "Services", Ack], Awaitable[None]]
WORK: dict[str, tuple[Work, Work]] = {
    "chat": (nothing, chat),
    "edit": (nothing, edit),
    "fold": (nothing, fold),
    "merge": (prepare_merge, merge),
    "repack": (prepare_repack, repack),
    "checkout": (nothing, checkout),
    "archive": (prepare_archive, archive),
}


# In the child


class Killer:
    """Ends this process at the n-th call that reaches the disk or starts a program; 0 only counts."""

    def __init__(self, at: int) -> None:
        self.at, self.calls = at, 0

    def arm(self) -> None:
        for name in DEADLY:
            setattr(os, name, self._deadly(name, getattr(os, name)))
        os.remove = os.unlink
        inner, start = io.open, subprocess.Popen.__init__

        def opening(file: Any, mode: str = "r", *rest: Any, **given: Any) -> Any:  # noqa: ANN401
            if set(mode) & set("wax"):
                self._count()
            return inner(file, mode, *rest, **given)

        def starting(popen: Any, *rest: Any, **given: Any) -> None:  # noqa: ANN401
            start(popen, *rest, **given)
            self._count()  # git works on, as after a real kill

        io.open, subprocess.Popen.__init__ = opening, starting  # type: ignore[assignment,method-assign]

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _deadly(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **given: Any) -> Any:  # noqa: ANN401
            if self.calls + 1 == self.at and name == "write" and len(arguments[1]) > 1:
                real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])  # torn
            self._count()
            return real(*arguments, **given)

        return call


async def perform(data: Path, work: Work, ack: Ack, killer: Killer | None) -> None:
    from asgi_client import Client  # noqa: PLC0415

    from llmos_lite.api.app import create_app  # noqa: PLC0415
    from llmos_lite.bootstrap import open_services  # noqa: PLC0415
    from llmos_lite.settings import Settings  # noqa: PLC0415

    settings = Settings(data=data, llm_provider="offline", fold_seconds=3600.0)
    async with open_services(settings, serve=False) as services:
        key = (data / "admin.key").read_text().strip()
        client = Client(create_app(services), {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"})
        if killer is not None:
            killer.arm()
        await work(client, services, ack)


def child(job: dict[str, Any]) -> None:
    acks = os.open(job["acks"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    write = os.write

    def ack(*what: object) -> None:
        write(acks, json.dumps(what).encode() + b"\n")

    prepare, run = WORK[job["work"]]
    killer = Killer(job["at"])
    asyncio.run(perform(Path(job["data"]), prepare if job["prepare"] else run, ack, None if job["prepare"] else killer))
    ack("calls", killer.calls)


# In the test


def kill(forks: ForkServer, work: str, data: Path, *, at: int = 0, prepare: bool = False) -> list[list[Any]]:
    """Do work on a data folder until the process is killed; return what was acknowledged.

    The number of calls differs a little from run to run, so one may end before its kill: the last item is `calls` then.
    """
    acks = data.with_name("acks")
    acks.unlink(missing_ok=True)
    job = {"work": work, "data": str(data), "acks": str(acks), "at": at, "prepare": prepare}
    ended = forks.run(f"import kill_points; kill_points.child({job!r})")
    assert ended.code in ({0, -9} if at else {0}), ended
    return [json.loads(line) for line in acks.read_text().splitlines()]
