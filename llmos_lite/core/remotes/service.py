"""What people do with remotes: an admin of the volume sets them, whoever reads the volume sees how they stand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from llmos_lite.core.accounts.permissions import Actor, Scope, may_administer, require, require_admin
from llmos_lite.core.remotes.dialing import PREFIX, SSH, TOKEN, VARIABLE
from llmos_lite.core.remotes.mirrors import Mirrors
from llmos_lite.core.remotes.schedule import check_cron, next_time
from llmos_lite.core.remotes.sync import proposal_branch
from llmos_lite.core.remotes.traces import sent_of
from llmos_lite.core.traces.trace import make_ulid, now_ms
from llmos_lite.engines.git_refs import check_branch
from llmos_lite.engines.remote_url import RemoteUrl
from llmos_lite.errors import Conflict, Invalid, NotFound
from llmos_lite.records.remotes import RemoteRecord, RemoteRows
from llmos_lite.volumes import access
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef, check_id
from llmos_lite.volumes.manager import VolumeManager

MOST = 10
"""Remotes of one volume."""
LONGEST_NAME = 40
LONGEST_SECRET = 20_000
"""Characters of a token or a key; a pipe holds three times as much."""
NO_SECRET = {"credential": "", "username": "", "secret": "", "public_key": ""}
DIRECTIONS, TIMINGS = ("push", "pull", "both"), ("commit", "schedule", "manual")
FORGETS = frozenset({"url", "branch", "direction", "traces"})
"""What a change of makes all that is known of the other side void."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens a remote; exactly one way.

    Args:
        username: for a token or a variable; `git` when left out.
        token: a token or password for HTTP.
        ssh_key: a private key without a passphrase, in OpenSSH's or PEM form; `new` makes one here.
        variable: name of a variable where the server runs, which holds the token or the key.
    """

    username: str = ""
    token: str = ""
    ssh_key: str = ""
    variable: str = ""

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class RemoteView:
    """A remote as somebody sees it: without its secret, and without its credential for whoever is no admin there."""

    row: RemoteRecord
    running: bool
    proposal: str


class Remotes:
    """Remotes, for people.

    Args:
        rows: of the remotes.
        volumes: whose remotes.
        mirrors: looks after them.
    """

    def __init__(self, rows: RemoteRows, volumes: VolumeManager, mirrors: Mirrors) -> None:
        self._rows, self._volumes, self._mirrors = rows, volumes, mirrors
        self._dialer = mirrors.dialer
        self._turn = asyncio.Lock()

    async def listed(self, actor: Actor, ref: VolumeRef) -> list[RemoteView]:
        """Return the remotes of a volume that the actor may read, in order of name.

        Raises:
            NotFound: `volume.unknown`.
        """
        await asyncio.to_thread(self._readable, actor, ref)
        return [self._view(actor, row) for row in await self._rows.all() if row.volume == str(ref) and not row.removed]

    async def get(self, actor: Actor, ref: VolumeRef, name: str) -> RemoteView:
        """Return one remote.

        Raises:
            NotFound: `volume.unknown`, `remote.unknown`.
        """
        await asyncio.to_thread(self._readable, actor, ref)
        return self._view(actor, await self._row(ref, name))

    async def add(
        self, actor: Actor, ref: VolumeRef, name: str, values: Mapping[str, str | bool], secret: Secret | None = None
    ) -> RemoteView:
        """Add a remote, as an admin of the volume.

        Args:
            actor: the person.
            ref: the volume.
            name: of the remote.
            values: `url`, and what differs from the defaults: `branch`, `traces`, `direction`, `timing`, `cron`,
                `trust`, `active`.
            secret: opens it.

        Raises:
            Invalid: `remote.…`, `address.private`, `schedule.invalid`.
            NotFound: `volume.unknown`.
            Forbidden: `role.missing`, `scope.missing`.
            Conflict: `remote.exists`, `remote.too_many`.
        """
        await asyncio.to_thread(self._administered, actor, ref)
        if len(check_id(name, "remote")) > LONGEST_NAME:
            raise Invalid("remote.invalid_id", f"The name of a remote has at most {LONGEST_NAME} characters.")
        at = now_ms()
        row = RemoteRecord(
            remote_id=make_ulid(at), volume=str(ref), name=name, url="", created=at, created_by=actor.user_id
        )
        row = await self._changed(actor, row, values)
        row = self._with_secret(actor, row, secret)
        async with self._turn:
            there = [one.name for one in await self._rows.all() if one.volume == str(ref) and not one.removed]
            if name in there:
                raise Conflict(
                    "remote.exists",
                    f"{ref} has a remote {name} already.",
                    hint="Choose another name, or change that one.",
                )
            if len(there) >= MOST:
                raise Conflict("remote.too_many", f"A volume has at most {MOST} remotes.", hint="Remove one first.")
            await self._store(row)
        return self._view(actor, row)

    async def change(
        self,
        actor: Actor,
        ref: VolumeRef,
        name: str,
        values: Mapping[str, str | bool],
        *,
        secret: Secret | None = None,
        without_secret: bool = False,
    ) -> RemoteView:
        """Change a remote, as an admin of the volume; what is left out stays.

        A credential is for one host: another host needs it again, so that nobody sends it where its owner did not.

        Raises:
            Invalid: as for `add`; `remote.credential_needed`.
            NotFound: `volume.unknown`, `remote.unknown`.
            Forbidden: `role.missing`, `scope.missing`.
        """
        await asyncio.to_thread(self._administered, actor, ref)
        async with self._turn:
            old = await self._row(ref, name)
            row = await self._changed(actor, old, values)
            if without_secret:
                row = structs.replace(row, **NO_SECRET)
            elif secret is not None:
                row = self._with_secret(actor, row, secret)
            else:
                self._require_same_host(old, row)
            await self._replace(old, row)
        return self._view(actor, row)

    async def remove(self, actor: Actor, ref: VolumeRef, name: str) -> None:
        """Take a remote away, as an admin of the volume; what is there stays there.

        Raises:
            NotFound: `volume.unknown`, `remote.unknown`.
            Forbidden: `role.missing`, `scope.missing`.
        """
        await asyncio.to_thread(self._administered, actor, ref)
        async with self._turn:
            row = await self._row(ref, name)
            await self._leave(row)
            await self._rows.delete(row.remote_id)
            await self._mirrors.refresh()

    async def sync(self, actor: Actor, ref: VolumeRef, name: str) -> RemoteView:
        """Look at a remote now, as an admin of the volume; a look that takes long goes on in the background.

        Raises:
            NotFound: `volume.unknown`, `remote.unknown`.
            Forbidden: `role.missing`, `scope.missing`.
        """
        await asyncio.to_thread(self._administered, actor, ref)
        row = await self._row(ref, name)
        return self._view(actor, await self._mirrors.sync(row.remote_id) or row)

    # Who

    def _readable(self, actor: Actor, ref: VolumeRef) -> None:
        if not may_administer(actor, ref):
            access.require(actor.principal, ref, write=False)
        if not self._volumes.exists(ref) and ref not in {actor.volume, SYSTEM} and ref.id not in actor.teams:
            raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
        self._volumes.open(PLATFORM, ref)

    def _administered(self, actor: Actor, ref: VolumeRef) -> None:
        require(actor, Scope.GIT)
        self._readable(actor, ref)
        if not may_administer(actor, ref):
            require_admin(actor)

    # Rows

    async def _row(self, ref: VolumeRef, name: str) -> RemoteRecord:
        check_id(name, "remote")
        rows = await self._rows.all()
        found = next((row for row in rows if (row.volume, row.name, row.removed) == (str(ref), name, 0)), None)
        if found is None:
            raise NotFound("remote.unknown", f"{ref} has no remote {name}.", hint="`llmos remotes list` shows all.")
        return found

    async def _store(self, row: RemoteRecord) -> None:
        await self._rows.put(row)
        await self._mirrors.refresh()

    async def _replace(self, old: RemoteRecord, row: RemoteRecord) -> None:
        """Store what was changed; a look that goes on meanwhile keeps what it finds out to itself."""
        if all(getattr(old, key) == getattr(row, key) for key in FORGETS):
            new = structs.asdict(structs.replace(row, failures=0, tried=0))
            await self._rows.change(old.remote_id, **{key: new[key] for key in new if new[key] != getattr(old, key)})
            await self._mirrors.refresh()
            return
        await self._leave(old)
        await self._rows.delete(old.remote_id)
        await self._store(self._dialer.afresh(row))

    async def _leave(self, row: RemoteRecord) -> None:
        """Remember a place that traces were sent to: an erasure has to name it."""
        if row.traces and sent_of(row):
            left = structs.replace(row, remote_id=make_ulid(now_ms()), removed=now_ms(), **NO_SECRET)
            await self._rows.put(left)

    def _require_same_host(self, old: RemoteRecord, row: RemoteRecord) -> None:
        if row.credential and self._dialer.url(row.url).origin != self._dialer.url(old.url).origin:
            raise Invalid(
                "remote.credential_needed",
                "The credential of this remote is for another host.",
                hint="Give it again, or take it away.",
            )

    def _view(self, actor: Actor, row: RemoteRecord) -> RemoteView:
        shown = structs.replace(row, secret="")
        if not may_administer(actor, VolumeRef.parse(row.volume)):
            shown = structs.replace(shown, credential="", username="", public_key="")
        waits = row.proposed and row.state in {"proposed", "diverged"}
        return RemoteView(shown, self._mirrors.is_running(row.remote_id), proposal_branch(row) if waits else "")

    # What may be meant

    async def _changed(self, actor: Actor, row: RemoteRecord, values: Mapping[str, str | bool]) -> RemoteRecord:
        new = structs.replace(row, **values)
        url = self._dialer.url(new.url)
        if new.url != row.url:
            await asyncio.to_thread(self._dialer.addresses, url)
        check_branch(new.branch)
        _check_choices(new)
        if new.traces:
            require(actor, Scope.TRACES_READ)
        if new.trust and not row.trust:
            require_admin(actor)
        if new.timing != "schedule":
            return structs.replace(new, cron="", next_try=0)
        cron = check_cron(new.cron)
        return structs.replace(new, cron=cron, next_try=next_time(cron, now_ms()))

    def _with_secret(self, actor: Actor, row: RemoteRecord, secret: Secret | None) -> RemoteRecord:
        if secret is None:
            return row
        url = self._dialer.url(row.url)
        kind, text = _one_of(secret)
        _check_secret(kind, text, url)
        public_key = ""
        if kind == VARIABLE:
            require_admin(actor)
        if kind == SSH:
            text, public_key = _ssh_key(text)
        return structs.replace(
            row,
            credential=kind,
            username=_username(secret.username) if kind != SSH else "",
            secret=self._dialer.seal(row.remote_id, url, text),
            public_key=public_key,
        )


def _check_choices(row: RemoteRecord) -> None:
    if row.direction not in DIRECTIONS or row.timing not in TIMINGS:
        raise Invalid("remote.choice", "A remote is push, pull or both; after a commit, by schedule or manual.")
    if row.traces and row.direction != "push":
        raise Invalid("remote.traces", "Traces are sent to a mirror, and never pulled.", hint="Use direction push.")


def _one_of(secret: Secret) -> tuple[str, str]:
    ways = {TOKEN: secret.token, SSH: secret.ssh_key, VARIABLE: secret.variable}
    given = [(kind, text) for kind, text in ways.items() if text]
    if len(given) != 1:
        raise Invalid("remote.credential", "A credential is one of: a token, an SSH key, the name of a variable.")
    return given[0]


def _check_secret(kind: str, text: str, url: RemoteUrl) -> None:
    fits = kind == VARIABLE or (kind == SSH) == (url.scheme == "ssh")
    if url.scheme == "file" or not fits:
        raise Invalid("remote.credential", f"This kind of credential does not open {url.scheme}://.")
    if len(text) > LONGEST_SECRET or (kind != SSH and not text.isprintable()):
        raise Invalid("remote.credential", "The credential is too long, or more than one line.")
    if kind == VARIABLE and not (text.startswith(PREFIX) and text.isascii()):
        raise Invalid("remote.variable", f"The name of the variable has to begin with {PREFIX}.")


def _username(text: str) -> str:
    if len(text) > 200 or not text.isprintable():  # noqa: PLR2004 - as the column
        raise Invalid("remote.credential", "The user name is too long, or more than one line.")
    return text or "git"


def _ssh_key(text: str) -> tuple[str, str]:
    """Return a private key in OpenSSH's form, and its public half; `new` makes one."""
    try:
        key = Ed25519PrivateKey.generate() if text.strip() == "new" else _load(text.strip().encode() + b"\n")
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise Invalid(
            "remote.credential",
            "This is no private SSH key that can be used.",
            hint="Give one without a passphrase, in OpenSSH's or PEM form, or let one be made.",
        ) from error
    return private.decode(), public.decode()


def _load(data: bytes) -> Ed25519PrivateKey:
    load = serialization.load_ssh_private_key if b"OPENSSH" in data else serialization.load_pem_private_key
    return load(data, password=None)  # type: ignore[return-value]  # any kind has the same methods, or OpenSSH no form
