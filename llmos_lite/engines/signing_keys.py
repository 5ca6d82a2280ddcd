"""The platform's signing keys as files: the one that signs now, and what is known of those before it.

`signing_ed25519` is the private key, `signers.json` the ledger of all public ones. A key changes in three steps, each
whole or not at all: the new private key is written beside the old one, the ledger names it, and it takes the old one's
place. The ledger decides: whoever finds a key that it does not name as the current one knows what was cut short.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from llmos_lite.engines.git_pack import sync_folder
from llmos_lite.errors import Conflict, NotFound, Unavailable, storage_error

CURRENT = "signing_ed25519"
NEXT = "signing_ed25519.next"
LEDGER = "signers.json"
_LOCK = "signers.lock"
SOMETIME = 1
"""Stands for the time of a retirement that nobody noted."""
_TRIES = 50
"""Reads while another process puts a new key in place; each of them takes a tenth of a millisecond."""

State: TypeAlias = Literal["current", "retired", "revoked"]
Stamp: TypeAlias = "tuple[int, int, int] | None"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the platform; times in seconds since the epoch, 0 for none.

    Args:
        public: as in `ssh-ed25519 AAAA...`.
        since: when it began to sign, if that is known.
        until: when another one took its place.
        revoked: what it signed after this time counts as forged.
    """

    public: str
    since: int = 0
    until: int = 0
    revoked: int = 0

    @property
    def fingerprint(self) -> str:
        """Return it as `ssh-keygen -l` shows it; a GPG key's own."""
        kind, _, text = self.public.partition(" ")
        if kind == "openpgp":
            return text
        digest = hashlib.sha256(base64.b64decode(text)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def state(self) -> State:
        """Return what it is now."""
        return "revoked" if self.revoked else "retired" if self.until else "current"

    def line(self, principal: str) -> str:
        """Return its line in a file of allowed signers.

        A retired key has no end there: git 2.34 and 2.35 would compare it with today, and refuse every old commit. And
        no key has a beginning: a rewritten commit keeps its time, and is signed by a key of today.
        """
        options = 'namespaces="git"'
        if self.revoked:
            options += f',valid-before="{datetime.fromtimestamp(self.revoked, UTC):%Y%m%d%H%M%SZ}"'
        return f"{principal} {options} {self.public}\n"


class _Ledger(msgspec.Struct, frozen=True):
    keys: tuple[Key, ...]


class Held(NamedTuple):
    """What is in the folder: the private key, all public ones, the current one first, and the state of the ledger."""

    private: Ed25519PrivateKey
    keys: tuple[Key, ...]
    stamp: Stamp = None


def public_blob(key: Ed25519PublicKey) -> bytes:
    """Return a public key as OpenSSH's binary form."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return len(b"ssh-ed25519").to_bytes(4, "big") + b"ssh-ed25519" + len(raw).to_bytes(4, "big") + raw


def public_line(key: Ed25519PublicKey) -> str:
    """Return a public key as in an authorized_keys file."""
    return f"ssh-ed25519 {base64.b64encode(public_blob(key)).decode()}"


class KeyFolder:
    """The keys of one instance.

    Args:
        folder: where they lie; made by `open`, closed to others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> Held:
        """Read the keys; make one at the first start, and finish a change that was cut short.

        Raises:
            Unavailable: `signing.broken_key`, `signing.broken_ledger`.
            StorageFailed: the folder cannot be read or written.
        """
        try:
            if not (self.folder / CURRENT).exists() and not (self.folder / LEDGER).exists():
                self._create()
            held = self.read()
            if held is None or (self.folder / NEXT).exists():
                with self._locked():
                    held = self._finish()
        except OSError as error:
            raise storage_error(error, "open the signing key") from error
        return held

    def stamp(self) -> Stamp:
        """Return what changes with the ledger; cheap."""
        try:
            stat = os.stat(f"{self.folder}/{LEDGER}")  # noqa: PTH116 - asked for each commit: a Path costs more
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def read(self) -> Held | None:
        """Read the keys, changing nothing; None when the private key of the current one is not there.

        Raises:
            Unavailable: `signing.broken_key`, `signing.broken_ledger`.
            OSError: they cannot be read.
        """
        for _ in range(_TRIES):
            stamp, known = self.stamp(), self._ledger()
            private = {public_line(key.public_key()): key for key in self._privates()}
            if not known:
                break
            if known[0].public in private:
                return Held(private[known[0].public], self._with_others(known), stamp)
            if stamp == self.stamp():
                return None
        return self._without_ledger(list(private.values())) if private else None

    def rotate(self, now: int, until: int) -> Held:
        """Make a new key that signs from now on; the old private key is gone afterwards.

        Args:
            now: the time, in seconds.
            until: the last time that the old key may have signed at.

        Raises:
            StorageFailed: nothing changed.
        """
        with self._changing("rotate the signing key"):
            held = self._finish()
            self._switch(held.keys, now, until)
            return self._finish()

    def revoke(self, fingerprint: str, at: int) -> Key:
        """Note that what a retired key signed after a time counts as forged.

        Args:
            fingerprint: of the key, as `SHA256:...` or the beginning of it.
            at: the time, in seconds; a key that was revoked before keeps the earlier time.

        Raises:
            NotFound: `signing.unknown_key`.
            Conflict: `signing.current_key`: rotate first.
        """
        with self._changing("revoke the key"):
            keys = self._finish().keys
            found = [key for key in keys if fingerprint in {key.fingerprint, key.public}]
            if not found:
                raise NotFound(
                    "signing.unknown_key", f"No key here has the fingerprint {fingerprint[:80]!r}.", hint=_LIST
                )
            if found[0].state == "current":
                raise Conflict(
                    "signing.current_key", "This key signs now.", hint="Rotate first, then revoke the old key."
                )
            gone = replace(found[0], revoked=min(at, found[0].revoked or at))
            self._write_ledger([gone if key == found[0] else key for key in keys])
            return gone

    # Below

    def _finish(self) -> Held:
        """Put the key in place that the ledger names; the caller holds the lock."""
        held = self.read()
        if held is None:  # as in a backup that was taken in the middle: no retired key may sign again
            known = self._with_others(self._ledger())
            unknown = [Key(line, until=SOMETIME) for key in self._privates() if (line := public_line(key.public_key()))]
            lines = {key.public for key in known}
            self._switch([*known, *(key for key in unknown if key.public not in lines)], 0, 0)
            held = self._require()
        following = self.folder / NEXT
        if following.exists():
            if held.keys[0].public in {public_line(key.public_key()) for key in self._read_key(NEXT)}:
                following.replace(self.folder / CURRENT)
            else:
                following.unlink()
            sync_folder(self.folder)
        self._write_public(held.keys[0])
        return held

    def _switch(self, before: Sequence[Key], now: int, until: int) -> None:
        """Write a new key beside the old one, and name it in the ledger."""
        key = Ed25519PrivateKey.generate()
        (self.folder / NEXT).unlink(missing_ok=True)
        self._write(NEXT, _private_text(key))
        fresh = Key(public_line(key.public_key()), since=now)
        retired = [one if one.until else replace(one, until=until or SOMETIME) for one in before]
        self._write_ledger([fresh, *retired])

    def _require(self) -> Held:
        held = self.read()
        if held is None:
            raise broken_key(self.folder / CURRENT)
        return held

    def _create(self) -> None:
        """Make the first key; when two processes start at once, the first one's stays."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = Ed25519PrivateKey.generate()
        draft = f".{CURRENT}.{os.urandom(6).hex()}"
        try:
            self._write(draft, _private_text(key))
            try:
                os.link(self.folder / draft, self.folder / CURRENT)
            except FileExistsError:
                return
        finally:
            (self.folder / draft).unlink(missing_ok=True)
        sync_folder(self.folder)
        self._write_public(Key(public_line(key.public_key())))

    def _privates(self) -> Iterator[Ed25519PrivateKey]:
        with contextlib.suppress(FileNotFoundError):
            yield _load(self.folder / CURRENT)
        yield from self._read_key(NEXT)

    def _read_key(self, name: str) -> list[Ed25519PrivateKey]:
        """Return a key that may be half written."""
        try:
            return [_load(self.folder / name)]
        except (FileNotFoundError, Unavailable):
            return []

    def _without_ledger(self, private: Sequence[Ed25519PrivateKey]) -> Held:
        """Return the keys of a folder in which none was ever changed."""
        key = private[0]
        return Held(key, self._with_others((Key(public_line(key.public_key())),)))

    def _with_others(self, keys: Sequence[Key]) -> tuple[Key, ...]:
        """Return keys with those whose public half somebody put beside them, as from another instance."""
        known = {key.public for key in keys}
        lines = (file.read_text().split() for file in sorted(self.folder.glob("*.pub")))
        others = dict.fromkeys(" ".join(words[:2]) for words in lines if words[:1] == ["ssh-ed25519"])
        return (*keys, *(Key(line, until=SOMETIME) for line in others if line not in known))

    def _ledger(self) -> tuple[Key, ...]:
        try:
            data = (self.folder / LEDGER).read_bytes()
        except FileNotFoundError:
            return ()
        try:
            return msgspec.json.decode(data, type=_Ledger).keys
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(
                "signing.broken_ledger",
                f"{self.folder / LEDGER} cannot be read: {error}.",
                hint="Restore it from a backup. Without it, llmos would not know which keys were revoked.",
            ) from error

    def _write_ledger(self, keys: Sequence[Key]) -> None:
        self._write(f".{LEDGER}.new", msgspec.json.format(msgspec.json.encode(_Ledger(tuple(keys)))) + b"\n")
        (self.folder / f".{LEDGER}.new").replace(self.folder / LEDGER)
        sync_folder(self.folder)

    def _write_public(self, key: Key) -> None:
        path, text = self.folder / f"{CURRENT}.pub", f"{key.public}\n"
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == text:
                return
        draft = self.folder / f".{CURRENT}.pub.{os.urandom(6).hex()}"
        draft.write_text(text)
        draft.replace(path)

    def _write(self, name: str, data: bytes) -> None:
        """Write a private file durably."""
        path = self.folder / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Change keys in one process at a time."""
        handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        try:
            with self._locked():
                yield
        except OSError as error:
            raise storage_error(error, what) from error


_LIST = "`llmos signing list` shows them."


def _private_text(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def _load(path: Path) -> Ed25519PrivateKey:
    try:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        raise broken_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise broken_key(path)
    return key


def broken_key(path: Path) -> Unavailable:
    """Return the error for a file that is no key."""
    return Unavailable(
        "signing.broken_key",
        f"{path} is not an ed25519 key in OpenSSH's format.",
        hint="Restore it from a backup; without it, new commits cannot be signed.",
    )
