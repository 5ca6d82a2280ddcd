"""Marketplaces, as stock git gets them: what is in them, how they move, and what they never show."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from git_server import Git, Host, hosting, skill

from llmos_lite.core.git import market_view
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.core.skills.signoffs import REF, SignOff, path_of, write
from llmos_lite.engines.git import Author
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef

MANIFEST = ".claude-plugin/marketplace.json"
FLAT = "---\nname: Flat One\ncategory: coding\n---\n# Flat One\n\nDo it when asked.\n"
RESERVED = {
    "claude-code-marketplace", "claude-code-plugins", "claude-plugins-official", "anthropic-marketplace",
    "anthropic-plugins", "agent-skills", "anthropic-agent-skills", "knowledge-work-plugins", "life-sciences",
}  # fmt: skip
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class Evil:
    def scan(self, skill: Skill) -> Iterable[Finding]:
        return [Finding("test.evil", Severity.HIGH, "It is evil.")] if "evil" in skill.body else []


class Stricter:
    """Newer rules."""

    def scan(self, skill: Skill) -> Iterable[Finding]:
        return [Finding("test.good", Severity.HIGH, "It is too good.")] if "good" in skill.body else []


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosting(Settings(data=tmp_path_factory.mktemp("market") / "data", llm_provider="offline")) as host:
        market = host.services.marketplaces
        market._catalogs = Catalogs(host.services.skills, Guard(host.services.volumes, {"test": Evil()}))
        yield host


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    return f"user-{zlib.crc32(request.node.nodeid.encode()):08x}"


@pytest.fixture
def clone(host: Host, git: Git, user: str) -> Path:
    return git.clone(host.url(f"users/{user}.git", user), "clone")


def push(git: Git, clone: Path, files: dict[str, str | bytes | None], message: str = "Work") -> None:
    git.commit(clone, files, message)
    git(clone, "push", "-q", "origin", "HEAD:main")


def market(host: Host, git: Git, user: str, name: str = "market") -> Path:
    return git.clone(host.url(f"market/users/{user}.git", user), name)


def check(folder: Path) -> dict[str, Any]:
    """Read a marketplace by the published rules, and look whether what it names is there."""
    document: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    assert KEBAB.fullmatch(document["name"])
    assert document["name"] not in RESERVED
    assert document["owner"]["name"]
    for plugin in document["plugins"]:
        assert KEBAB.fullmatch(plugin["name"])
        assert (plugin["source"], plugin["strict"]) == ("./", False)
        for path in plugin["skills"]:
            assert path.startswith("./")
            skill_file = folder / path / "SKILL.md"
            parsed = Skill.parse(Path(path).name, skill_file.read_bytes())
            assert parsed.error is None
            assert f"name: {Path(path).name}\n" in skill_file.read_text()
    assert len({plugin["name"] for plugin in document["plugins"]}) == len(document["plugins"])
    return document


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "skills").iterdir())


def test_a_marketplace_has_what_the_volume_offers(host: Host, git: Git, clone: Path, user: str) -> None:
    script = clone / "skills/good/scripts/run.sh"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    push(git, clone, {"skills/good/SKILL.md": skill("good"), "skills/flat-one.md": FLAT})
    volume = host.services.volumes.open(PLATFORM, VolumeRef.user(user), write=True)
    files = {"broken": b"---\nname: [\n", "evil": skill("evil", "# evil\n").encode()}
    changes = {f"skills/{name}/SKILL.md": data for name, data in files.items()}
    volume.store.commit(changes, "By hand", Author(user, "x@localhost"))
    git(clone, "pull", "-q")
    folder = market(host, git, user)
    document = check(folder)
    assert document["name"] == f"llmos-user-{user}"
    assert document["plugins"][0]["skills"] == ["./skills/flat-one", "./skills/good"]
    assert names(folder) == ["flat-one", "good"]
    assert (folder / "skills/good/scripts/run.sh").stat().st_mode & 0o100
    assert sorted(path.name for path in folder.iterdir()) == [".claude-plugin", ".git", "skills"]
    assert git(folder, "rev-parse", "HEAD:skills/good") == git(clone, "rev-parse", "HEAD:skills/good")
    assert git(folder, "log", "-1", "--format=%(trailers:key=Source-Commit,valueonly)").strip() == git(
        clone, "rev-parse", "HEAD~1"
    )
    git(folder, "fsck", "--strict")


def test_a_sign_off_and_a_newer_rule_move_it_forward(host: Host, git: Git, user: str) -> None:
    volume = host.services.volumes.open(PLATFORM, VolumeRef.user(user), write=True)
    changes = {f"skills/{name}/SKILL.md": skill(name, f"# {name}\n").encode() for name in ("good", "evil", "plain")}
    volume.store.commit(changes, "By hand", Author(user, "x@localhost"))
    folder = market(host, git, user)
    assert names(folder) == ["good", "plain"]
    entry = volume.skill_entry("evil")
    assert entry is not None
    write(volume, SignOff(digest=entry.version, skill_id="evil", by=user, at=1))
    git(folder, "pull", "-q", "--ff-only")
    assert names(folder) == ["evil", "good", "plain"]
    assert check(folder)["plugins"][0]["skills"] == ["./skills/evil", "./skills/good", "./skills/plain"]
    views, before = host.services.marketplaces, host.services.marketplaces._catalogs
    try:
        views._catalogs = Catalogs(host.services.skills, Guard(host.services.volumes, {"newer": Stricter()}))
        git(folder, "pull", "-q", "--ff-only")
        assert names(folder) == ["evil", "plain"]
    finally:
        views._catalogs = before
    with volume.notes.lock():
        volume.notes.commit({path_of(entry.version): None}, "Take it back", Author(user, "x@localhost"), branch=REF)
    git(folder, "pull", "-q", "--ff-only")
    assert names(folder) == ["good", "plain"]
    git(folder, "fsck", "--strict")


def test_of_a_long_history_the_last_commits_are_shown(
    host: Host, git: Git, clone: Path, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(market_view, "MOST_COMMITS", 5)

    def grow(first: int) -> None:
        for number in range(first, first + 12):
            git.commit(clone, {f"skills/s{number}/SKILL.md": skill(f"s{number}")}, f"Number {number}")
        git(clone, "push", "-q", "origin", "HEAD:main")

    grow(0)
    folder = market(host, git, user)
    assert (len(names(folder)), git(folder, "log", "-1", "--format=%s").strip()) == (12, "Number 11")
    assert len(git(folder, "log", "--format=%h").split()) == 5
    grow(12)
    git(folder, "pull", "-q", "--ff-only")
    assert (len(names(folder)), len(git(folder, "log", "--format=%h").split())) == (24, 10)


def test_a_fetch_after_a_change_moves_forward(host: Host, git: Git, clone: Path, user: str) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one")})
    folder = market(host, git, user)
    push(git, clone, {"skills/two/SKILL.md": skill("two"), "skills/one/SKILL.md": skill("one", "# New\n")})
    git(folder, "pull", "-q", "--ff-only")
    assert names(folder) == ["one", "two"]
    assert "# New" in (folder / "skills/one/SKILL.md").read_text()
    push(git, clone, {"skills/two/SKILL.md": None})
    git(folder, "pull", "-q", "--ff-only")
    assert names(folder) == ["one"]
    before = git(folder, "rev-parse", "HEAD")
    push(git, clone, {"memory/note.md": "Nothing about skills.\n"})
    git(folder, "pull", "-q", "--ff-only")
    assert git(folder, "rev-parse", "HEAD") == before


def test_a_merge_in_the_other_order_moves_forward_too(host: Host, git: Git, clone: Path, user: str) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one")})
    git(clone, "checkout", "-q", "-b", "side")
    git.commit(clone, {"skills/two/SKILL.md": skill("two")})
    git(clone, "checkout", "-q", "-")
    push(git, clone, {"skills/three/SKILL.md": skill("three")})
    folder = market(host, git, user)
    git(clone, "checkout", "-q", "side")
    git(clone, "merge", "-q", "--no-edit", "main")  # main is now the second parent
    git(clone, "push", "-q", "origin", "HEAD:main")
    git(folder, "pull", "-q", "--ff-only")
    assert names(folder) == ["one", "three", "two"]
    check(folder)


def test_the_same_main_gives_the_same_ids(host: Host, git: Git, clone: Path, user: str) -> None:
    for number in range(4):
        push(git, clone, {f"skills/skill-{number}/SKILL.md": skill(f"skill-{number}"), "memory/x.md": f"{number}\n"})
        if number == 1:
            market(host, git, user, "early")
    first = market(host, git, user)
    shutil.rmtree(host.settings.data / f"market/users/{user}.git")
    second = market(host, git, user, "again")
    assert git(first, "rev-parse", "HEAD") == git(second, "rev-parse", "HEAD")
    assert int(git(first, "rev-list", "--count", "HEAD")) == 5
    assert len(list((host.settings.data / f"market/users/{user}.git/objects/pack").glob("*.pack"))) == 1


def test_a_broken_view_is_made_anew(host: Host, git: Git, clone: Path, user: str) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one")})
    first = git(market(host, git, user), "rev-parse", "HEAD")
    view = host.settings.data / f"market/users/{user}.git"
    shutil.rmtree(view / "objects")
    host.services.marketplaces._at.clear()
    push(git, clone, {"skills/two/SKILL.md": skill("two")})
    folder = market(host, git, user, "again")
    assert names(folder) == ["one", "two"]
    assert git(folder, "rev-parse", "HEAD~1") == first


def test_nobody_pushes_to_it(host: Host, git: Git, clone: Path, user: str) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one")})
    folder = market(host, git, user)
    git.commit(folder, {"skills/two/SKILL.md": skill("two")})
    said = git.fails(folder, "push", "origin", "HEAD:main")
    assert "cannot be pushed to" in said
    assert f"/git/users/{user}.git" in said


def test_what_was_scrubbed_is_gone_from_it(host: Host, git: Git, clone: Path, user: str) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one", "# One\n\nThe word is xyzzy-plugh.\n")})
    push(git, clone, {"skills/one/SKILL.md": skill("one", "# One\n\nNo word.\n")})
    folder = market(host, git, user)
    old = git(folder, "rev-parse", "HEAD~1:skills/one/SKILL.md")
    status, said = host.ask(
        "admin", "POST", "/skills/scrub", {"volume": f"user:{user}", "texts": ["xyzzy-plugh"], "reason": "Secret"}
    )
    assert status == 200, said
    again = market(host, git, user, "again")
    assert "xyzzy" not in git(again, "log", "-p")
    view = host.settings.data / f"market/users/{user}.git"
    assert git.run(view, "cat-file", "-e", old).returncode != 0


def test_it_shows_nothing_that_is_not_in_main(host: Host, git: Git, clone: Path, user: str) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one"), "memory/private.md": "For me.\n"})
    git(clone, "checkout", "-q", "-b", "draft")
    git.commit(clone, {"skills/draft/SKILL.md": skill("draft")})
    git(clone, "push", "-q", "origin", "HEAD:refs/for/main")
    folder = market(host, git, user)
    url = host.url(f"market/users/{user}.git", user)
    assert git(folder, "ls-remote", url).split() == [git(folder, "rev-parse", "HEAD"), "HEAD",
                                                     git(folder, "rev-parse", "HEAD"), "refs/heads/main"]  # fmt: skip
    for oid in (git(clone, "rev-parse", "draft"), git(clone, "rev-parse", "main:memory/private.md")):
        assert git.fails(folder, "fetch", url, oid)
    own = git(clone, "ls-remote", "origin")
    assert "market" not in own


def test_only_readers_of_the_volume_get_it(host: Host, git: Git, clone: Path, user: str, tmp_path: Path) -> None:
    push(git, clone, {"skills/one/SKILL.md": skill("one")})
    market(host, git, user)
    for address in (f"market/users/{user}.git", "market/teams/none.git", f"market/users/{user}/traces.git",
                    "market/market/system.git", "market/../users/x.git", "market/.git"):  # fmt: skip
        said = git.fails(tmp_path, "clone", "-q", host.url(address, "stranger"), "stolen")
        assert "not found" in said or "no such" in said.lower() or "There is no" in said, said
    git.clone(host.url("market/system.git", "stranger"), "system")
    check(tmp_path / "system")
    key = host.ask(user, "POST", "/keys", {"name": "x", "purpose": "catalog"})[1]["key"]
    assert git.fails(tmp_path, "clone", "-q", host.url(f"market/users/{user}.git", "x", key), "by-token")


def test_an_empty_volume_has_an_empty_marketplace(host: Host, git: Git, user: str) -> None:
    host.ask(user, "GET", "/me")
    folder = market(host, git, user)
    assert check(folder)["plugins"] == []


def test_a_team_has_one(host: Host, git: Git) -> None:
    host.ask("admin", "POST", "/teams", {"team_id": "market-team"})
    host.ask("admin", "POST", "/users", {"user_id": "member"})
    host.ask("admin", "POST", "/teams/market-team/members", {"user_id": "member"})
    host.ask("admin", "POST", "/skills", {"skill_id": "ours", "volume": "team:market-team", "description": "Ours.",
                                          "content": "# Ours\n\nDo it.\n"})  # fmt: skip
    folder = git.clone(host.url("market/teams/market-team.git", "member"), "team")
    assert check(folder)["plugins"][0]["name"] == "market-team-skills"
    assert names(folder) == ["ours"]
    assert [path.stat().st_mode & 0o077 for path in (host.settings.data / "market", host.settings.data)] == [0, 0]
    assert host.services.marketplaces.refresh(VolumeRef.team("market-team")).name == "market-team.git"
