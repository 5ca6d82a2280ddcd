"""The seed's table, exhaustively: every principal, every volume, reading and writing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.errors import Forbidden, Invalid, NotFound
from llmos_lite.volumes.access import (
    PLATFORM,
    SYSTEM,
    SYSTEM_CRON,
    TABLE,
    Access,
    Principal,
    PrincipalKind,
    VolumeKind,
    VolumeRef,
    access,
    check_id,
    require,
)

ALICE = Principal(PrincipalKind.USER, "alice", teams=frozenset({"sre"}))
SRE_CRON = Principal(PrincipalKind.TEAM_CRON, "sre", users=frozenset({"alice"}))
SRE_ADMIN = Principal(PrincipalKind.TEAM_ADMIN, "alice", teams=frozenset({"sre"}))
READER = Principal(PrincipalKind.READER, "alice", teams=frozenset({"sre"}), users=frozenset({"alice"}))
TEAM_READER = Principal(PrincipalKind.READER, "alice", teams=frozenset({"sre"}))
SYSTEM_ADMIN = Principal(PrincipalKind.SYSTEM_ADMIN, "root")
OWN, TEAM = VolumeRef.user("alice"), VolumeRef.team("sre")
OTHER, OTHER_TEAM = VolumeRef.user("bob"), VolumeRef.team("hr")
NOBODY = Principal(PrincipalKind.USER, "")

VOLUMES = (OWN, TEAM, SYSTEM, OTHER, OTHER_TEAM)
ROWS = {
    ALICE: ("rw", "r", "r", "", ""),
    SRE_CRON: ("r", "rw", "r", "", ""),
    SRE_ADMIN: ("", "rw", "r", "", ""),
    SYSTEM_ADMIN: ("rw", "rw", "rw", "rw", "rw"),
    SYSTEM_CRON: ("rw", "rw", "rw", "rw", "rw"),
    PLATFORM: ("rw", "rw", "rw", "rw", "rw"),
    READER: ("r", "r", "r", "", ""),
    TEAM_READER: ("", "r", "r", "", ""),
    NOBODY: ("", "", "r", "", ""),
}
EXPECTED = {(who, ref): allowed for who, row in ROWS.items() for ref, allowed in zip(VOLUMES, row, strict=True)}


def test_the_table_has_a_place_for_everybody() -> None:
    assert set(TABLE) == set(itertools.product(VolumeKind, PrincipalKind))


@pytest.mark.parametrize(("who", "expected"), EXPECTED.items(), ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
def test_the_table_of_the_seed(who: tuple[Principal, VolumeRef], expected: str, *, write: bool) -> None:
    assert access(*who) is Access(expected)
    if expected == "rw" or (expected == "r" and not write):
        require(*who, write=write)
        return
    with pytest.raises(Forbidden if expected else NotFound) as caught:
        require(*who, write=write)
    assert caught.value.code == ("volume.readonly" if expected else "volume.unknown")


def test_every_kind_of_principal_is_in_the_test() -> None:
    assert {principal.kind for principal, _ in EXPECTED} == set(PrincipalKind)


@pytest.mark.parametrize("text", ["system", "team:sre", "user:alice", "user:a-1-b", "user:" + "x" * 64])
def test_a_name_is_read_and_written(text: str) -> None:
    assert str(VolumeRef.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "user", "user:", "system:x", "team:../x", "user:Alice", "user:a b", "user:a--b", "user:-a", "user:a-", "org:x",
     "user:" + "x" * 65, "user:a\0", "user:a\n", "user:é", "user:a:b", "USER:a", " user:a"],
)  # fmt: skip
def test_what_names_no_volume_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        VolumeRef.parse(text)


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9-]{1,70}", fullmatch=True))
def test_an_id_is_a_plain_name_or_refused(text: str) -> None:
    plain = text.isascii() and text == text.lower() and len(text) <= 64 and all(map(str.isalnum, text.split("-")))
    if plain:
        assert check_id(text, "skill") == text
        return
    with pytest.raises(Invalid) as caught:
        check_id(text, "skill")
    assert caught.value.code == "skill.invalid_id"
