"""What scanners say of a skill as it stands, and standing for it where it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from llmos_lite.core.accounts.permissions import Actor, Scope, may_administer, require
from llmos_lite.core.skills import signoffs
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.scan import Finding, high
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.signoffs import SignOff, codes_of, signed_off
from llmos_lite.core.skills.versions import Version, current_version, find_version, unknown
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Conflict, Forbidden, Invalid
from llmos_lite.volumes.access import VolumeKind, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume

WHY_LENGTH = 10_000


@dataclass(frozen=True, slots=True)
class Inspected:
    """A version of a skill, all files of it.

    Args:
        volume: where it is.
        skill_id: the skill.
        digest: Git id of its folder, or of its flat file.
        findings: what scanners say.
        signed: who stood for exactly this version in this volume; None for nobody.
    """

    volume: str
    skill_id: str
    digest: str
    findings: Sequence[Finding]
    signed: SignOff | None = None

    @property
    def held(self) -> bool:
        """Tell whether it waits for somebody to stand for it."""
        return self.signed is None and bool(high(self.findings))


class Inspector:
    """Looks at skills for whoever may read them.

    Args:
        skills: knows who may look where.
        guard: knows the scanners.
    """

    def __init__(self, skills: SkillService, guard: Guard) -> None:
        self._skills, self._guard = skills, guard

    async def scan(
        self, actor: Actor, skill_id: str, *, volume: VolumeRef | None = None, version: str = ""
    ) -> Inspected:
        """Return what scanners say of a skill.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`, `skill.unknown_version`.
            Forbidden: `scope.missing`.
        """
        require(actor, Scope.SKILLS_READ)
        ref = volume or await self._place(actor, skill_id)
        handle = await asyncio.to_thread(self._skills.reading, actor, ref)
        return await asyncio.to_thread(self._inspected, handle, skill_id, version)

    async def sign_off(
        self, actor: Actor, skill_id: str, why: str, *, digest: str, volume: VolumeRef | None = None
    ) -> Inspected:
        """Stand for a skill that is there already, so that it is used: as an admin of its volume, not for one's own.

        In one's own volume one decides alone, since nobody else is served from it.

        Args:
            actor: who.
            skill_id: the skill.
            why: why it is safe.
            digest: the version that the actor looked at; refused when another one stands there.
            volume: where it is; the one that the actor sees when None.

        Raises:
            NotFound: `skill.unknown`, `volume.unknown`.
            Invalid: `signoff.reason`.
            Forbidden: `role.missing`, `signoff.own`, `scope.missing`.
            Conflict: `skill.changed`, `signoff.nothing_found`.
        """
        require(actor, Scope.SKILLS_WRITE)
        ref = volume or await self._place(actor, skill_id)
        if not may_administer(actor, ref):
            raise Forbidden(
                "role.missing", f"Only an admin of {ref} may sign this off.", hint=f"Ask an admin of {ref}."
            )
        said = why.strip()
        if not said or len(said) > WHY_LENGTH:
            raise Invalid("signoff.reason", f"Say why it is safe, in {WHY_LENGTH:,} characters at most.")
        handle = await asyncio.to_thread(self._skills.volumes.open, actor.principal_for(ref), ref, write=True)
        return await asyncio.to_thread(self._sign_off, actor, handle, skill_id, said, digest)

    async def _place(self, actor: Actor, skill_id: str) -> VolumeRef:
        """Return where a skill is held back, or else the one that the actor sees."""
        libraries = await asyncio.to_thread(self._skills.manager.libraries, actor)
        held = next((library.ref for library in libraries if skill_id in library.held), None)
        return held or await self._skills.seen(actor, skill_id)

    def _sign_off(self, actor: Actor, volume: GitVolume, skill_id: str, why: str, digest: str) -> Inspected:
        found = self._inspected(volume, skill_id, "")
        if found.digest != digest:
            raise Conflict(
                "skill.changed",
                f"The skill {skill_id} is at another version than the one that you looked at.",
                hint="Look at it again: `llmos skills scan --volume VOLUME` prints its digest.",
                version=found.digest,
            )
        if not found.held:
            raise Conflict("signoff.nothing_found", "Nothing waits for a sign-off here.")
        if volume.ref.kind is not VolumeKind.USER and _author(volume, skill_id) == actor.user_id:
            raise Forbidden(
                "signoff.own",
                "Somebody else than its author has to sign a skill off.",
                hint=f"Ask another admin of {volume.ref}.",
            )
        codes = codes_of(high(found.findings))
        signed = SignOff(digest=digest, skill_id=skill_id, by=actor.user_id, at=now_ms(), codes=codes, why=why)
        signoffs.write(volume, signed)
        return self._inspected(volume, skill_id, "")

    def _inspected(self, volume: GitVolume, skill_id: str, version: str) -> Inspected:
        found = find_version(volume, skill_id, version) if version else current_version(volume, skill_id)
        if not found.version:
            raise unknown(volume, skill_id)
        return Inspected(
            str(volume.ref), skill_id, found.version, self._found(found), signed_off(volume, found.version)
        )

    def _found(self, version: Version) -> Sequence[Finding]:
        files = {path: kept.oid for path, kept in version.files.items()}
        return self._guard.found(version.version, version.skill_id, files, version.store.blob)


def _author(volume: GitVolume, skill_id: str) -> str:
    commits = volume.get_git_log(1, skill_id=skill_id)
    return commits[0].author if commits else ""
