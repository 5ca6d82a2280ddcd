"""Where this person is signed in: a private file with a refresh token for each server.

A refresh token works once, so two commands at a time take turns: the file's lock is held while one is exchanged.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from llmos_lite.cli.client import Client, Transport
from llmos_lite.errors import LlmosError, NotFound, Unauthenticated, storage_error

EARLY = 30
"""Seconds before its end at which an access token is renewed."""


@dataclass(slots=True)
class SignedIn:
    """A sign-in to one server; `until` is in seconds since the epoch."""

    user_id: str
    refresh_token: str
    access_token: str = ""
    until: float = 0.0

    @classmethod
    def of(cls, answer: Mapping[str, object]) -> SignedIn:
        """Read what the server gave."""
        return cls(
            str(answer.get("user_id", "")),
            str(answer.get("refresh_token", "")),
            str(answer.get("access_token", "")),
            time.time() + float(str(answer.get("expires_in", 0))),
        )


@dataclass(slots=True)
class _Kept:
    default: str = ""
    servers: dict[str, SignedIn] = field(default_factory=dict)


class Places:
    """The servers that somebody is signed in to.

    Args:
        env: XDG_CONFIG_HOME, or HOME, says where the file is.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        home = env.get("XDG_CONFIG_HOME") or str(Path(env.get("HOME") or "~").expanduser() / ".config")
        self.path = Path(home) / "llmos" / "signed-in.json"

    def default(self) -> str:
        """Return the address of the server that was signed in to last; empty for none."""
        return self._read().default

    def knows(self, address: str) -> bool:
        """Tell whether somebody is signed in to a server."""
        return _plain(address) in self._read().servers

    def put(self, address: str, made: SignedIn) -> None:
        """Note a sign-in, in the place of the one before."""
        with self._held() as kept:
            kept.default = _plain(address)
            kept.servers[kept.default] = made

    def drop(self, address: str) -> SignedIn:
        """Forget a sign-in, and return it.

        Raises:
            NotFound: `login.none`.
        """
        with self._held() as kept:
            found = kept.servers.pop(_plain(address), None)
            if kept.default == _plain(address):
                kept.default = next(iter(kept.servers), "")
        if found is None:
            raise NotFound("login.none", f"You are not signed in to {address or 'any server'}.")
        return found

    def token(self, address: str, transport: Transport) -> str:
        """Return an access token that holds for a while, a new one if need be.

        Raises:
            Unauthenticated: `session.ended`: sign in again.
        """
        with self._held() as kept:
            found = kept.servers.get(_plain(address))
            if found is None:
                raise _again(address)
            if found.until - EARLY < time.time():
                try:
                    given = Client(transport).post("/sign-in/refresh", {"refresh_token": found.refresh_token})
                except Unauthenticated:
                    raise _again(address) from None
                kept.servers[_plain(address)] = found = SignedIn.of(given)
            return found.access_token

    @contextmanager
    def _held(self) -> Iterator[_Kept]:
        """Hold the file's lock; what changes meanwhile is written, also when the block raises."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise storage_error(error, f"open {self.path}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = self._read()
            before = asdict(kept)
            yield kept
            if asdict(kept) != before:
                self._write(asdict(kept))
        finally:
            os.close(lock)

    def _read(self) -> _Kept:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            servers = {address: SignedIn(**one) for address, one in found["servers"].items()}
            return _Kept(str(found["default"]), servers)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _Kept()

    def _write(self, kept: dict[str, object]) -> None:
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(kept, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except OSError as error:
            raise storage_error(error, f"write {self.path}") from error


def _plain(address: str) -> str:
    return address.strip().rstrip("/")


def _again(address: str) -> LlmosError:
    return Unauthenticated("session.ended", f"You are no longer signed in to {address}.", hint=f"llmos login {address}")
