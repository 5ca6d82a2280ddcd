"""What of the skills in a volume may be used: a finding of high severity keeps one out until it is signed off.

Every way into a volume ends here, also those that no scanner stands at, as a file dropped into the work tree.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import FAILED, Finding, Scanner, findings, high
from llmos_lite.core.skills.scan_helper import Said
from llmos_lite.core.skills.scan_pool import Folder, ScanPool
from llmos_lite.core.skills.scanning.house import with_house_rules
from llmos_lite.core.skills.signoffs import REF, codes_of, signed_in, signed_off
from llmos_lite.core.skills.verdicts import Codes, Verdicts, rules_of
from llmos_lite.core.skills.versions import Version, read_version
from llmos_lite.core.skills.watched import Watched
from llmos_lite.volumes.access import PLATFORM, VolumeKind, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager
from llmos_lite.volumes.skill_paths import FILE, SkillEntry

REMEMBERED = 120_000
"""Versions whose verdict is kept in memory and in the file; a verdict takes some hundred bytes."""
MANY = 200
"""Versions that are worth the start of processes: as many as are looked at in that time."""
EXAMINED = 500
"""Folders whose findings are kept in memory."""


class Guard:
    """Says which skills are held back: by one verdict over all files of a version, wherever it is asked for.

    Args:
        volumes: where they live.
        scanners: look at each version once.
        folder: where verdicts are kept; None keeps them in memory alone.
        pool: looks at many; None looks at each here.
    """

    def __init__(
        self,
        volumes: VolumeManager,
        scanners: Mapping[str, Scanner],
        *,
        folder: Path | None = None,
        pool: ScanPool | None = None,
    ) -> None:
        self._volumes, self.scanners = volumes, scanners
        self._folder, self._pool = folder, pool
        self._found: OrderedDict[str, tuple[Finding, ...]] = OrderedDict()
        self._signed: dict[str, tuple[str, frozenset[str]]] = {}
        self._mutex = threading.Lock()

    @cached_property
    def rules(self) -> str:
        """Return what names the rules of all scanners: what they say of a version may change with it."""
        return rules_of(self.scanners)

    @cached_property
    def _file(self) -> Verdicts | None:
        return Verdicts(self._folder, self.rules, REMEMBERED) if self._folder is not None else None

    @cached_property
    def _known(self) -> OrderedDict[str, Codes]:
        return OrderedDict(self._file.read() if self._file is not None else {})

    def withholds(self, skill: Skill, among: Iterable[str] = ()) -> bool:
        """Tell whether a skill may be given to nobody: it is unsafe, and nobody stands for this version.

        Args:
            skill: the skill.
            among: further volumes that whoever asks reads; a sign-off in one of them counts for the same folder.
        """
        return bool(self.codes(skill)) and skill.version not in self.signed([skill.volume, *among])

    def codes(self, skill: Skill) -> Codes:
        """Return the codes of what stands against a version, sorted; none for a clean one.

        Only what scanners say is kept: a sign-off may come and go.
        """
        if not skill.version:
            return ()
        known = self._known.get(skill.version)
        return known if known is not None else self._looked_at(skill.volume, skill.skill_id, skill.version)

    def _looked_at(self, volume: str, skill_id: str, version: str) -> Codes:
        opened = self._volumes.open(PLATFORM, VolumeRef.parse(volume))
        return self.verdict(read_version(opened, skill_id, version))

    def all_codes(self, skills: Sequence[Skill]) -> list[Codes]:
        """Return the same for many skills at once; those that nobody has looked at are looked at in other processes."""
        found = {one.version: self._known[one.version] for one in skills if one.version in self._known}
        unknown = {one.version: one for one in skills if one.version and one.version not in found}
        if self._pool is not None and len(unknown) >= MANY:
            stuck = self._pool.scan(self.rules, map(self._folder_of, unknown.values()), partial(self._told, found))
            if stuck:
                self._give_up()
        return [found[one.version] if one.version in found else self.codes(one) for one in skills]

    def _give_up(self) -> None:
        """Ask plug-ins nothing more: one of them kept a helper for ever, and would keep the server."""
        for scanner in self.scanners.values():
            if isinstance(scanner, Watched):
                scanner.give_up(
                    "a process in which plug-ins looked at skills never ended; they are asked at the next start"
                )

    def _folder_of(self, skill: Skill) -> Folder:
        volume = self._volumes.open(PLATFORM, VolumeRef.parse(skill.volume))
        read = partial(read_version, volume, skill.skill_id, skill.version)
        return skill.version, skill.skill_id, lambda: folder_of(read())

    def _told(self, found: dict[str, Codes], said: Sequence[Said]) -> None:
        fresh = {one.version: one.codes for one in said}
        found.update(fresh)
        self._remember(fresh, final=[one.version for one in said if one.final])

    def verdict(self, version: Version) -> Codes:
        """Return the same for a version that somebody has in hand."""
        known = self._known.get(version.version)
        if known is None:
            files = {path: kept.oid for path, kept in version.files.items()}
            found = self.found(version.version, version.skill_id, files, version.store.blob)
            known = codes_of(high(found))
            is_final = all(one.code != FAILED for one in found)
            self._remember({version.version: known}, final=[version.version] if is_final else [])
        return known

    def holds(self, volume: GitVolume, version: Version) -> bool:
        """Tell whether a version of a volume may be given to nobody."""
        return bool(self.verdict(version)) and signed_off(volume, version.version) is None

    def holds_entry(self, volume: VolumeRef, entry: SkillEntry) -> bool:
        """Tell the same of an entry, without a look at its files where its verdict is known."""
        known = self._known.get(entry.version)
        if known is None:
            known = self._looked_at(str(volume), entry.skill_id, entry.version)
        return bool(known) and entry.version not in self.signed([str(volume)])

    def look_at(self, volume: VolumeRef, entries: Iterable[SkillEntry]) -> None:
        """Find the verdicts of entries that nobody has looked at; many are looked at in other processes."""
        unknown = [one for one in entries if one.version not in self._known]
        if len(unknown) >= MANY:
            self.all_codes([Skill(skill_id=one.skill_id, volume=str(volume), version=one.version) for one in unknown])

    def signed(self, volumes: Iterable[str]) -> frozenset[str]:
        """Return the versions that somebody stands for in one of these volumes; asks each for its head alone."""
        return frozenset[str]().union(*map(self._signed_in, dict.fromkeys(volumes)))

    def _signed_in(self, name: str) -> frozenset[str]:
        volume = self._volumes.open(PLATFORM, VolumeRef.parse(name))
        head = volume.notes.head(REF) or ""
        known = self._signed.get(name)
        if known is None or known[0] != head:
            known = self._signed[name] = (head, signed_in(volume))
        return known[1]

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

    def _remember(self, verdicts: Mapping[str, Codes], final: Collection[str]) -> None:
        """Keep verdicts, and write down those that will not be others the next time."""
        with self._mutex:
            self._known.update(verdicts)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        if self._file is not None and final:
            self._file.add({version: verdicts[version] for version in final})


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
