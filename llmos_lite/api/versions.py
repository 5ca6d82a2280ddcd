"""Versions of a skill: its history, what differs between two, who wrote which line, an old one back, and another id."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field

from llmos_lite.api.deps import Body, Cursor, Has, Limit, Paragraph, SkillReader, SkillWriter
from llmos_lite.api.openapi import answers
from llmos_lite.api.skills import SKILL, SkillOut, shown
from llmos_lite.api.volumes import CommitOut, Volume
from llmos_lite.core.skills.blame import Blame
from llmos_lite.core.skills.compare import FileDiff, SkillDiff
from llmos_lite.core.skills.history import HistoryPage, Restored, SkillFile
from llmos_lite.core.skills.versions import Version
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.following import Change
from llmos_lite.volumes.skill_paths import FILE

router = APIRouter(route_class=Paragraph, tags=["skills"])

_NEW, _OLD = "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c", "9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b"
_COMMIT = "5f0c3c8f1f6a2e0d3b7a9c4e8d1b2a3f4c5d6e7f"
_CHANGE = {
    "commit": _COMMIT,
    "parents": ["1b2a3f4c5d6e7f5f0c3c8f1f6a2e0d3b7a9c4e8d"],
    "author": "alice",
    "committer": "llmos-lite",
    "time": 1764720000000,
    "subject": "Update skill: My Skill",
    "body": "",
    "trailers": {},
    "signed": True,
    "change": "updated",
    "skill_id": "my-skill",
    "version": _NEW,
    "path": "skills/my-skill/SKILL.md",
    "renamed_from": None,
}
_DIFF_TEXT = (
    "diff --git a/skills/my-skill/SKILL.md b/skills/my-skill/SKILL.md\nindex de98044..98d5083 100644\n--- "
    "a/skills/my-skill/SKILL.md\n+++ b/skills/my-skill/SKILL.md\n@@ -8 +8 @@\n-1. Guess.\n+1. Run EXPLAIN ANALYZE.\n"
)
_SIDE = {"volume": "user:alice", "skill_id": "my-skill", "version": _NEW}
_DIFF = {
    "old": _SIDE | {"version": _OLD},
    "new": _SIDE,
    "files": [
        {
            "path": "SKILL.md",
            "status": "changed",
            "binary": False,
            "old_size": 120,
            "new_size": 132,
            "old_executable": False,
            "new_executable": False,
            "added": 1,
            "removed": 1,
            "diff": _DIFF_TEXT,
            "truncated": False,
        }
    ],
    "diff": _DIFF_TEXT,
    "truncated": False,
}
_BLAME = _SIDE | {
    "path": "SKILL.md",
    "complete": True,
    "lines": [
        {
            "line": 8,
            "text": "1. Run EXPLAIN ANALYZE.",
            "commit": _COMMIT,
            "author": "alice",
            "time": 1764720000000,
            "subject": "Update skill: My Skill",
            "version": _NEW,
        }
    ],
}
_FILE = _SIDE | {
    "path": "scripts/explain.sql",
    "size": 18,
    "executable": False,
    "binary": False,
    "content": "EXPLAIN ANALYZE :q",
}
_RESTORED = _SIDE | {"status": "restored", "version": _OLD, "commit": _COMMIT}

Id = Annotated[str, PathParameter(description="Id of the skill: lower-case letters, digits and single hyphens.")]
Named = "Git id of a version of the skill or of a commit; seven digits will do."
Path = Annotated[str, Query(max_length=4096, description="Path of a file in the skill's folder.")]


class ChangeOut(CommitOut):
    """A commit, and what it did to the skill: `version` and `path` are as it was then, null when it was deleted."""

    change: Literal["created", "updated", "renamed", "deleted"]
    skill_id: str
    version: str | None
    path: str | None
    renamed_from: str | None

    @classmethod
    def made(cls, change: Change) -> ChangeOut:
        """Show a change."""
        return cls(
            **CommitOut.of(change.commit).model_dump(),
            change=change.kind,
            skill_id=change.skill_id,
            version=change.version or None,
            path=change.path or None,
            renamed_from=change.renamed_from or None,
        )


class HistoryOut(BaseModel):
    """A page of a history; `total` is null where only a walk through a long history would tell."""

    items: list[ChangeOut]
    next_cursor: str | None
    total: int | None

    @classmethod
    def of(cls, page: HistoryPage) -> HistoryOut:
        """Show a page."""
        return cls(items=[ChangeOut.made(one) for one in page.items], next_cursor=page.next_cursor, total=page.total)


class VersionOut(BaseModel):
    """A version of a skill; `version` is null where there is none, as before the first."""

    volume: str
    skill_id: str
    version: str | None

    @classmethod
    def named(cls, version: Version) -> VersionOut:
        """Show a version."""
        return cls(volume=version.volume, skill_id=version.skill_id, version=version.version or None)


class FileDiffOut(BaseModel):
    """What became of a file; sizes are in bytes, null where it is not there. `truncated`: too large, so left out."""

    path: str
    status: Literal["added", "removed", "changed"]
    binary: bool
    old_size: int | None
    new_size: int | None
    old_executable: bool | None
    new_executable: bool | None
    added: int
    removed: int
    diff: str
    truncated: bool

    @classmethod
    def of(cls, file: FileDiff) -> FileDiffOut:
        """Show a file."""
        old, new = file.executable
        shown = {name: getattr(file, name) for name in cls.model_fields if not name.endswith("_executable")}
        return cls(**shown, old_executable=old, new_executable=new)


class DiffOut(BaseModel):
    """What differs between two versions: file by file, and as one unified diff."""

    old: VersionOut
    new: VersionOut
    files: list[FileDiffOut]
    diff: str
    truncated: bool

    @classmethod
    def of(cls, found: SkillDiff) -> DiffOut:
        """Show a diff."""
        return cls(
            old=VersionOut.named(found.old),
            new=VersionOut.named(found.new),
            files=[FileDiffOut.of(file) for file in found.files],
            diff=found.text,
            truncated=found.truncated,
        )


class LineOut(BaseModel):
    """A line, from 1, and who wrote it; null where the search was given up. `time` is in ms since the epoch."""

    line: int
    text: str
    commit: str | None = None
    author: str | None = None
    time: int | None = None
    subject: str | None = None
    version: str | None = None


class BlameOut(VersionOut):
    """A file, line by line; not `complete` when the search for the commits took too long."""

    path: str
    complete: bool
    lines: list[LineOut]

    @classmethod
    def of(cls, version: Version, path: str, found: Blame) -> BlameOut:
        """Show who wrote a file."""
        lines = [_line(number, line.text, line.change) for number, line in enumerate(found.lines, 1)]
        return cls(**VersionOut.named(version).model_dump(), path=path, complete=found.complete, lines=lines)


def _line(number: int, text: str, change: Change | None) -> LineOut:
    if change is None:
        return LineOut(line=number, text=text)
    commit = change.commit
    return LineOut(
        line=number,
        text=text,
        commit=commit.oid,
        author=commit.author,
        time=commit.time,
        subject=commit.subject,
        version=change.version,
    )


class FileOut(VersionOut):
    """A file of a version; the content of one that is `binary` is in base64."""

    path: str
    size: int
    executable: bool
    binary: bool
    content: str

    @classmethod
    def of(cls, file: SkillFile) -> FileOut:
        """Show a file."""
        data = base64.b64encode(file.data).decode() if file.binary else file.data.decode("utf-8", "replace")
        return cls(
            volume=file.volume,
            skill_id=file.skill_id,
            version=file.version,
            path=file.path,
            size=len(file.data),
            executable=file.executable,
            binary=file.binary,
            content=data,
        )


class Restore(Body):
    """Which version comes back."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"version": _OLD}]}}
    version: str = Field(max_length=64, description=Named)
    volume: str | None = Field(None, description="`system`, `team:ID` or `user:ID`; the one that you see otherwise.")
    expect: str | None = Field(None, description="The version that you saw, empty for none; a change is a conflict.")


class Rename(Body):
    """Another id for a skill."""

    model_config = Body.model_config | {"json_schema_extra": {"examples": [{"new_id": "postgres-queries"}]}}
    new_id: str = Field(max_length=64, description="Its id from now on; nothing has it yet, in whatever case.")
    volume: str | None = Field(None, description="`system`, `team:ID` or `user:ID`; the one that you see otherwise.")
    expect: str | None = Field(None, description="The version that you saw; a change meanwhile is then a conflict.")


class RestoredOut(VersionOut):
    """What came of it: `version` is what stands now; `unchanged` has no commit."""

    status: Literal["restored", "unchanged"]
    commit: str | None

    @classmethod
    def of(cls, done: Restored) -> RestoredOut:
        """Show it."""
        skill = done.view.skill
        return cls(
            volume=skill.volume,
            skill_id=skill.skill_id,
            version=skill.version,
            status=done.status,
            commit=done.commit or None,
        )


@router.get("/skills/{skill_id}/history", responses=answers({"items": [_CHANGE], "next_cursor": None, "total": 1}, 404))
async def skill_history(
    actor: SkillReader, services: Has, skill_id: Id, *, volume: Volume = "", limit: Limit = 50, cursor: Cursor = ""
) -> HistoryOut:
    """List what was done to a skill, newest first, beyond its renames.

    Also of a skill that was deleted: in your own volume, or in the one that is named.
    """
    return HistoryOut.of(await services.versions.log(actor, skill_id, volume=_ref(volume), limit=limit, cursor=cursor))


@router.get("/skills/{skill_id}/diff", responses=answers(_DIFF, 404))
async def skill_diff(
    actor: SkillReader,
    services: Has,
    skill_id: Id,
    *,
    volume: Volume = "",
    old: Annotated[
        str, Query(alias="from", max_length=64, description=f"{Named} The one before `to` when empty.")
    ] = "",
    new: Annotated[str, Query(alias="to", max_length=64, description=f"{Named} What stands now when empty.")] = "",
    from_volume: Annotated[str, Query(max_length=80, description="Volume of `from`, when it is another.")] = "",
) -> DiffOut:
    """Compare two versions of a skill, or its copies in two volumes.

    `GET /skills/x/diff?volume=user:alice&from_volume=team:sre` shows what alice's copy changes of the team's.
    """
    found = await services.versions.diff(
        actor, skill_id, volume=_ref(volume), old=old, new=new, old_volume=_ref(from_volume)
    )
    return DiffOut.of(found)


@router.get("/skills/{skill_id}/blame", responses=answers(_BLAME, 404, 413))
async def skill_blame(
    actor: SkillReader,
    services: Has,
    skill_id: Id,
    *,
    volume: Volume = "",
    version: Annotated[str, Query(max_length=64, description=Named)] = "",
    path: Path = FILE,
) -> BlameOut:
    """Say who wrote each line of a skill's file, and when, beyond its renames."""
    at, found = await services.versions.blame(actor, skill_id, volume=_ref(volume), version=version, path=path)
    return BlameOut.of(at, path, found)


@router.get("/skills/{skill_id}/file", responses=answers(_FILE, 404, 413))
async def skill_file(
    actor: SkillReader,
    services: Has,
    skill_id: Id,
    path: Path,
    *,
    volume: Volume = "",
    version: Annotated[str, Query(max_length=64, description=Named)] = "",
) -> FileOut:
    """Show a file of a skill, as it stands or of a version."""
    return FileOut.of(await services.versions.file(actor, skill_id, path, volume=_ref(volume), version=version))


@router.post("/skills/{skill_id}/restore", responses=answers(_RESTORED, 404, 409))
async def restore_skill(actor: SkillWriter, services: Has, skill_id: Id, body: Restore) -> RestoredOut:
    """Bring a version of a skill back, as a new commit; also of one that was deleted."""
    ref = _ref(body.volume or "")
    done = await services.versions.restore(actor, skill_id, body.version, volume=ref, expect=body.expect)
    return RestoredOut.of(done)


@router.post("/skills/{skill_id}/rename", responses=answers(SKILL | {"skill_id": "postgres-queries"}, 404, 409))
async def rename_skill(actor: SkillWriter, services: Has, skill_id: Id, body: Rename) -> SkillOut:
    """Give a skill another id: its folder moves as it is, and of its text only the `name` changes.

    One commit; the history goes on beyond it, and the entry of an imported skill in the lock file follows. For what is
    bound to the folder's Git id it is a new version: sign-offs and evidence.
    """
    ref = _ref(body.volume or "")
    made = await services.renames.rename(actor, skill_id, body.new_id, volume=ref, expect=body.expect)
    return await shown(services, made)


def _ref(volume: str) -> VolumeRef | None:
    return VolumeRef.parse(volume) if volume else None
