"""`VolumeManager`: every volume of an instance, opened only for whom the seed's table lets in."""

from __future__ import annotations

import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos_lite.engines.durable import make_folder, sync_folder
from llmos_lite.engines.git import (
    LOCAL_FILES,
    MAIN,
    METADATA,
    PLATFORM,
    Author,
    Commit,
    File,
    HandEdits,
    LocalGitStore,
)
from llmos_lite.engines.git_config import include, write_shared
from llmos_lite.engines.git_history import History
from llmos_lite.engines.git_lock import RepositoryLock
from llmos_lite.engines.git_refs import broken
from llmos_lite.engines.git_upkeep import Upkeep, is_due
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import LlmosError, storage_error
from llmos_lite.volumes.access import ID, ID_LENGTH, SYSTEM, Access, Principal, VolumeKind, VolumeRef, access, require
from llmos_lite.volumes.git_volume import GitVolume, author_of, default_metadata, dump_metadata
from llmos_lite.volumes.readonly import ReadOnlyStore
from llmos_lite.volumes.scrubbing import resume
from llmos_lite.volumes.skill_paths import FILE, describe_edits, folder_path

_OPEN_VOLUMES = 256
"""Volumes kept open; each takes a few files of the process."""

_FOLDERS = {VolumeKind.SYSTEM: "system", VolumeKind.TEAM: "teams", VolumeKind.USER: "users"}
_TRACES = "traces.git"
_GIT_CONFIG = "git-config"
"""File of the data folder that every repository's configuration includes."""
_NOTES = "llmos"
"""Folder of `refs/` with what is noted about a volume; no client of Git sees it."""


@dataclass(frozen=True, slots=True)
class _Opened:
    store: LocalGitStore
    traces: LocalGitStore
    reader: GitVolume
    writer: GitVolume

    def close(self) -> None:
        self.store.close()
        self.traces.close()


class VolumeManager:
    """All volumes below one data folder; any number of threads and processes may use it at once.

    Args:
        data_dir: `<data>`; the volumes are in `<data>/volumes`, the public keys in `<data>/allowed_signers`.
        signer: signs every commit.

    Raises:
        StorageFailed: the data folder cannot be written.
    """

    def __init__(self, data_dir: Path, signer: Signer) -> None:
        self._root = data_dir / "volumes"
        self._signer = signer
        try:
            make_folder(self._root, 0o700)
        except OSError as error:
            raise storage_error(error, "open the volumes") from error
        self.publish_keys()
        self._creating = RepositoryLock(self._root)
        self._mutex = threading.Lock()
        self._opened: OrderedDict[VolumeRef, _Opened] = OrderedDict()

    @property
    def signer(self) -> Signer:
        """Return who signs every commit."""
        return self._signer

    def publish_keys(self) -> None:
        """Write the list of keys that may sign, which stock git reads: at the start, and when a key has changed.

        Raises:
            StorageFailed: it cannot be written.
        """
        data = self._root.parent
        try:
            self._signer.write_allowed_signers(data / "allowed_signers")
            write_shared(data / _GIT_CONFIG, data / "allowed_signers")
        except OSError as error:
            raise storage_error(error, "publish the signing keys") from error

    def folder(self, ref: VolumeRef) -> Path:
        """Return the work tree of a volume."""
        return self._root / _FOLDERS[ref.kind] / ref.id if ref.id else self._root / _FOLDERS[ref.kind]

    def open(self, principal: Principal, ref: VolumeRef, *, write: bool = False) -> GitVolume:
        """Open a volume for somebody; it is created when this is the first time.

        Args:
            principal: who opens it.
            ref: which.
            write: whether the handle may write.

        Raises:
            NotFound: `volume.unknown`, for a volume that does not concern the principal.
            Forbidden: `volume.readonly`.
            Unavailable: `volume.broken`, for this volume alone.
        """
        require(principal, ref, write=write)
        opened = self._open(ref)
        return opened.writer if write else opened.reader

    def heads(self, principal: Principal, refs: Sequence[VolumeRef]) -> list[str]:
        """Return the commit of each of these volumes, empty for one that was never created: reading creates nothing.

        Raises:
            NotFound: `volume.unknown`, for a volume that does not concern the principal.
            Unavailable: `volume.broken`.
        """
        found = self.heads_at_hand(principal, refs)
        return [self._head(principal, ref) for ref in refs] if found is None else found

    def heads_at_hand(self, principal: Principal, refs: Sequence[VolumeRef]) -> list[str] | None:
        """Return the same, or None when a volume has to be opened first, which is not for an event loop."""
        found: list[str] = []
        for ref in refs:
            if access(principal, ref) is Access.NONE:
                require(principal, ref, write=False)
            opened = self._opened.get(ref)
            if opened is not None:
                try:
                    self._opened.move_to_end(ref)
                except KeyError:  # another thread has closed it just now
                    return None
                found.append(opened.store.head() or "")
            elif self.exists(ref):
                return None
            else:
                found.append("")
        return found

    def exists(self, ref: VolumeRef) -> bool:
        """Tell whether a volume was created."""
        return (self.folder(ref) / ".git").exists()

    def create(self, ref: VolumeRef) -> None:
        """Make a volume with its first commit; nothing happens when it is there.

        Files that somebody put into its folder before are kept, and adopted.

        Raises:
            Unavailable: `volume.broken`, when the folder is what is left of a volume.
            StorageFailed: it cannot be written.
        """
        if (self.folder(ref) / ".git").exists() and (self.folder(ref) / _TRACES / "HEAD").exists():
            return
        try:
            with self._creating:
                self._create(ref)
        except OSError as error:
            raise storage_error(error, f"create the volume {ref}") from error

    def refs(self) -> list[VolumeRef]:
        """Return the volumes that exist, broken ones too."""
        return sorted(self._found())

    def promote_skill(
        self,
        skill_id: str,
        source: VolumeRef,
        target: VolumeRef,
        author: Author,
        reason: str,
        *,
        branch: str = MAIN,
        content: str | None = None,
        trailers: Mapping[str, str] | None = None,
        at: str | None = None,
    ) -> Commit:
        """Copy a skill with all its files to another volume; the platform writes, the person is the author.

        The caller has checked that the person may do this. Doing it again changes nothing.

        Args:
            skill_id: its id in both volumes.
            source: from where.
            target: to where.
            author: who promotes it.
            reason: why, for the message.
            branch: `main`, or the branch of a proposal (`pr/<user>/<skill>`), made when it does not exist.
            content: the Markdown, when it is not to be copied as it is.
            trailers: for the end of the message.
            at: the commit of the source that is read; its head when None.

        Raises:
            NotFound: `skill.unknown`.
        """
        origin, destination = self._open(source).reader, self._open(target).writer
        head = at or origin.store.head()
        text = content if content is not None else origin.read_skill(skill_id, at=head)
        lead = folder_path(skill_id) + "/"
        extra = {
            entry.path[len(lead) :]: File(origin.store.blob(entry.oid), entry.executable)
            for entry in origin.skill_files(skill_id, at=head)
            if entry.path.startswith(lead) and entry.path != lead + FILE
        }
        message = f"Promote '{skill_id}' from {source} - Reason: {' '.join(reason.split())}"
        return destination.write_skill(
            skill_id, text, message, author, files=extra, trailers=trailers, replace=True, branch=branch
        )

    def touched(self, ref: VolumeRef) -> bool:
        """Tell whether `adopt` might find something; a `stat` for each file, for a poller."""
        return self._open(ref).store.touched()

    def adopt(self, ref: VolumeRef) -> Commit | None:
        """Commit what was edited by hand in a work tree, as that person's; None when nothing was."""
        return self._open(ref).store.adopt()

    def writers(self, ref: VolumeRef) -> Path:
        """Return the file that whoever adds traces, rows and all, holds a shared lock on, and whoever rewrites has."""
        self.create(ref)
        return self.folder(ref) / _TRACES / "llmos-writers"

    def traces_history(self, ref: VolumeRef) -> History:
        """Return the history of a volume's traces, to rewrite; the caller closes it."""
        self._open(ref)
        return History(self.folder(ref) / _TRACES, self._signer)

    def notes_history(self, ref: VolumeRef) -> History:
        """Return the history of what is noted about a volume, to rewrite; the caller closes it, then calls `forget`."""
        self._open(ref)
        return History(self.folder(ref) / ".git", self._signer, f"refs/{_NOTES}/")

    def forget(self, ref: VolumeRef) -> None:
        """Let go of what is in memory of a volume's files and notes; the next use reads them anew."""
        self._open(ref).store.close()

    def draft_history(self, folder: Path) -> History:
        """Return the history of a new bare repository in an empty folder, as to rewrite an archive there."""
        LocalGitStore(folder, signer=self._signer, bare=True).close()
        return History(folder, self._signer)

    def forget_traces(self, ref: VolumeRef) -> None:
        """Let go of what is in memory of a volume's traces; the next use reads them anew."""
        self._open(ref).traces.close()

    def left_alone(self, ref: VolumeRef) -> dict[str, str]:
        """Return paths of a work tree that are not adopted, and why, as of the last `adopt`."""
        return dict(self._open(ref).store.left_alone)

    def upkeep_due(self, ref: VolumeRef) -> bool:
        """Tell whether a volume needs upkeep: many packs, or changed and not looked after for a day. Cheap."""
        folder = self.folder(ref)
        return any(is_due(gitdir) for gitdir in (folder / ".git", folder / _TRACES))

    def maintain(self, ref: VolumeRef, *, always: bool = False) -> Upkeep | None:
        """Look after both repositories of a volume: packs and commit-graph; safe while others read and write.

        Args:
            ref: which.
            always: do it though nothing is due.

        Returns:
            What was done in both together; None when nothing was due.

        Raises:
            Unavailable: `volume.broken`, `git.missing`, `git.slow`.
            StorageFailed: `storage.upkeep`.
        """
        opened = self._open(ref)
        done = [store.upkeep(always=always) for store in (opened.store, opened.traces)]
        found = [upkeep for upkeep in done if upkeep is not None]
        return sum(found, Upkeep()) if found else None

    def check(self) -> dict[VolumeRef, LlmosError | None]:
        """Open every volume and return what is wrong with each."""
        return {ref: self._why_broken(ref) for ref in self.refs()}

    def close(self) -> None:
        """Give all files back to the system; the next use opens them again."""
        with self._mutex:
            for opened in list(self._opened.values()):  # whoever asks meanwhile moves one
                opened.close()
            self._opened.clear()
        self._creating.close()

    # Below

    def _head(self, principal: Principal, ref: VolumeRef) -> str:
        require(principal, ref, write=False)
        return (self._open(ref).store.head() or "") if self.exists(ref) else ""

    def _open(self, ref: VolumeRef) -> _Opened:
        with self._mutex:
            opened = self._opened.get(ref)
            if opened is not None:
                self._opened.move_to_end(ref)
                return opened
        self.create(ref)
        fresh = self._stores(ref, self.folder(ref))
        if fresh.store.head() is None:
            raise broken(fresh.store.gitdir, "main has no commit")
        resume(fresh.store, self._signer)
        for store in (fresh.store, fresh.traces):
            include(store.gitdir, self._root.parent / _GIT_CONFIG)
        with self._mutex:
            opened = self._opened.setdefault(ref, fresh)
            while len(self._opened) > _OPEN_VOLUMES:
                self._opened.popitem(last=False)[1].close()
        return opened

    def _stores(self, ref: VolumeRef, folder: Path) -> _Opened:
        author = author_of(ref.id) if ref.kind is VolumeKind.USER else LOCAL_FILES
        store = LocalGitStore(folder, signer=self._signer, hand_edits=HandEdits(author, describe_edits))
        traces = LocalGitStore(folder / _TRACES, signer=self._signer, bare=True)
        notes = store.namespace(_NOTES)
        reading = ReadOnlyStore(store, str(ref)), ReadOnlyStore(traces, str(ref))
        return _Opened(
            store,
            traces,
            GitVolume(ref, *reading, notes=ReadOnlyStore(notes, str(ref)), writable=False),
            GitVolume(ref, store, traces, notes=notes, writable=True, files=store),
        )

    def _create(self, ref: VolumeRef) -> None:
        folder = self.folder(ref)
        if (folder / ".git").exists():
            LocalGitStore(folder / _TRACES, signer=self._signer, bare=True)
            return
        if any((folder / name).exists() for name in (METADATA, _TRACES)):
            raise broken(folder / ".git", "it is missing")
        fresh = self._root / f".new-{os.urandom(6).hex()}"
        try:
            made = self._stores(ref, fresh)
            changes = {METADATA: dump_metadata(default_metadata(ref))}
            made.store.commit(changes, f"Create volume: {ref}", PLATFORM)
            made.close()
            _place(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _found(self) -> Iterator[VolumeRef]:
        if _is_volume(self.folder(SYSTEM)):
            yield SYSTEM
        for kind in (VolumeKind.TEAM, VolumeKind.USER):
            for folder in (self._root / _FOLDERS[kind]).glob("*"):
                if len(folder.name) <= ID_LENGTH and ID.fullmatch(folder.name) and _is_volume(folder):
                    yield VolumeRef(kind, folder.name)

    def _why_broken(self, ref: VolumeRef) -> LlmosError | None:
        try:
            volume = self._open(ref).reader
            volume.store.log(limit=1)
            volume.list_skills()
        except LlmosError as error:
            return error
        return None


def _is_volume(folder: Path) -> bool:
    return (folder / ".git").exists() or (folder / METADATA).exists()


def _place(fresh: Path, folder: Path) -> None:
    """Move a new volume to its place, at once; into a folder with files of somebody, around them."""
    for name in ("skills", "memory"):
        (fresh / name).mkdir(exist_ok=True)
    sync_folder(fresh)
    make_folder(folder.parent, 0o700)
    if folder.exists():
        # In this order: what a kill leaves undone after the first, the next opening does.
        for name in (".git", _TRACES, METADATA):
            (fresh / name).rename(folder / name)
        sync_folder(folder)
    else:
        fresh.rename(folder)
    sync_folder(folder.parent)
