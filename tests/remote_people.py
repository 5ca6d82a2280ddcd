"""Who sets remotes in tests, and for which volume."""

from __future__ import annotations

from llmos_lite.core.accounts.permissions import EVERYTHING, PERSONAL, Actor, Role
from llmos_lite.volumes.access import VolumeRef

ADMIN = Actor("admin", Role.SYSTEM_ADMIN, scopes=EVERYTHING)
CHIEF = Actor("chief", teams={"sre": Role.TEAM_ADMIN}, scopes=PERSONAL)
MEMBER = Actor("member", teams={"sre": Role.USER}, scopes=PERSONAL)
ALICE = Actor("alice", scopes=PERSONAL)
SRE = VolumeRef.team("sre")
