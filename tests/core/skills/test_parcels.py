"""What is sent of a skill: the same bytes always, whole, and nothing that leads elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pygit2
import pytest
from conftest import skill_text
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.packing import stored_gzip
from llmos_lite.core.skills.parcels import Parcel, Seal, is_standard, parcel_of
from llmos_lite.core.skills.versions import current_version
from llmos_lite.engines.git import Author, File
from llmos_lite.volumes.git_volume import GitVolume

SCRIPT = File(b"#!/bin/sh\necho hi\n", executable=True)


def written(volume: GitVolume, skill_id: str = "my-skill", **files: File | bytes) -> Parcel:
    content = skill_text(skill_id, "Use it for tests.")
    volume.write_skill(skill_id, content, files={name.replace("__", "/"): one for name, one in files.items()})
    parcel = parcel_of(current_version(volume, skill_id))
    assert parcel is not None
    return parcel


def sent(parcel: Parcel) -> bytes:
    return b"".join(parcel.sent())


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            assert (member.mtime, member.uid, member.gid, member.uname) == (315_532_800, 0, 0, "")
            found[member.name] = (member.mode, file.read())
    return found


def test_a_skill_of_one_file_is_sent_as_it_stands(team: GitVolume) -> None:
    parcel = written(team)
    assert parcel.kind == "skill-md"
    assert sent(parcel) == skill_text("my-skill", "Use it for tests.").encode()
    assert Seal.of(parcel).digest == hashlib.sha256(sent(parcel)).hexdigest()
    assert list(parcel.files) == ["SKILL.md"]


def test_a_folder_is_sent_as_an_archive_with_its_programs(team: GitVolume) -> None:
    parcel = written(team, scripts__run=SCRIPT, references__a=b"A", z=b"")
    assert parcel.kind == "archive"
    assert members(sent(parcel)) == {
        "SKILL.md": (0o644, skill_text("my-skill", "Use it for tests.").encode()),
        "references/a": (0o644, b"A"),
        "scripts/run": (0o755, SCRIPT.data),
        "z": (0o644, b""),
    }
    assert Seal.of(parcel).size == len(sent(parcel))


def test_the_bytes_are_those_that_were_noted_once(team: GitVolume) -> None:
    """Whoever changes them changes every digest in every lock file."""
    parcel = written(team, scripts__run=SCRIPT)
    assert Seal.of(parcel).digest == "bc7fa48d88e632c8c59b62cdb3e923e3a46ce39e4de6d6ba24d40f1d5fd4e072"
    assert (
        hashlib.sha256(parcel.zipped()).hexdigest()
        == "4c688dcff2f14774859bb1252deab13df15530998800cf9ae90600573a808538"
    )


def test_another_time_place_and_owner_change_nothing(team: GitVolume, own: GitVolume) -> None:
    first = written(team, scripts__run=SCRIPT, a=b"A")
    team.write_skill("other", skill_text("other", "Something else."))
    second = written(own, a=b"A", scripts__run=SCRIPT)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from llmos_lite.core.skills.packing import stored_gzip\n"
        "import hashlib; print(hashlib.sha256(b''.join(stored_gzip(iter([b'x' * 100_000])))).hexdigest())"
    )
    env = dict(os.environ) | {"TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7", "LC_ALL": "C"}
    command = [sys.executable, "-c", code, str(Path(__file__).parents[3])]
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=60).stdout.strip()
    assert there == hashlib.sha256(b"".join(stored_gzip(iter([b"x" * 60_000, b"x" * 40_000])))).hexdigest()
    assert sent(first) == sent(second)
    assert first.zipped() == second.zipped()


def test_git_knows_the_files_by_the_ids_that_they_are_sent_with(team: GitVolume) -> None:
    parcel = written(team, scripts__run=SCRIPT)
    assert {path: team.store.blob(kept.oid) for path, kept in parcel.files.items()} == {
        "SKILL.md": parcel.main,
        "scripts/run": SCRIPT.data,
    }


@given(st.lists(st.binary(max_size=200_000), max_size=4))
def test_what_was_put_into_gzip_comes_out_of_it(pieces: list[bytes]) -> None:
    data = b"".join(stored_gzip(iter(pieces)))
    assert gzip.decompress(data) == b"".join(pieces)
    assert len(data) <= sum(map(len, pieces)) * 1.001 + 64


@pytest.mark.parametrize("name", ["a" * 99, "b" * 120, "x/" * 60 + "y", "d" * 90 + "/" + "e" * 90, "ü" * 40, "n m"])
def test_long_and_strange_names_arrive(team: GitVolume, name: str) -> None:
    parcel = written(team)
    team.write_skill("my-skill", parcel.main.decode(), files={name: b"here"})
    again = parcel_of(current_version(team, "my-skill"))
    assert again is not None
    assert members(sent(again))[name] == (0o644, b"here")
    with zipfile.ZipFile(io.BytesIO(again.zipped())) as archive:
        assert archive.read(name) == b"here"


def test_stock_tar_unpacks_it_without_a_word(team: GitVolume, tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(sent(written(team, scripts__run=SCRIPT)))
    (tmp_path / "out").mkdir()
    command = ["tar", "-xzf", tmp_path / "x.tar.gz", "-C", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert os.access(tmp_path / "out/scripts/run", os.X_OK)
    assert not os.access(tmp_path / "out/SKILL.md", os.X_OK)


def test_a_zip_keeps_programs(team: GitVolume) -> None:
    with zipfile.ZipFile(io.BytesIO(written(team, scripts__run=SCRIPT).zipped())) as archive:
        modes = {one.filename: one.external_attr >> 16 for one in archive.infolist()}
    assert modes == {"SKILL.md": 0o100644, "scripts/run": 0o100755}


FLAT = "---\nname: My Skill\ncategory: coding\nkeywords: [a, b]\n---\n# My Skill\n\nDo it when asked.\n"


def test_the_seeds_flat_file_is_sent_in_the_standards_form(team: GitVolume) -> None:
    _put(team, {"skills/my-skill.md": FLAT.encode()})
    parcel = parcel_of(current_version(team, "my-skill"))
    assert parcel is not None
    assert parcel.kind == "skill-md"
    assert is_standard(parcel.main, "my-skill")
    assert b"title: My Skill" in parcel.main
    assert not is_standard(FLAT.encode(), "my-skill")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe", b"---\nname: my-skill\n", b"---\nname: my-skill\ndescription: [\n---\n", b"\0" * 100,
        b"---\n---\n",
        b"---\nname: my-skill\ndescription: " + b"x" * 2000 + b"\n---\nText.\n",
    ],
)  # fmt: skip
def test_what_nobody_could_read_is_not_sent(team: GitVolume, content: bytes) -> None:
    _put(team, {"skills/my-skill/SKILL.md": content})
    assert parcel_of(current_version(team, "my-skill")) is None


def test_a_foreign_name_is_sent_under_its_id(team: GitVolume) -> None:
    _put(team, {"skills/my-skill/SKILL.md": b"---\nname: ../../etc/passwd\ndescription: Reads.\n---\nText.\n"})
    parcel = parcel_of(current_version(team, "my-skill"))
    assert parcel is not None
    assert is_standard(parcel.main, "my-skill")


def _put(volume: GitVolume, changes: dict[str, bytes]) -> None:
    volume.store.commit(changes, "Add", Author("alice", "alice@localhost"))


def test_no_link_leaves_the_folder(team: GitVolume, tmp_path: Path) -> None:
    """A push may bring a symbolic link; it stays in Git, and is sent to nobody."""
    (tmp_path / "secret").write_text("Nobody gets here.")
    repo = pygit2.Repository(str(tmp_path / "volumes/teams/sre"))
    content = repo.create_blob(skill_text("linked", "Has a link.").encode())
    link = repo.create_blob(str(tmp_path / "secret").encode())
    folder = repo.TreeBuilder()
    folder.insert("SKILL.md", content, 0o100644)
    folder.insert("out", link, 0o120000)
    skills = repo.TreeBuilder()
    skills.insert("linked", folder.write(), 0o040000)
    root = repo.TreeBuilder(repo.head.peel().tree)
    root.insert("skills", skills.write(), 0o040000)
    me = pygit2.Signature("alice", "alice@localhost")
    repo.create_commit("refs/heads/main", me, me, "Link", root.write(), [repo.head.target])
    parcel = parcel_of(current_version(team, "linked"))
    assert parcel is not None
    assert (parcel.kind, list(parcel.files)) == ("skill-md", ["SKILL.md"])


@pytest.mark.parametrize("name", ["a\\b", "C:x", "x\u202ey", "a\tb"])
def test_a_skill_with_a_hostile_file_name_is_not_sent(team: GitVolume, tmp_path: Path, name: str) -> None:
    written(team)
    repo = pygit2.Repository(str(tmp_path / "volumes/teams/sre"))
    tree = repo.head.peel().tree
    folder = repo.TreeBuilder(tree["skills/my-skill"])
    folder.insert(name, repo.create_blob(b"x"), 0o100644)
    skills = repo.TreeBuilder(tree["skills"])
    skills.insert("my-skill", folder.write(), 0o040000)
    root = repo.TreeBuilder(tree)
    root.insert("skills", skills.write(), 0o040000)
    me = pygit2.Signature("alice", "alice@localhost")
    repo.create_commit("refs/heads/main", me, me, "Name", root.write(), [repo.head.target])
    assert parcel_of(current_version(team, "my-skill")) is None
