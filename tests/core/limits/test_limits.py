"""Budgets that cannot be overdrawn, requests and chats at once, and what survives the end of a process."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limiting import ADMIN, ALICE, BOB, DECEMBER, NOVEMBER, PRICES, Clock, Counter

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.limits import Limits, Reservation
from llmos_lite.core.limits.ledger import Ledger, month_of
from llmos_lite.core.limits.prices import Price, Prices
from llmos_lite.engines.database import Database
from llmos_lite.errors import Forbidden, Invalid, NotFound, RateLimited, StorageFailed
from llmos_lite.records.schema import prepare
from llmos_lite.records.usage import UsageRows

USER = Actor("carol")


async def chat(
    limits: Limits, actor: Actor, used: tuple[int, int], *, team: str | None = None, model: str = ""
) -> None:
    reservation = await limits.reserve(actor, team, used[0], tokens_out=used[1], model=model)
    await asyncio.sleep(0)
    reservation.settle(*used)
    await asyncio.sleep(0)  # its trace is stored before anybody hears of the answer


# -- requests and chats at once -------------------------------------------------------------------------------------


async def test_too_many_requests_are_refused_with_the_time_to_come_back(counter: Counter) -> None:
    clock = Clock()
    limits = counter.limits(clock, requests=2)
    for _ in range(2):
        async with limits.request(USER):
            pass
    with pytest.raises(RateLimited) as caught:
        await limits.hit(USER)
    assert caught.value.code == "limit.requests"
    said = caught.value.detail
    assert (said["retry_after"], said["limit"], said["remaining"]) == (30, 2, 0)
    await limits.hit(BOB)
    clock.now += 30
    await limits.hit(USER)


async def test_a_key_and_its_owner_are_counted_each(counter: Counter) -> None:
    limits = counter.limits(requests=2)
    other = Actor("alice", key_id="ffffffff")
    await limits.hit(ALICE)
    await limits.hit(other)
    with pytest.raises(RateLimited, match="user:alice"):
        await limits.hit(other)


async def test_only_so_many_chats_go_on_at_once(counter: Counter) -> None:
    limits = counter.limits(streams=1)
    async with limits.request(ALICE):
        with pytest.raises(RateLimited) as caught:
            async with limits.request(ALICE):
                pass
        assert (caught.value.code, caught.value.detail["retry_after"]) == ("limit.streams", 1)
        async with limits.request(BOB):
            pass
    for _ in range(3):
        with pytest.raises(ValueError, match="broke"):
            async with limits.request(ALICE):
                raise ValueError("broke")
    assert limits._streams == {}


async def test_nothing_is_counted_without_a_limit(counter: Counter) -> None:
    limits = counter.limits()
    for _ in range(1000):
        async with limits.request(ALICE):
            pass
    assert limits._streams == {}


async def test_an_address_without_a_credential_that_holds_is_slowed_down(counter: Counter) -> None:
    limits = counter.limits(strangers=3)
    for number in range(3):
        await limits.stranger(f"2001:db8:1:2::{number}")
    with pytest.raises(RateLimited) as caught:
        await limits.stranger("2001:db8:1:2:ffff::1%eth0")
    assert caught.value.code == "limit.strangers"
    for _ in range(3):
        await limits.stranger("192.0.2.1")
    await counter.limits(strangers=0).stranger("192.0.2.1")
    limits.attempts("alice", "192.0.2.1").passed()


# -- budgets --------------------------------------------------------------------------------------------------------


async def test_a_budget_of_tokens_ends_with_the_month(counter: Counter) -> None:
    clock = Clock()
    limits = counter.limits(clock, user_tokens=100)
    await chat(limits, USER, (40, 20))
    with pytest.raises(RateLimited) as caught:
        await limits.reserve(USER, None, 30, tokens_out=11)
    said = caught.value
    assert (said.code, said.detail["limit"], said.detail["remaining"]) == ("budget.tokens", 100, 40)
    assert said.detail["retry_after"] == DECEMBER - NOVEMBER
    assert isinstance(said.detail["reset"], int)
    await chat(limits, USER, (30, 10))
    clock.now = DECEMBER
    await chat(limits, USER, (90, 10))
    used, _ = await limits.usage(USER)
    assert (used.month, used.tokens) == ("2026-12", 100)
    await limits.stop()
    assert (await limits.usage(USER, month="2026-11"))[0].tokens == 100


async def test_a_budget_of_money_counts_what_the_model_costs(counter: Counter) -> None:
    limits = counter.limits(user_micros=1_000_000)
    await chat(limits, USER, (200_000, 10_000), model="big-one")  # 0.5 + 0.1
    with pytest.raises(RateLimited) as caught:
        await limits.reserve(USER, None, 200_000, model="big-one")
    assert (caught.value.code, caught.value.detail["remaining"]) == ("budget.money", 0.4)
    await chat(limits, USER, (200_000, 10_000), model="small")
    used, budget = await limits.usage(USER)
    assert (used.micros, budget.micros) == (624_000, 1_000_000)


async def test_the_price_of_the_model_that_answered_counts(counter: Counter) -> None:
    limits = counter.limits()
    reservation = await limits.reserve(USER, None, 100, model="small")
    assert reservation.settle(100, 0, "big-two") == 250
    again = await limits.reserve(USER, None, 100, model="big-one")
    assert again.settle(100, 0, "an alias that has no price") == 250
    assert again.settle(100, 0) == 0


async def test_a_chat_of_a_team_counts_for_both(counter: Counter) -> None:
    limits = counter.limits(team_tokens=100)
    await chat(limits, ALICE, (50, 10), team="sre")
    with pytest.raises(RateLimited, match="team:sre"):
        await limits.reserve(BOB, "sre", 41, tokens_out=1)
    await chat(limits, BOB, (500, 10))
    assert (await limits.usage(ALICE, "team:sre"))[0].tokens == 60
    assert (await limits.usage(ALICE))[0].tokens == 60
    assert (await limits.usage(ALICE, "key:0a1b2c3d"))[0].tokens == 60


async def test_a_refusal_by_one_budget_holds_nothing_in_another(counter: Counter) -> None:
    limits = counter.limits(user_tokens=1000, team_tokens=10)
    for _ in range(50):
        with pytest.raises(RateLimited):
            await limits.reserve(BOB, "sre", 100, tokens_out=1)
    await chat(limits, BOB, (999, 1))


async def test_more_than_was_reserved_is_counted_and_the_next_one_is_refused(counter: Counter) -> None:
    limits = counter.limits(user_tokens=100)
    reservation = await limits.reserve(USER, None, 10, tokens_out=10)
    reservation.settle(150, 20)
    with pytest.raises(RateLimited) as caught:
        await limits.reserve(USER, None, 1, tokens_out=1)
    assert caught.value.detail["remaining"] == 0


async def test_a_model_without_a_price_can_be_refused(counter: Counter) -> None:
    limits = counter.limits(prices=Prices({"known": Price(1, 1)}, refuse_unknown=True))
    await limits.reserve(USER, None, 1, model="known")
    with pytest.raises(Forbidden):
        await limits.reserve(USER, None, 1, model="other")


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(200, 3000))
async def test_chats_at_once_never_overdraw_a_budget(seed: int, budget: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same every time
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite+aiosqlite:///{folder}/rows.db")
        await prepare(database)
        limits = Counter(UsageRows(database), Path(folder), database).limits(user_tokens=budget, team_tokens=budget)
        most, refused = 0, 0

        async def one(actor: Actor, team: str | None) -> None:
            nonlocal most, refused
            tokens = chance.randint(1, 80), chance.randint(1, 80)
            try:
                reservation = await limits.reserve(actor, team, tokens[0], tokens_out=tokens[1])
            except RateLimited:
                refused += 1
                return
            for _ in range(chance.randint(0, 5)):
                await asyncio.sleep(0)
                for account in limits._ledger._accounts.values():
                    most = max(most, account.used.tokens + account.tokens)
            reservation.settle(chance.randint(0, tokens[0]), chance.randint(0, tokens[1]))

        people = [ALICE, BOB, USER]
        await asyncio.gather(*(one(chance.choice(people), chance.choice(["sre", None])) for _ in range(200)))
        accounts = limits._ledger._accounts.values()
        assert all(account.tokens == account.micros == 0 for account in accounts)
        assert most <= budget
        assert all(account.used.tokens <= budget for account in accounts if account.used.subject != "key:0a1b2c3d")
        assert refused or budget > 200
        await limits.stop()
        await database.close()


# -- what a system admin sets ---------------------------------------------------------------------------------------


async def test_a_system_admin_sets_what_somebody_may_use(counter: Counter) -> None:
    limits = counter.limits(user_tokens=100, requests=5)
    now = await limits.set_budget(ADMIN, "user:carol", {"tokens": 10, "streams": 1})
    assert (now.tokens, now.streams, now.requests, now.changed_by) == (10, 1, 5, "admin")
    with pytest.raises(RateLimited):
        await chat(limits, USER, (10, 1))
    await limits.set_budget(ADMIN, "user:carol", {"tokens": 0, "requests": 0})
    await chat(limits, USER, (10_000, 1))
    assert [budget.subject for budget in await limits.budgets(ADMIN)] == ["user:carol"]
    again = counter.limits(user_tokens=100)
    assert (await again.usage(ADMIN, "user:carol"))[1].tokens == 0
    assert (await again.drop_budget(ADMIN, "user:carol")).tokens == 100
    assert await again.budgets(ADMIN) == []
    await limits.stop()


@pytest.mark.parametrize(
    "subject", ["", "system", "user:../x", "user:Alice", "team:", "key:", "key:a b", "key:" + "a" * 65, "x:y", "key:é"]
)
async def test_a_subject_that_is_none_is_refused(counter: Counter, subject: str) -> None:
    limits = counter.limits()
    with pytest.raises(Invalid):
        await limits.set_budget(ADMIN, subject, {"tokens": 1})
    with pytest.raises(Invalid):
        await limits.usage(ADMIN, subject or "nobody")


async def test_nobody_else_sets_or_sees_them(counter: Counter) -> None:
    limits = counter.limits()
    for act in (
        limits.set_budget(ALICE, "user:alice", {}),
        limits.drop_budget(ALICE, "user:alice"),
        limits.budgets(ALICE),
        limits.everybody(ALICE),
    ):
        with pytest.raises(Forbidden):
            await act
    for actor, subject in ((ALICE, "user:bob"), (BOB, "team:sre"), (ALICE, "team:ops"), (BOB, "key:0a1b2c3d")):
        with pytest.raises(NotFound):
            await limits.usage(actor, subject)
    for month in ("2026", "2026-13", "2026-1x", "\u0662\u0660\u0662\u0666-11", "20 6-11"):
        with pytest.raises(Invalid):
            await limits.usage(ALICE, month=month)


async def test_a_system_admin_sees_everybody_the_most_first(counter: Counter) -> None:
    limits = counter.limits()
    await chat(limits, BOB, (1000, 0))
    await chat(limits, ALICE, (10, 0), model="big-one")
    page = await limits.everybody(ADMIN, limit=2)
    assert [used.subject for used in page.items] == ["key:0a1b2c3d", "user:alice"]
    rest = await limits.everybody(ADMIN, limit=2, cursor=page.next_cursor or "")
    assert ([used.subject for used in rest.items], rest.next_cursor, rest.total) == (["user:bob"], None, 3)
    assert (await limits.everybody(ADMIN, month="2020-01")).items == []
    await limits.stop()


# -- the end of a process -------------------------------------------------------------------------------------------


async def test_what_was_used_survives_a_crash_and_what_was_reserved_does_not(counter: Counter) -> None:
    crashed = counter.limits(user_tokens=100)
    await chat(crashed, USER, (30, 10))
    await crashed.reserve(USER, None, 50, tokens_out=10)
    assert (await counter.rows.get("user:carol", "2026-11")).tokens == 0  # nothing was written to the rows yet
    after = counter.limits(user_tokens=100)
    assert (await after.usage(USER))[0].tokens == 40
    await chat(after, USER, (50, 10))
    with pytest.raises(RateLimited):
        await chat(after, USER, (1, 1))
    await after.stop()
    assert (await counter.rows.get("user:carol", "2026-11")).tokens == 100
    assert list(counter.folder.glob("usage-*.log")) == []


async def test_chats_that_end_together_are_noted_in_one_write(counter: Counter) -> None:
    crashed = counter.limits()
    await chat(crashed, USER, (1, 1))
    (file,) = [path for path in counter.folder.glob("usage-*.log") if path.stat().st_size]
    before = file.read_bytes()
    await asyncio.gather(*[chat(crashed, USER, (1, 1)) for _ in range(10)])
    assert file.read_bytes().removeprefix(before).count(b"\n") == 1
    after = counter.limits()
    assert (await after.usage(USER))[0].requests == 11
    await after.stop()


async def test_a_crash_after_the_rows_were_written_counts_nothing_twice(counter: Counter) -> None:
    crashed = counter.limits()
    await chat(crashed, USER, (30, 10))
    (file,) = [path for path in counter.folder.glob("usage-*.log") if path.stat().st_size]
    lines = file.read_bytes()
    await crashed._ledger.flush()
    await chat(crashed, USER, (1, 1))
    file.write_bytes(lines + b'{"subject": "user:ca')
    after = counter.limits()
    assert (await after.usage(USER))[0].tokens == 42
    await after.stop()
    await crashed.stop()


async def test_rows_that_had_to_wait_for_a_file_are_written_with_the_next(counter: Counter) -> None:
    limits = counter.limits()
    await chat(limits, USER, (30, 10))
    (used,) = counter.folder.glob("usage-*.log")
    following = used.with_name("usage-0.log" if used.name == "usage-1.log" else "usage-1.log")
    following.mkdir()
    with pytest.raises(StorageFailed):
        await limits._ledger.flush()
    following.rmdir()
    await limits._ledger.flush()
    assert (await counter.rows.get("user:carol", "2026-11")).tokens == 40
    await limits.stop()


async def test_a_full_disk_loses_nothing_of_what_is_in_memory(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limits = counter.limits()
    put = counter.rows.put

    async def full(_used: object) -> None:
        raise StorageFailed("storage.full", "The disk is full.")

    await chat(limits, USER, (1, 1))
    monkeypatch.setattr(counter.rows, "put", full)
    limits._ledger._file, handle = 1 << 20, limits._ledger._file
    await chat(limits, USER, (30, 10))
    limits._ledger._file = handle
    assert "is only in memory" in caplog.text
    await limits.stop()
    assert "could not be written: The disk is full." in caplog.text
    monkeypatch.setattr(counter.rows, "put", put)
    await limits.stop()
    assert (await counter.rows.get("user:carol", "2026-11")).tokens == 42


async def test_it_writes_by_itself(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmos_lite.core.limits.ledger.SECONDS", 0.0)
    limits, written = counter.limits(), asyncio.Event()
    put = counter.rows.put

    async def noticed(used: object) -> None:
        await put(used)  # type: ignore[arg-type]
        written.set()

    monkeypatch.setattr(counter.rows, "put", noticed)
    limits.start()
    await chat(limits, USER, (1, 1))
    async with asyncio.timeout(20):
        await written.wait()
    await limits.stop()
    assert (await counter.rows.get("user:carol", "2026-11")).requests == 1


async def test_a_worker_process_keeps_no_file(counter: Counter) -> None:
    limits = Limits(counter.rows, Ledger(counter.rows, None))
    await chat(limits, USER, (1, 1))
    await limits.stop()
    assert list(counter.folder.glob("usage-*.log")) == []


def test_months_end_at_midnight_utc() -> None:
    assert month_of(DECEMBER - 1) == ("2026-11", DECEMBER)
    assert month_of(DECEMBER)[0] == "2026-12"
    assert month_of(month_of(DECEMBER)[1])[0] == "2027-01"


def test_a_reservation_that_was_never_held_settles_nothing(counter: Counter) -> None:
    assert Reservation(Ledger(counter.rows, None), PRICES, "small", 1, 1).settle(1, 1) == 0
