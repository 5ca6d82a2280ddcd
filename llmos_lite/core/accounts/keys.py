"""The admin key: made once, kept in a file that only its owner reads, compared in constant time."""

from __future__ import annotations

import hashlib
import secrets
from hmac import compare_digest


def make_key() -> str:
    """Return a new key: `llmos_`, a prefix that may be shown, and 256 random bits, in hex."""
    return f"llmos_{secrets.token_hex(4)}_{secrets.token_hex(32)}"


def key_name(key: str) -> str:
    """Return the part of a key that logs may show."""
    return "_".join(key.split("_")[:2])[:14]


class KeyDigest:
    """A key as kept in memory: its SHA-256, so that comparing takes the same time whatever was sent."""

    def __init__(self, key: str) -> None:
        self._digest = hashlib.sha256(key.encode()).digest()
        self.name = key_name(key)

    def matches(self, sent: str) -> bool:
        """Tell whether `sent` is the key."""
        return compare_digest(hashlib.sha256(sent.encode("utf-8", "surrogateescape")).digest(), self._digest)
