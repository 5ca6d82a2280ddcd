"""The history of a skill as stock git tells it, and what may be read, compared and brought back of it."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import pytest
from conftest import ADMIN, ALICE, BOB, DATA, SRE, skill_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills import compare as compare_module
from llmos_lite.core.skills.blame import blame
from llmos_lite.core.skills.draft import SkillChange, SkillDraft
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.history import SkillHistory
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.git import Author, File, LocalGitStore
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound, TooLarge
from llmos_lite.volumes.access import PLATFORM, SYSTEM
from llmos_lite.volumes.following import Place, history
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

WRITER = Author("alice", "alice@localhost")


class NoSecrets:
    """Finds one word."""

    def scan(self, skill: Skill) -> list[Finding]:
        return [Finding("word", Severity.HIGH, "It says hush.")] if "hush" in skill.body else []


@pytest.fixture
def versions(service: SkillService) -> SkillHistory:
    return SkillHistory(service, {"words": NoSecrets()})


def text(name: str, *lines: str) -> str:
    return skill_text(name, "Brews tea", "\n".join(["# Steps", *lines, ""]))


def write(volume: GitVolume, skill_id: str, *lines: str, **files: bytes | None) -> str:
    named = {f"{name}.txt": data for name, data in files.items()}
    volume.write_skill(skill_id, text(skill_id, *lines), author=WRITER, files=named)
    found = volume.skill_entry(skill_id)
    assert found is not None
    return found.version


def move(volume: GitVolume, old: str, new: str, *, content: str | None = None) -> None:
    """Move a folder as a person does with `git mv`."""
    entry = volume.store.entry(f"skills/{old}")
    assert entry is not None
    volume.store.commit(
        {f"skills/{old}": None, f"skills/{new}": entry._replace(path=f"skills/{new}")}, f"Move {old}", WRITER
    )
    if content is not None:
        volume.store.commit({f"skills/{new}/SKILL.md": content.encode()}, f"Name {new}", WRITER)


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "core.quotePath=false", "-C", str(folder), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def test_the_history_goes_on_beyond_renames(versions: SkillHistory, own: GitVolume) -> None:
    own.store.commit({"skills/tea.md": text("tea", "Boil.").encode()}, "Flat", WRITER)
    second = write(own, "tea", "Boil.", "Pour.", note=b"1")
    own.store.commit({"skills/tea": None, "skills/cups": own.store.entry("skills/tea")}, "Move", WRITER)
    renamed = text("mugs", "Boil.", "Pour.").encode()
    own.store.commit({"skills/cups": None, "skills/mugs/SKILL.md": renamed}, "Rename and edit", WRITER)
    own.delete_skill("mugs")
    page = await versions.log(ALICE, "mugs")
    assert page.volume == "user:alice"
    found = [(one.kind, one.skill_id, one.renamed_from, one.path) for one in page.items]
    assert found == [
        ("deleted", "mugs", "", ""),
        ("renamed", "mugs", "cups", "skills/mugs/SKILL.md"),
        ("renamed", "cups", "tea", "skills/cups/SKILL.md"),
        ("updated", "tea", "", "skills/tea/SKILL.md"),
        ("created", "tea", "", "skills/tea.md"),
    ]
    assert page.items[3].version == page.items[2].version == second
    assert (page.total, page.next_cursor) == (5, None)
    assert all(one.commit.signed for one in page.items)
    assert [one.kind for one in (await versions.log(ALICE, "tea")).items] == ["deleted", "updated", "created"]


async def test_it_comes_in_pages_that_stay_when_something_new_comes(versions: SkillHistory, own: GitVolume) -> None:
    for turn in range(4):
        write(own, "tea", "Boil.", "Pour.", f"Wait {turn}.")
    move(own, "tea", "cup", content=text("cup", "Boil.", "Pour.", "Wait 3."))
    for turn in range(3):
        write(own, "cup", "Boil.", f"Pour {turn}.")
    whole = (await versions.log(ALICE, "cup")).items
    assert len(whole) == 9
    found, cursor = [], ""
    while True:
        page = await versions.log(ALICE, "cup", limit=2, cursor=cursor)
        found += page.items
        assert page.total == 9 + (len(found) - 1) // 2
        write(own, "cup", f"Something new {len(found)}.")
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert [one.commit.oid for one in found] == [one.commit.oid for one in whole]


async def test_a_long_history_is_not_counted(
    versions: SkillHistory, own: GitVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own, "tea", "Boil.")
    write(own, "tea", "Pour.")
    monkeypatch.setattr("llmos_lite.core.skills.history.COUNTED", 1)
    assert (await versions.log(ALICE, "tea", limit=1)).total is None
    assert (await versions.log(ALICE, "tea")).total == 2


@pytest.mark.parametrize("cursor", ["x", "WyJ0ZWEiLCJtYWluIiwiIl0", "WyIuLi94IiwiMCIsIiJd", "e30", "é", "a" * 600])
async def test_a_cursor_of_somebody_else_is_refused(versions: SkillHistory, own: GitVolume, cursor: str) -> None:
    write(own, "tea", "Boil.")
    with pytest.raises(Invalid):
        await versions.log(ALICE, "tea", cursor=cursor)


async def test_a_diff_names_every_file(versions: SkillHistory, own: GitVolume) -> None:
    first = write(own, "tea", "Boil.", "Pour.", gone=b"1\n", data=b"\0\1", same=b"=")
    own.write_skill(
        "tea",
        text("tea", "Boil.", "Wait."),
        author=WRITER,
        files={"gone.txt": None, "new.txt": b"2\n", "data.txt": b"\0\2", "same.txt": File(b"=", executable=True)},
    )
    found = await versions.diff(ALICE, "tea")
    shown = {
        one.path: (one.status, one.binary, one.old_size, one.new_size, one.added, one.removed) for one in found.files
    }
    size = len(text("tea", "Boil.", "Pour."))
    assert shown == {
        "SKILL.md": ("changed", False, size, size, 1, 1),
        "data.txt": ("changed", True, 2, 2, 0, 0),
        "gone.txt": ("removed", False, 2, None, 0, 1),
        "new.txt": ("added", False, None, 2, 1, 0),
        "same.txt": ("changed", False, 1, 1, 0, 0),
    }
    assert found.files[-1].executable == (False, True)
    assert "-Pour.\n+Wait.\n" in found.text
    assert not found.truncated
    back = await versions.diff(ALICE, "tea", old=found.new.version[:9], new=first)
    assert {one.path: one.status for one in back.files}["gone.txt"] == "added"
    commits = (await versions.log(ALICE, "tea")).items
    by_commit = await versions.diff(ALICE, "tea", old=commits[1].commit.oid, new=commits[0].commit.oid)
    assert by_commit.text == found.text
    beginning = await versions.diff(ALICE, "tea", new=first)
    assert {one.status for one in beginning.files} == {"added"}
    assert beginning.old.version == ""


async def test_a_diff_with_another_volume(versions: SkillHistory, own: GitVolume, team: GitVolume) -> None:
    write(own, "tea", "Boil.")
    write(team, "tea", "Boil.", "Pour.")
    found = await versions.diff(ALICE, "tea", volume=SRE, old_volume=ALICE.volume)
    assert (found.old.volume, found.new.volume) == ("user:alice", "team:sre")
    assert "+Pour." in found.text
    write(own, "cup", "Hold.")
    found = await versions.diff(ALICE, "cup", volume=ALICE.volume, old_volume=SRE)
    assert [one.status for one in found.files] == ["added"], "the team has none"
    with pytest.raises(NotFound) as raised:
        await versions.diff(ALICE, "never", volume=ALICE.volume, old_volume=SRE)
    assert raised.value.code == "skill.unknown"


async def test_a_large_diff_says_what_it_left_out(
    versions: SkillHistory, own: GitVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own, "tea", "Boil.", big=b"a\n" * 3000, small=b"a\n")
    write(own, "tea", "Pour.", big=b"b\n" * 3000, small=b"b\n")
    monkeypatch.setattr(compare_module, "LARGEST", 1000)
    found = await versions.diff(ALICE, "tea")
    assert [(one.path, one.truncated, bool(one.diff)) for one in found.files] == [
        ("SKILL.md", False, True),
        ("big.txt", True, False),
        ("small.txt", False, True),
    ]
    assert found.truncated
    monkeypatch.setattr(compare_module._Budget.__init__, "__defaults__", (1 << 20, 10))
    assert [one.diff for one in (await versions.diff(ALICE, "tea")).files] == ["", "", ""]
    monkeypatch.setattr(compare_module, "MOST_FILES", 1)
    found = await versions.diff(ALICE, "tea")
    assert (len(found.files), found.truncated) == (1, True)


async def test_a_version_comes_back_as_a_new_commit(versions: SkillHistory, own: GitVolume) -> None:
    first = write(own, "tea", "Boil.", note=b"1")
    second = write(own, "tea", "Pour.", note=b"2")
    before = own.store.count()
    done = await versions.restore(ALICE, "tea", first[:12], expect=second)
    assert (done.status, done.view.skill.version, done.view.files) == ("restored", first, ("note.txt",))
    commit = own.get_git_log(1)[0]
    assert (commit.oid, commit.author) == (done.commit, "alice")
    assert commit.subject == f"Restore skill: tea to {first[:10]}"
    assert commit.trailers == {"Skill-Op": "restore", "Restored-Version": first}
    assert own.store.count() == before + 1
    again = await versions.restore(ALICE, "tea", first)
    assert (again.status, again.commit, own.store.count()) == ("unchanged", "", before + 1)
    with pytest.raises(Conflict):
        await versions.restore(ALICE, "tea", second, expect=second)
    own.delete_skill("tea")
    done = await versions.restore(ALICE, "tea", second, expect="")
    assert own.skill_entry("tea") is not None
    assert done.view.skill.version == second


async def test_what_a_skill_was_before_its_rename_comes_back_under_its_name(
    versions: SkillHistory, own: GitVolume
) -> None:
    first = write(own, "tea", "Boil.", "Pour.", note=b"1")
    content = text("cup", "Boil.", "Pour.", "Hold.").encode()
    own.store.commit({"skills/tea": None, "skills/cup/SKILL.md": content}, "Rename", WRITER)
    done = await versions.restore(ALICE, "cup", first)
    assert done.view.content.startswith("---\nname: cup\n")
    assert "Hold" not in done.view.content
    assert done.view.files == ("note.txt",)
    view = await versions._skills.get(ALICE, "cup", version=first)
    assert view.content.startswith("---\nname: tea\n")


async def test_what_a_vendor_wrote_comes_back_as_it_was_but_for_its_name(
    versions: SkillHistory, own: GitVolume
) -> None:
    old = '---\nname:  "tea" # short\nargument-hint: [cup]\ndescription: Brews tea.\n---\r\n# Steps\n\nBoil.\n'
    own.store.commit({"skills/tea/SKILL.md": old.encode()}, "Made", WRITER)
    own.store.commit(
        {"skills/tea": None, "skills/cup/SKILL.md": text("cup").encode()}, "Rename\n\nRenamed-From: tea", WRITER
    )
    first = (await versions.log(ALICE, "cup")).items[-1]
    assert (first.skill_id, first.kind) == ("tea", "created")
    done = await versions.restore(ALICE, "cup", first.version)
    assert done.view.content == old.replace('"tea"', "cup")


async def test_an_unsafe_version_comes_back_to_ones_own_volume_alone(
    versions: SkillHistory, own: GitVolume, team: GitVolume
) -> None:
    for volume in (own, team):
        hushed = write(volume, "tea", "Say hush.")
        write(volume, "tea", "Boil.")
    done = await versions.restore(ALICE, "tea", hushed)
    assert [one.code for one in done.view.findings] == ["word"]
    with pytest.raises(Invalid) as raised:
        await versions.restore(BOB, "tea", hushed, volume=SRE)
    assert raised.value.code == "skill.unsafe"


async def test_what_may_not_be_written_does_not_come_back(versions: SkillHistory, own: GitVolume) -> None:
    own.store.commit({"skills/tea/SKILL.md": b"---\nname: [\n---\n"}, "Broken", WRITER)
    broken = own.skill_entry("tea")
    own.store.commit({"skills/tea": None, "skills/tea/x": b"1"}, "No skill", WRITER)
    empty = own.skill_entry("tea")
    write(own, "tea", "Boil.")
    assert broken is not None
    assert empty is not None
    before = own.store.count()
    for version, code in (
        (broken.version, "skill.unreadable"),
        (empty.version, "skill.unreadable"),
    ):
        with pytest.raises(Invalid) as raised:
            await versions.restore(ALICE, "tea", version)
        assert raised.value.code == code
    assert own.store.count() == before


async def test_an_edit_by_hand_is_adopted_before_a_version_comes_back(versions: SkillHistory, own: GitVolume) -> None:
    first = write(own, "tea", "Boil.")
    write(own, "tea", "Pour.")
    path = own.store.path / "skills/tea/SKILL.md"  # type: ignore[attr-defined]  # a folder here
    path.write_text(text("tea", "By hand."))
    await versions.restore(ALICE, "tea", first)
    assert "By hand." in own.read_skill("tea", version=(await versions.log(ALICE, "tea")).items[1].version)
    assert path.read_text() == text("tea", "Boil.")


HOSTILE = ["main", "HEAD", "../x", "0" * 40, "g" * 40, "", "abc", "-n1", "0" * 64, "é" * 40, "a" * 39 + "\n"]


async def test_versions_that_are_none_are_missing(
    versions: SkillHistory, service: SkillService, own: GitVolume, team: GitVolume
) -> None:
    """Also the versions of others: what a proposal, another skill or another volume holds."""
    version = write(own, "tea", "Boil.")
    write(own, "tea", "Pour.")
    foreign = write(team, "tea", "Secret of the team.")
    other = write(own, "cup", "Hold.")
    proposed = own.write_skill("tea", text("tea", "Proposed."), author=WRITER, branch="pr/bob/tea")
    entry = own.skill_entry("tea", at="pr/bob/tea")
    tree = own.store.entry("skills")
    assert entry is not None
    assert tree is not None
    inner = own.store.entry("skills/tea/SKILL.md")
    assert inner is not None
    for named in [*HOSTILE, foreign, other, proposed.oid, entry.version, tree.oid, inner.oid]:
        for asked in (
            service.get(ALICE, "tea", version=named),
            versions.file(ALICE, "tea", "SKILL.md", version=named or "x"),
            versions.restore(ALICE, "tea", named),
            versions.diff(ALICE, "tea", old=named or "x"),
            versions.diff(ALICE, "tea", new=named or "x"),
            versions.blame(ALICE, "tea", version=named or "x"),
        ):
            with pytest.raises(NotFound) as raised:
                await asked
            assert raised.value.code == "skill.unknown_version"
    commit = own.get_git_log(1)[0].oid
    assert (await service.get(ALICE, "tea", version=commit)).skill.version == own.skill_entry("tea").version  # type: ignore[union-attr]
    assert (await service.get(ALICE, "tea", version=version)).skill.version == version


async def test_who_may_not_look_sees_nothing(
    versions: SkillHistory, own: GitVolume, team: GitVolume, volumes: VolumeManager
) -> None:
    version = write(own, "tea", "Boil.")
    write(team, "cup", "Hold.")
    write(volumes.open(PLATFORM, DATA, write=True), "data", "Count.")
    for actor, volume, skill in ((BOB, ALICE.volume, "tea"), (ALICE, DATA, "data"), (ALICE, BOB.volume, "tea")):
        for asked in (
            versions.log(actor, skill, volume=volume),
            versions.diff(actor, skill, volume=volume),
            versions.diff(actor, skill, volume=actor.volume, old_volume=volume),
            versions.blame(actor, skill, volume=volume),
            versions.file(actor, skill, "SKILL.md", volume=volume, version=version),
            versions.restore(actor, skill, version, volume=volume),
        ):
            with pytest.raises(LlmosError) as raised:
                await asked
            assert raised.value.code in {"volume.unknown", "skill.unknown", "volume.readonly"}
    first = (await versions.log(ALICE, "cup", volume=SRE)).items[0].version
    write(team, "cup", "Hold tight.")
    with pytest.raises(Forbidden):
        await versions.restore(ALICE, "cup", first, volume=SRE)
    assert (await versions.restore(BOB, "cup", first, volume=SRE)).status == "restored"
    assert (await versions.log(ADMIN, "tea", volume=ALICE.volume)).items
    mute = Actor("alice", scopes=frozenset())
    with pytest.raises(Forbidden):
        await versions.log(mute, "tea")
    with pytest.raises(Invalid):
        await versions.log(ALICE, "../tea")


async def test_files_of_a_version_are_read(versions: SkillHistory, own: GitVolume) -> None:
    first = write(own, "tea", "Boil.", note=b"one", data=b"\0")
    write(own, "tea", "Boil.", note=b"two")
    assert (await versions.file(ALICE, "tea", "note.txt")).data == b"two"
    old = await versions.file(ALICE, "tea", "note.txt", version=first)
    assert (old.data, old.version, old.binary, old.executable) == (b"one", first, False, False)
    assert (await versions.file(ALICE, "tea", "data.txt")).binary
    view = await versions._skills.get(ALICE, "tea", version=first)
    assert view.files == ("data.txt", "note.txt")
    for path in ("none.txt", "folder/x"):
        with pytest.raises(NotFound) as raised:
            await versions.file(ALICE, "tea", path)
        assert raised.value.code == "file.unknown"
    for path in ("../tea.md", "/etc/passwd", "a\0b", ""):
        with pytest.raises(Invalid):
            await versions.file(ALICE, "tea", path)


async def test_a_file_that_is_too_large_is_not_shown(
    versions: SkillHistory, own: GitVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own, "tea", "Boil.", note=b"a\n" * 50)
    monkeypatch.setattr("llmos_lite.core.skills.history.LARGEST_FILE", 50)
    with pytest.raises(TooLarge):
        await versions.file(ALICE, "tea", "note.txt")
    monkeypatch.setattr("llmos_lite.core.skills.blame.LARGEST", 50)
    with pytest.raises(TooLarge):
        await versions.blame(ALICE, "tea", path="note.txt")


async def test_blame_names_the_commit_of_each_line(versions: SkillHistory, service: SkillService) -> None:
    await service.create(ALICE, SkillDraft(skill_id="tea", content="# Tea\n\nBoil.\n", description="Brews tea"))
    await service.update(ALICE, "tea", SkillChange(content="# Tea\n\nBoil.\nPour.\n"))
    version, found = await versions.blame(ALICE, "tea")
    assert found.complete
    subjects = {line.text: line.change.commit.subject for line in found.lines if line.change}
    assert (subjects["Boil."], subjects["Pour."]) == ("Create skill: Tea", "Update skill: Tea")
    old, before = await versions.blame(ALICE, "tea", version=(await versions.log(ALICE, "tea")).items[1].version)
    assert "Pour." not in [line.text for line in before.lines]
    assert old.version != version.version
    with pytest.raises(NotFound):
        await versions.blame(ALICE, "tea", path="x")
    with pytest.raises(NotFound):
        await versions.blame(ALICE, "never", volume=ALICE.volume)


def test_blame_follows_a_file_that_was_moved_and_says_when_it_gives_up(own: GitVolume) -> None:
    write(own, "tea", "Boil.", note=b"one\ntwo\nthree\n")
    own.write_skill("tea", text("tea", "Boil."), files={"note.txt": None, "more.txt": b"one\ntwo\nthree\nfour\n"})
    place = Place("tea", own.store.head() or "")
    found = blame(own.store, place, "more.txt")
    assert [line.change.commit.subject for line in found.lines if line.change] == [
        *["Create skill: tea"] * 3,
        "Update skill: tea",
    ]
    ticks = iter([0.0, *[100.0] * 9])
    hurried = blame(own.store, place, "more.txt", clock=lambda: next(ticks))
    assert not hurried.complete
    assert [line.change is None for line in hurried.lines] == [True, True, True, False]
    own.write_skill("tea", text("tea", "Boil."), files={"data": b"\0"})
    with pytest.raises(Invalid):
        blame(own.store, Place("tea", own.store.head() or ""), "data")


def grown(folder: Path, steps: list[tuple[str, int]], seed: int) -> LocalGitStore:
    """Make a history of a skill whose lines are all different: edits, renames, the flat form, others in between."""
    store = LocalGitStore(folder / "r", signer=Signer.open(folder / "keys"), bare=True)
    choose, number, at = random.Random(seed), 0, 1_700_000_000  # noqa: S311 - a test that can be repeated
    lines = [f"line {seed} {turn} {choose.random()}" for turn in range(12)]
    path = "skills/s0.md"
    for turn, (what, place) in enumerate([("edit", 0), *steps]):
        old = path
        if what == "insert":
            lines.insert(place % (len(lines) + 1), f"new {turn} {choose.random()}")
        elif what == "delete" and len(lines) > 6:
            del lines[place % len(lines)]
        elif what == "edit":
            lines[place % len(lines)] = f"edited {turn} {choose.random()}"
        elif what == "move":
            number += 1
            path = f"skills/s{number}/SKILL.md"
        elif what == "fold":
            path = path.replace(".md", "/SKILL.md") if not path.endswith("SKILL.md") else path
        changes: dict[str, bytes | None] = {f"skills/other/{turn}.txt": b"%d %d" % (seed, turn)}
        if what != "other":
            changes = ({old: None} if old != path else {}) | {path: ("\n".join(lines) + "\n").encode()}
        at += 60
        store.commit(changes, f"{turn}", WRITER, at=at * 1000)
        if turn == 6:
            store.upkeep(always=True)
    return store


STEPS = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "edit", "move", "fold", "other"]), st.integers(0, 20)),
    min_size=1,
    max_size=10,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_history_and_blame_are_those_of_stock_git(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], seed: int
) -> None:
    """`git log --follow` and `git blame` of the one file that the skill has."""
    store = grown(tmp_path_factory.mktemp("r"), steps, seed)
    [entry] = [one for one in store.tree("skills") if one.path != "skills/other"]
    path = f"{entry.path}/SKILL.md" if entry.is_tree else entry.path
    place = Place(re.sub(r"skills/|\.md", "", entry.path), store.head() or "")
    found = [one.commit.oid for one in history(store, place, 3)]
    assert found == git(store.gitdir, "log", "--follow", "--format=%H", "main", "--", path).split()
    told = git(store.gitdir, "blame", "--root", "-l", "-s", "main", "--", path).splitlines()
    lines = blame(store, place)
    assert lines.complete
    assert [line.change.commit.oid for line in lines.lines if line.change] == [line.split()[0] for line in told]
    for one in history(store, place):
        whole = git(store.gitdir, "show", "--format=", "-M", "--name-status", one.commit.oid)
        assert one.kind != "renamed" or "R" in whole


def test_lines_of_both_sides_of_a_merge_keep_their_commits(tmp_path: Path) -> None:
    store = LocalGitStore(tmp_path / "r", signer=Signer.open(tmp_path / "keys"), bare=True)
    lines = [f"line {turn}" for turn in range(9)]

    def commit(branch: str, *, merges: tuple[str, ...] = (), at: int) -> str:
        data = ("\n".join(lines) + "\n").encode()
        return store.commit(
            {"skills/a/SKILL.md": data}, f"{at}", WRITER, branch=branch, merges=merges, at=(1_700_000_000 + at) * 1000
        ).oid

    commit("main", at=0)
    store.create_branch("side")
    lines[1] = "side"
    side = commit("side", at=1)
    lines[1], lines[7] = "line 1", "main"
    commit("main", at=2)
    lines[1], lines[4] = "side", "merge"
    commit("main", merges=(side,), at=3)
    told = git(store.gitdir, "blame", "--root", "-l", "-s", "main", "--", "skills/a/SKILL.md").splitlines()
    found = blame(store, Place("a", store.head() or ""))
    assert [line.change.commit.oid for line in found.lines if line.change] == [line.split()[0] for line in told]
    assert len({line.split()[0] for line in told}) == 4
    assert len(list(history(store, Place("a", store.head() or "")))) == 4


def test_a_system_volume_has_a_history_too(volumes: VolumeManager, system: GitVolume) -> None:
    write(system, "tea", "Boil.")
    handle = volumes.open(ALICE.principal, SYSTEM)
    assert [one.kind for one in history(handle.store, Place("tea", handle.store.head() or ""))] == ["created"]
