"""Who may clone and push what, and proposals that are pushed."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from git_server import LONGEST, Git, Host, hosting, skill

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role, Scope
from llmos_lite.core.accounts.sessions import Where
from llmos_lite.core.traces.trace import make_ulid
from llmos_lite.errors import Forbidden
from llmos_lite.settings import Settings

POLICY = '{"volume": "team:sre", "format": 1, "policy": {"review": "%s"}}'


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data = tmp_path_factory.mktemp("git-access") / "data"
    with hosting(Settings(data=data, llm_provider="offline", fold_seconds=0.1)) as host:
        host.run(_team(host))
        yield host


async def _team(host: Host) -> None:
    accounts = host.services.accounts
    admin = await accounts.authenticate(host.key)
    await accounts.create_team(admin, "sre")
    for user in ("member", "colleague", "other"):
        await accounts.ensure(user)
        await accounts.set_member(admin, "sre", user)
    await accounts.ensure("chief")
    await accounts.set_member(admin, "sre", "chief", Role.TEAM_ADMIN)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


def get(host: Host, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=LONGEST)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        answer = dict(response.getheaders()), response.read().decode("utf-8", "replace")
    finally:
        connection.close()
    return response.status, {name.lower(): value for name, value in answer[0].items()}, answer[1]


def basic(user: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode()


def proposals(host: Host, user: str) -> list[dict[str, str]]:
    """Return somebody's own proposals that are open."""
    items = host.ask(user, "GET", "/proposals?state=open&limit=500")[1]["items"]
    return [item for item in items if item["author"] == user]


REFS = "/info/refs?service=git-upload-pack"


# Credentials


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !", "Basic eA==", "Basic eDo=", "Basic /w==", "Basic eDp3cm9uZw=="]
)
@pytest.mark.parametrize("address", ["system.git", "users/nobody.git", "../etc", "users/alice/traces.git"])
def test_without_a_key_nothing_is_learned(host: Host, address: str, header: str) -> None:
    status, headers, text = get(host, f"/git/{address}{REFS}", **({"Authorization": header} if header else {}))
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="llmos", charset="UTF-8"')
    assert headers["content-type"].startswith("text/plain")
    assert "Give your API key as the password." in text


def test_basic_is_asked_for_on_these_routes_only(host: Host) -> None:
    assert get(host, "/skills")[1]["www-authenticate"].startswith("Bearer")
    assert get(host, "/skills", Authorization=basic("x", host.key))[0] == 401


def test_a_session_of_a_browser_is_no_credential(host: Host) -> None:
    account = host.run(host.services.accounts.ensure("admin"))
    session = host.run(host.services.entrance.web(account, "link", Where()))
    assert get(host, "/me", Cookie=f"llmos_session={session}")[0] != 401
    assert get(host, f"/git/system.git{REFS}", Cookie=f"llmos_session={session}")[0] == 401


def test_a_key_in_the_headers_of_the_api_works_too(host: Host, git: Git) -> None:
    address = f"http://127.0.0.1:{host.port}/git/users/alice.git"
    git(git.home, "-c", f"http.extraHeader=X-API-Key: {host.key}", "-c", "http.extraHeader=X-LLMOS-User: alice",
        "clone", "-q", address, "clone")  # fmt: skip
    assert get(host, f"/git/users/bob.git{REFS}", X_API_Key=host.key, X_LLMOS_User="alice")[0] == 404


@pytest.mark.parametrize("user", ["", "x", "git", "admin"])
def test_a_user_name_that_names_nobody_is_the_key_itself(host: Host, user: str) -> None:
    assert get(host, f"/git/users/admin.git{REFS}", Authorization=basic(user, host.key))[0] == 200


def test_a_wrong_key_is_refused_with_a_sentence(host: Host, git: Git) -> None:
    complaint = git.fails(git.home, "clone", host.url("system.git", "alice", "wrong"), "clone")
    assert "remote: This key is not known here." in complaint
    assert "Authentication failed" in complaint


# The table


def test_strangers_cannot_tell_what_there_is(host: Host, git: Git) -> None:
    git.clone(host.url("users/alice.git", "alice"), "alice")
    answers = {
        get(host, f"/git/{address}{REFS}", Authorization=basic("stranger", host.key))[2].replace(name, "…")
        for address, name in (
            ("users/alice.git", "user:alice"), ("users/nobody.git", "user:nobody"), ("teams/sre.git", "team:sre"),
            ("teams/none.git", "team:none"), ("users/alice/traces.git", "user:alice"),
        )
    }  # fmt: skip
    assert answers == {"There is no volume … that you may see.\n"}
    complaint = git.fails(git.home, "clone", host.url("users/alice.git", "stranger"), "clone")
    assert "not found" in complaint
    assert not host.folder("users/nobody").exists()
    assert not host.folder("teams/none").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/git/users/../../keys.git", "/git/users/..%2f..%2fkeys.git", "/git/users/alice.git/../../system.git",
        "/git//etc/passwd", "/git/users/alice%00.git", "/git/users/Alice.git", "/git/users/alice.git%0a",
        "/git/users/-c.git", "/git/users/--upload-pack=x.git", "/git/users/alice", "/git/users/alice.git/HEAD",
        "/git/users/alice.git/objects/info/packs", "/git/teams/.git", f"/git/users/{'a' * 65}.git",
        "/git/users/alice.git/traces.git", "/git/system/skills.git", "/git/", "/git/users/alice.git/.git",
    ],
)  # fmt: skip
def test_hostile_paths_lead_nowhere(host: Host, path: str) -> None:
    for end in ("", REFS):
        status, _, text = get(host, path + end, Authorization=basic("alice", host.key))
        assert status == 404, text
    assert {item.name for item in (host.settings.data / "volumes").iterdir()} <= {
        "system",
        "teams",
        "users",
        "llmos.lock",
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "Only git's smart HTTP"),
        ("?service=git-upload-archive", "Only git's smart"),
        ("?service=git-daemon", "Only"),
    ],
)
def test_other_services_are_not_there(host: Host, query: str, said: str) -> None:
    status, _, text = get(host, f"/git/system.git/info/refs{query}", Authorization=basic("alice", host.key))
    assert (status, text.startswith(said)) == (400, True)


def test_a_wrong_method_is_refused(host: Host) -> None:
    status, headers, _ = get(host, "/git/system.git/git-upload-pack", Authorization=basic("alice", host.key))
    assert (status, headers["allow"]) == (405, "POST")


def test_the_admin_clones_and_pushes_what_there_is(host: Host, git: Git) -> None:
    git.clone(host.url("users/carol.git", "carol"), "mine")
    clone = git.clone(host.url("users/carol.git", "admin"), "carol")
    git.commit(clone, {"memory/x.md": "X"})
    git(clone, "push", "-q")
    assert "not found" in git.fails(git.home, "clone", host.url("users/nobody.git", "admin"), "nobody")


def test_a_member_reads_a_team_and_proposes(host: Host, git: Git) -> None:
    clone = git.clone(host.url("teams/sre.git", "member"), "sre")
    git.commit(clone, {"skills/runbook/SKILL.md": skill("runbook")}, "A runbook for everybody")
    complaint = git.fails(clone, "push")
    assert "You may read team:sre, not push to its main" in complaint
    assert "git push origin HEAD:refs/for/main" in complaint

    done = git.run(clone, "push", "origin", "HEAD:refs/for/main")
    assert done.returncode == 0, done.stderr
    assert "HEAD -> pr/member/runbook" in done.stderr
    proposal = host.ask("member", "GET", "/proposals")[1]["items"][0]
    assert f"remote: Proposal {proposal['proposal_id']} to team:sre: A runbook for everybody" in done.stderr
    assert (proposal["author"], proposal["skill_id"], proposal["state"]) == ("member", "runbook", "open")

    status, merged = host.ask("chief", "POST", f"/proposals/{proposal['proposal_id']}/merge")
    assert status == 200, merged
    git(clone, "pull", "-q", "--no-rebase")
    assert host.ask("colleague", "GET", "/skills/runbook?team_id=sre")[0] == 200
    assert git(host.folder("teams/sre"), "log", "-1", "--format=%an", "--", "skills/runbook") == "Someone"


def test_a_second_push_of_the_same_skills_renews_the_proposal(host: Host, git: Git) -> None:
    clone = git.clone(host.url("system.git", "dave"), "system")
    files = {"skills/one/SKILL.md": skill("one"), "skills/two/SKILL.md": skill("two")}
    git.commit(clone, files, "Two skills")
    git(clone, "push", "-q", "origin", "HEAD:refs/for/main")
    (before,) = proposals(host, "dave")
    assert (before["branch"], before["reason"]) == ("pr/dave/one_two", "Two skills")
    (clone / "skills/one/SKILL.md").write_text(skill("one", "Better.\n"))
    git(clone, "commit", "-q", "-a", "--amend", "-m", "Two good skills")
    done = git.run(clone, "push", "origin", "HEAD:refs/for/main")
    assert "(forced update)" in done.stderr
    (after,) = proposals(host, "dave")
    assert after == before | {"reason": "Two good skills", "updated": after["updated"]}
    assert "Better." in host.ask("dave", "GET", f"/proposals/{after['proposal_id']}")[1]["diff"]
    again = git.run(clone, "push", "origin", "HEAD:refs/for/main")
    assert (again.returncode, "forced" in again.stderr) == (0, False)


def test_a_topic_names_a_proposal_and_many_skills_are_named_shortly(host: Host, git: Git) -> None:
    clone = git.clone(host.url("system.git", "erin"), "system")
    names = [f"skill-with-a-long-name-{number}" for number in range(9)]
    git.commit(clone, {f"skills/{name}/SKILL.md": skill(name) for name in names}, "Many")
    git(clone, "push", "-q", "-o", "topic=many", "-o", "other", "origin", "HEAD:refs/for/main")
    git(clone, "push", "-q", "origin", "HEAD:refs/for/main")
    assert "is not a topic id" in git.fails(clone, "push", "-o", "topic=../x", "origin", "HEAD:refs/for/main")
    branches = {one["branch"] for one in proposals(host, "erin")}
    assert len(branches) == 2
    assert "pr/erin/many" in branches
    assert all(len(branch) < 80 for branch in branches)


def test_proposals_are_rebuilt_from_git_as_they_were(host: Host, git: Git) -> None:
    clone = git.clone(host.url("system.git", "frank"), "system")
    git.commit(clone, {"skills/again/SKILL.md": skill("again")}, "Say it again")
    git(clone, "push", "-q", "origin", "HEAD:refs/for/main")
    (before,) = proposals(host, "frank")
    rows = host.services.proposals._rows
    host.run(_forget(rows))
    assert host.run(host.services.proposals.reindex()) >= 1
    assert proposals(host, "frank") == [before]


async def _forget(rows: object) -> None:
    from sqlalchemy import delete  # noqa: PLC0415 - only here

    from llmos_lite.records.proposals import TABLE  # noqa: PLC0415 - as above

    async with rows._database.session() as session:  # type: ignore[attr-defined]
        await session.execute(delete(TABLE))


def test_nothing_to_propose_is_said(host: Host, git: Git) -> None:
    clone = git.clone(host.url("system.git", "gina"), "system")
    assert "There is nothing to propose" in git.fails(clone, "push", "origin", "HEAD:refs/for/main")


def test_a_member_may_not_propose_another_policy(host: Host, git: Git) -> None:
    clone = git.clone(host.url("teams/sre.git", "other"), "sre")
    git.commit(clone, {"metadata.json": POLICY % "required"})
    complaint = git.fails(clone, "push", "origin", "HEAD:refs/for/main")
    assert "metadata.json:1: 'policy' may not be changed: only an admin of the volume" in complaint
    theirs = git.clone(host.url("teams/sre.git", "chief"), "chief")
    git.commit(theirs, {"metadata.json": POLICY % "required"})
    git(theirs, "push", "-q")


def test_only_reviewers_see_what_others_propose(host: Host, git: Git) -> None:
    for user in ("member", "other"):
        clone = git.clone(host.url("teams/sre.git", user), user)
        git.commit(clone, {f"memory/{user}.md": "X"})
        git(clone, "push", "-q", "-o", f"topic=seen-{user}", "origin", "HEAD:refs/for/main")

    def seen(user: str) -> set[str]:
        listed = git(git.home, "ls-remote", host.url("teams/sre.git", user)).split()
        return {ref for ref in listed if "seen-" in ref}

    both = {"refs/heads/pr/member/seen-member", "refs/heads/pr/other/seen-other"}
    assert seen("chief") == seen("admin") == both
    assert seen("member") == {"refs/heads/pr/member/seen-member"}
    assert seen("colleague") == set()


# Traces


def test_traces_are_cloned_and_never_pushed_to(host: Host, git: Git) -> None:
    trace = host.ask("alice", "POST", "/chat", {"message": "How do I clone?"})[1]["trace_id"]
    host.run(host.services.traces.fold())
    clone = git.clone(host.url("users/alice/traces.git", "alice"), "traces")
    (month,) = git(clone, "branch", "-r", "--format=%(refname:lstrip=3)").split()
    git(clone, "checkout", "-q", month)
    assert any(trace in path.read_text() for path in clone.rglob("*.jsonl"))
    git.commit(clone, {"x": "X"})
    for refspec in (month, "HEAD:refs/heads/main", "HEAD:refs/for/main"):
        complaint = git.fails(clone, "push", "origin", refspec)
        assert "remote: Traces are written by chats alone; this repository can be cloned and never" in complaint
    assert "not found" in git.fails(git.home, "clone", host.url("users/alice/traces.git", "bob"), "bob")
    assert make_ulid(0) not in trace


@pytest.mark.parametrize(
    ("missing", "address", "push"),
    [
        (Scope.GIT, "users/alice.git", False),
        (Scope.SKILLS_READ, "users/alice.git", False),
        (Scope.SKILLS_WRITE, "users/alice.git", True),
        (Scope.TRACES_READ, "users/alice/traces.git", False),
    ],
)
def test_a_credential_needs_the_scope(host: Host, missing: Scope, address: str, *, push: bool) -> None:
    actor = Actor("alice", scopes=EVERYTHING - {missing, Scope.ADMIN})
    with pytest.raises(Forbidden) as caught:
        host.run(host.services.repositories.find(actor, address, push=push))
    assert (caught.value.code, caught.value.detail["scope"]) == ("scope.missing", missing.value)


# What is in a repository runs nothing


def test_hooks_and_configuration_of_a_repository_run_nothing(host: Host, git: Git) -> None:
    clone = git.clone(host.url("users/henry.git", "henry"), "henry")
    gitdir, ran = host.folder("users/henry") / ".git", git.home / "ran"
    script = gitdir / "evil"
    script.write_text(f'#!/bin/sh\necho "$0 $*" >> {ran}\n')
    script.chmod(0o755)
    (gitdir / "hooks").mkdir(exist_ok=True)
    for hook in ("pre-receive", "update", "post-receive", "post-update", "proc-receive", "reference-transaction"):
        (gitdir / "hooks" / hook).symlink_to(script)
    with (gitdir / "config").open("a") as config:
        config.write(
            f"[core]\n\tfsmonitor = {script}\n\thooksPath = {gitdir}/hooks\n\talternateRefsCommand = {script}\n"
            f"\tsshCommand = {script}\n\tgitProxy = {script}\n[uploadpack]\n\tpackObjectsHook = {script}\n"
            f'[remote "x"]\n\turl = ext::{script}\n\tpromisor = true\n[gc]\n\tauto = 1\n[receive]\n\tautogc = true\n'
        )
    git.commit(clone, {"skills/x/SKILL.md": skill("x")})
    git(clone, "push", "-q")
    git(git.home, "clone", "-q", host.url("users/henry.git", "henry"), "again")
    assert not ran.exists()


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_what_a_hidden_branch_holds_is_fetched_by_nobody_who_does_not_see_it(
    host: Host, git: Git, version: str
) -> None:
    """Protocol version 2 would give every object away whose id somebody knows."""
    chief, member = git.clone(host.url("teams/sre.git", "chief"), "chief"), host.url("teams/sre.git", "member")
    git.commit(chief, {"memory/plan.md": f"secret {version}\n"})
    git(chief, "push", "-q", "origin", "HEAD:refs/for/main")
    head, blob = (git(chief, "rev-parse", name) for name in ("HEAD", "HEAD:memory/plan.md"))
    seen = git(chief, "rev-parse", "origin/main~0:metadata.json")
    clone = git.clone(member, "clone", "-c", f"protocol.version={version}")
    for oid in (head, blob, f"{head}:"):
        want = oid.rstrip(":") if not oid.endswith(":") else git(chief, "rev-parse", f"{head}^{{tree}}")
        said = git.fails(clone, "-c", f"protocol.version={version}", "fetch", "-q", "origin", want)
        assert "not our ref" in said or "Server does not allow request for unadvertised object" in said
        assert git.run(clone, "cat-file", "-e", want).returncode != 0
    git(chief, "fetch", "-q", "origin", head)
    if version == "2":
        partial = git.clone(member, "partial", "--filter=blob:none", "--no-checkout")
        assert "policy" in git(partial, "cat-file", "-p", seen)
        assert git.run(partial, "cat-file", "-p", blob).returncode != 0


def test_an_old_clone_does_not_bring_back_what_was_scrubbed(host: Host, git: Git) -> None:
    url = host.url("users/scrubbing.git", "scrubbing")
    clone, secret = git.clone(url, "scrubbing"), "sk-live-4242 of the harbour"
    git.commit(clone, {"memory/plan.md": f"{secret}\n"})
    git(clone, "push", "-q")
    assert host.ask("scrubbing", "POST", "/skills/scrub", {"texts": [secret]})[0] == 200
    assert "pull --rebase" in git.fails(clone, "push", "origin", "HEAD:main", "--force")
    git(clone, "fetch", "-q")
    git.run(clone, "reset", "-q", "--soft", "origin/main")
    git.commit(clone, {"memory/other.md": "fine\n"})
    said = git.fails(clone, "push", "-q", "origin", "HEAD:main")
    assert "memory/plan.md: holds what was taken out of this volume's history" in said
    fresh = git.clone(url, "fresh")
    assert secret not in git(fresh, "log", "-p", "--all")
