"""Skills are made, changed, removed and listed by those who may, and by nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import skills_ref
from conftest import ADMIN, ALICE, BOB, DATA, SRE, People, skill_text

from llmos_lite.core.accounts.permissions import Actor, Scope
from llmos_lite.core.skills.draft import SkillChange, SkillDraft
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.skills.service import SkillService
from llmos_lite.errors import Conflict, Forbidden, Invalid, LlmosError, NotFound
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

TEA = SkillDraft(
    skill_id="tea",
    name="Tea",
    category="data",
    description="Brews tea. Use when thirsty.",
    keywords=["tea", "hot, drink"],
    content="# Tea\n\nBoil.\n",
)


async def test_a_new_skill_is_a_commit_of_its_author(
    service: SkillService, volumes: VolumeManager, own: GitVolume
) -> None:
    view = await service.create(ALICE, TEA)
    assert (view.skill.name, view.skill.category, view.skill.keywords) == ("Tea", "data", ("tea", "hot drink"))
    assert view.skill.version == own.list_skills()[0].version
    assert view.content.endswith("---\n# Tea\n\nBoil.\n")
    (commit,) = view.history
    assert (commit.subject, commit.author) == ("Create skill: Tea", "alice")
    assert skills_ref.validate(volumes.folder(own.ref) / "skills" / "tea") == []


async def test_front_matter_in_the_text_fills_the_gaps(service: SkillService) -> None:
    text = "---\nname: Green Tea\ncategory: data\ndescription: Brews green tea\nkeywords: [green]\n---\nBoil less."
    view = await service.create(ALICE, SkillDraft(skill_id="tea", category="writing", content=text))
    assert (view.skill.name, view.skill.category, view.skill.keywords) == ("Green Tea", "writing", ("green",))
    assert view.skill.body == "Boil less."
    plain = await service.create(ALICE, SkillDraft(skill_id="milk", content="# Milk\n\nWarm it.\n"))
    assert (plain.skill.name, plain.skill.description) == ("Milk", "Warm it.")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"skill_id": "../x"}, "skill.invalid_id"),
        ({"skill_id": "Tea"}, "skill.invalid_id"),
        ({"skill_id": "t" * 65}, "skill.invalid_id"),
        ({"skill_id": "t\0"}, "skill.invalid_id"),
        ({"content": " \n"}, "skill.empty"),
        ({"content": "# Only a heading", "description": " "}, "skill.unreadable"),
        ({"content": "---\nname: [\n---\n"}, "skill.unreadable"),
        ({"content": "a\0b"}, "skill.unreadable"),
        ({"content": "x" * ((1 << 20) + 1)}, "skill.unreadable"),
        ({"description": "d" * 1025}, "skill.description_too_long"),
        ({"name": "n" * 201}, "skill.fields_too_long"),
        ({"keywords": [f"k{number}" for number in range(65)]}, "skill.fields_too_long"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    service: SkillService, volumes: VolumeManager, change: dict[str, str], code: str
) -> None:
    with pytest.raises(Invalid) as raised:
        await service.create(ALICE, replace(TEA, **change))
    assert raised.value.code == code
    assert not volumes.exists(ALICE.volume) or volumes.open(PLATFORM, ALICE.volume).list_skills() == []


async def test_an_id_is_taken_once(service: SkillService) -> None:
    await service.create(ALICE, TEA)
    with pytest.raises(Conflict) as raised:
        await service.create(ALICE, TEA)
    assert raised.value.code == "skill.exists"
    await service.create(BOB, TEA)


async def test_of_two_at_once_one_wins(service: SkillService) -> None:
    answers = await asyncio.gather(*(service.create(ALICE, TEA) for _ in range(4)), return_exceptions=True)
    codes = [answer.code for answer in answers if isinstance(answer, LlmosError)]
    assert codes == ["skill.exists"] * 3


async def test_a_change_touches_what_it_names(service: SkillService) -> None:
    await service.create(ALICE, TEA)
    view = await service.update(ALICE, "tea", SkillChange(description="Brews any tea", keywords=["cup"]))
    assert (view.skill.name, view.skill.description, view.skill.keywords) == ("Tea", "Brews any tea", ("cup",))
    assert view.skill.body == "# Tea\n\nBoil.\n"
    view = await service.update(ALICE, "tea", SkillChange(name="", category="", content="# New\n"))
    assert (view.skill.name, view.skill.category, view.skill.body) == ("tea", "", "# New\n")
    assert [commit.subject for commit in view.history] == [
        "Update skill: tea",
        "Update skill: Tea",
        "Create skill: Tea",
    ]


async def test_a_text_with_front_matter_replaces_everything(service: SkillService) -> None:
    await service.create(ALICE, TEA)
    view = await service.update(ALICE, "tea", SkillChange(content=skill_text("tea", "Brews mate", "Mate.\n")))
    assert (view.skill.description, view.skill.category, view.skill.body) == ("Brews mate", "", "Mate.\n")
    with pytest.raises(Invalid):
        await service.update(ALICE, "tea", SkillChange(content=" "))
    with pytest.raises(Invalid):
        await service.update(ALICE, "tea", SkillChange(content="---\nname: [\n---\n"))


async def test_a_change_of_what_somebody_else_changed_is_a_conflict(service: SkillService) -> None:
    first = (await service.create(ALICE, TEA)).skill.version
    await service.update(ALICE, "tea", SkillChange(description="Other"), expect=first)
    with pytest.raises(Conflict) as raised:
        await service.update(ALICE, "tea", SkillChange(description="Mine"), expect=first)
    assert raised.value.code == "skill.changed"
    with pytest.raises(Conflict):
        await service.delete(ALICE, "tea", expect=first)


async def test_a_flat_file_becomes_a_folder_when_the_platform_edits_it(service: SkillService, own: GitVolume) -> None:
    flat = "---\nname: Tea\ncategory: data\ndescription: Brews tea\nkeywords: [tea]\n---\nBoil."
    own.store.commit({"skills/tea.md": flat.encode()}, "Add", author_of("alice"))
    view = await service.update(ALICE, "tea", SkillChange(description="Brews any tea"))
    assert (view.skill.path, view.skill.name, view.skill.category) == ("skills/tea/SKILL.md", "Tea", "data")
    assert [entry.path for entry in own.store.tree("skills")] == ["skills/tea"]


async def test_a_broken_skill_is_mended_by_a_new_text(service: SkillService, own: GitVolume) -> None:
    own.write_skill("tea", "---\nname: [\n---\nBoil.")
    view = await service.get(ALICE, "tea")
    assert "no valid YAML" in (view.skill.error or "")
    assert view.content == "---\nname: [\n---\nBoil."
    mended = await service.update(ALICE, "tea", SkillChange(content=skill_text("tea", "Brews tea")))
    assert mended.skill.error is None


async def test_deleting_keeps_the_history(service: SkillService) -> None:
    await service.create(ALICE, TEA)
    commit = await service.delete(ALICE, "tea")
    assert commit.subject == "Delete skill: tea"
    with pytest.raises(NotFound) as raised:
        await service.get(ALICE, "tea")
    assert raised.value.code == "skill.unknown"
    history = service.reading(ALICE, ALICE.volume).get_git_log(skill_id="tea")
    assert [one.subject for one in history] == ["Delete skill: tea", "Create skill: Tea"]


async def test_earlier_versions_can_be_read(service: SkillService) -> None:
    first = (await service.create(ALICE, TEA)).skill.version
    await service.update(ALICE, "tea", SkillChange(content="# New\n"))
    view = await service.get(ALICE, "tea", version=first)
    assert (view.skill.body, view.skill.version) == ("# Tea\n\nBoil.\n", first)
    for unknown in ("0" * 40, "main", "../x", ""):
        with pytest.raises(LlmosError) as raised:
            await service.get(ALICE, "tea", version=unknown)
        assert raised.value.status in {400, 404}


async def test_further_files_are_listed(service: SkillService, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"), files={"scripts/boil.sh": b"echo", "notes.md": b"x"})
    assert (await service.get(ALICE, "tea")).files == ("notes.md", "scripts/boil.sh")


async def test_a_teams_admin_writes_for_the_team_and_a_member_is_told_to_promote(
    service: SkillService,
) -> None:
    view = await service.create(BOB, replace(TEA, volume=SRE))
    assert (view.skill.volume, view.history[0].author) == ("team:sre", "bob")
    for write in (
        service.create(ALICE, replace(TEA, skill_id="other", volume=SRE)),
        service.update(ALICE, "tea", SkillChange(name="x")),
        service.delete(ALICE, "tea"),
        service.install(ALICE, [], volume=SRE),
    ):
        with pytest.raises(Forbidden) as raised:
            await write
        assert raised.value.code == "volume.readonly"
        assert "promote" in raised.value.hint


async def test_system_is_for_system_admins(service: SkillService) -> None:
    view = await service.create(ADMIN, replace(TEA, volume=SYSTEM))
    assert view.skill.volume == "system"
    with pytest.raises(Forbidden):
        await service.create(BOB, replace(TEA, volume=SYSTEM))
    assert (await service.get(ALICE, "tea")).skill.volume == "system"


async def test_an_admin_reaches_every_volume_that_has_an_owner(service: SkillService, volumes: VolumeManager) -> None:
    await service.create(ADMIN, replace(TEA, volume=DATA))
    await service.create(ADMIN, replace(TEA, volume=VolumeRef.user("alice")))
    assert [item.skill.skill_id for item in (await service.page(ADMIN, volume=DATA)).items] == ["tea"]
    for unknown in (VolumeRef.team("ghosts"), VolumeRef.user("nobody")):
        with pytest.raises(NotFound) as raised:
            await service.create(ADMIN, replace(TEA, volume=unknown))
        assert raised.value.code in {"volume.unknown", "user.unknown"}
        assert not volumes.exists(unknown)
        with pytest.raises(NotFound):
            await service.page(ADMIN, volume=unknown)


async def test_other_peoples_volumes_do_not_exist(service: SkillService) -> None:
    await service.create(BOB, TEA)
    for ask in (
        service.get(ALICE, "tea", volume=BOB.volume),
        service.page(ALICE, volume=BOB.volume),
        service.create(ALICE, replace(TEA, volume=BOB.volume)),
        service.page(ALICE, team_id="data"),
    ):
        with pytest.raises(NotFound) as raised:
            await ask
        assert raised.value.code == "volume.unknown"


async def test_a_credential_needs_its_scope(service: SkillService) -> None:
    reader = Actor("alice", scopes=frozenset({Scope.SKILLS_READ}))
    mute = Actor("alice", scopes=frozenset())
    for ask in (
        service.create(reader, TEA),
        service.page(mute),
        service.get(mute, "tea"),
    ):
        with pytest.raises(Forbidden) as raised:
            await ask
        assert raised.value.code == "scope.missing"
    with pytest.raises(Forbidden):
        await service.load_skills_for_user(mute)


async def test_lists_come_in_pages_by_id(service: SkillService, system: GitVolume, own: GitVolume) -> None:
    for number in range(7):
        system.write_skill(f"skill-{number}", skill_text(f"skill-{number}", f"Number {number}"))
    own.write_skill("skill-3", skill_text("skill-3", "Mine"))
    assert len(await service.load_skills_for_user(ALICE)) == 8
    found, cursor = [], ""
    while True:
        page = await service.page(ALICE, limit=3, cursor=cursor)
        assert page.total == 8
        found += [(item.skill.skill_id, item.skill.volume) for item in page.items]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert found == sorted(found)
    assert len(set(found)) == 8
    assert found[3:5] == [("skill-3", "system"), ("skill-3", "user:alice")]
    only = await service.page(ALICE, volume=SYSTEM, limit=50)
    assert (only.total, only.next_cursor) == (7, None)


async def test_a_query_answers_best_first(service: SkillService, system: GitVolume, own: GitVolume) -> None:
    system.write_skill("tea", skill_text("tea", "Brews tea", keywords="cup"))
    system.write_skill("coffee", skill_text("coffee", "Brews coffee", "Not tea.\n"))
    own.write_skill("tea", skill_text("tea", "Brews my tea"))
    page = await service.page(ALICE, query="brew a cup of tea", limit=1)
    assert [item.skill.volume for item in page.items] == ["user:alice"]
    assert page.items[0].explanation is None
    second = await service.page(ALICE, query="brew a cup of tea", limit=1, cursor=page.next_cursor or "")
    assert [item.skill.skill_id for item in second.items] == ["coffee"]
    assert (second.total, second.next_cursor) == (2, None)


async def test_categories_filter_lists_and_queries(service: SkillService) -> None:
    await service.create(ALICE, TEA)
    await service.create(ALICE, replace(TEA, skill_id="mate", name="Mate", category="writing"))
    assert [item.skill.skill_id for item in (await service.page(ALICE, category="Data")).items] == ["tea"]
    assert [item.skill.skill_id for item in (await service.page(ALICE, query="brew", category="writing")).items] == [
        "mate"
    ]


@pytest.mark.parametrize("cursor", ["%%%", "a", "bm8", "é"])
async def test_a_cursor_of_somebody_else_is_refused(service: SkillService, cursor: str) -> None:
    await service.create(ALICE, TEA)
    with pytest.raises(Invalid) as raised:
        await service.page(ALICE, query="tea", cursor=cursor)
    assert raised.value.code == "cursor.invalid"


class Watchful:
    """Finds passwords, and mentions tea."""

    def scan(self, skill: object) -> list[Finding]:
        text = str(getattr(skill, "body", ""))
        high = [Finding("secret.password", Severity.HIGH, "It holds a password.", line=9)] if "hunter2" in text else []
        return [*high, Finding("drink.tea", Severity.LOW, "It is about tea.")]


class Failing:
    """Never manages."""

    def scan(self, skill: object) -> list[Finding]:
        raise RuntimeError(f"out of {getattr(skill, 'category', '')}")


async def test_scanners_look_at_every_write(volumes: VolumeManager, manager: SkillsManager, own: GitVolume) -> None:
    service = SkillService(volumes, manager, People(), {"watchful": Watchful(), "failing": Failing()})
    view = await service.create(ALICE, TEA)
    assert [(one.code, one.scanner) for one in view.findings] == [
        ("drink.tea", "watchful"),
        ("scanner.failed", "failing"),
    ]
    bad = replace(TEA, skill_id="other", content="The password is hunter2")
    view = await service.create(ALICE, bad)
    assert [str(one) for one in view.findings] == [
        "high secret.password (line 9): It holds a password.",
        "low drink.tea: It is about tea.",
        "medium scanner.failed: The scanner 'failing' failed: RuntimeError: out of data",
    ]
    assert own.store.count() == 3


async def test_a_volume_of_others_takes_nothing_unsafe(volumes: VolumeManager, manager: SkillsManager) -> None:
    service = SkillService(volumes, manager, People(), {"watchful": Watchful(), "failing": Failing()})
    await service.create(ADMIN, replace(TEA, volume=SRE))
    for write in (
        service.create(ADMIN, replace(TEA, skill_id="other", content="The password is hunter2", volume=SRE)),
        service.update(ADMIN, "tea", SkillChange(content="The password is hunter2"), volume=SRE),
    ):
        with pytest.raises(Invalid) as raised:
            await write
        assert raised.value.code == "skill.unsafe"
        assert raised.value.detail["findings"][0] == "high secret.password (line 9): It holds a password."


def test_the_work_tree_has_what_was_written(service: SkillService, tmp_path: Path) -> None:
    asyncio.run(service.create(ALICE, TEA))
    assert (tmp_path / "volumes/users/alice/skills/tea/SKILL.md").read_text().startswith("---\nname: tea\n")
