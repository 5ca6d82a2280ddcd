"""Passwords: what may be one, and that checking tells nothing."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from llmos_lite.core.accounts.common_passwords import COMMON
from llmos_lite.core.accounts.passwords import LONGEST, SHORTEST, Passwords, check_strength
from llmos_lite.errors import Invalid

GOOD = "tall otter window lamp"


async def test_a_password_is_known_by_its_hash() -> None:
    passwords = Passwords()
    known = await passwords.hash(GOOD)
    assert known.startswith("$argon2id$")
    assert GOOD not in known
    assert await passwords.verify(GOOD, known) == (True, None)
    assert await passwords.verify(GOOD + "!", known) == (False, None)


async def test_one_password_has_two_hashes() -> None:
    passwords = Passwords()
    assert len(set(await asyncio.gather(passwords.hash(GOOD), passwords.hash(GOOD)))) == 2


async def test_two_ways_to_type_a_letter_are_one() -> None:
    passwords = Passwords()
    word = "grüße vom großen bär"
    known = await passwords.hash(unicodedata.normalize("NFD", word))
    assert (await passwords.verify(unicodedata.normalize("NFC", word), known))[0]


async def test_nobodys_password_costs_a_hash_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from llmos_lite.core.accounts import passwords as module  # noqa: PLC0415 - its function is looked at

    passwords, seen = Passwords(), list[str]()
    real = module._verify
    monkeypatch.setattr(module, "_verify", lambda given, known: (seen.append(known), real(given, known))[1])
    assert await passwords.verify(GOOD, None) == (False, None)
    assert await passwords.verify("x" * (LONGEST + 1), None) == (False, None)
    assert await passwords.verify("", None) == (False, None)
    assert len(seen) == 3
    assert all(known.startswith("$argon2id$v=19$m=65536,t=3,p=4$") for known in seen)


async def test_an_empty_or_endless_password_is_nobodys() -> None:
    passwords = Passwords()
    known = await passwords.hash("")
    assert await passwords.verify("", known) == (False, None)
    assert await passwords.verify("x" * 10_000_000, known) == (False, None)


async def test_a_hash_of_weaker_parameters_is_renewed() -> None:
    from pwdlib import PasswordHash  # noqa: PLC0415 - slow to load
    from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: PLC0415 - as above

    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),)).hash(GOOD)
    found, fresh = await Passwords().verify(GOOD, weak)
    assert found
    assert fresh is not None
    assert fresh.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "x" * (SHORTEST - 1),
        "y" * (LONGEST + 1),
        "aaaaaaaaaaaaaaaaaaaa",
        "abababababababab",
        "Password-1234!",
        "correct horse battery staple",
        "correct-horse-battery-staple-2026",
        "Ana-Maria-2026",
        "anamariaanamaria",
        "ana.maria@example.org",
        *sorted(COMMON)[::25],
    ],
)
def test_what_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(Invalid) as weak:
        check_strength(password, "ana-maria", "Ana Maria", "ana.maria@example.org")
    assert weak.value.code == "password.weak"


@pytest.mark.parametrize(
    "password",
    [GOOD, "Wn7#kd9!pLq2", "鳥が空を飛んでいるのを見た", "ana likes otters, lamps", "🦦🪟💡🐢🌵🧭🪨🐝🌊🧵🔭🎲"],
)
def test_anything_else_of_some_length_is_taken(password: str) -> None:
    check_strength(password, "ana", "", "ana@example.org")
