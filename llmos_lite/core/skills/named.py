"""What a public catalog has named: a skill and a version, which whoever noted the address may ask for again.

Nothing else of the history is for strangers: neither what stood before the catalog was public, nor what came and went
between two looks at it. It is kept in the system volume's repository, below a ref that no clone sees: a line for each
version in one of 256 files, so that a question reads one file, whatever else there is.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

from llmos_lite.engines.git import PLATFORM as LLMOS
from llmos_lite.errors import NotFound, StorageFailed
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

log = logging.getLogger("llmos.skills")

REF = "named"


class Named:
    """Remembers what was named.

    Args:
        volumes: where the system volume is.
    """

    def __init__(self, volumes: VolumeManager) -> None:
        self._volumes = volumes
        self._known = set[str]()

    def add(self, offers: Iterable[tuple[str, str]]) -> None:
        """Remember skills and versions, durably; where the disk takes nothing, until this process ends."""
        fresh = {_line(*offer) for offer in offers} - self._known
        if fresh:
            try:
                self._write(fresh)
            except StorageFailed:
                log.warning("What the public catalog names cannot be written down.", exc_info=True)
            self._known |= fresh

    def has(self, skill_id: str, version: str) -> bool:
        """Tell whether a version of a skill was ever named."""
        line = _line(skill_id, version)
        if line in self._known:
            return True
        return line in _read(self._volumes.open(PLATFORM, SYSTEM), _file(skill_id))

    def _write(self, fresh: Iterable[str]) -> None:
        files = dict[str, set[str]]()
        for line in fresh:
            files.setdefault(_file(line.partition(" ")[0]), set()).add(line)
        volume = self._volumes.open(PLATFORM, SYSTEM, write=True)
        with volume.notes.lock():
            before = {path: _read(volume, path) for path in files}
            changes = {
                path: "".join(f"{line}\n" for line in sorted(before[path] | lines)).encode()
                for path, lines in files.items()
                if not lines <= before[path]
            }
            if changes:
                volume.notes.commit(changes, "Name skills to the public", LLMOS, branch=REF)


def _line(skill_id: str, version: str) -> str:
    return f"{skill_id} {version}"


def _file(skill_id: str) -> str:
    return hashlib.sha256(skill_id.encode()).hexdigest()[:2]


def _read(volume: GitVolume, path: str) -> frozenset[str]:
    head = volume.notes.head(REF)
    try:
        return frozenset(volume.notes.read(path, at=head).decode().splitlines()) if head else frozenset()
    except NotFound:
        return frozenset()
