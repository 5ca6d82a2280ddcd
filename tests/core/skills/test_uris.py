"""Addresses of skills."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.uris import SkillUri, skill_uri
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import SYSTEM, VolumeRef

WORDS = st.text("abz09", min_size=1, max_size=8)
IDS = st.lists(WORDS, min_size=1, max_size=3).map("-".join)
REFS = st.one_of(st.just(SYSTEM), IDS.map(VolumeRef.team), IDS.map(VolumeRef.user))
NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=8)
PATHS = st.lists(NAMES, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ("system", "skill://system/code-review/SKILL.md"),
        ("team:sre", "skill://teams/sre/code-review/SKILL.md"),
        ("user:alice", "skill://users/alice/code-review/SKILL.md"),
    ],
)
def test_an_address_names_volume_and_skill(volume: str, expected: str) -> None:
    assert str(skill_uri(volume, "code-review")) == expected
    assert SkillUri.parse(expected) == skill_uri(volume, "code-review")


@given(REFS, IDS, PATHS)
def test_what_is_written_is_read_again(ref: VolumeRef, skill_id: str, path: str) -> None:
    uri = SkillUri(ref, skill_id, path)
    assert SkillUri.parse(str(uri)) == uri
    assert str(uri).isascii()
    assert str(uri).isprintable()


@given(st.text(max_size=200))
def test_any_other_text_is_refused_in_one_way(text: str) -> None:
    for address in (text, f"skill://{text}", f"skill://system/x/{text}"):
        assert _refusal(address) in {"", "skill.not_served"}


def _refusal(address: str) -> str:
    try:
        SkillUri.parse(address)
    except NotFound as error:
        return error.code if error.message.isprintable() else "unprintable"
    return ""


@pytest.mark.parametrize(
    "text",
    [
        "", "skill://", "skill:///x", "skill://system/../x", "skill://system/X/SKILL.md", "skill://system/x//y",
        "skill://system/x%2fy/SKILL.md", "skill://system/x/a%2f..%2f..%2fb", "skill://teams/", "skill://teams/../x",
        "skill://users/%2e%2e/x/SKILL.md", "skill://system/x/%ff", "file:///etc/passwd",
        "skill://system/x/" + "a" * 9000,        "SKILL://system/x/SKILL.md", "skill://other/x/SKILL.md",
    ],
)  # fmt: skip
def test_no_skill_has_such_an_address(text: str) -> None:
    with pytest.raises(NotFound):
        SkillUri.parse(text)
