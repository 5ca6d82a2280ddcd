"""A mirror of traces: months go forward; what is erased here is erased there, or the answer says where it was not."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from erasing import MARKER, MINE, secret
from remote_people import ADMIN, ALICE
from remote_server import GitHost, bare, commit, git
from trace_instance import NOV, trace

from llmos_lite.bootstrap import Services
from llmos_lite.core.remotes import mirrors as module
from llmos_lite.core.remotes.traces import sent_of
from llmos_lite.core.traces.erasure_report import ErasureReport
from llmos_lite.core.traces.trace import Trace
from llmos_lite.errors import Invalid, StorageFailed
from llmos_lite.records.remotes import RemoteRecord
from llmos_lite.volumes.access import PLATFORM

NOVEMBER = "2026-11"


@pytest.fixture
def mirror(host: GitHost) -> Path:
    return bare(host.folder / "traces.git")


async def record(services: Services, *traces: Trace) -> None:
    for one in traces:
        await services.traces.record(one)
    await services.traces.settle()
    await services.traces.fold()


async def added(services: Services, url: str, name: str = "backup", **values: str | bool) -> None:
    said: dict[str, str | bool] = {"url": url, "traces": True, "timing": "manual"}
    await services.remotes.add(ALICE, MINE, name, said | values)


async def synced(services: Services, name: str = "backup") -> RemoteRecord:
    return (await services.remotes.sync(ALICE, MINE, name)).row


async def stored(services: Services, name: str = "backup") -> RemoteRecord:
    return (await services.remotes.get(ALICE, MINE, name)).row


async def mirrored(services: Services, host: GitHost, *traces: Trace) -> None:
    """Record traces, and mirror them."""
    await record(services, *traces)
    await added(services, host.url("traces.git"))
    row = await synced(services)
    assert (row.state, row.problem) == ("ok", "")


def heads(services: Services) -> dict[str, str]:
    return services.volumes.open(PLATFORM, MINE).traces.branches()


def there(mirror: Path) -> dict[str, str]:
    lines = git(mirror, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)").splitlines()
    return dict(line.split() for line in lines)


def text(mirror: Path) -> str:
    """Return all that can be reached in a mirror."""
    oids = git(mirror, "rev-list", "--objects", "--no-object-names", "--all")
    return git(mirror, "cat-file", "--batch", put=oids + "\n")


def away(mirror: Path, *, back: bool = False) -> None:
    """Take a repository away from its server, or bring it back."""
    places = (mirror.with_name("away.git"), mirror) if back else (mirror, mirror.with_name("away.git"))
    places[0].rename(places[1])


async def erase(services: Services, one: Trace) -> ErasureReport:
    return await services.eraser.erase(ALICE, one.id)


# Forward


async def test_traces_are_mirrored_when_asked_and_to_their_own_place(
    services: Services, host: GitHost, mirror: Path
) -> None:
    bare(host.folder / "skills.git")
    await record(services, secret(1))
    await services.remotes.add(ALICE, MINE, "skills", {"url": host.url("skills.git"), "timing": "manual"})
    await synced(services, "skills")
    assert MARKER not in text(host.folder / "skills.git")
    assert there(mirror) == {}
    await added(services, host.url("traces.git"))
    await synced(services)
    assert there(mirror) == heads(services)
    assert MARKER in text(mirror)
    await record(services, trace(2))
    await synced(services)
    assert there(mirror) == heads(services) == {NOVEMBER: heads(services)[NOVEMBER]}
    assert sent_of(await stored(services)) == {NOVEMBER: [heads(services)[NOVEMBER]]}


async def test_new_traces_are_noticed(services: Services, host: GitHost, mirror: Path) -> None:
    await mirrored(services, host, trace(1))
    await services.remotes.change(ALICE, MINE, "backup", {"timing": "commit"})
    row = await stored(services)
    assert not services.mirrors.due(row)
    await record(services, trace(2))
    assert services.mirrors.due(await stored(services))
    await services.mirrors.sync(row.remote_id)
    assert not services.mirrors.due(await stored(services))
    assert there(mirror) == heads(services)


async def test_what_somebody_else_put_there_stays(services: Services, host: GitHost, mirror: Path) -> None:
    await mirrored(services, host, trace(1))
    theirs = commit(mirror, {"x": "1"}, branch=NOVEMBER)
    await record(services, trace(2))
    row = await synced(services)
    assert (row.state, row.problem) == ("diverged", "2026-11: somebody else has put commits there")
    assert there(mirror) == {NOVEMBER: theirs}


@pytest.mark.parametrize("direction", ["pull", "both"])
async def test_traces_are_never_pulled(services: Services, host: GitHost, direction: str) -> None:
    with pytest.raises(Invalid) as caught:
        await added(services, host.url("traces.git"), direction=direction)
    assert caught.value.code == "remote.traces"


# Erasure


async def test_what_is_erased_here_is_erased_there(services: Services, host: GitHost, mirror: Path) -> None:
    await mirrored(services, host, secret(1), trace(2))
    report = await erase(services, secret(1))
    assert report.unreached == []
    assert there(mirror) == heads(services)
    assert MARKER not in text(mirror)
    assert trace(2).id in text(mirror)
    git(mirror, "fsck", "--strict")
    row = await stored(services)
    assert (row.state, row.erasing) == ("ok", 0)


async def test_a_mirror_that_is_not_reached_is_named_and_told_later(
    services: Services, host: GitHost, mirror: Path
) -> None:
    await mirrored(services, host, secret(1), trace(2))
    away(mirror)
    report = await erase(services, secret(1))
    (said,) = report.unreached
    assert said.startswith(f"user:alice, backup ({host.url('traces.git')}): ")
    assert said.endswith("; it is tried again.")
    row = await stored(services)
    assert (row.state, row.failures) == ("failed", 1)
    assert row.erasing
    away(mirror, back=True)
    assert MARKER in text(mirror)
    services.mirrors._clock = lambda: row.next_try
    assert services.mirrors.due(row)
    await services.mirrors.look()
    await asyncio.gather(*services.mirrors._running.values())
    assert MARKER not in text(mirror)
    assert (await stored(services)).erasing == 0


async def test_a_mirror_that_does_not_answer_does_not_hold_an_erasure_up(
    services: Services, host: GitHost, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ERASE", 0.3)
    await mirrored(services, host, secret(1))
    host.hang = "traces.git"
    (said,) = (await erase(services, secret(1))).unreached
    assert "it did not answer in 0 s" in said or "was not done after" in said
    assert (await stored(services)).erasing
    assert MARKER in text(mirror)


async def test_commits_of_somebody_else_are_not_erased_and_named(
    services: Services, host: GitHost, mirror: Path
) -> None:
    await mirrored(services, host, secret(1))
    theirs = commit(mirror, {"x": "1"}, branch=NOVEMBER)
    (said,) = (await erase(services, secret(1))).unreached
    assert "2026-11: somebody else has put commits there" in said
    assert there(mirror)[NOVEMBER] == theirs
    row = await stored(services)
    assert row.erasing
    assert row.next_try > services.mirrors._clock() - 1000


async def test_a_month_that_is_gone_here_goes_there(services: Services, host: GitHost, mirror: Path) -> None:
    old = trace(-50_000, messages=(), goal=MARKER)
    await mirrored(services, host, old, trace(2))
    assert set(there(mirror)) == {"2026-09", NOVEMBER}
    report = await services.eraser.retain(MINE, NOV - 86_400_000)
    assert report is not None
    assert report.unreached == []
    assert there(mirror) == heads(services)
    assert set(there(mirror)) == {NOVEMBER}


async def test_an_archived_month_stays_there_until_something_is_erased(
    services: Services, host: GitHost, mirror: Path
) -> None:
    old = trace(-50_000)
    await mirrored(services, host, old, trace(2), trace(3))
    await services.archives.archive(ALICE, "2026-09")
    await synced(services)
    assert set(there(mirror)) == {"2026-09", NOVEMBER}
    await erase(services, old)
    assert set(there(mirror)) == {NOVEMBER, time.strftime("%Y-%m", time.gmtime())}  # the tombstone is of today


async def test_a_crash_between_both_sides_is_made_up_for(services: Services, host: GitHost, mirror: Path) -> None:
    """The months are rewritten here, and the process ends before it tells the mirror."""
    await mirrored(services, host, secret(1), trace(2))
    told = services.mirrors.erase
    services.mirrors.erase = _killed  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await erase(services, secret(1))
    services.mirrors.erase = told  # type: ignore[method-assign]
    services.mirrors._erasing.clear()  # as in the next process
    row = await stored(services)
    assert row.erasing
    assert services.mirrors.due(row)
    await services.mirrors.sync(row.remote_id)
    assert MARKER not in text(mirror)


async def _killed(*_: object) -> list[str]:
    raise asyncio.CancelledError


async def test_a_crash_after_a_push_that_was_not_noted_is_made_up_for(
    services: Services, host: GitHost, mirror: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was about to be sent is known, so that it can be replaced."""
    await mirrored(services, host, trace(2))
    await record(services, secret(1))
    send = services.mirrors._traces.send

    def crash(*words: object, **options: object) -> None:
        send(*words, **options)  # type: ignore[arg-type]
        raise StorageFailed("storage.failed", "The power went.")

    monkeypatch.setattr(services.mirrors._traces, "send", crash)
    await synced(services)
    assert MARKER in text(mirror)
    monkeypatch.undo()
    assert (await erase(services, secret(1))).unreached == []
    assert MARKER not in text(mirror)
    assert there(mirror) == heads(services)


async def test_nothing_is_forced_while_months_are_being_rewritten(
    services: Services, host: GitHost, mirror: Path
) -> None:
    await mirrored(services, host, trace(1))
    before = there(mirror)
    await services.mirrors.begin(MINE)
    row = await stored(services)
    assert row.erasing
    assert not services.mirrors.due(row)
    history = services.volumes.traces_history(MINE)
    history.drop(NOVEMBER)
    history.close()
    services.volumes.forget_traces(MINE)
    await synced(services)
    assert there(mirror) == before
    assert (await stored(services)).erasing


# Places that are no mirror any more


@pytest.mark.parametrize("how", ["removed", "moved"])
async def test_a_place_that_was_a_mirror_is_named_for_ever(
    services: Services, host: GitHost, mirror: Path, how: str
) -> None:
    await mirrored(services, host, secret(1))
    if how == "removed":
        await services.remotes.remove(ALICE, MINE, "backup")
    else:
        bare(host.folder / "other.git")
        await services.remotes.change(ALICE, MINE, "backup", {"url": host.url("other.git")})
        assert (await synced(services)).state == "ok"
    (said,) = (await erase(services, secret(1))).unreached
    assert said == f"user:alice, backup ({host.url('traces.git')}): it is no remote any more, and keeps what it has."
    assert MARKER in text(mirror)
    if how == "moved":
        assert MARKER not in text(host.folder / "other.git")
    assert json.loads((await services.remotes._rows.all())[0].sent)


async def test_a_mirror_that_never_got_anything_is_not_named(services: Services, host: GitHost) -> None:
    await record(services, secret(1))
    await added(services, host.url("none.git"))
    assert (await erase(services, secret(1))).unreached == []


async def test_an_admin_who_forgets_somebody_is_told_of_the_mirrors(
    services: Services, host: GitHost, mirror: Path
) -> None:
    await mirrored(services, host, secret(1))
    away(mirror)
    report = await services.eraser.forget(ADMIN, "alice")
    assert len(report.unreached) == 1
