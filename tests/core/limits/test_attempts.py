"""Guessing is slow, and nobody is locked out by others."""

from __future__ import annotations

import pytest
from limiting import Clock

from llmos_lite.core.limits import attempts as module
from llmos_lite.core.limits.attempts import LONGEST, SHARED_LONGEST, Attempts
from llmos_lite.errors import RateLimited


def wait_of(attempts: Attempts, key: str, client: str) -> int:
    try:
        attempts.begin(key, client)
    except RateLimited as error:
        wait = error.detail["retry_after"]
        assert isinstance(wait, int)
        return wait
    return 0


def test_each_failure_after_the_third_makes_the_wait_twice_as_long() -> None:
    clock = Clock()
    attempts, waits = Attempts(clock), list[int]()
    for _ in range(18):
        while (wait := wait_of(attempts, "alice", "192.0.2.1")) > 0:
            waits.append(wait)
            clock.now += wait
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert waits[-1] == LONGEST


def test_a_wait_is_not_made_longer_by_asking_again() -> None:
    attempts = Attempts(Clock())
    for _ in range(3):
        attempts.begin("alice", "192.0.2.1")
    assert [wait_of(attempts, "alice", "192.0.2.1") for _ in range(20)] == [1] * 20


def test_tries_beside_each_other_count_as_failed_until_they_pass() -> None:
    attempts = Attempts(Clock())
    going = [attempts.begin("alice", "192.0.2.1") for _ in range(3)]
    assert wait_of(attempts, "alice", "192.0.2.1") == 1
    going[0].passed()
    assert wait_of(attempts, "alice", "192.0.2.1") == 0


def test_a_stranger_does_not_lock_the_owner_out() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    attempts.begin("alice", "home").passed()
    for number in range(5000):
        clock.now += 0.01
        wait_of(attempts, "alice", f"bot-{number}")
    assert wait_of(attempts, "alice", "home") == 0
    assert 0 < wait_of(attempts, "alice", "hotel") <= SHARED_LONGEST
    attempts.begin("alice", "hotel", known=True)
    clock.now += SHARED_LONGEST
    assert wait_of(attempts, "alice", "hotel") == 0


def test_one_address_that_tries_many_accounts_waits() -> None:
    attempts = Attempts(Clock())
    waits = [wait_of(attempts, f"user-{number}", "192.0.2.1") for number in range(40)]
    assert waits[:20] == [0] * 20
    assert all(waits[20:])


def test_an_address_of_many_people_who_sign_in_does_not_wait() -> None:
    attempts = Attempts(Clock())
    for number in range(200):
        attempts.begin(f"user-{number}", "office").passed()


def test_what_is_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(3):
        attempts.begin("alice", "192.0.2.1")
    clock.now += 4000
    assert [wait_of(attempts, "alice", "192.0.2.1") for _ in range(3)] == [0, 0, 0]
    monkeypatch.setattr(module, "MOST", 10)
    for number in range(50):
        attempts.begin(f"user-{number}", f"10.0.0.{number}").passed()
        wait_of(attempts, f"other-{number}", f"10.0.1.{number}")
    assert len(attempts._counts) <= 10
    assert len(attempts._known) <= 10
