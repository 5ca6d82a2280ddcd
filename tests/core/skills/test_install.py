"""Files, folders and trees of skills come in as they are, within limits, and as one commit."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import ALICE, skill_text

from llmos_lite.cli.archive import members, tar_stream
from llmos_lite.core.skills import install as install_module
from llmos_lite.core.skills.install import Package, gather, install, packages_of, unpack
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.git import File
from llmos_lite.errors import Invalid, NotFound, TooLarge
from llmos_lite.volumes.git_volume import GitVolume, author_of

AUTHOR = author_of("alice")
TEA = skill_text("tea", "Brews tea").encode()
VENDOR = (
    b"---\nname: vendor\ndescription: Does it: well\nargument-hint: '[file]'\nmetadata: {a: {b: c}}\n---\r\nbody\r\n"
)
FLAT = b"---\nname: Mate Tea\ncategory: data\ndescription: Brews mate\nkeywords: [mate]\n---\nBoil.\n"


def tree(root: Path) -> Path:
    files = {
        "README.md": b"# Skills",
        "tea/SKILL.md": TEA,
        "tea/scripts/boil.sh": b"#!/bin/sh\n",
        "tea/.DS_Store": b"x",
        "nested/deep/vendor/SKILL.md": VENDOR,
        "mate-tea.md": FLAT,
        "broken/SKILL.md": b"---\nname: [\n---\n",
        "node_modules/x/SKILL.md": TEA,
        ".git/SKILL.md": TEA,
        "notes.txt": b"x",
    }
    for name, data in files.items():
        path = root / "library" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root / "library"


def archive(files: Mapping[str, bytes]) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    stream.seek(0)
    return stream


def test_a_tree_comes_in_as_one_commit(own: GitVolume, tmp_path: Path) -> None:
    done = install(own, gather([tree(tmp_path)]), AUTHOR)
    assert {one.skill_id: one.status for one in done} == {
        "tea": "created",
        "vendor": "created",
        "mate-tea": "created",
        "broken": "refused",
    }
    assert "no valid YAML" in next(one.detail for one in done if one.skill_id == "broken")
    assert own.store.count() == 2
    assert own.get_git_log(1)[0].subject == "Install 3 skills (3 new)"
    assert own.store.read("skills/vendor/SKILL.md") == VENDOR
    assert own.store.read("skills/tea/scripts/boil.sh") == b"#!/bin/sh\n"
    assert own.store.entry("skills/tea/.DS_Store") is None
    assert own.read_skill("mate-tea").startswith("---\nname: mate-tea\ndescription: Brews mate\nmetadata:\n")
    assert {one.version for one in done if one.status == "created"} == {entry.version for entry in own.list_skills()}


def test_the_same_again_changes_nothing(own: GitVolume, tmp_path: Path) -> None:
    packages = gather([tree(tmp_path)])
    install(own, packages, AUTHOR)
    again = install(own, packages, AUTHOR)
    assert [one.status for one in again].count("unchanged") == 3
    assert own.store.count() == 2


def test_a_changed_folder_replaces_the_old_one_whole(own: GitVolume) -> None:
    install(own, [Package("tea", TEA, {"old.txt": b"x"})], AUTHOR)
    (done,) = install(own, [Package("tea", TEA, {"new.txt": b"y"})], AUTHOR)
    assert done.status == "updated"
    assert [file.path for file in own.skill_files("tea")] == ["skills/tea/SKILL.md", "skills/tea/new.txt"]
    assert own.get_git_log(1)[0].subject == "Update skill: tea"


def test_a_flat_file_in_the_volume_gives_way_to_the_folder(own: GitVolume) -> None:
    own.store.commit({"skills/tea.md": FLAT}, "Add", AUTHOR)
    (done,) = install(own, [Package("tea", TEA)], AUTHOR)
    assert done.status == "updated"
    assert [entry.path for entry in own.store.tree("skills")] == ["skills/tea"]


def test_nothing_is_replaced_unless_asked(own: GitVolume) -> None:
    install(own, [Package("tea", TEA)], AUTHOR)
    same, other = Package("tea", TEA), Package("tea", TEA + b"more")
    assert install(own, [same], AUTHOR, replace=False)[0].status == "unchanged"
    (done,) = install(own, [other], AUTHOR, replace=False)
    assert (done.status, done.detail) == ("refused", "There is a skill tea already, and it differs.")


def test_one_file_or_one_skill_folder_will_do(own: GitVolume, tmp_path: Path) -> None:
    root = tree(tmp_path)
    paths = [root / "mate-tea.md", root / "tea", root / "nested/deep/vendor/SKILL.md"]
    assert [package.name for package in gather(paths)] == ["mate-tea", "tea", "vendor"]
    assert [one.status for one in install(own, gather(paths), AUTHOR)] == ["created"] * 3


def test_names_become_ids_and_the_text_stays(own: GitVolume) -> None:
    done = install(own, [Package("My Tea (2)", TEA), Package("🎉", TEA), Package("MY-TEA-2", TEA)], AUTHOR)
    assert [(one.skill_id, one.status) for one in done] == [
        ("my-tea-2", "created"),
        ("🎉", "refused"),
        ("MY-TEA-2", "refused"),
    ]
    assert done[2].detail == "Another skill of this batch has the same id."
    assert own.store.read("skills/my-tea-2/SKILL.md") == TEA
    assert done[0].detail.startswith("The folder 'My Tea (2)' is kept under the id my-tea-2. Kept as it is")


def test_links_are_left_out(tmp_path: Path) -> None:
    root = tree(tmp_path)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "SKILL.md").write_bytes(TEA)
    (root / "linked").symlink_to(secret)
    (root / "tea" / "stolen.txt").symlink_to(secret / "SKILL.md")
    os.mkfifo(root / "tea" / "pipe")
    (tea,) = [package for package in gather([root]) if package.name == "tea"]
    assert set(tea.files) == {"scripts/boil.sh"}
    assert "linked" not in {package.name for package in gather([root])}


def test_a_missing_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as raised:
        gather([tmp_path / "nowhere"])
    assert raised.value.code == "path.missing"


@pytest.mark.parametrize(("limit", "value"), [("MOST_FILES", 2), ("MOST_BYTES", 100)])
def test_what_comes_in_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    monkeypatch.setattr(install_module._Budget, "__init__", _budget({limit: value}))
    with pytest.raises(TooLarge):
        gather([tree(tmp_path)])
    with pytest.raises(TooLarge):
        unpack(archive({f"s{number}/SKILL.md": TEA for number in range(5)}))


def _budget(limits: Mapping[str, int]) -> object:
    def init(self: install_module._Budget) -> None:
        self.files, self.bytes = limits.get("MOST_FILES", 99), limits.get("MOST_BYTES", 1 << 20)

    return init


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({f"f{number}": b"" for number in range(512)}, "more than 512 files"),
        ({"big": b"x" * ((16 << 20) + 1)}, "larger than 16 MiB"),
        ({"a.txt": b"", "A.txt": b""}, "upper and lower case"),
    ],
)
def test_one_skill_is_limited(own: GitVolume, files: dict[str, bytes], reason: str) -> None:
    packages = packages_of({f"tea/{name}": data for name, data in files.items()} | {"tea/SKILL.md": TEA})
    (done,) = install(own, packages, AUTHOR)
    assert done.status == "refused"
    assert reason in done.detail


def test_a_huge_text_and_bad_bytes_are_refused(own: GitVolume) -> None:
    packages = packages_of({"big/SKILL.md": b"x" * ((1 << 20) + 1), "bin/SKILL.md": b"\0", "latin/SKILL.md": b"\xe9"})
    assert [one.status for one in install(own, packages, AUTHOR)] == ["refused"] * 3
    assert own.store.count() == 1


def test_an_archive_is_read_in_memory() -> None:
    files = {"lib/tea/SKILL.md": TEA, "lib/tea/x.txt": b"x", "lib/mate-tea.md": FLAT, "lib/.git/SKILL.md": TEA}
    packages = unpack(archive(files))
    assert [(package.name, dict(package.files)) for package in packages] == [
        ("tea", {"x.txt": File(b"x")}),
        ("mate-tea", {}),
    ]


def test_a_skill_packed_without_its_folder_is_named_by_its_text() -> None:
    (package,) = unpack(archive({"SKILL.md": TEA, "scripts/x.sh": b"x"}))
    assert (package.name, set(package.files)) == ("tea", {"scripts/x.sh"})


@pytest.mark.parametrize("name", ["../evil/SKILL.md", "/etc/SKILL.md", "a\\..\\SKILL.md", "x/../../SKILL.md"])
def test_an_archive_that_leads_out_is_refused(name: str) -> None:
    with pytest.raises(Invalid) as raised:
        unpack(archive({name: TEA}))
    assert raised.value.code == "install.bad_path"


def test_links_in_an_archive_are_left_out() -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo("tea/SKILL.md")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    stream.seek(0)
    assert unpack(stream) == []


@pytest.mark.parametrize("data", [b"", b"no archive at all"])
def test_something_else_is_no_archive(data: bytes) -> None:
    with pytest.raises(Invalid) as raised:
        unpack(io.BytesIO(data))
    assert raised.value.code == "install.not_an_archive"


def test_a_path_that_git_would_not_take_is_refused_alone(own: GitVolume) -> None:
    done = install(own, [Package("tea", TEA, {".git/hooks/x": b"x"}), Package("mate", TEA)], AUTHOR)
    assert [one.status for one in done] == ["refused", "created"]


class Strict:
    """Refuses scripts."""

    def scan(self, skill: object) -> list[Finding]:
        bad = "rm -rf" in str(getattr(skill, "body", ""))
        return [Finding("x", Severity.HIGH if bad else Severity.LOW, "Looked at it.")]


def test_scanners_refuse_one_skill_and_let_the_others_in(own: GitVolume, team: GitVolume) -> None:
    bad = Package("bad", skill_text("bad", "Cleans", "rm -rf /\n").encode())
    done = install(team, [bad, Package("tea", TEA)], AUTHOR, {"strict": Strict()})
    assert [(one.status, one.detail) for one in done] == [
        ("refused", "The skill bad was refused: Looked at it."),
        ("created", "Looked at it."),
    ]
    (kept,) = install(own, [bad], AUTHOR, {"strict": Strict()})
    said = "It is held back: x. No model gets it until somebody signs it off. Looked at it."
    assert (kept.status, kept.detail) == ("created", said)


def test_a_script_stays_one_that_runs(own: GitVolume, tmp_path: Path) -> None:
    library = tree(tmp_path)
    (library / "tea/scripts/boil.sh").chmod(0o755)
    (tea,) = unpack(io.BytesIO(b"".join(tar_stream(members([library / "tea"])))))
    assert gather([library / "tea"]) == [tea]
    install(own, [tea], AUTHOR)
    runs = {entry.path: entry.executable for entry in own.skill_files("tea")}
    assert runs == {"skills/tea/SKILL.md": False, "skills/tea/scripts/boil.sh": True}


async def test_the_service_installs_for_whoever_may(service: SkillService) -> None:
    done = await service.install(ALICE, [Package("tea", TEA)])
    assert done[0].status == "created"
    assert (await service.get(ALICE, "tea")).history[0].subject == "Create skill: tea"
