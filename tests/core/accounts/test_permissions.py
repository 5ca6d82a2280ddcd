"""The permission table, exhaustively: every verb, standing, kind of volume and scope, own and foreign."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_lite.core.accounts import permissions
from llmos_lite.core.accounts.accounts import require_member
from llmos_lite.core.accounts.permissions import (
    DELEGATED,
    EVERYTHING,
    SERVICE,
    TABLE,
    Actor,
    Role,
    Scope,
    Verb,
    allowed,
    may_administer,
    permit,
    require_admin,
)
from llmos_lite.errors import Forbidden, NotFound
from llmos_lite.volumes.access import SYSTEM, Access, PrincipalKind, VolumeRef, access

OWN, OTHER = VolumeRef.user("alice"), VolumeRef.user("bob")
TEAM, FOREIGN = VolumeRef.team("sre"), VolumeRef.team("hr")
PLACES = {"own": OWN, "other": OTHER, "team": TEAM, "foreign": FOREIGN, "system": SYSTEM, "instance": None}
PLAIN = EVERYTHING - {Scope.ADMIN}
ACTORS = {
    "user": Actor("alice", scopes=PLAIN),
    "member": Actor("alice", teams={"sre": Role.USER}, scopes=PLAIN),
    "chief": Actor("alice", teams={"sre": Role.TEAM_ADMIN}, scopes=EVERYTHING),
    "root": Actor("alice", role=Role.SYSTEM_ADMIN, scopes=EVERYTHING),
    "team-cron": Actor("sre-cron", scopes=SERVICE, service=TEAM),
    "system-cron": Actor("system-cron", scopes=SERVICE, service=SYSTEM),
}
# Written down anew, by actor and not by verb, so that a slip in the table shows.
OWNER = (
    "chat read_skills write_skills promote review administer read_traces inspect_traces write_traces erase export "
    "evolve git_fetch git_push git_traces change_self manage_keys"
)
READER = "chat read_skills promote read_traces inspect_traces write_traces git_fetch git_traces"
MEMBER = f"{READER} evolve read_team"
CHIEF = f"{MEMBER} write_skills review administer erase export git_push manage_members"
ROOT = (
    "read_skills write_skills review administer inspect_traces write_traces erase export git_fetch git_push git_traces"
)
CRON = "read_skills write_skills read_traces inspect_traces evolve git_fetch git_push git_traces"
ANY_CRON = "read_skills read_traces inspect_traces promote git_fetch git_traces"
EXPECTED = {
    "user": {"own": OWNER, "system": READER},
    "member": {"own": OWNER, "team": MEMBER, "system": READER},
    "chief": {"own": OWNER, "team": CHIEF, "system": READER},
    "root": {
        "own": OWNER,
        "other": ROOT,
        "team": f"{ROOT} evolve read_team manage_members",
        "foreign": f"{ROOT} evolve read_team manage_members",
        "system": f"{ROOT} chat promote read_traces evolve",
        "instance": "manage_members manage_keys oversee",
    },
    "team-cron": {"team": f"{CRON} read_team", "system": ANY_CRON},
    "system-cron": {
        "team": f"{CRON} read_team",
        "foreign": f"{CRON} read_team",
        "system": f"{CRON} promote",
    },
}


def everything() -> Iterator[tuple[str, str, Verb]]:
    return itertools.product(ACTORS, PLACES, Verb)


def test_the_table_has_a_row_for_every_verb() -> None:
    assert set(TABLE) == set(Verb)


@pytest.mark.parametrize(("who", "place"), list(itertools.product(ACTORS, PLACES)))
def test_who_may_do_what_to_which_volume(who: str, place: str) -> None:
    found = {verb for verb in Verb if allowed(ACTORS[who], verb, PLACES[place])}
    assert found == {Verb(word) for word in EXPECTED[who].get(place, "").split()}


def test_every_scope_is_needed_for_exactly_what_it_is_for() -> None:
    for who, place, verb in everything():
        actor, ref = ACTORS[who], PLACES[place]
        if not allowed(actor, verb, ref):
            continue
        for scope in actor.scopes:
            without = Actor(actor.user_id, actor.role, actor.teams, actor.scopes - {scope}, service=actor.service)
            if scope in TABLE[verb].scopes:
                assert not allowed(without, verb, ref), (who, place, verb, scope)
            elif (who, scope) != ("root", Scope.ADMIN):  # who then is no admin
                assert allowed(without, verb, ref), (who, place, verb, scope)


def test_an_admin_without_the_scope_is_a_plain_user() -> None:
    plain = Actor("alice", role=Role.SYSTEM_ADMIN, scopes=EVERYTHING - {Scope.ADMIN})
    for place, verb in itertools.product(PLACES, Verb):
        assert allowed(plain, verb, PLACES[place]) == allowed(ACTORS["user"], verb, PLACES[place])


def test_whom_a_front_end_names_may_chat_and_nothing_else() -> None:
    for who, place, verb in everything():
        actor = ACTORS[who]
        named = Actor(actor.user_id, actor.role, actor.teams, EVERYTHING, delegated=True)
        if verb not in DELEGATED:
            assert not allowed(named, verb, PLACES[place])
            with pytest.raises(Forbidden) as caught:
                permit(named, verb, PLACES[place])
            assert caught.value.code == "delegate.refused"
        assert not may_administer(named, OWN)


def test_a_refusal_tells_nobody_what_there_is() -> None:
    for who, place, verb in everything():
        actor, ref = ACTORS[who], PLACES[place]
        if allowed(actor, verb, ref):
            permit(actor, verb, ref)
            continue
        with pytest.raises((Forbidden, NotFound)) as caught:
            permit(actor, verb, ref)
        lacks = not TABLE[verb].scopes <= actor.scopes
        known = ref is None or bool(EXPECTED[who].get(place))
        code = "scope.missing" if lacks else "role.missing" if known else "volume.unknown"
        assert caught.value.code == code, (who, place, verb)


def test_the_volume_says_no_by_itself_where_the_table_does() -> None:
    """Neither lock lets in whom the other one keeps out, but for what the platform does in between."""
    writes = {Verb.WRITE_SKILLS, Verb.ADMINISTER, Verb.REVIEW, Verb.GIT_PUSH, Verb.EXPORT}
    reads = {Verb.READ_SKILLS, Verb.READ_TRACES, Verb.INSPECT_TRACES, Verb.GIT_FETCH, Verb.GIT_TRACES, *writes}
    for who, place, verb in everything():
        actor, ref = ACTORS[who], PLACES[place]
        if ref is None or not allowed(actor, verb, ref):
            continue
        opens = access(actor.principal_for(ref), ref)
        assert opens is Access.WRITE or verb not in writes, (who, place, verb)
        assert opens is not Access.NONE or verb not in reads, (who, place, verb)
    strangers = [ACTORS[who].principal_for(ref) for who in ("user", "member", "chief") for ref in (OTHER, FOREIGN)]
    assert {access(one, ref) for one, ref in itertools.product(strangers, (OTHER, FOREIGN))} == {Access.NONE}


def test_an_actor_is_a_principal_of_its_kind() -> None:
    kinds = {who: (actor.principal.kind, actor.principal_for(TEAM).kind) for who, actor in ACTORS.items()}
    user = PrincipalKind.USER
    assert kinds == {
        "user": (user, user),
        "member": (user, user),
        "chief": (user, PrincipalKind.TEAM_ADMIN),
        "root": (user, PrincipalKind.SYSTEM_ADMIN),
        "team-cron": (PrincipalKind.TEAM_CRON, PrincipalKind.TEAM_CRON),
        "system-cron": (PrincipalKind.SYSTEM_CRON, PrincipalKind.SYSTEM_CRON),
    }
    assert ACTORS["chief"].principal_for(FOREIGN).kind is user
    assert (ACTORS["team-cron"].volume, ACTORS["user"].volume) == (TEAM, OWN)


def test_the_older_questions_ask_the_same_table() -> None:
    for who, (place, ref) in itertools.product(ACTORS, PLACES.items()):
        if ref is not None:
            assert may_administer(ACTORS[who], ref) == ("administer" in EXPECTED[who].get(place, "").split())
    require_admin(ACTORS["root"])
    for who in set(ACTORS) - {"root"}:
        with pytest.raises(Forbidden):
            require_admin(ACTORS[who])
    require_member(ACTORS["member"], TEAM)
    require_member(ACTORS["user"], SYSTEM)
    with pytest.raises(NotFound):
        require_member(ACTORS["member"], FOREIGN)


def test_the_docs_show_the_table_as_it_is() -> None:
    page = Path(__file__).parents[3] / "docs" / "accounts.md"
    assert f"```text\n{permissions._TABLE.strip()}\n```" in page.read_text(encoding="utf-8")
