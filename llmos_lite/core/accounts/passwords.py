"""Passwords: argon2id, in a thread, and nothing in the answer that tells whether somebody exists.

Parameters are those of RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes), as pwdlib sets them. What a
password must be follows NIST SP 800-63B-4, section 3.1.1: length counts, and what everybody tries first is refused.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

from llmos_lite.core.accounts.common_passwords import COMMON
from llmos_lite.errors import Invalid

if TYPE_CHECKING:
    from pwdlib import PasswordHash

SHORTEST, LONGEST = 12, 1024
"""Characters of a password."""
AT_ONCE = 2
"""Hashes that are computed at a time: each takes 64 MiB and a core."""
FEWEST_KINDS = 5
"""Different characters that a password has at least."""


class Passwords:
    """Makes and checks the hashes of passwords."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """Return the hash of a password that was checked by `check_strength`."""
        async with self._free:
            return await asyncio.to_thread(_hash, _normal(password))

    async def verify(self, password: str, known: str | None) -> tuple[bool, str | None]:
        """Tell whether a password is the one behind a hash, at the same cost when there is no hash.

        Args:
            password: what somebody sent.
            known: the hash; None for somebody without one, or nobody.

        Returns:
            Whether it is, and a new hash to store where the parameters have changed since.
        """
        async with self._free:
            if not self._nobodys:
                self._nobodys = await asyncio.to_thread(_hash, secrets.token_hex(32))
            given = _normal(password) if len(password) <= LONGEST else ""
            found, fresh = await asyncio.to_thread(_verify, given, known or self._nobodys)
        return (found, fresh) if known is not None and given else (False, None)


def check_strength(password: str, *about: str) -> None:
    """Raise unless a password may be one.

    Args:
        password: the password.
        about: what an attacker would try first: the person's id, name, address.

    Raises:
        Invalid: `password.weak`, which says why.
    """
    text = _normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise _weak(f"A password has {SHORTEST} to {LONGEST} characters.")
    if len(set(text)) < FEWEST_KINDS:
        raise _weak("This password repeats a few characters.")
    plain = "".join(char for char in text.casefold() if char.isalnum())
    if plain in COMMON or any(plain.startswith(one) and len(plain) - len(one) <= len("2026") for one in COMMON):
        raise _weak("This password is among those that are tried first.")
    for word in about:
        short = "".join(char for char in word.casefold() if char.isalnum())
        rest = plain.replace(short, "") if short else plain
        if rest != plain and (not rest or rest.isdigit()):
            raise _weak("This password is made of the person's own name.")


def _normal(password: str) -> str:
    """Return one spelling of what looks the same (RFC 8265, OpaqueString)."""
    return unicodedata.normalize("NFC", password)


def _weak(why: str) -> Invalid:
    return Invalid("password.weak", why, hint="Take four or five words that belong together for nobody but you.")


@cache
def _hasher() -> PasswordHash:
    from pwdlib import PasswordHash  # noqa: PLC0415 - loaded by the first password, not at start
    from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: PLC0415 - as above

    return PasswordHash((Argon2Hasher(),))


def _hash(password: str) -> str:
    return _hasher().hash(password)


def _verify(password: str, known: str) -> tuple[bool, str | None]:
    return _hasher().verify_and_update(password, known)
