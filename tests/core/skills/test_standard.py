"""Strict on publish, lenient on import: what we write is valid, what others wrote stays what it is."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import subprocess
from pathlib import Path

import pytest
import skills_ref
from conftest import ALICE, BOB, SRE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vendor_skills import FOLDER, LONG, VALID, VENDOR, library

from llmos_lite.core.proposals.events import Event, Kind
from llmos_lite.core.proposals.promoting import Carried, promote_now
from llmos_lite.core.skills.draft import SkillChange, SkillDraft, changed, skill_of_draft
from llmos_lite.core.skills.exporting import SkillExports
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.install import Package, id_of, install, packages_of, unpack
from llmos_lite.core.skills.packing import below, pack, pack_zip
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.standard import conforming, deviations
from llmos_lite.engines.git import File
from llmos_lite.errors import Invalid
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

AUTHOR = author_of("alice")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=80)
SAID = TEXT.filter(lambda text: text.strip() and text.strip() not in {"~", "null", "Null", "NULL"})
VALUE = st.recursive(TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3))
ANYTHING = settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
    deadline=None,
)


def validate(root: Path, skill_id: str, content: bytes) -> list[str]:
    """Return what the public validator says of a real folder."""
    folder = root / skill_id
    folder.mkdir(exist_ok=True)
    (folder / "SKILL.md").write_bytes(content)
    return skills_ref.validate(folder)


@pytest.mark.parametrize("name", sorted(VALID | VENDOR))
def test_we_say_what_the_public_validator_says(tmp_path: Path, name: str) -> None:
    content = (VALID | VENDOR)[name]
    assert bool(deviations(name, content)) == bool(validate(tmp_path, name, content)), deviations(name, content)
    assert bool(deviations(name, content)) == (name in VENDOR)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("name: x\ndescription: [a, b]\n", "in []"),
        ("name: x\ndescription: y\ndescription: z\n", "twice"),
        ("name: x\ndescription: !!str y\n", "tags"),
        ("name: x\ndescription: y\nmetadata: z\n", "metadata is no list"),
        (f"name: x\ndescription: y\ncompatibility: {'z' * 501}\n", "501 characters"),
        ("name: x\ndescription: y\nversion: 1\nmodel: z\n", "does not know model, version"),
        ("name: [\n", "YAML"),
        ("name: x\n", "no description"),
    ],
)
def test_each_deviation_has_its_sentence(block: str, said: str) -> None:
    assert said in " ".join(deviations("x", f"---\n{block}---\n".encode()))


def test_what_is_no_text_or_too_large_is_said() -> None:
    assert "UTF-8" in deviations("x", b"\xff")[0]
    assert "1 MiB" in deviations("x", b"x" * ((1 << 20) + 1))[0]


# Strict: whatever we write


@ANYTHING
@given(
    st.builds(
        SkillDraft,
        skill_id=st.just("x"),
        name=TEXT,
        category=TEXT,
        description=SAID,
        keywords=st.lists(TEXT, max_size=3),
        content=SAID,
    )
)
def test_a_draft_is_valid(tmp_path: Path, draft: SkillDraft) -> None:
    try:
        skill = skill_of_draft(draft)
    except Invalid:
        return
    text = skill.render().encode()
    assert validate(tmp_path, "x", text) == []
    assert deviations("x", text) == []


@ANYTHING
@given(
    metadata=st.dictionaries(TEXT, VALUE, max_size=3),
    extra=st.dictionaries(TEXT, VALUE, max_size=3),
    tools=TEXT,
)
def test_kept_keys_are_written_so_that_they_are_valid(
    tmp_path: Path,
    metadata: dict[str, str],
    extra: dict[str, str],
    tools: str,
) -> None:
    skill = Skill(skill_id="x", name="x", description="Does it.", allowed_tools=tools)
    try:
        text = Skill(
            **{key: getattr(skill, key) for key in ("skill_id", "name", "description", "allowed_tools")},
            metadata=metadata,
            extra=extra,
        ).render()
    except Invalid:
        return
    assert validate(tmp_path, "x", text.encode()) == []


@pytest.mark.parametrize("name", sorted((VALID | VENDOR).keys() - {"long-words"}))
def test_a_change_of_what_came_in_is_valid(tmp_path: Path, name: str) -> None:
    after = changed(Skill.parse(name, (VALID | VENDOR)[name]), SkillChange(category="data"))
    assert validate(tmp_path, name, after.render().encode()) == []


@ANYTHING
@given(block=TEXT, body=TEXT)
def test_a_flat_file_is_installed_valid(tmp_path: Path, own: GitVolume, block: str, body: str) -> None:
    packages = [Package("flat", f"---\n{block}\n---\n{body}".encode(), is_folder=False)]
    packages.append(Package("bare", body.encode(), is_folder=False))
    for done in install(own, packages, AUTHOR):
        if done.status != "refused":
            content = own.store.read(f"skills/{done.skill_id}/SKILL.md")
            assert validate(tmp_path, done.skill_id, content) == []


def test_a_promotion_publishes_what_is_valid_and_copies_what_is(
    tmp_path: Path, volumes: VolumeManager, own: GitVolume, team: GitVolume
) -> None:
    install(own, packages_of(library()), AUTHOR)
    own.store.commit({"skills/seed.md": b"---\nname: A Seed\ncategory: data\ndescription: x\n---\nDo.\n"}, "x", AUTHOR)
    for name in [*(VALID | VENDOR).keys() - {"long-words"}, "seed"]:
        promote_now(volumes, _promotion(name), team, Carried.of(own, name))
        content = team.store.read(f"skills/{name}/SKILL.md")
        assert validate(tmp_path, name, content) == []
        assert name not in VALID or content == VALID[name]
    assert team.skill_entry("plain") == own.skill_entry("plain")
    with pytest.raises(Invalid) as raised:
        promote_now(volumes, _promotion("long-words"), team, Carried.of(own, "long-words"))
    assert raised.value.code == "skill.description_too_long"


def _promotion(skill_id: str) -> Event:
    source = str(ALICE.volume)
    return Event(
        kind=Kind.OPENED,
        at=1,
        source=source,
        target=str(SRE),
        skill_id=skill_id,
        by="alice",
        author="alice",
        reason="x",
    )


def test_conforming_leaves_alone_what_conforms() -> None:
    assert conforming("plain", VALID["plain"]) is VALID["plain"]


# Lenient: whatever others wrote


def test_an_import_is_kept_byte_for_byte_and_says_where_it_leaves_the_standard(own: GitVolume) -> None:
    done = {one.skill_id: one for one in install(own, packages_of(library()), AUTHOR)}
    assert {one.status for one in done.values()} == {"created"}
    for name, data in (VALID | VENDOR).items():
        assert own.store.read(f"skills/{name}/SKILL.md") == data
        assert done[name].detail.startswith("Kept as it is") == (name in VENDOR), name
        entry = own.skill_entry(name)
        assert entry is not None
        assert done[name].version == entry.version
    assert "1068" in done["long-words"].detail
    assert len(LONG) == 1068


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
async def test_what_comes_out_is_what_went_in(service: SkillService, form: str) -> None:
    await service.install(ALICE, packages_of(library()))
    exports = SkillExports(service)
    for name, data in (VALID | VENDOR).items():
        packed = await exports.archive(ALICE, name, form=form)  # type: ignore[arg-type]
        [package] = unpack(io.BytesIO(pack(below(name, _files(packed.data)))))
        assert package.content == data
        assert dict(package.files) == (FOLDER if name == "claude-keys" else {})
        assert (await exports.archive(ALICE, name, form=form)).data == packed.data  # type: ignore[arg-type]


def _files(data: bytes) -> dict[str, File]:
    [package] = packages_of({f"x/{path}": file for path, file in _unpacked(data).items()})
    return package.all_files()


def _unpacked(data: bytes) -> dict[str, bytes | File]:
    from llmos_lite.core.skills.install import unpacked  # noqa: PLC0415

    return unpacked(io.BytesIO(data))


def test_a_clone_holds_the_same_bytes(volumes: VolumeManager, own: GitVolume, tmp_path: Path) -> None:
    install(own, packages_of(library()), AUTHOR)
    target, source = tmp_path / "clone", volumes.folder(ALICE.volume)
    subprocess.run(["git", "-c", "safe.directory=*", "clone", "-q", source, target], check=True, capture_output=True)
    for path, file in library().items():
        assert (target / path).read_bytes() == file.data
        assert bool((target / path).stat().st_mode & 0o100) == file.executable
    assert not [entry for entry in own.store.tree("skills") if not (target / entry.path).is_dir()]


async def test_the_seeds_flat_file_leaves_in_the_standards_form(
    service: SkillService, own: GitVolume, tmp_path: Path
) -> None:
    flat = b"---\nname: A Seed\ncategory: data\ndescription: Does it.\n---\nDo.\n"
    own.store.commit({"skills/seed.md": flat}, "Add", AUTHOR)
    packed = await SkillExports(service).archive(ALICE, "seed")
    assert validate(tmp_path, "seed", _files(packed.data)["SKILL.md"].data) == []


async def test_an_archive_is_for_whoever_sees_the_skill(service: SkillService) -> None:
    await service.install(ALICE, packages_of(library()))
    with pytest.raises(Exception, match="no skill"):
        await SkillExports(service).archive(BOB, "plain")
    with pytest.raises(Exception, match="no volume"):
        await SkillExports(service).archive(BOB, "plain", volume=ALICE.volume)


# Names


@pytest.mark.parametrize(
    ("name", "skill_id"),
    [
        ("tea", "tea"),
        ("My Tool (2)", "my-tool-2"),
        ("Crème brûlée", "creme-brulee"),
        ("ﬁne", "fine"),
        ("навык", "skill-4d3f6a7e43"),
        ("技能", "skill-82a2a7a7fb"),
        ("技能-v2", "v2-5c9f0ec3b5"),
        ("x" * 80, "x" * 64),
    ],
)
def test_a_name_becomes_an_id(name: str, skill_id: str) -> None:
    found = id_of(name)
    assert found == skill_id or (found.rpartition("-")[0] == skill_id.rpartition("-")[0] and not name.isascii())
    assert found.isascii()


def test_two_names_of_other_letters_are_two_ids_and_one_name_is_one() -> None:
    assert len({id_of(name) for name in ("技能", "技術", "навык", "v2", "v2-技能")}) == 5
    assert id_of("e\u0301\u4e2d") == id_of("\u00e9\u4e2d")


def test_a_skill_of_another_script_comes_in_under_an_id_with_a_warning(own: GitVolume) -> None:
    text = "---\nname: 技能\ndescription: 做事。\n---\n# 步骤\n".encode()
    (done,) = install(own, packages_of({"技能/SKILL.md": text}), AUTHOR)
    assert (done.status, done.skill_id) == ("created", id_of("技能"))
    assert f"'技能' is kept under the id {done.skill_id}" in done.detail
    assert own.store.read(f"skills/{done.skill_id}/SKILL.md") == text


@given(TEXT)
def test_any_name_gives_an_id_or_a_refusal(name: str) -> None:
    with contextlib.suppress(Invalid):
        assert id_of(id_of(name)) == id_of(name)


# Collisions


@pytest.mark.parametrize(
    "names",
    [("a.txt", "A.TXT"), ("caf\u00e9.txt", "cafe\u0301.txt"), ("dir/x", "DIR/y"), ("x", "skill.md"), ("ß/x", "ss/y")],
)
def test_names_that_are_one_on_some_disk_are_refused(own: GitVolume, names: tuple[str, str]) -> None:
    files = {f"tea/{name}": b"x" for name in names} | {"tea/SKILL.md": VALID["plain"]}
    (done,) = install(own, packages_of(files), AUTHOR)
    assert done.status == "refused"
    assert "differ only in" in done.detail


def test_a_lower_case_skill_file_is_taken_and_said(own: GitVolume) -> None:
    (done,) = install(own, packages_of({"plain/skill.md": VALID["plain"]}), AUTHOR)
    assert done.detail == "Its skill.md is kept as SKILL.md."
    assert own.store.read("skills/plain/SKILL.md") == VALID["plain"]


# Packing


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=120),
        st.tuples(st.binary(max_size=700), st.booleans()),
        max_size=5,
    )
)
def test_files_packed_and_unpacked_are_the_same(files: dict[str, tuple[bytes, bool]]) -> None:
    given = {name: File(*file) for name, file in files.items()}
    turned = dict(reversed(given.items()))
    assert pack(given) == pack(turned)
    assert pack_zip(given) == pack_zip(turned)
    for data in (pack(given), pack_zip(given)):
        assert _unpacked(data) == given


def test_the_bytes_of_an_archive_are_fixed() -> None:
    """A digest that a client noted holds after an upgrade of ours."""
    files = {"SKILL.md": File(VALID["plain"]), "scripts/x": File(b"", executable=True)}
    assert pack(files)[:10].hex() == "1f8b08000000000002ff"
    assert hashlib.sha256(gzip.decompress(pack(files))).hexdigest()[:16] == "3609b53ec999761f"
