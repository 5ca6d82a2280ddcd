"""Where the skills of a volume came from, as its history tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from llmos_lite.engines.git import LOCAL_FILES, PLATFORM, Commit
from llmos_lite.records.catalog_skills import SkillRecord
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.skill_paths import FOLDER, RENAMED_FROM

COMMITS = 500
"""Commits that are read at a time."""

Listing = Mapping[str, str]
"""Version of each skill, by its id."""


def skill_records(volume: GitVolume) -> list[SkillRecord]:
    """Return a row for each skill that a volume holds, from one walk through its history."""
    current = {entry.skill_id: entry.version for entry in volume.list_skills()}
    commits: dict[str, list[Commit]] = {skill_id: [] for skill_id in current}
    unmade = {skill_id: skill_id for skill_id in current}  # and its id in the commits that are read now
    for commit, now, before in _steps(volume):
        for skill_id, named in [(one, name) for one, name in unmade.items() if now.get(name) != before.get(name)]:
            commits[skill_id].append(commit)
            if named not in before:  # what was before it was deleted is another skill's history
                del unmade[skill_id]
                source = commit.trailers.get(RENAMED_FROM, "")
                if source in before and source not in now:
                    unmade[skill_id] = source
        if not unmade:
            break
    return [_record(volume, skill_id, version, commits[skill_id]) for skill_id, version in sorted(current.items())]


def origin_of(commit: Commit) -> str:
    """Return where a skill came from, by the commit that made it: `person`, `evolution`, `import` or `system`."""
    operation = commit.trailers.get("Skill-Op", "")
    if operation.startswith("import"):
        return "import"
    if "Generator" in commit.trailers or "Pattern-Id" in commit.trailers or commit.subject.startswith("Evolution:"):
        return "evolution"
    return "system" if commit.author in {PLATFORM.name, LOCAL_FILES.name} else "person"


def _record(volume: GitVolume, skill_id: str, version: str, commits: Sequence[Commit]) -> SkillRecord:
    """Return the row of a skill from its commits, newest first; none are known of one that Git just got."""
    if not commits:
        commits = volume.store.log(limit=1)
    pattern = next((commit.trailers["Pattern-Id"] for commit in commits if "Pattern-Id" in commit.trailers), "")
    return SkillRecord(
        volume=str(volume.ref),
        skill_id=skill_id,
        version=version,
        origin=origin_of(commits[-1]),
        author=commits[0].author,
        pattern_id=pattern[:64],
        created=commits[-1].time,
        updated=commits[0].time,
    )


def _steps(volume: GitVolume) -> Iterator[tuple[Commit, Listing, Listing]]:
    """Yield each commit of main that touched skills, newest first, with the skills after and before it."""
    listings: dict[str, Listing] = {"": {}}
    for commit in _history(volume):
        now, before = (_folder(volume, at) for at in (commit.oid, commit.parents[0] if commit.parents else ""))
        if now != before:
            yield (
                commit,
                _listing(volume, listings, commit.oid, now),
                _listing(volume, listings, commit.parents[0] if commit.parents else "", before),
            )


def _history(volume: GitVolume) -> Iterator[Commit]:
    before: str | None = None
    while commits := volume.store.log(limit=COMMITS, before=before):
        yield from commits
        before = commits[-1].oid


def _folder(volume: GitVolume, at: str) -> str:
    """Return the id of the folder of skills in a commit; empty when there is none."""
    entry = volume.store.entry(FOLDER, at=at) if at else None
    return entry.oid if entry else ""


def _listing(volume: GitVolume, known: dict[str, Listing], at: str, folder: str) -> Listing:
    if folder not in known:
        while len(known) > 2:  # noqa: PLR2004 - the state before a commit is mostly the one after its parent
            known.pop(next(key for key in known if key))
        known[folder] = {entry.skill_id: entry.version for entry in volume.list_skills(at=at)}
    return known[folder]
