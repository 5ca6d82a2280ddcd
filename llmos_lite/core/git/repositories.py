"""Which repository an address means, and what somebody may do with it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.accounts.permissions import Actor, Scope, Verb, allowed, may_administer, permit, require
from llmos_lite.core.proposals.branches import PREFIX
from llmos_lite.errors import Forbidden, NotFound
from llmos_lite.volumes import access
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.receiving import gitdir_of

_ADDRESS = re.compile(
    r"(?:(?P<system>system)|(?P<kind>users|teams)/(?P<id>[a-z0-9]+(?:-[a-z0-9]+)*))(?:\.git|(?P<traces>/traces\.git))"
)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as somebody may use it.

    Args:
        ref: the volume.
        gitdir: its folder.
        shown: prefixes of the refs that this person sees.
        writable: whether this person may push to `main`; whoever may read may propose.
    """

    ref: VolumeRef
    gitdir: Path
    shown: tuple[str, ...]
    writable: bool


class Repositories:
    """Finds repositories, for whom the seed's table lets in.

    Args:
        volumes: where they are.
    """

    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes

    async def find(self, actor: Actor, address: str, *, push: bool) -> Repository:
        """Return the repository at an address.

        Args:
            actor: the person.
            address: `system.git`, `users/ID.git`, `teams/ID.git`, or the same with `/traces.git` in place of `.git`.
            push: whether this is about sending, not fetching.

        Raises:
            NotFound: `volume.unknown`, for nothing there, and for what is not for the actor.
            Forbidden: `scope.missing`; `traces.readonly`.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None or len(found["id"] or "") > access.ID_LENGTH:
            raise NotFound("volume.unknown", "There is no such repository that you may see.")
        ref = SYSTEM if found["system"] else VolumeRef.parse(f"{found['kind'][:-1]}:{found['id']}")
        traces = found["traces"] is not None
        self._check(actor, ref, traces=traces, push=push)
        await asyncio.to_thread(self._open, actor, ref)
        return self._repository(actor, ref, traces=traces)

    def _check(self, actor: Actor, ref: VolumeRef, *, traces: bool, push: bool) -> None:
        access.require(actor.principal_for(ref), ref, write=False)
        permit(actor, Verb.GIT_TRACES if traces else Verb.GIT_FETCH, ref)
        if push and traces:
            raise Forbidden(
                "traces.readonly",
                "Traces are written by chats alone; this repository can be cloned and never pushed to.",
                hint="Import conversations with llmos import.",
            )
        if push:
            require(actor, Scope.SKILLS_WRITE)

    def _open(self, actor: Actor, ref: VolumeRef) -> None:
        """Make a volume that its people have not used yet; a name that an admin made up is none."""
        if not self._volumes.exists(ref) and ref not in {actor.volume, SYSTEM} and ref.id not in actor.teams:
            raise NotFound("volume.unknown", f"There is no volume {ref} that you may see.")
        self._volumes.open(PLATFORM, ref)

    def _repository(self, actor: Actor, ref: VolumeRef, *, traces: bool) -> Repository:
        reviewer = may_administer(actor, ref)
        own = ("refs/heads/main", f"refs/heads/{PREFIX}{actor.user_id}")
        return Repository(
            ref=ref,
            gitdir=gitdir_of(self._volumes, ref, traces=traces),
            shown=("refs/heads",) if traces or reviewer else own,
            writable=not traces and allowed(actor, Verb.GIT_PUSH, ref) and self._opens_to_write(actor, ref),
        )

    def _opens_to_write(self, actor: Actor, ref: VolumeRef) -> bool:
        return access.access(actor.principal_for(ref), ref) is access.Access.WRITE
