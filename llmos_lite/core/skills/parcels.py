"""A skill as other programs get it: a folder in the standard's form, as one file or as an archive.

The same version gives the same bytes on every machine and at every time, since its archives are stored; see `packing`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.format import DESCRIPTION_LENGTH, Skill
from llmos_lite.core.skills.install import MOST_SKILL_BYTES, MOST_SKILL_FILES
from llmos_lite.core.skills.packing import stored_gzip, tar, zipped
from llmos_lite.core.skills.versions import Kept, Version
from llmos_lite.engines.git_objects import File, blob_id
from llmos_lite.engines.volume_interface import VolumeInterface
from llmos_lite.errors import LlmosError, NotFound
from llmos_lite.volumes.skill_paths import FILE


@dataclass(frozen=True)
class Parcel:
    """A skill ready to be sent.

    Args:
        skill: what it says of itself.
        main: its SKILL.md, in the standard's form.
        beside: its further files, by path.
        store: holds their contents.
    """

    skill: Skill
    main: bytes
    beside: Mapping[str, Kept]
    store: VolumeInterface

    @property
    def kind(self) -> Literal["skill-md", "archive"]:
        """Return as what it is sent: a SKILL.md alone, or an archive of the folder."""
        return "archive" if self.beside else "skill-md"

    @cached_property
    def files(self) -> dict[str, Kept]:
        """Return every file with the id that Git gives it, in order of path."""
        return dict(sorted({FILE: Kept(blob_id(self.main)), **self.beside}.items()))

    def read(self, path: str) -> bytes:
        """Return a file.

        Raises:
            NotFound: `file.unknown`.
        """
        if path == FILE:
            return self.main
        kept = self.beside.get(path)
        if kept is None:
            raise NotFound("file.unknown", f"{self.skill.skill_id} has no file {path[:200]!r}.")
        return self.store.blob(kept.oid)

    def sent(self) -> Iterator[bytes]:
        """Yield what is sent, in pieces: the SKILL.md, or the archive."""
        if self.kind == "skill-md":
            yield self.main
        else:
            yield from stored_gzip(tar(self._read()))

    def zipped(self) -> bytes:
        """Return a zip of the folder."""
        return zipped(self._read())

    def _read(self) -> Iterator[tuple[str, File]]:
        return ((path, File(self.read(path), kept.executable)) for path, kept in self.files.items())


@dataclass(frozen=True, slots=True)
class Seal:
    """How many bytes are sent, and their SHA-256 in hex."""

    size: int
    digest: str

    @classmethod
    def of(cls, parcel: Parcel) -> Seal:
        """Compute it."""
        size, digest = 0, hashlib.sha256()
        for piece in parcel.sent():
            digest.update(piece)
            size += len(piece)
        return cls(size, digest.hexdigest())


def parcel_of(found: Version) -> Parcel | None:
    """Return a version as it is sent; None for one that the standard's readers could not use.

    A SKILL.md in the standard's form is sent byte for byte; another (the seed's flat file, a foreign name) is rendered.
    """
    kept = found.files.get(FILE)
    if kept is None or len(found.files) > MOST_SKILL_FILES:
        return None
    content = found.store.blob(kept.oid)
    skill = Skill.parse(found.skill_id, content, volume=found.volume, version=found.version, path=found.path)
    if skill.error is not None:
        return None
    try:
        main = content if is_standard(content, found.skill_id) else skill.render().encode()
    except LlmosError:
        return None
    beside = {path: one for path, one in found.files.items() if path != FILE}
    return Parcel(skill, main, beside, found.store) if _fits(main, beside, found.store) else None


def _fits(main: bytes, beside: Mapping[str, Kept], store: VolumeInterface) -> bool:
    """Tell whether a skill is no larger than one may be, and has no file whose name leads elsewhere when unpacked."""
    if any(_leads_away(path) for path in beside):
        return False
    left = MOST_SKILL_BYTES - len(main)
    for kept in beside.values():
        left -= len(store.blob(kept.oid))
        if left < 0:
            return False
    return True


def _leads_away(path: str) -> bool:
    """Tell whether a path is one that an unpacker on some system could take for another place."""
    parts = path.split("/")
    return "\\" in path or not path.isprintable() or path[1:2] == ":" or any(part in {"", ".", ".."} for part in parts)


def is_standard(content: bytes, skill_id: str) -> bool:
    """Tell whether a SKILL.md has the name and the description that readers of the standard ask for."""
    try:
        block, _ = frontmatter.split(content.decode())
        fields = frontmatter.load(block) if block is not None else {}
    except (UnicodeDecodeError, frontmatter.BrokenFrontMatterError):
        return False
    described = fields.get("description")
    return (
        fields.get("name") == skill_id
        and isinstance(described, str)
        and bool(described.strip())
        and len(described) <= DESCRIPTION_LENGTH
    )
