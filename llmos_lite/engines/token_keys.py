"""Access tokens: JWTs (RFC 7519) signed with Ed25519 (RFC 8037), by keys that change and are known by their `kid`.

A token is taken only when its head is, byte for byte, the one that this file writes for a key that it knows: there is
no other algorithm to talk it into, and a `kid` is looked up in memory and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from llmos_lite.engines.folder import write_private
from llmos_lite.errors import Unavailable, storage_error

KEPT = 60 * 60 * 1000
"""Milliseconds that a key is still known after the next one took its place: longer than any token lives."""
CHANGED = 90 * 24 * 60 * 60 * 1000
"""Milliseconds after which a key is replaced at the next start."""
LONGEST = 4096
"""Characters of the longest token that is looked at."""
_SUFFIX = ".pem"


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    made: int
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    head: str


class TokenKeys:
    """The keys of access tokens; the newest one signs.

    Args:
        folder: where they lie, a file each; made when missing.
        clock: milliseconds since the epoch.

    Raises:
        Unavailable: `token.key`, when a file there is no key.
        StorageFailed: the folder cannot be read or written.
    """

    def __init__(self, folder: Path, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._folder, self._clock, self._lock = folder, clock, threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._keys = _read(folder)
        except OSError as error:
            raise storage_error(error, "open the keys of access tokens") from error
        if not self._keys or self._newest.made + CHANGED <= clock():
            self.rotate()

    @property
    def _newest(self) -> _Key:
        return max(self._keys.values(), key=lambda key: (key.made, key.kid))

    def rotate(self) -> str:
        """Sign with a new key from now on; what the keys before it signed holds until it expires.

        Returns:
            The new key's `kid`.

        Raises:
            StorageFailed: the key cannot be written.
        """
        with self._lock:
            made = _new_key(max(self._clock(), *(key.made + 1 for key in self._keys.values()), 0))
            pem = made.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            try:
                write_private(self._folder / f"{made.made}-{made.kid}{_SUFFIX}", pem.decode())
                self._keys = self._without_old({**self._keys, made.kid: made})
            except OSError as error:
                raise storage_error(error, "write the key of access tokens") from error
            return made.kid

    def sign(self, claims: Mapping[str, str | int]) -> str:
        """Return the token that says `claims`."""
        key = self._newest
        text = f"{key.head}.{_encode(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{text}.{_encode(key.private.sign(text.encode()))}"

    def verify(self, token: str) -> dict[str, object] | None:
        """Return what a token says, if one of these keys signed it; when it holds is for the caller to look at."""
        parts = token.split(".")
        if len(token) > LONGEST or len(parts) != 3 or not token.isascii():  # noqa: PLR2004 - head, claims, signature
            return None
        key = next((key for key in self._keys.values() if key.head == parts[0]), None)
        if key is None:
            return None
        try:
            key.public.verify(_decode(parts[2]), f"{parts[0]}.{parts[1]}".encode())
            return msgspec.json.decode(_decode(parts[1]), type=dict[str, object])
        except (InvalidSignature, ValueError, msgspec.DecodeError):
            return None

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JSON Web Key Set (RFC 7517), the newest first."""
        newest_first = sorted(self._keys.values(), key=lambda key: (key.made, key.kid), reverse=True)
        return {"keys": [_jwk(key) for key in newest_first]}

    def _without_old(self, keys: dict[str, _Key]) -> dict[str, _Key]:
        in_order = sorted(keys.values(), key=lambda key: (key.made, key.kid))
        kept = {in_order[-1].kid: in_order[-1]}
        for key, follower in itertools.pairwise(in_order):
            if follower.made + KEPT > self._clock():
                kept[key.kid] = key
            else:
                (self._folder / f"{key.made}-{key.kid}{_SUFFIX}").unlink(missing_ok=True)
        return kept


def _read(folder: Path) -> dict[str, _Key]:
    keys = {}
    for path in folder.glob(f"*{_SUFFIX}"):
        made, dash, kid = path.name.removesuffix(_SUFFIX).partition("-")
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except ValueError as error:
            raise _broken(path) from error
        if not isinstance(private, Ed25519PrivateKey) or not dash or not (made.isascii() and made.isdigit()):
            raise _broken(path)
        key = _key(private, int(made))
        if key.kid != kid:
            raise _broken(path)
        keys[kid] = key
    return keys


def _new_key(made: int) -> _Key:
    return _key(Ed25519PrivateKey.generate(), made)


def _key(private: Ed25519PrivateKey, made: int) -> _Key:
    public = private.public_key()
    kid = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
    head = json.dumps({"alg": "EdDSA", "kid": kid, "typ": "at+jwt"}, separators=(",", ":"))
    return _Key(kid, made, private, public, _encode(head.encode()))


def _jwk(key: _Key) -> dict[str, str]:
    x = _encode(key.public.public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key.kid, "alg": "EdDSA", "use": "sig"}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return the bytes that `text` stands for; only their one canonical spelling is taken.

    Raises:
        ValueError: it is another spelling, or none.
    """
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not canonical")
    return data


def _broken(path: Path) -> Unavailable:
    return Unavailable(
        "token.key",
        f"{path} is no key of access tokens.",
        hint="Restore it from a backup, or move it away: everybody signs in again.",
    )
