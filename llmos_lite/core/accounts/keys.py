"""Keys: the admin key, made once and kept in a file; and API keys, of which only a digest is kept.

Both look like `llmos_0123abcd_…`: eight digits that may be shown, and 256 random bits. A key that was seen before is
checked without asking the database; its last use is written beside the request, at most once a minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from hmac import compare_digest

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, permit
from llmos_lite.core.page import Page
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.core.wording import count_of
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound, Unauthenticated
from llmos_lite.records.keys import ApiKey, KeyStore

log = logging.getLogger("llmos.accounts")

EVERY = 60_000
"""Milliseconds that pass between two notes of a key's last use."""
MOST_KNOWN = 10_000
"""Keys kept in memory."""
NAME_LENGTH = 200
DAY = 24 * 60 * 60 * 1000
SOON = 14 * DAY
"""How long before its end a key that is used is told of in the log, once a day."""
_FORM = re.compile(r"llmos_([0-9a-f]{8})_[0-9a-f]{64}")
_WHERE = "Send a key as Authorization: Bearer KEY or X-API-Key: KEY; that of the admin is in <data>/admin.key."


def make_key() -> str:
    """Return a new key: `llmos_`, a prefix that may be shown, and 256 random bits, in hex."""
    return f"llmos_{secrets.token_hex(4)}_{secrets.token_hex(32)}"


def key_name(key: str) -> str:
    """Return the part of a key that logs may show."""
    return "_".join(key.split("_")[:2])[:14]


def digest_of(text: str) -> bytes:
    """Return the SHA-256 of a secret, whatever was sent."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def key_beside(value: bytes) -> str:
    """Return the key that `X-LLMOS-Key` carries; empty for none, when what stands in other headers may be ours."""
    return value.decode("latin-1").strip().removeprefix("Bearer ").strip()


def unknown_credential() -> Unauthenticated:
    """Return the error for a credential that is nobody's."""
    return Unauthenticated("credential.invalid", "This key is not known here.", hint=_WHERE)


class KeyDigest:
    """A key as kept in memory: its SHA-256, so that comparing takes the same time whatever was sent."""

    def __init__(self, key: str) -> None:
        self._digest = digest_of(key)
        self.name = key_name(key)

    def matches(self, sent: str) -> bool:
        """Tell whether `sent` is the key."""
        return compare_digest(digest_of(sent), self._digest)


class ApiKeys:
    """The keys of people and of service accounts.

    Args:
        store: their rows.
        clock: milliseconds since the epoch.
        days: how long a key holds whose maker does not say; 0 for ever.
        url_days: the same for a token in a URL.

    Raises:
        Invalid: `settings.invalid`, for days below 0.
    """

    def __init__(
        self, store: KeyStore, clock: Callable[[], int] = now_ms, *, days: int = 365, url_days: int = 90
    ) -> None:
        self._store, self._clock = store, clock
        self._days, self._url_days = _checked("LLMOS_KEY_DAYS", days), _checked("LLMOS_KEY_URL_DAYS", url_days)
        self._known: dict[str, tuple[bytes, ApiKey]] = {}
        self._noted: dict[str, int] = {}  # of keys that are known
        self._unwritten: dict[str, int] = {}
        self._writing: asyncio.Task[None] | None = None
        self._changes = 0

    # -- checking ---------------------------------------------------------------------------------------------------

    async def check(self, credential: str, purpose: str = "") -> ApiKey:
        """Return the key that somebody sent.

        Args:
            credential: what was sent.
            purpose: what for: empty in a header; as a part of a URL, what the URL opens. A key is for one of them.

        Raises:
            Unauthenticated: `credential.invalid`, `credential.purpose`, `credential.revoked`, `credential.expired`.
        """
        form = _FORM.fullmatch(credential)
        digest, key = self._known.get(form[1]) or await self._load(form[1]) if form else _NOBODYS
        if not compare_digest(digest_of(credential), digest):
            raise unknown_credential()
        if key.purpose != purpose:
            raise _other_purpose(key)
        now = self._clock()
        if key.revoked:
            raise Unauthenticated("credential.revoked", "This key was revoked.", hint="Make another one.")
        if key.expires and key.expires <= now:
            raise Unauthenticated("credential.expired", "This key has expired.", hint="Make another one.")
        if now - self._noted.get(key.key_id, 0) >= EVERY:
            self._note(key, now)
        return key

    async def _load(self, key_id: str) -> tuple[bytes, ApiKey]:
        changes = self._changes
        key = await self._store.get(key_id)
        if key is None:
            return _NOBODYS
        found = bytes.fromhex(key.digest), key
        if changes == self._changes:  # what was read before somebody else's change is not kept
            while len(self._known) >= MOST_KNOWN:
                self._drop(next(iter(self._known)))
            self._known[key_id] = found
            self._noted[key_id] = max(key.last_used, self._unwritten.get(key_id, 0))
        return found

    async def get(self, key_id: str) -> ApiKey | None:
        """Return what is kept of a key, or None."""
        return await self._store.get(key_id)

    def forget(self, key_ids: Iterable[str] | None = None) -> None:
        """Let go of what is in memory of some keys, or of all; they are read anew."""
        self._changes += 1
        for key_id in list(self._known) if key_ids is None else key_ids:
            self._drop(key_id)

    def _drop(self, key_id: str) -> None:
        self._known.pop(key_id, None)
        self._noted.pop(key_id, None)

    # -- the time of the last use -----------------------------------------------------------------------------------

    def _note(self, key: ApiKey, now: int) -> None:
        if key.expires and key.expires - now < SOON and now // DAY != self._noted.get(key.key_id, 0) // DAY:
            days = count_of((key.expires - now) // DAY, "day")
            log.warning("the key %s of %s is in use and ends in %s", key.key_id, key.user_id, days)
        self._unwritten[key.key_id] = now
        if key.key_id in self._known:
            self._noted[key.key_id] = now
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._unwritten:
            times, self._unwritten = self._unwritten, {}
            try:
                await self._store.used(times)
            except LlmosError as error:
                log.warning("the last use of %s was not noted: %s", count_of(len(times), "key"), error.message)

    async def close(self) -> None:
        """Wait until the times of the last use are written."""
        if self._writing is not None:
            await self._writing

    # -- what people do with them -----------------------------------------------------------------------------------

    async def create(
        self,
        actor: Actor,
        owner: str,
        name: str,
        scopes: Iterable[Scope],
        *,
        teams: Iterable[str] | None = None,
        days: int | None = None,
        purpose: str = "",
    ) -> tuple[str, ApiKey]:
        """Make a key; the caller has checked that it may belong to `owner` with these scopes and teams.

        Args:
            actor: who makes it; a key that makes one hands on no longer life than its own.
            owner: whose it is.
            name: for people.
            scopes: what it may be used for.
            teams: the only teams that it knows; None for all of the owner's.
            days: how long it holds; 0 for ever, None as the settings say.
            purpose: what it opens as a part of a URL; empty for an ordinary key.

        Returns:
            The key, which is shown once, and what is kept of it.
        """
        now = self._clock()
        if days is None:
            days = self._url_days if purpose else self._days
        expires = now + days * DAY if days else 0
        parent = await self._store.get(actor.key_id) if actor.key_id else None
        if parent is not None and parent.expires:
            expires = min(expires or parent.expires, parent.expires)
        record = ApiKey(
            key_id="",
            user_id=owner,
            name=name,
            scopes=tuple(sorted(set(scopes))),
            teams=None if teams is None else tuple(sorted(set(teams))),
            parent=actor.key_id,
            created=now,
            created_by=actor.user_id,
            expires=expires,
            purpose=purpose,
        )
        while True:
            secret, key = draft(record)
            if await self._store.add(key):
                return secret, key

    async def page(
        self, actor: Actor, *, user_id: str | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[ApiKey]:
        """List keys: one's own, or, for a system admin who names somebody or `*`, that one's or all.

        A key lists itself and what was made with it.

        Raises:
            Forbidden: `role.missing`.
        """
        if user_id is not None and user_id != actor.user_id:
            permit(actor, Verb.OVERSEE)
            return await self._listed(None if user_id == "*" else user_id, limit, cursor)
        if not actor.key_id:
            return await self._listed(actor.user_id, limit, cursor)
        family = sorted(await self._store.family(actor.key_id), key=lambda key: key.key_id)
        rest = [key for key in family if key.key_id > cursor]
        return Page(rest[:limit], rest[limit - 1].key_id if len(rest) > limit else None, len(family))

    async def _listed(self, user_id: str | None, limit: int, cursor: str) -> Page[ApiKey]:
        keys = await self._store.page(limit=limit + 1, after=cursor, user_id=user_id)
        more = keys[limit - 1].key_id if len(keys) > limit else None
        return Page(keys[:limit], more, await self._store.count(user_id))

    async def revoke(self, actor: Actor, key_id: str) -> list[str]:
        """End a key, and all that were made with it, from the next request on; return their ids.

        One's own, and anybody's for a system admin; a key ends itself and what was made with it.

        Raises:
            NotFound: `key.unknown`, for a key that is not there or not theirs, alike.
        """
        key = await self._store.get(key_id)
        if key is None or not (allowed(actor, Verb.OVERSEE) or await self._is_theirs(actor, key)):
            raise NotFound(
                "key.unknown",
                f"There is no key {key_id[:16]!r} that is yours.",
                hint="`llmos api-keys list` shows yours.",
            )
        ended = await self._store.revoke(key_id, self._clock())
        self.forget(ended)
        return ended

    async def _is_theirs(self, actor: Actor, key: ApiKey) -> bool:
        if key.user_id != actor.user_id or actor.delegated:
            return False
        return not actor.key_id or key in await self._store.family(actor.key_id)


def draft(record: ApiKey) -> tuple[str, ApiKey]:
    """Return a new key and, of it, what is kept: `record` with an id and a digest."""
    secret = make_key()
    fields = {name: getattr(record, name) for name in ApiKey.__slots__}
    return secret, ApiKey(**fields | {"key_id": secret.split("_")[1], "digest": digest_of(secret).hex()})


def check_scopes(wanted: Iterable[str], most: frozenset[Scope]) -> frozenset[Scope]:
    """Return scopes that a new key may have.

    Args:
        wanted: their names.
        most: all that whoever makes it has.

    Raises:
        Invalid: `key.scopes`, for none, or one that there is not.
        Forbidden: `key.too_much`.
    """
    try:
        scopes = frozenset(Scope(scope) for scope in wanted)
    except ValueError:
        raise _no_scopes() from None
    if not scopes:
        raise _no_scopes()
    if not scopes <= most:
        missing = ", ".join(sorted(scopes - most))
        raise Forbidden(
            "key.too_much",
            f"A key has at most the scopes of whoever makes it; {missing} is not among yours.",
            hint=f"Choose from {', '.join(sorted(most))}.",
        )
    return scopes


def _checked(name: str, days: int) -> int:
    if days < 0:
        raise Invalid("settings.invalid", f"{name}={days} is no number of days.", hint="Use 1 or more; 0 is for ever.")
    return days


def _other_purpose(key: ApiKey) -> Unauthenticated:
    if not key.purpose:
        return Unauthenticated(
            "credential.purpose",
            "This key is for headers, not for URLs, which end up in logs and histories.",
            hint="Revoke it, since it may stand in one now, and make a token: llmos keys mcp, llmos keys catalog.",
        )
    return Unauthenticated(
        "credential.purpose",
        f"This is a token for a URL ({key.purpose}), and opens nothing else.",
        hint="Make a key for headers: llmos api-keys create.",
    )


def _no_scopes() -> Invalid:
    return Invalid("key.scopes", "A key needs at least one scope.", hint=f"Scopes: {', '.join(sorted(Scope))}.")


_NOBODYS = (bytes(32), ApiKey(key_id="", user_id=""))
"""What is compared when there is no such key, so that it takes no less time."""
