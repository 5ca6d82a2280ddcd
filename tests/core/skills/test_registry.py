"""Slugs, numbers of versions, and fingerprints of what is on somebody's disk."""

from __future__ import annotations

import hashlib

import pytest
from conftest import ALICE, BOB, SRE, skill_text

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.parcels import parcel_of
from llmos_lite.core.skills.registry import Registry, collated, fingerprint_of, releases_of
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.versions import current_version
from llmos_lite.engines.git import Author
from llmos_lite.errors import Invalid, NotFound
from llmos_lite.volumes.git_volume import GitVolume


@pytest.fixture
def registry(service: SkillService) -> Registry:
    return Registry(service, Catalogs(service, Guard(service.volumes, {})))


def write(volume: GitVolume, skill_id: str, said: str, **files: bytes) -> None:
    volume.write_skill(skill_id, skill_text(skill_id, said), files=files)


async def test_versions_are_numbered_as_history_has_them(registry: Registry, team: GitVolume) -> None:
    for said in ("First.", "Second.", "Third."):
        write(team, "mine", said)
        write(team, "other", said)
    entry = await registry.find(ALICE, "mine")
    assert [one.name for one in entry.releases] == ["1.0.3", "1.0.2", "1.0.1"]
    assert entry.latest.version == entry.skill.version
    assert (entry.slug, entry.owner) == ("mine", "sre")
    second = await registry.parcel(ALICE, entry, entry.release("1.0.2"))
    assert second.skill.description == "Second."
    write(team, "mine", "Fourth.")
    again = await registry.find(ALICE, "mine")
    assert [one.name for one in again.releases[1:]] == [one.name for one in entry.releases]
    assert again.releases[1:] == entry.releases


async def test_a_number_stays_when_the_skill_is_renamed_deleted_and_brought_back(
    registry: Registry, team: GitVolume
) -> None:
    write(team, "old-name", "First.")
    first = (await registry.find(ALICE, "old-name")).latest
    moved = team.store.entry("skills/old-name")
    assert moved is not None
    me = Author("alice", "a@x")
    team.store.commit({"skills/old-name": None, "skills/new-name": moved._replace(path="skills/new-name")}, "Move", me)
    entry = await registry.find(ALICE, "new-name")
    assert [(one.number, one.skill_id) for one in entry.releases] == [(2, "new-name"), (1, "old-name")]
    assert entry.releases[1] == first
    team.delete_skill("new-name")
    with pytest.raises(NotFound):
        await registry.find(ALICE, "new-name")
    write(team, "new-name", "Again.")
    assert releases_of(team, "new-name")[0].number == 3


@pytest.mark.parametrize(
    "name", ["1.0.0", "1.0.4", "1.0.-1", "1.0.01", "2.0.1", "main", "../1", "1.0." + "9" * 30, "x"]
)
async def test_there_is_no_other_version(registry: Registry, team: GitVolume, name: str) -> None:
    for said in ("First.", "Second.", "Third."):
        write(team, "mine", said)
    entry = await registry.find(ALICE, "mine")
    assert entry.release("latest") == entry.release("") == entry.release("1.0.3")
    with pytest.raises(NotFound):
        entry.release(name)


async def test_what_is_on_the_disk_is_recognised(registry: Registry, team: GitVolume) -> None:
    write(team, "mine", "First.", script=b"x", Zeta=b"z")
    one = parcel_of(current_version(team, "mine"))
    write(team, "mine", "Second.")
    assert one is not None
    entry = await registry.find(ALICE, "mine")
    found = await registry.resolve(ALICE, entry, fingerprint_of(one))
    assert found is not None
    assert found.name == "1.0.1"
    assert await registry.resolve(ALICE, entry, "0" * 64) is None


async def test_a_fingerprint_is_the_clients(team: GitVolume) -> None:
    files = {"scripts/run.sh": b"r", "Scripts/a": b"a", "a-b": b"1", "a_b": b"2", "ab": b"3", ".hidden/x": b"h"}
    team.write_skill("mine", skill_text("mine", "First."), files=files)
    parcel = parcel_of(current_version(team, "mine"))
    assert parcel is not None
    order = ["a_b", "a-b", "ab", "Scripts/a", "scripts/run.sh", "SKILL.md"]  # as node 22 sorts them
    text = "\n".join(f"{path}:{hashlib.sha256(parcel.read(path)).hexdigest()}" for path in order)
    assert fingerprint_of(parcel) == hashlib.sha256(text.encode()).hexdigest()
    assert sorted(["b", "B", "a", "A", "10", "9"], key=collated) == ["10", "9", "a", "A", "b", "B"]


async def test_a_slug_names_what_its_reader_sees(
    registry: Registry, system: GitVolume, team: GitVolume, own: GitVolume
) -> None:
    for volume, said in ((system, "The system's."), (team, "The team's."), (own, "Mine.")):
        write(volume, "same", said)
    found = {
        (slug, owner): (await registry.find(ALICE, slug, owner)).skill.description
        for slug, owner in (("same", ""), ("sre--same", ""), ("same", "sre"), ("same", "system"), ("same", "alice"))
    }
    assert list(found.values()) == ["Mine.", "The team's.", "The team's.", "The system's.", "Mine."]
    assert (await registry.find(BOB, "same")).skill.description == "The team's."
    for actor, slug, owner in (
        (Actor("carol"), "sre--same", ""), (Actor("carol"), "same", "sre"), (BOB, "same", "alice"),
        (ALICE, "data--same", ""), (ALICE, "none", ""), (ALICE, "sre--none", ""),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await registry.find(actor, slug, owner)
    for slug in ("", "..", "a--b--c", "--same", "sre--", "A", "a/b", "a\n"):
        with pytest.raises(Invalid):
            await registry.find(ALICE, slug)


async def test_a_list_comes_in_pages_and_a_search_best_first(registry: Registry, team: GitVolume) -> None:
    for number in range(5):
        write(team, f"skill-{number}", f"Use it for tables number {number}.")
    write(team, "postgres-locks", "Use it when Postgres has deadlocks.")
    team.store.commit({"skills/broken/SKILL.md": b"---\nname: [\n"}, "Break", Author("alice", "a@x"))
    first, more = await registry.page(ALICE, limit=4)
    second, none = await registry.page(ALICE, limit=4, cursor=more or "")
    assert [one.slug for one in (*first, *second)] == ["postgres-locks", *(f"skill-{number}" for number in range(5))]
    assert none is None
    assert len((await registry.page(ALICE, prefix="skill-", limit=9))[0]) == 5
    hits = await registry.search(ALICE, "Postgres deadlocks")
    assert hits[0][0].slug == "postgres-locks"
    assert [entry.slug for entry, _ in await registry.search(ALICE, "skill-3", exact=True)] == ["skill-3"]
    assert await registry.search(ALICE, "skill", exact=True) == []
    assert SRE.id == "sre"
