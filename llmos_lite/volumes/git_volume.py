"""`GitVolume`: the skills, the memory and the metadata of one volume, kept in Git."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Protocol, TypeAlias

from llmos_lite.engines.git import MAIN, METADATA, PLATFORM, Author, Change, Commit, Entry, File, VolumeInterface
from llmos_lite.engines.git import compose_message as compose
from llmos_lite.engines.git_remote import push
from llmos_lite.errors import Conflict, Invalid, NotFound
from llmos_lite.volumes.access import VolumeKind, VolumeRef
from llmos_lite.volumes.merging import merge_branch
from llmos_lite.volumes.readonly import refuse
from llmos_lite.volumes.skill_paths import (
    FOLDER,
    RENAMED_FROM,
    RENAMED_TO,
    SkillEntry,
    file_path,
    flat_path,
    folder_path,
    misnamed,
    shown,
    skill_entries,
)

FORMAT = 1
"""Version of the layout of a volume, in its `metadata.json`."""

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


RETENTION = "retention_days"
"""Key of `metadata.json`: days for which a volume's traces are kept, 0 for ever; it wins over the setting."""
MOST_DAYS = 36_500


class EditedByHand(Protocol):
    """A store whose files people may edit in place."""

    def adopt(
        self, message: str | None = None, author: Author | None = None, *, paths: Collection[str] | None = None
    ) -> Commit | None:
        """Commit what was edited by hand; see `LocalGitStore.adopt`."""


def author_of(user_id: str) -> Author:
    """Return a person as the author of a commit."""
    return Author(user_id, f"{user_id}@localhost")


def default_metadata(ref: VolumeRef) -> dict[str, Json]:
    """Return the metadata of a new volume: only the system volume asks for a review."""
    review = "required" if ref.kind is VolumeKind.SYSTEM else "none"
    return {"volume": str(ref), "format": FORMAT, "policy": {"review": review}}


def dump_metadata(metadata: Mapping[str, Json]) -> bytes:
    """Return metadata as the file that is kept."""
    return json.dumps(metadata, indent=2, ensure_ascii=False).encode() + b"\n"


def retention_of(volume: GitVolume) -> int | None:
    """Return for how many days a volume says that its traces are kept; None when it says nothing that can be meant."""
    said = volume.metadata().get(RETENTION)
    return said if type(said) is int and 0 <= said <= MOST_DAYS else None


class GitVolume:
    """One volume, as opened by somebody.

    Args:
        ref: its name.
        store: keeps skills, memory and metadata; read-only when the handle is.
        traces: keeps the segments of traces, a branch for each month.
        notes: keeps what is noted about the volume beside its files, as the events of proposals.
        writable: whether this handle may write.
        files: adopts edits by hand; None where nobody can make any.
    """

    def __init__(
        self,
        ref: VolumeRef,
        store: VolumeInterface,
        traces: VolumeInterface,
        *,
        notes: VolumeInterface,
        writable: bool,
        files: EditedByHand | None = None,
    ) -> None:
        self.ref, self.store, self.traces, self.notes, self.writable = ref, store, traces, notes, writable
        self._files = files if writable else None
        self._listed: tuple[str, list[SkillEntry]] = ("", [])

    def __repr__(self) -> str:
        return f"GitVolume({self.ref}, {'rw' if self.writable else 'r'})"

    # Skills

    def list_skills(self, *, at: str | None = None) -> list[SkillEntry]:
        """Return the skills by id; kept until something in `skills/` changes."""
        entry = self.store.entry(FOLDER, at=at)
        if entry is None:
            return []
        if at is not None:
            return skill_entries(self.store.tree(FOLDER, at=at))
        if self._listed[0] != entry.oid:
            self._listed = (entry.oid, skill_entries(self.store.tree(FOLDER)))
        return list(self._listed[1])

    def misnamed_skills(self) -> list[str]:
        """Return paths in `skills/` that are not served since their name is no id, as `skills/My Skill.md`."""
        return misnamed(self.store.tree(FOLDER))

    def skill_entry(self, skill_id: str, *, at: str | None = None) -> SkillEntry | None:
        """Return a skill as it stands, or None: the folder before the flat file."""
        for path in (folder_path(skill_id), flat_path(skill_id)):
            entry = self.store.entry(path, at=at)
            if entry is not None and entry.is_tree == (path == folder_path(skill_id)):
                return skill_entries([entry])[0]
        return None

    def read_skill(self, skill_id: str, *, version: str | None = None, at: str | None = None) -> str:
        """Return the Markdown of a skill; bytes that are no UTF-8 come as replacement characters.

        Args:
            skill_id: its id.
            version: an earlier version, the Git id of its entry.
            at: a commit or a branch.

        Raises:
            NotFound: `skill.unknown`; `skill.no_file`, for a folder without `SKILL.md`.
        """
        if version is not None:
            folder_path(skill_id)
            data = self._read_version(version)
        else:
            found = self._known(skill_id, at=at)
            try:
                data = self.store.read(found.path, at=at)
            except NotFound:
                raise NotFound("skill.no_file", f"The folder of {skill_id} has no SKILL.md.") from None
        return data.decode("utf-8", "replace")

    def skill_files(self, skill_id: str, *, at: str | None = None) -> list[Entry]:
        """Return all files of a skill with their full paths, `SKILL.md` among them.

        Raises:
            NotFound: `skill.unknown`.
        """
        found = self._known(skill_id, at=at)
        if not found.is_folder:
            return [entry for entry in [self.store.entry(found.path, at=at)] if entry is not None]
        return self._files_below(folder_path(skill_id), at)

    def write_skill(
        self,
        skill_id: str,
        content: str,
        message: str | None = None,
        author: Author | None = None,
        *,
        files: Mapping[str, bytes | File | None] | None = None,
        trailers: Mapping[str, str] | None = None,
        expect: str | None = None,
        replace: bool = False,
        branch: str = MAIN,
    ) -> Commit:
        """Save a skill as `skills/<id>/SKILL.md`; a flat file of the same id is moved there in the same commit.

        Args:
            skill_id: its id.
            content: its Markdown.
            message: instead of `Create skill: X` or `Update skill: X`.
            author: who wrote it; the platform when None.
            files: further files by their path in the folder; None removes one. Content alone keeps the executable bit
                that a file has; a `File` says it.
            trailers: for the end of the message.
            expect: the version that the writer saw; empty when there was none.
            replace: files that are not named go away.
            branch: where to.

        Raises:
            Forbidden: `volume.readonly`.
            Conflict: `skill.exists` or `skill.changed`, when `expect` does not hold.
            Invalid: `skill.invalid_id`, `skill.invalid_text`, `file.invalid_path`.
        """
        changes: dict[str, Change] = {folder_path(skill_id): None} if replace else {}
        for name, data in (files or {}).items():
            changes[file_path(skill_id, name)] = data
        changes[file_path(skill_id)] = _encode(content)
        self._require_writable()
        with self.store.lock():
            at = self._prepare(skill_id, branch)
            there = self._expect(skill_id, expect, at)
            flat = self.store.entry(flat_path(skill_id), at=at)
            if flat is not None and not flat.is_tree:
                changes[flat.path] = None
            subject = message or f"{'Update' if there else 'Create'} skill: {skill_id}"
            return self.store.commit(changes, compose(subject, trailers=trailers), author or PLATFORM, branch=branch)

    def delete_skill(
        self,
        skill_id: str,
        message: str | None = None,
        author: Author | None = None,
        *,
        trailers: Mapping[str, str] | None = None,
        expect: str | None = None,
    ) -> Commit:
        """Remove a skill, both forms of it; its history stays.

        Raises:
            Forbidden: `volume.readonly`.
            NotFound: `skill.unknown`.
            Conflict: `skill.changed`.
        """
        self._require_writable()
        with self.store.lock():
            self._prepare(skill_id, MAIN)
            self._known(skill_id)
            self._expect(skill_id, expect, None)
            changes = dict.fromkeys((folder_path(skill_id), flat_path(skill_id)))
            text = compose(message or f"Delete skill: {skill_id}", trailers=trailers)
            return self.store.commit(changes, text, author or PLATFORM)

    def rename_skill(
        self,
        skill_id: str,
        new_id: str,
        content: bytes,
        author: Author | None = None,
        *,
        expect: str | None = None,
        beside: Mapping[str, Change] | None = None,
    ) -> Commit:
        """Move a skill to another id in one commit: its folder as it is, but for its Markdown.

        Args:
            skill_id: its id.
            new_id: its id from now on.
            content: its Markdown under that id.
            author: who renames it; the platform when None.
            expect: the version that the writer saw.
            beside: what else changes in the same commit.

        Raises:
            Forbidden: `volume.readonly`.
            NotFound: `skill.unknown`.
            Conflict: `skill.changed`; `skill.exists`, when something has the new id already, in whatever case.
        """
        self._require_writable()
        with self.store.lock():
            self._prepare(skill_id, MAIN)
            there = self._known(skill_id)
            self._expect(skill_id, expect, None)
            self._require_free(new_id)
            kept = self.store.entry(there.path)
            changes: dict[str, Change] = {**(beside or {}), folder_path(skill_id): None, flat_path(skill_id): None}
            if there.is_folder:
                changes[folder_path(new_id)] = Entry(folder_path(new_id), there.version, is_tree=True)
            changes[file_path(new_id)] = File(content, kept is not None and kept.executable)
            trailers = {"Skill-Op": "rename", RENAMED_FROM: skill_id, RENAMED_TO: new_id}
            text = compose(f"Rename skill: {skill_id} to {new_id}", trailers=trailers)
            return self.store.commit(changes, text, author or PLATFORM)

    def restore_skill(
        self,
        skill_id: str,
        version: str,
        message: str | None = None,
        author: Author | None = None,
        *,
        trailers: Mapping[str, str] | None = None,
    ) -> Commit:
        """Bring an earlier version back, as a new commit.

        Raises:
            Forbidden: `volume.readonly`.
            NotFound: `object.unknown` or `commit.unknown`, when there is no such version.
        """
        self._require_writable()
        folder, flat = folder_path(skill_id), flat_path(skill_id)
        changes: dict[str, Change] = {folder: None, flat: None}
        is_tree = not self._is_blob(version)
        if is_tree:
            self.store.tree(at=version)
        changes[folder if is_tree else flat] = Entry(folder if is_tree else flat, version, is_tree)
        with self.store.lock():
            self._prepare(skill_id, MAIN)
            text = compose(message or f"Restore skill: {skill_id}", trailers=trailers)
            return self.store.commit(changes, text, author or PLATFORM)

    # Git

    def commit_changes(self, message: str | None = None, author: Author | None = None) -> Commit | None:
        """Commit what was edited by hand in the work tree; None when nothing was.

        Raises:
            Forbidden: `volume.readonly`.
        """
        self._require_writable()
        return self._files.adopt(message, author) if self._files else None

    def get_git_log(
        self, limit: int = 50, *, before: str | None = None, skill_id: str | None = None, branch: str = MAIN
    ) -> list[Commit]:
        """Return commits, newest first; of one skill in both of its forms when `skill_id` is given."""
        paths = None if skill_id is None else (folder_path(skill_id), flat_path(skill_id))
        return self.store.log(limit=limit, before=before, path=paths, branch=branch)

    def branches(self) -> dict[str, str]:
        """Return every branch with its commit."""
        return self.store.branches()

    def create_branch(self, name: str, at: str | None = None) -> str:
        """Make a branch at a commit or another branch (`main`), and return its commit."""
        return self.store.create_branch(name, at)

    def delete_branch(self, name: str) -> None:
        """Remove a branch."""
        self.store.delete_branch(name)

    def merge_branch(
        self, branch: str, message: str, author: Author, *, trailers: Mapping[str, str] | None = None
    ) -> Commit:
        """Merge a branch into `main`, skill by skill.

        Raises:
            Forbidden: `volume.readonly`.
            NotFound: `branch.unknown`.
            Conflict: `proposal.conflict`, with the `paths` that both sides changed.
        """
        self._require_writable()
        with self.store.lock():
            if self._files:
                self._files.adopt()
            return merge_branch(self.store, branch, compose(message, trailers=trailers), author)

    def push_to_remote(self, url: str, branches: Collection[str] = (MAIN,)) -> None:
        """Push branches to another repository, never by force.

        Raises:
            Invalid: `remote.invalid`.
            UpstreamFailed: `remote.refused`, with what Git said.
            Forbidden: `volume.readonly`.
        """
        self._require_writable()
        push(self.store, url, branches)

    # Metadata

    def metadata(self) -> dict[str, Json]:
        """Return `metadata.json`; what is missing there, or cannot be read, comes from the defaults."""
        defaults = default_metadata(self.ref)
        try:
            found = json.loads(self.store.read(METADATA))
        except (NotFound, ValueError):
            return defaults
        return defaults | found if isinstance(found, dict) else defaults

    def set_metadata(self, changes: Mapping[str, Json], author: Author | None = None) -> Commit:
        """Change keys of `metadata.json`.

        Raises:
            Forbidden: `volume.readonly`.
        """
        self._require_writable()
        with self.store.lock():
            data = dump_metadata(self.metadata() | dict(changes))
            return self.store.commit({METADATA: data}, "Update metadata", author or PLATFORM)

    @property
    def review_required(self) -> bool:
        """Tell whether a promotion to this volume needs a review."""
        policy = self.metadata().get("policy")
        review = policy.get("review") if isinstance(policy, dict) else None
        return review == "required" if review in {"none", "required"} else self.ref.kind is VolumeKind.SYSTEM

    def stats(self) -> dict[str, int | str]:
        """Return `volume`, `skills`, `commits`, `bytes` and `head` (the commit of `main`)."""
        store = self.store
        return {
            "volume": str(self.ref),
            "skills": len(self.list_skills()),
            "commits": store.count(),
            "bytes": store.size(),
            "head": store.head() or "",
        }

    # Below

    def _require_writable(self) -> None:
        if not self.writable:
            refuse(self.ref)

    def _known(self, skill_id: str, *, at: str | None = None) -> SkillEntry:
        found = self.skill_entry(skill_id, at=at)
        if found is None:
            raise NotFound("skill.unknown", f"There is no skill {skill_id} in the volume {self.ref}.")
        return found

    def _require_free(self, skill_id: str) -> None:
        """Raise when a skill, or what somebody meant for one, has an id: some disks do not tell `A` from `a`."""
        self._expect(skill_id, "", None)
        names = [entry.path[len(FOLDER) + 1 :] for entry in self.store.tree(FOLDER)]
        alike = next((name for name in names if name.casefold().removesuffix(".md") == skill_id), None)
        if alike is not None:
            raise Conflict(
                "skill.exists",
                f"{shown(alike)!r} in the volume {self.ref} is the same name on disks that do not tell A from a.",
                hint="Choose another name, or remove that one.",
            )

    def _prepare(self, skill_id: str, branch: str) -> str | None:
        """Adopt edits by hand of a skill that is to be changed; return where to look for it."""
        if branch == MAIN:
            if self._files:
                self._files.adopt(paths=(folder_path(skill_id), flat_path(skill_id)))
            return None
        return branch if self.store.head(branch) else self.store.create_branch(branch)

    def _expect(self, skill_id: str, expect: str | None, at: str | None) -> bool:
        found = self.skill_entry(skill_id, at=at)
        if expect is not None and expect != (found.version if found else ""):
            if not expect:
                raise Conflict(
                    "skill.exists",
                    f"There is a skill {skill_id} in the volume {self.ref} already.",
                    hint="Choose another id, or change the one that is there.",
                )
            raise Conflict(
                "skill.changed",
                f"The skill {skill_id} has changed since you read it.",
                hint="Read it again, then repeat your change.",
                version=found.version if found else "",
            )
        return found is not None

    def _read_version(self, version: str) -> bytes:
        try:
            return self.store.blob(version)
        except NotFound:
            return self.store.read("SKILL.md", at=version)

    def _is_blob(self, version: str) -> bool:
        try:
            self.store.blob(version)
        except NotFound:
            return False
        return True

    def _files_below(self, folder: str, at: str | None) -> list[Entry]:
        found: list[Entry] = []
        for entry in self.store.tree(folder, at=at):
            found += self._files_below(entry.path, at) if entry.is_tree else [entry]
        return found


def _encode(content: str) -> bytes:
    try:
        return content.encode()
    except UnicodeEncodeError:
        raise Invalid("skill.invalid_text", "The skill holds characters that no text has (lone surrogates).") from None
