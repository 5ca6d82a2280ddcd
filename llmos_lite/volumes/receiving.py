"""How a push moves a branch: the objects are there already, stock git brought them; the ref is moved by us.

So one lock orders our commits and everybody's pushes, and the compare-and-swap of the ref does the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from llmos_lite.engines.git import MAIN, LocalGitStore, VolumeInterface
from llmos_lite.engines.git_incoming import Incoming
from llmos_lite.engines.git_pack import sync_folder
from llmos_lite.engines.git_refs import Refs
from llmos_lite.errors import Conflict, storage_error
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager


def gitdir_of(volumes: VolumeManager, ref: VolumeRef, *, traces: bool = False) -> Path:
    """Return the repository's own folder, of the skills or of the traces of a volume."""
    return volumes.folder(ref) / ("traces.git" if traces else ".git")


def adopt_edits(store: VolumeInterface, paths: Collection[str]) -> None:
    """Commit what was edited by hand at some paths, and bring the files of the work tree in step with `main`."""
    if isinstance(store, LocalGitStore):
        store.adopt(paths=paths)


def move_main(volumes: VolumeManager, ref: VolumeRef, new: str, old: str) -> None:
    """Move `main` to a commit that was pushed, and the work tree with it.

    Edits by hand of the files that it changes are committed first, and then it comes too late; others are not touched.

    Raises:
        Conflict: `volume.moved`, when `main` is not at `old` any more.
        StorageFailed: the ref could not be written.
    """
    volume = volumes.open(PLATFORM, ref, write=True)
    with Incoming(gitdir_of(volumes, ref), None) as objects:
        changed = objects.changed(old, new)
    with volume.store.lock():
        adopt_edits(volume.store, changed)
        _move(gitdir_of(volumes, ref), MAIN, new, old)
        adopt_edits(volume.store, ())


def move_branch(volumes: VolumeManager, ref: VolumeRef, branch: str, new: str) -> tuple[str, bool]:
    """Move another branch, wherever it is.

    Returns:
        Where it was, nothing for a new one; and whether commits of it are gone from it now.

    Raises:
        Invalid: `branch.invalid`.
        Conflict: `branch.conflict`.
        StorageFailed: the ref could not be written.
    """
    volume = volumes.open(PLATFORM, ref, write=True)
    with volume.store.lock():
        old = volume.store.head(branch)
        if old != new:
            _move(gitdir_of(volumes, ref), branch, new, old)
        return old or "", bool(old) and volume.store.merge_base(old or "", new) != old


def _move(gitdir: Path, branch: str, new: str, old: str | None) -> None:
    with Incoming(gitdir, None) as objects:
        if not objects.is_commit(new):  # it lay here without a branch when an erasure removed what no branch leads to
            raise Conflict("volume.moved", "What was pushed is not there any more.", hint="Push again.")
    try:
        sync_folder(gitdir / "objects" / "pack")
        Refs(gitdir).update(branch, new, old)
    except OSError as error:
        raise storage_error(error, "store what was pushed") from error
