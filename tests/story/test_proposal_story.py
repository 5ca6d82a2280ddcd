"""A proposal with stock git on one side and the API on the other: refused, conflicting, resolved, approved, merged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from git_server import Git, Host, hosting, skill

from llmos_lite.core.accounts.permissions import Role
from llmos_lite.settings import Settings

MAIN = "skills/runbook/SKILL.md"
TO_REVIEW = "HEAD:refs/for/main"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data = tmp_path_factory.mktemp("proposals") / "data"
    with hosting(Settings(data=data, llm_provider="offline")) as host:
        host.run(_team(host))
        yield host


async def _team(host: Host) -> None:
    accounts = host.services.accounts
    admin = await accounts.authenticate(host.key)
    await accounts.create_team(admin, "sre")
    for user in ("member", "other"):
        await accounts.ensure(user)
        await accounts.set_member(admin, "sre", user)
    for user in ("chief", "deputy"):
        await accounts.ensure(user)
        await accounts.set_member(admin, "sre", user, Role.TEAM_ADMIN)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


def ask(host: Host, user: str, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    status, answer = host.ask(user, method, path, body)
    assert status < 300, answer
    return answer


def test_from_a_push_over_a_conflict_to_a_signed_merge(host: Host, git: Git) -> None:
    ask(host, "chief", "PUT", "/volumes/policy", {"volume": "team:sre", "review": "required"})
    theirs = git.clone(host.url("teams/sre.git", "chief"), "chief")
    git.commit(theirs, {MAIN: skill("runbook", "# Steps\n\n1. Look.\n")}, "A runbook")
    git(theirs, "push", "-q")

    clone = git.clone(host.url("teams/sre.git", "member"), "member")
    git.commit(clone, {MAIN: skill("runbook", "# Steps\n\n1. Look twice.\n")}, "Look twice")
    git(clone, "push", "-q", "origin", TO_REVIEW)
    (row,) = ask(host, "member", "GET", "/proposals?state=open")["items"]
    path = f"/proposals/{row['proposal_id']}"
    first = ask(host, "chief", "POST", f"{path}/reviews", {"verdict": "approve"})
    assert first["review"] == "approved"

    # main moves elsewhere: the approval stays; then in the same file: a conflict
    git.commit(theirs, {"skills/other/SKILL.md": skill("other")}, "Another skill")
    git(theirs, "push", "-q")
    assert ask(host, "member", "GET", path)["reviews"][0]["valid"]
    git(clone, "pull", "-q", "--rebase")
    git(clone, "push", "-q", "origin", TO_REVIEW)
    rebased = ask(host, "member", "GET", path)
    assert (rebased["digest"], rebased["reviews"][0]["valid"]) == (first["digest"], True)
    git.commit(theirs, {MAIN: skill("runbook", "# Steps\n\n1. Look, then think.\n")}, "Think")
    git(theirs, "push", "-q")
    (conflict,) = ask(host, "member", "GET", path)["conflicts"]
    assert ("then think" in conflict["ours"], "Look twice" in conflict["theirs"]) == (True, True)
    assert host.ask("chief", "POST", f"{path}/merge")[1]["code"] == "proposal.conflict"

    # the member resolves it with stock git, and pushes again
    git(clone, "fetch", "-q")
    git.fails(clone, "merge", "-q", "origin/main")
    git.commit(clone, {MAIN: skill("runbook", "# Steps\n\n1. Look twice, then think.\n")}, "Look twice, then think")
    git(clone, "push", "-q", "origin", TO_REVIEW)
    resolved = ask(host, "deputy", "GET", path)
    assert (resolved["conflict"], resolved["reviews"][0]["valid"], resolved["state"]) == (False, False, "open")
    assert host.ask("deputy", "POST", f"{path}/merge")[1]["code"] == "proposal.approval_fallen"
    ask(host, "chief", "POST", f"{path}/reviews", {"verdict": "approve", "digest": resolved["digest"]})
    merged = ask(host, "deputy", "POST", f"{path}/merge")
    assert merged["timeline"][-1]["approved_by"] == ["chief", "deputy"]

    git(clone, "pull", "-q", "--no-rebase")
    assert git(clone, "rev-parse", "HEAD") == merged["commit"]
    told = git(clone, "log", "-1", "--format=%an/%cn%n%(trailers:unfold)").split("\n")
    assert told[0] == "member/llmos-lite"
    assert told[1:5] == [
        f"Proposal: {row['proposal_id']}", "Approved-By: chief", "Approved-By: deputy", "Merged-By: deputy",
    ]  # fmt: skip
    assert "Look twice, then think." in (host.folder("teams/sre") / MAIN).read_text()
    if shutil.which("ssh-keygen"):
        signers = f"gpg.ssh.allowedSignersFile={host.settings.data / 'allowed_signers'}"
        shown = git(clone, "-c", signers, "log", "-1", "--show-signature", "--format=%G?")
        assert 'Good "git" signature for llmos@localhost' in shown

    # and Git alone says all of it again
    rows = ask(host, "admin", "GET", "/proposals")["items"]
    ask(host, "admin", "POST", "/reindex")
    assert ask(host, "admin", "GET", "/proposals")["items"] == rows
    whole = ask(host, "member", "GET", path)
    kinds = [event["kind"] for event in whole["timeline"]]
    assert kinds == ["opened", "approved", "renewed", "renewed", "approved", "merged"]


def test_what_is_said_about_proposals_is_neither_cloned_nor_pushed(host: Host, git: Git) -> None:
    ask(host, "member", "POST", "/skills", {"skill_id": "mine", "description": "Mine.", "content": "# Mine\n"})
    body = {"skill_id": "mine", "team_id": "sre", "reason": "Useful"}
    number = ask(host, "member", "POST", "/skills/promote", body)["proposal_id"]
    ask(host, "other", "POST", f"/proposals/{number}/comments", {"text": "Between us."})
    events = git(host.folder("teams/sre"), "rev-parse", "refs/llmos/proposals")

    for user in ("chief", "member", "admin"):
        listed = git(git.home, "ls-remote", host.url("teams/sre.git", user))
        assert "llmos" not in listed
        assert events not in listed
    clone = git.clone(host.url("teams/sre.git", "chief"), "chief", "--mirror")
    assert events not in git(clone, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    assert "couldn't find remote ref" in git.fails(clone, "fetch", "origin", "refs/llmos/proposals")
    work = git.clone(host.url("teams/sre.git", "chief"), "work")
    git.commit(work, {"memory/x.md": "X"})
    for ref in ("refs/llmos/proposals", "refs/heads/pr/member/mine"):
        assert "rejected" in git.fails(work, "push", "origin", f"HEAD:{ref}")
    git(host.folder("teams/sre"), "fsck", "--strict")
    assert git(host.folder("teams/sre"), "rev-parse", "refs/llmos/proposals") == events
    authors = git(host.folder("teams/sre"), "log", "-2", "--format=%an", "refs/llmos/proposals").split()
    assert authors == ["other", "member"]
