"""The lock file is that of the public `skills` command, with a few keys more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.lockfile import Lock, Locked, computed_hash, read_lock
from llmos_lite.engines.git import File
from llmos_lite.errors import Conflict
from llmos_lite.volumes.git_volume import GitVolume, author_of

AUTHOR = author_of("alice")
NAMES = ["SKILL.md", "scripts/run.sh", "Scripts.md", "a-b", "a_b", "a.b", "a b", "aB", "ab", "B", "é.md", "2", "10"]
NAMES += ["assets/x"]
IN_NODE = "b1d3a59ea1102863821a05d83c30b2bb521f7cdd8de8f39236b5fc36374bbd0b"
"""How `localeCompare` of Node 20 sorts NAMES; taken from there once."""


def test_the_hash_is_that_of_the_skills_command() -> None:
    files = {name: File(f"content of {name}".encode()) for name in NAMES}
    assert computed_hash(files) == IN_NODE
    assert computed_hash(files | {".git/x": File(b""), "node_modules/y": File(b"")}) == IN_NODE


def test_a_lock_file_of_others_is_read_and_kept(own: GitVolume) -> None:
    theirs = {"source": "acme/skills", "sourceType": "github", "computedHash": "00", "skillPath": "x", "new": [1]}
    text = {"version": 1, "skills": {"tea": theirs, "Bad Id": theirs, "none": {}, "odd": 3, "half": {"source": 1}}}
    own.store.commit({"skills-lock.json": json.dumps(text).encode()}, "x", AUTHOR)
    found = read_lock(own)
    assert found.keys() == {"tea"}
    assert found["tea"].dump() == theirs | {"sourceUrl": "acme/skills"}
    assert found["tea"].place is not None


BROKEN = [b"", b"[]", b'{"skills": 1}', b"\xff", b"[" * 99_999, b'{"version": 2, "skills": {}}', b"<<<<<<< ours\n{}"]


@pytest.mark.parametrize("data", BROKEN)
def test_what_cannot_be_read_is_told_and_never_overwritten(own: GitVolume, data: bytes) -> None:
    own.store.commit({"skills-lock.json": data}, "x", AUTHOR)
    with pytest.raises(Conflict) as raised:
        read_lock(own)
    assert raised.value.code == "lock.broken"


def test_what_is_not_known_stays_to_the_letter(own: GitVolume) -> None:
    theirs = {"source": "a/b", "sourceType": "github", "ref": "", "odd": {"x": [1, None]}}
    said = {
        "version": 1,
        "more": [1],
        "skills": {"zoo": 3, "Bad Id": {"x": 1}, "tea": theirs, "half": {"ref": "\ud800"}},
    }
    new = Locked(source="x", url="https://x", kind="archive")
    found = json.loads(Lock.parse(json.dumps(said).encode()).changed({"mate": new, "gone": None}))
    assert found == {**said, "skills": {**said["skills"], "mate": new.dump()}}  # type: ignore[dict-item]
    assert list(found["skills"]) == sorted(found["skills"])
    assert Lock.read(own).entries == {}


@pytest.mark.parametrize("url", ["https://[x", "https://x:y/", "", "\x00", "x", "https://x:99999/"])
def test_an_address_that_cannot_be_one_is_no_place(url: str) -> None:
    assert Locked(source="x", url=url, kind="git").place is None or not url.startswith("https")


TEXT = st.text(min_size=1, max_size=20)
LOCKED = st.builds(
    Locked, source=TEXT, url=TEXT, kind=TEXT, ref=TEXT, folder=TEXT, pinned=st.booleans(), tracked=st.none() | TEXT
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), LOCKED, max_size=4))
def test_a_lock_file_is_read_as_it_was_written_and_sorted(entries: dict[str, Locked]) -> None:
    data = Lock({}, {}).changed(entries)
    assert list(json.loads(data)["skills"]) == sorted(entries)
    assert Lock.parse(data).entries == entries
