"""Addresses of skills: `skill://system/<id>/SKILL.md`, `skill://teams/<team>/<id>/…`, `skill://users/<user>/<id>/…`.

A path inside is looked up among the files that there are and never joined to anything: `..` is a name that nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from llmos_lite.errors import Invalid, NotFound
from llmos_lite.volumes.access import SYSTEM, VolumeKind, VolumeRef, check_id
from llmos_lite.volumes.skill_paths import FILE

SCHEME = "skill://"
LONGEST = 8192
_KINDS = {"teams": VolumeKind.TEAM, "users": VolumeKind.USER}
_SAFE = "!$&'()*+,;=:@"
"""What RFC 3986 lets stand in a segment beside letters, digits and `-._~`."""


@dataclass(frozen=True, slots=True)
class SkillUri:
    """What an address names: a volume, a skill of it, a file or folder of that; the later parts may be empty."""

    ref: VolumeRef
    skill_id: str = ""
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address.

        Raises:
            NotFound: `skill.not_served`, for what no skill can have.
        """
        if not text.startswith(SCHEME) or len(text) > LONGEST:
            raise not_served(text)
        try:
            first, *rest = [unquote(part, errors="strict") for part in text[len(SCHEME) :].split("/")]
            if first == VolumeKind.SYSTEM:
                return cls(SYSTEM, *_checked(rest))
            if first in _KINDS and rest:
                return cls(VolumeRef(_KINDS[first], check_id(rest[0], _KINDS[first])), *_checked(rest[1:]))
        except (Invalid, UnicodeDecodeError):
            pass
        raise not_served(text)

    def at(self, path: str) -> Self:
        """Return the address of a file or folder of the same skill."""
        return type(self)(self.ref, self.skill_id, path)

    def __str__(self) -> str:
        kind = f"{self.ref.kind}s/{self.ref.id}" if self.ref.id else str(self.ref.kind)
        parts = filter(None, (kind, self.skill_id, quote(self.path, safe=f"/{_SAFE}")))
        return SCHEME + "/".join(parts)


def skill_uri(volume: str, skill_id: str) -> SkillUri:
    """Return the address of a skill's SKILL.md.

    Args:
        volume: as in `team:sre`.
        skill_id: the skill.
    """
    return SkillUri(VolumeRef.parse(volume), skill_id, FILE)


def not_served(text: str) -> NotFound:
    """Return the error for an address under which nothing is served, or nothing that the actor may see."""
    return NotFound("skill.not_served", f"Nothing is served at {ascii(text[:200])[1:-1]}.")


def _checked(parts: list[str]) -> tuple[str, str]:
    if not parts:
        return "", ""
    if "" in parts[1:] or any("/" in part for part in parts):
        raise Invalid("skill.not_served", "No path has an empty part.")
    return check_id(parts[0], "skill"), "/".join(parts[1:])
