"""Workers as real processes beside an instance that holds the folder."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import pytest

from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.runs import Run
from llmos_lite.core.traces.trace import Message, Trace, make_ulid
from llmos_lite.engines.worker_pool import WorkerPool
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.worker import main
from tests.evolving import CSV, OTHER

ALICE = Actor("alice")
ADMIN = Actor("admin", Role.SYSTEM_ADMIN, scopes=EVERYTHING)
LONGEST = 60.0


def trace(place: int, goal: str) -> Trace:
    trace_id = make_ulid(1_790_000_000_000 + place * 1000, goal)
    messages = (Message("user", goal), Message("assistant", "1. Open the file\n2. Read the rows\n3. Sum them up\n"))
    return Trace(
        id=trace_id, actor="alice", volume="user:alice", conversation=trace_id, time=1_790_000_000_000 + place * 1000,
        goal=goal, messages=messages, model="instant",
    )  # fmt: skip


async def asked(services: Services, kind: str, request: Mapping[str, object], actor: Actor = ALICE) -> str:
    await services.accounts.ensure(actor.user_id)
    return await services.runs.create(kind, actor, request)


async def done(services: Services, run_id: str) -> Run:
    run = await services.runs.wait(run_id, LONGEST)
    assert run.is_finished, run
    return run


def worker(settings: Settings, kind: str, run_id: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | settings.environment()
    command = [sys.executable, "-m", "llmos_lite.worker", kind, run_id]
    return subprocess.run(command, env=environment, input="", capture_output=True, text=True, check=False)


async def pooled(services: Services, kind: str, run_id: str) -> None:
    await WorkerPool(os.environ | services.settings.environment()).run(kind, run_id)


def until_taken(path: Path) -> None:
    """Wait until DBOS has the run, looking from outside, as nobody tells."""
    pause = threading.Event()
    while True:
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as rows:
            if rows.execute("select count(*) from workflow_status").fetchone()[0]:
                return
        pause.wait(0.02)


async def test_a_run_is_done_in_another_process_while_this_one_holds_the_folder(services: Services) -> None:
    for place, goal in enumerate([*CSV, *OTHER]):
        await services.traces.record(trace(place, goal))
    run_id = await services.evolution.start(ALICE)
    run = await done(services, run_id)
    assert (run.state, run.result["traces_analyzed"], run.result["skills_created"]) == ("done", 9, 1)
    [skill] = services.volumes.open(PLATFORM, VolumeRef.user("alice")).list_skills()
    page = await services.evolution.patterns(ALICE)
    assert [(item.count, item.skill_id) for item in page.items] == [(5, skill.skill_id)]
    again = await services.evolution.run(ALICE, timeout=LONGEST)
    assert (again.result["skills_created"], again.result["skills_updated"]) == (0, 0)


async def test_an_import_is_done_by_a_worker_and_its_file_removed(services: Services) -> None:
    lines = [json.dumps({"messages": [{"role": "user", "content": goal}, {"role": "assistant", "content": "Ok."}],
                         "created": 1_790_000_000 + place}) for place, goal in enumerate(CSV)]  # fmt: skip
    path = services.settings.data / "log.jsonl"
    path.write_text("\n".join([*lines, "no json"]) + "\n")
    await services.accounts.ensure("alice")
    run = await done(services, await services.imports.start(ALICE, "alice", path))
    assert (run.state, run.result["traces"], run.result["duplicates"]) == ("done", 5, 0), run
    assert not path.exists()
    assert (await services.traces.page(ALICE)).total == 5
    path.write_text("\n".join(lines) + "\n")
    again = await done(services, await services.imports.start(ALICE, "alice", path))
    assert (again.result["traces"], again.result["duplicates"]) == (0, 5)


async def test_a_file_that_is_gone_or_no_file_fails_with_a_sentence(services: Services) -> None:
    path = services.settings.data / "gone.jsonl"
    run = await done(services, await services.imports.start(ALICE, "alice", path))
    assert run.state == "failed"
    assert "not there any more" in run.error


async def test_rows_come_back_by_a_reindex(services: Services) -> None:
    for place, goal in enumerate(CSV):
        await services.traces.record(trace(place, goal))
    await services.traces.fold()
    rows = (await services.traces.page(ALICE)).items
    await services.catalog.traces.remove([row.trace_id for row in rows])
    assert (await services.traces.page(ALICE)).total == 0
    run = await done(services, await services.start_run(ADMIN, "reindex", {}))
    assert (run.state, run.result["events"]) == ("done", 5), run
    assert (await services.traces.page(ALICE)).total == 5


async def test_what_goes_wrong_with_a_name_stands_in_the_run(services: Services) -> None:
    for kind, request, said in (
        ("dance", {}, "There is no work of the kind 'dance'."),
        ("evolve", {"scope": "moon"}, "'moon' is no scope."),
    ):
        run_id = await asked(services, kind, request)
        await pooled(services, kind, run_id)
        run = await services.runs.get(ALICE, run_id)
        assert run.state == "failed"
        assert run.error.startswith(said)


async def test_a_finished_run_is_not_done_again(services: Services) -> None:
    run_id = await asked(services, "evolve", {"scope": "user", "id": "alice"})
    await services.runs.finish(run_id, {"kept": 1})
    await pooled(services, "evolve", run_id)
    assert (await services.runs.load(run_id)).result == {"kept": 1}


async def test_a_worker_that_dies_leaves_the_end_of_what_it_said(services: Services) -> None:
    run_id = await services.start_run(ALICE, "evolve", {"scope": "user", "id": "NOT AN ID"})
    run = await done(services, run_id)
    assert run.state == "failed"
    assert "'NOT AN ID' is not a user id" in run.error


def test_a_run_that_nobody_knows_is_an_exit_code(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, llm_provider="offline")

    async def prepare() -> None:
        async with open_services(settings, serve=False):
            pass

    asyncio.run(prepare())
    assert main(["evolve", "01M825B6A2DR3455GREMJX5E1B"], settings.environment()) == 4


def test_a_worker_wants_two_arguments() -> None:
    assert main(["evolve"], {}) == 2


async def test_a_worker_goes_when_its_parent_does(services: Services) -> None:
    run_id = await asked(services, "evolve", {"scope": "user", "id": "alice"})
    ended = await asyncio.to_thread(worker, services.settings, "evolve", run_id)
    assert ended.returncode in {0, 75}  # its input ended before it began: it either was quicker, or gave up
    assert ended.stdout == ""


async def test_a_killed_server_finishes_what_it_began(tmp_path: Path) -> None:
    """Kill -9 while the worker works; the next server takes the run up again."""
    settings = Settings(data=tmp_path / "data", llm_provider="offline")
    async with open_services(settings, serve=False) as services:
        await services.traces.store_many(VolumeRef.user("alice"), [trace(at, goal) for at, goal in enumerate(CSV)])
        run_id = await asked(services, "evolve", {"scope": "user", "id": "alice"})
        await services.stop()
    command = [sys.executable, "-m", "llmos_lite", "serve", "--data", str(settings.data), "--port", "0"]
    environment = os.environ | settings.environment() | {"LLMOS_DATA": ""}
    server = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    await asyncio.wait_for(asyncio.to_thread(until_taken, settings.data / "jobs.sqlite"), LONGEST)
    server.send_signal(signal.SIGKILL)
    await server.wait()
    async with open_services(settings, serve=True) as services:
        await services.start_jobs()
        run = await done(services, run_id)
        await services.stop()
    assert (run.state, run.result["skills_created"]) == ("done", 1), run


@pytest.mark.parametrize("kind", ["evolve", "reindex"])
async def test_without_a_server_the_work_is_done_here(tmp_path: Path, kind: str) -> None:
    settings = Settings(data=tmp_path / "data", llm_provider="offline")
    async with open_services(settings, serve=False) as services:
        for place, goal in enumerate(CSV):
            await services.traces.record(trace(place, goal))
        run_id = await services.start_run(ALICE, kind, {"scope": "user", "id": "alice"})
        run = await done(services, run_id)
        assert run.state == "done", run
        await services.stop()
