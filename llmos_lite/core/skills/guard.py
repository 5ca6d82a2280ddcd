"""What of the skills in a volume may be used: a finding of high severity keeps one out until it is signed off.

Every way into a volume ends here, also those that no scanner stands at, as a file dropped into the work tree.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding, Scanner, findings, high
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.signoffs import signed_off
from llmos_lite.core.skills.versions import Version
from llmos_lite.volumes.access import PLATFORM, VolumeKind, VolumeRef
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import FILE

REMEMBERED = 10_000
"""Versions whose verdict is kept in memory; a verdict takes some hundred bytes."""
EXAMINED = 500
"""Folders whose findings are kept in memory."""


class Guard:
    """Says which skills are held back.

    Args:
        volumes: where they live.
        scanners: look at each version once.
    """

    def __init__(self, volumes: VolumeManager, scanners: Mapping[str, Scanner]) -> None:
        self._volumes, self.scanners = volumes, scanners
        self._known: OrderedDict[tuple[str, str], bool] = OrderedDict()
        self._found: OrderedDict[str, tuple[Finding, ...]] = OrderedDict()
        self._mutex = threading.Lock()

    def withholds(self, skill: Skill) -> bool:
        """Tell whether a skill may not be put into a context: its text is unsafe, and nobody stands for this version.

        Only its text reaches a model here, so only that is looked at; about a millisecond the first time.
        """
        key = (skill.volume, skill.version)
        unsafe = self._known.get(key)
        if unsafe is None:
            unsafe = bool(high(findings(self.scanners, skill)))
            self._remember(key, unsafe=unsafe)
        if not unsafe:
            return False
        volume = self._volumes.open(PLATFORM, VolumeRef.parse(skill.volume))
        if signed_off(volume, skill.version) is None:
            return True
        self._remember(key, unsafe=False)
        return False

    def found(
        self, digest: str, skill_id: str, files: Mapping[str, str], blob: Callable[[str], bytes]
    ) -> tuple[Finding, ...]:
        """Return what scanners say of a whole folder; looked at once for each version.

        Args:
            digest: names exactly these files.
            skill_id: the skill.
            files: the Git ids of its files by their paths in the folder.
            blob: reads one.
        """
        known = self._found.get(digest)
        if known is None:
            folder = {path: blob(oid) for path, oid in files.items()}
            skill = Skill.parse(skill_id, folder.get(FILE, b""))
            known = tuple(findings(self.scanners, skill, folder))
            with self._mutex:
                self._found[digest] = known
                while len(self._found) > EXAMINED:
                    self._found.popitem(last=False)
        return known

    def _remember(self, key: tuple[str, str], *, unsafe: bool) -> None:
        with self._mutex:
            self._known[key] = unsafe
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def refuses(ref: VolumeRef) -> bool:
    """Tell whether a volume takes no unsafe skill: one that others read. One's own keeps a draft."""
    return ref.kind is not VolumeKind.USER


def folder_of(version: Version) -> dict[str, bytes]:
    """Return the files of a version by their paths in its folder."""
    return {path: version.store.blob(kept.oid) for path, kept in version.files.items()}


def is_unsafe(skill_id: str, files: Mapping[str, bytes]) -> bool:
    """Tell whether the rules of the house find something of high severity in a folder."""
    skill = Skill.parse(skill_id, files.get(FILE, b""))
    return bool(high(findings(with_house_rules({}), skill, files)))
