"""When remotes are looked at by themselves: after commits, by the clock, and later after a failure."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from git_server import skill
from remote_people import ADMIN, CHIEF, SRE
from remote_server import GitHost, bare, commit, git

from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.remotes import mirrors as module
from llmos_lite.core.remotes.mirrors import BACK_OFF, COALESCE, LONGEST, POLL
from llmos_lite.records.remotes import RemoteRecord
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM
from llmos_lite.volumes.git_volume import GitVolume

HOUR = 3_600_000


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_795_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(services: Services) -> Clock:
    services.mirrors._clock = Clock()
    return services.mirrors._clock


async def added(services: Services, url: str, name: str = "origin", **values: str | bool) -> RemoteRecord:
    services.volumes.create(SRE)
    return (await services.remotes.add(ADMIN, SRE, name, {"url": url} | values)).row


async def stored(services: Services, name: str = "origin") -> RemoteRecord:
    return (await services.remotes.get(CHIEF, SRE, name)).row


async def looked(services: Services) -> list[str]:
    """Look once, and wait for what was begun."""
    mirrors = services.mirrors
    begun = await mirrors.look()
    await asyncio.gather(*mirrors._running.values())
    return begun


# After a commit


async def test_a_commit_is_pushed_soon_and_several_at_once(
    services: Services, clock: Clock, volume: GitVolume, disk: Path
) -> None:
    row = await added(services, f"file://{disk}")
    assert await looked(services) == [row.remote_id]
    assert await looked(services) == []
    for name in ("a", "b"):
        volume.write_skill(name, skill(name))
    assert await looked(services) == []
    clock.now += COALESCE
    assert await looked(services) == [row.remote_id]
    assert git(disk, "rev-parse", "main") == volume.store.head()
    clock.now += COALESCE
    assert await looked(services) == []


async def test_what_is_new_there_is_found_without_a_commit_here(
    services: Services, clock: Clock, volume: GitVolume, disk: Path
) -> None:
    await added(services, f"file://{disk}", direction="both")
    await looked(services)
    made = commit(disk, {"skills/theirs/SKILL.md": skill("theirs")})
    clock.now += COALESCE
    assert await looked(services) == []
    clock.now += POLL
    await looked(services)
    assert volume.store.head() == made


async def test_one_that_is_paused_or_by_hand_waits_to_be_asked(services: Services, clock: Clock, disk: Path) -> None:
    await added(services, f"file://{disk}", timing="manual")
    await added(services, f"file://{disk}", "paused", active=False)
    clock.now += 10 * HOUR
    assert await looked(services) == []
    assert (await services.remotes.sync(CHIEF, SRE, "paused")).row.state == "ok"


# By the clock


async def test_a_schedule_is_kept_and_one_that_was_missed_is_made_up_for(
    services: Services, clock: Clock, disk: Path
) -> None:
    row = await added(services, f"file://{disk}", timing="schedule", cron="30 * * * *")
    clock.now = row.next_try - 1
    assert await looked(services) == []
    clock.now = row.next_try + 5 * HOUR
    assert await looked(services) == [row.remote_id]
    after = await stored(services)
    assert (after.state, after.next_try) == ("ok", row.next_try + 6 * HOUR)
    assert await looked(services) == []


# Failures


async def test_a_failure_is_tried_again_later_and_later(services: Services, clock: Clock, disk: Path) -> None:
    await added(services, f"file://{disk.parent}/none.git")
    pauses = []
    for failures in range(1, 14):
        assert len(await looked(services)) == 1
        row = await stored(services)
        assert (row.state, row.failures, row.succeeded) == ("failed", failures, 0)
        pauses.append(row.next_try - clock.now)
        clock.now = row.next_try - 1
        assert await looked(services) == []
        clock.now += 1
    assert 0.8 * BACK_OFF <= pauses[0] <= 1.2 * BACK_OFF
    assert pauses[3] > 4 * pauses[0]
    assert max(pauses) <= 1.2 * LONGEST
    bare(disk.parent / "none.git")
    await looked(services)
    row = await stored(services)
    assert (row.state, row.failures, row.problem, row.next_try) == ("ok", 0, "", 0)


async def test_a_dead_remote_holds_nobody_up_and_stopping_does_not_wait(
    services: Services, disk: Path, host: GitHost
) -> None:
    host.hang = "dead"
    await added(services, host.url("dead.git"), "dead")
    await added(services, f"file://{disk}", "alive")
    begun = await services.mirrors.look()
    assert len(begun) == 2
    alive = next(row.remote_id for row in services.mirrors._known.values() if row.name == "alive")
    await services.mirrors._running[alive]
    assert (await stored(services, "alive")).state == "ok"
    await asyncio.to_thread(host.hanging.wait, 30)
    assert (await services.remotes.get(CHIEF, SRE, "dead")).running
    async with asyncio.timeout(10):
        await services.mirrors.stop()
    row = await stored(services, "dead")
    assert (row.state, row.failures) == ("new", 0)


async def test_a_look_that_takes_long_goes_on_without_whoever_asked(
    services: Services, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER", 0.05)
    host.hang = "slow"
    await added(services, host.url("slow.git"), timing="manual")
    view = await services.remotes.sync(CHIEF, SRE, "origin")
    assert (view.running, view.row.state) == (True, "new")


async def test_a_remote_that_is_taken_away_meanwhile_comes_to_nothing(services: Services, host: GitHost) -> None:
    bare(host.folder / "x.git")
    host.hang = "x.git"
    row = await added(services, host.url("x.git"), timing="manual")
    task = asyncio.create_task(services.mirrors.sync(row.remote_id))
    await asyncio.to_thread(host.hanging.wait, 30)
    await services.remotes.remove(CHIEF, SRE, "origin")
    host.hang = ""
    host.ended.set()
    assert await task is None
    assert await services.mirrors.sync(row.remote_id) is None
    assert services.mirrors._known == {}


# By itself


async def until(services: Services, state: str) -> RemoteRecord:
    async with asyncio.timeout(60):
        while (row := await stored(services)).state != state or services.mirrors.is_running(row.remote_id):  # noqa: ASYNC110 - the row says it
            await asyncio.sleep(0.02)
        return row


async def test_it_runs_in_the_background(
    services: Services, volume: GitVolume, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.02)
    monkeypatch.setattr(module, "COALESCE", 0)
    services.mirrors._background = True
    services.mirrors.start()
    await added(services, f"file://{disk}")
    await until(services, "ok")
    made = volume.write_skill("a", skill("a"))
    async with asyncio.timeout(60):
        while git(disk, "rev-parse", "main") != made.oid:  # noqa: ASYNC110 - nothing tells when a push has ended
            await asyncio.sleep(0.02)


async def test_a_command_leaves_it_to_the_server(services: Services) -> None:
    services.mirrors.start()
    assert services.mirrors._loop is None


async def test_a_broken_look_does_not_end_it(
    services: Services, disk: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PERIOD", 0.01)
    broken = asyncio.Event()
    look = services.mirrors.look

    async def once() -> list[str]:
        if not broken.is_set():
            broken.set()
            raise ZeroDivisionError
        return await look()

    monkeypatch.setattr(services.mirrors, "look", once)
    services.mirrors._background = True
    services.mirrors.start()
    await added(services, f"file://{disk}")
    await until(services, "ok")
    assert "could not look at the remotes" in caplog.text


# Killed

_CHILD = """
import asyncio, sys
from pathlib import Path
from llmos_lite.bootstrap import open_services
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import VolumeRef

async def main() -> None:
    settings = Settings(data=Path(sys.argv[1]), llm_provider="offline", allow_private_urls=True)
    async with open_services(settings, serve=False) as services:
        (row,) = await services.remotes._rows.all()
        await services.mirrors.sync(row.remote_id)

asyncio.run(main())
"""


@pytest.fixture
async def prepared(settings: Settings, host: GitHost) -> str:
    """A remote to push to, and nobody who holds the data folder; return the commit."""
    bare(host.folder / "x.git")
    async with open_services(settings, serve=False) as services:
        await added(services, host.url("x.git"), timing="manual")
        volume = services.volumes.open(PLATFORM, SRE)
        head = volume.store.head()
    return head or ""


async def test_a_process_that_is_killed_in_the_middle_of_a_push_leaves_nothing_to_mend(
    settings: Settings, host: GitHost, prepared: str
) -> None:
    host.hang = "git-receive-pack"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHILD, str(settings.data))
    await asyncio.to_thread(host.hanging.wait, 60)
    child.send_signal(signal.SIGKILL)
    await child.wait()
    host.hang = ""
    host.ended.set()
    async with open_services(settings, serve=False) as services:
        row = (await services.remotes.sync(CHIEF, SRE, "origin")).row
        assert (row.state, row.theirs) == ("ok", prepared)
        assert git(host.folder / "x.git", "rev-parse", "main") == prepared
        assert git(services.volumes.folder(SRE), "fsck", "--strict", "--no-dangling") == ""
