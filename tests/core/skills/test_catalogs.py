"""What a catalog offers, and what it keeps back."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from conftest import ADMIN, ALICE, BOB, DATA, SRE, People, skill_text

from llmos_lite.core.accounts.permissions import Actor, Role, Scope
from llmos_lite.core.skills.catalogs import PUBLIC, Catalog, Catalogs, Kept
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.inspecting import Inspector
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.named import REF, Named
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.git import Author
from llmos_lite.errors import Forbidden, Invalid, LlmosError, NotFound, StorageFailed
from llmos_lite.volumes.access import SYSTEM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

LINKED = Actor("alice", teams={"sre": Role.USER}, scopes=frozenset({Scope.SKILLS_READ}), reads=frozenset({SRE}))


class Suspicious:
    """Calls what says "evil" dangerous."""

    def __init__(self) -> None:
        self.asked = 0

    def scan(self, skill: Skill) -> Iterable[Finding]:
        self.asked += 1
        return [Finding("test.evil", Severity.HIGH, "It is evil.")] if "evil" in skill.body else []


@pytest.fixture
def scanner() -> Suspicious:
    return Suspicious()


@pytest.fixture
def service(volumes: VolumeManager, scanner: Suspicious) -> SkillService:
    return SkillService(volumes, SkillsManager(volumes, watch=Guard(volumes, {"test": scanner})), People())


@pytest.fixture
def catalogs(service: SkillService, scanner: Suspicious) -> Catalogs:
    return Catalogs(service, Guard(service.volumes, {"test": scanner}))


def ids(catalog: Catalog) -> list[str]:
    return [offer.skill_id for offer in catalog.offers]


async def test_a_catalog_has_what_can_be_used(catalogs: Catalogs, team: GitVolume) -> None:
    team.write_skill("good", skill_text("good", "Use it."))
    team.write_skill("folder", skill_text("folder", "Use it."), files={"a.txt": b"A"})
    team.write_skill("danger", skill_text("danger", "Use it.", body="# evil\n"))
    me = Author("alice", "a@localhost")
    broken = {
        "skills/broken/SKILL.md": b"---\nname: [\n",
        "skills/empty/a.txt": b"x",
        "skills/My Skill/SKILL.md": b"# x\n",
    }
    team.store.commit(broken, "Break", me)
    found = await catalogs.of(ALICE, SRE)
    assert ids(found) == ["folder", "good"]
    assert [offer.kind for offer in found.offers] == ["archive", "skill-md"]
    assert found.commits == {"team:sre": team.store.head()}
    for skill_id in ("danger", "broken", "empty", "nothing"):
        with pytest.raises(NotFound) as caught:
            await catalogs.parcel(ALICE, skill_id, SRE)
        assert caught.value.code == "skill.unknown"


async def test_what_a_reviewer_stands_for_is_offered_until_it_changes(
    catalogs: Catalogs, team: GitVolume, service: SkillService, scanner: Suspicious
) -> None:
    team.write_skill("danger", skill_text("danger", "Use it.", body="# evil\n"))
    found = await catalogs.of(ALICE, SRE)
    assert (ids(found), [one.skill_id for one in found.held]) == ([], ["danger"])
    guard = Guard(service.volumes, {"test": scanner})
    digest = found.held[0].version
    await Inspector(service, guard).sign_off(ADMIN, "danger", "It is a joke.", digest=digest, volume=SRE)
    again = await catalogs.of(ALICE, SRE)
    assert (ids(again), again.held) == (["danger"], ())
    assert (await catalogs.parcel(ALICE, "danger", SRE)).skill.version == digest
    team.write_skill("danger", skill_text("danger", "Use it.", body="# evil twice\n"))
    assert ids(await catalogs.of(ALICE, SRE)) == []


@pytest.mark.parametrize("name", ["../good", "My Skill", "good.md", "", "skills/good", "good\n", "x" * 65])
async def test_a_name_that_is_none_leads_nowhere(catalogs: Catalogs, team: GitVolume, name: str) -> None:
    team.write_skill("good", skill_text("good", "Use it."))
    with pytest.raises(Invalid):
        await catalogs.parcel(ALICE, name, SRE)


async def test_what_a_person_reads_is_one_catalog_without_the_shadowed(
    catalogs: Catalogs, system: GitVolume, team: GitVolume, own: GitVolume
) -> None:
    for volume, said in ((system, "The system's."), (team, "The team's."), (own, "Mine.")):
        volume.write_skill("same", skill_text("same", said))
    system.write_skill("below", skill_text("below", "The system's."))
    team.write_skill("below", skill_text("below", "The team's."))
    found = {offer.skill_id: offer for offer in (await catalogs.of(ALICE)).offers}
    assert found["same"].volume == "user:alice"
    assert found["below"].volume == "team:sre"
    assert (await catalogs.parcel(ALICE, "same")).skill.description == "Mine."
    assert (await catalogs.parcel(LINKED, "same")).skill.description == "The team's."
    assert {offer.volume for offer in (await catalogs.of(LINKED)).offers} == {"team:sre"}
    assert {offer.skill_id for offer in (await catalogs.of(ALICE, SYSTEM)).offers} == {"same", "below"}


async def test_nothing_is_read_twice_and_a_change_shows(
    catalogs: Catalogs, team: GitVolume, scanner: Suspicious
) -> None:
    for number in range(5):
        team.write_skill(f"skill-{number}", skill_text(f"skill-{number}", "Use it."))
    first = await catalogs.of(ALICE, SRE)
    asked = scanner.asked
    assert await catalogs.of(BOB, SRE) is first
    team.write_skill("skill-3", skill_text("skill-3", "Use it now."))
    second = await catalogs.of(ALICE, SRE)
    assert scanner.asked == asked + 1
    changed = set(second.offers) - set(first.offers)
    assert [offer.skill_id for offer in changed] == ["skill-3"]


async def test_an_earlier_version_is_there_as_long_as_history_has_it(catalogs: Catalogs, team: GitVolume) -> None:
    team.write_skill("mine", skill_text("mine", "First."))
    (offer,) = (await catalogs.of(ALICE, SRE)).offers
    team.write_skill("mine", skill_text("mine", "Second."))
    parcel = await catalogs.parcel(ALICE, "mine", SRE, version=offer.version)
    assert parcel.skill.description == "First."
    team.write_skill("other", skill_text("other", "Another."))
    (other,) = [one for one in (await catalogs.of(ALICE, SRE)).offers if one.skill_id == "other"]
    for version in (other.version, "0" * 40):
        with pytest.raises(NotFound):
            await catalogs.parcel(ALICE, "mine", SRE, version=version)


async def test_nobody_sees_what_is_not_for_them(
    catalogs: Catalogs, team: GitVolume, own: GitVolume, system: GitVolume
) -> None:
    for volume in (team, own, system):
        volume.write_skill("secret", skill_text("secret", f"Of {volume.ref}."))
    stranger = Actor("carol")
    for actor, ref in (
        (stranger, SRE), (BOB, VolumeRef.user("alice")), (PUBLIC, SRE), (PUBLIC, VolumeRef.user("public")),
        (LINKED, VolumeRef.user("alice")), (LINKED, DATA), (ALICE, DATA),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await catalogs.of(actor, ref)
        with pytest.raises(NotFound):
            await catalogs.parcel(actor, "secret", ref)
    assert ids(await catalogs.of(PUBLIC, SYSTEM)) == ["secret"]
    assert (await catalogs.parcel(PUBLIC, "secret", SYSTEM)).skill.description == "Of system."
    with pytest.raises(Forbidden):
        await catalogs.of(Actor("alice", teams={"sre": Role.USER}, scopes=frozenset({Scope.CHAT})), SRE)
    with pytest.raises(LlmosError):
        await catalogs.of(Actor("x", scopes=frozenset(), reads=frozenset()), SYSTEM)


async def test_a_stranger_gets_only_what_a_catalog_has_named_and_stands(catalogs: Catalogs, system: GitVolume) -> None:
    system.write_skill("mine", skill_text("mine", "First."))
    (first,) = (await catalogs.of(PUBLIC, SYSTEM)).offers
    for said in ("Second.", "Third."):
        system.write_skill("mine", skill_text("mine", said))
    unnamed = system.get_git_log(3)[1].oid
    (third,) = (await catalogs.of(PUBLIC, SYSTEM)).offers
    assert (await catalogs.parcel(PUBLIC, "mine", SYSTEM, version=first.version)).skill.description == "First."
    assert (await catalogs.parcel(ALICE, "mine", SYSTEM, version=unnamed)).skill.description == "Second."
    with pytest.raises(NotFound):
        await catalogs.parcel(PUBLIC, "mine", SYSTEM, version=unnamed)
    system.delete_skill("mine")
    for actor in (PUBLIC, ALICE):
        for version in (first.version, third.version, ""):
            with pytest.raises(NotFound):
                await catalogs.parcel(actor, "mine", SYSTEM, version=version)


async def test_a_pinned_address_outlives_the_process_that_named_it(
    catalogs: Catalogs, service: SkillService, system: GitVolume, scanner: Suspicious
) -> None:
    for name in ("mine", "theirs"):
        system.write_skill(name, skill_text(name, "First."))
    before = {offer.skill_id: offer.version for offer in (await catalogs.of(PUBLIC, SYSTEM)).offers}
    system.write_skill("mine", skill_text("mine", "Seen by members alone."))
    seen = {offer.skill_id: offer.version for offer in (await catalogs.of(ALICE, SYSTEM)).offers}
    system.write_skill("mine", skill_text("mine", "Last."))
    again = Catalogs(service, Guard(service.volumes, {"test": scanner}))  # as after a start
    assert (await again.parcel(PUBLIC, "mine", SYSTEM, version=before["mine"])).skill.description == "First."
    for skill_id, version in (("mine", seen["mine"]), ("mine", before["theirs"]), ("theirs", before["mine"])):
        with pytest.raises(NotFound):
            await again.parcel(PUBLIC, skill_id, SYSTEM, version=version)
    assert (await again.parcel(ALICE, "mine", SYSTEM, version=seen["mine"])).skill.description.startswith("Seen")
    system.delete_skill("mine")
    with pytest.raises(NotFound):
        await again.parcel(PUBLIC, "mine", SYSTEM, version=before["mine"])


async def test_what_was_named_and_is_held_back_now_stays_so(
    catalogs: Catalogs, service: SkillService, system: GitVolume, scanner: Suspicious
) -> None:
    system.write_skill("mine", skill_text("mine", "First.", body="# Once harmless\n"))
    (first,) = (await catalogs.of(PUBLIC, SYSTEM)).offers
    system.write_skill("mine", skill_text("mine", "Second."))
    system.write_skill("danger", skill_text("danger", "Use it.", body="# evil\n"))
    assert ids(await catalogs.of(PUBLIC, SYSTEM)) == ["mine"]
    danger = system.skill_entry("danger")
    assert danger
    system.write_skill("danger", skill_text("danger", "Use it."))

    class Stricter:
        def scan(self, skill: Skill) -> Iterable[Finding]:
            return [Finding("test.once", Severity.HIGH, "It was.")] if "Once" in skill.body else []

    for rules, skill_id, version in ((Stricter(), "mine", first.version), (scanner, "danger", danger.version)):
        again = Catalogs(service, Guard(service.volumes, {"test": rules}))
        with pytest.raises(NotFound):
            await again.parcel(PUBLIC, skill_id, SYSTEM, version=version)


async def test_what_was_named_is_written_down_once(
    catalogs: Catalogs, service: SkillService, system: GitVolume, scanner: Suspicious
) -> None:
    for number in range(20):
        system.write_skill(f"skill-{number}", skill_text(f"skill-{number}", "Use it."))
    await catalogs.of(ALICE, SYSTEM)
    assert system.notes.head(REF) is None
    await catalogs.of(PUBLIC, SYSTEM)
    head = system.notes.head(REF)
    other = Catalogs(service, Guard(service.volumes, {"test": scanner}))
    await other.of(PUBLIC, SYSTEM)
    await catalogs.of(PUBLIC, SYSTEM)
    assert system.notes.head(REF) == head
    system.write_skill("skill-1", skill_text("skill-1", "Use it now."))
    await other.of(PUBLIC, SYSTEM)
    changed = system.notes.log(branch=REF)
    assert len(changed) == 2
    lines = [line for entry in system.notes.tree(at=REF) for line in system.notes.blob(entry.oid).splitlines()]
    assert len(lines) == len(set(lines)) == 21


def test_a_full_disk_keeps_nobody_from_the_catalog(volumes: VolumeManager, caplog: pytest.LogCaptureFixture) -> None:
    class Full(Named):
        def _write(self, fresh: Iterable[str]) -> None:
            assert list(fresh) == ["mine " + "a" * 40]
            raise StorageFailed("storage.full", "The disk is full.")

    named = Full(volumes)
    named.add([("mine", "a" * 40)])
    assert (named.has("mine", "a" * 40), Named(volumes).has("mine", "a" * 40)) == (True, False)
    assert "cannot be written down" in caplog.text


def test_what_is_kept_weighs_no_more_than_it_may() -> None:
    kept = Kept[str, bytes](10, len)
    for key, value in (("a", b"1234"), ("b", b"1234"), ("a", b"123456")):
        kept.put(key, value)
    assert (kept.get("a"), kept.get("b")) == (b"123456", b"1234")
    kept.put("c", b"1")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (None, b"1234", b"1")
    kept.put("d", b"12345678901")
    assert [kept.get(key) for key in "abcd"] == [None] * 4
