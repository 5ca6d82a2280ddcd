"""Whether a data folder is well: a list of findings, each with what can be done, and some that mend themselves.

Everything here works on the files alone, so it can look at a folder whose server does not start, and, without
repairing, at one that is being served. What stops one check does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.core.doctor.finding import Finding, State, guarded
from llmos_lite.core.doctor.folder import FolderCheck
from llmos_lite.core.doctor.repositories import RepositoryCheck
from llmos_lite.core.doctor.traces import ROWS, TracesCheck

__all__ = ["ROWS", "Doctor", "Finding", "State"]

_KINDS = {"teams": "team", "users": "user"}


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at one data folder.

    Args:
        data: the folder.
        repair: mend what can be mended without losing anything; only when nobody else uses the folder.
        served: whether a server is at work on it.
    """

    data: Path
    repair: bool = False
    served: bool = False

    def examine(self) -> Iterator[Finding]:
        """Yield a finding for each thing that was looked at, the quick ones first."""
        folder = FolderCheck(self.data, self.repair)
        for check in ("format", "disk", "git", "links", "permissions", "keys", "leftovers", "databases"):
            yield from guarded(check, getattr(folder, check)())
        for gitdir in self.repositories():
            name = gitdir.relative_to(self.data / "volumes").as_posix()
            yield from guarded(f"git {name}", RepositoryCheck(gitdir, name, self.repair).examine())
        yield from guarded("journal", TracesCheck(self.data, self._traces(), self.served).examine())

    def repositories(self) -> list[Path]:
        """Return the Git folders of every volume; what a link leads to is somebody else's."""
        found = [path for root in self._roots() for path in (root / ".git", root / "traces.git")]
        return [path for path in found if path.is_dir() and not path.is_symlink()]

    def _roots(self) -> list[Path]:
        volumes = self.data / "volumes"
        roots = [volumes / "system", *sorted(volumes.glob("teams/*")), *sorted(volumes.glob("users/*"))]
        linked = volumes.is_symlink()
        return [root for root in roots if not (linked or root.is_symlink() or root.parent.is_symlink())]

    def _traces(self) -> dict[str, Path]:
        system = self.data / "volumes" / "system"
        named = {
            "system" if root == system else f"{_KINDS[root.parent.name]}:{root.name}": root for root in self._roots()
        }
        return {name: root / "traces.git" for name, root in named.items() if (root / "traces.git").is_dir()}
