"""Stock git against a real server: clone, fetch, push, what is refused and how it is said."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from git_server import Git, Host, hosting, skill

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scan import Finding, Severity
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef

POLICY = '{"volume": "%s", "format": 1, "policy": {"review": "%s"}}'


class NoPasswords:
    def scan(self, skill: Skill) -> Iterable[Finding]:
        for number, line in enumerate(skill.body.splitlines(), 5):
            if "hunter2" in line:
                yield Finding("secret.password", Severity.HIGH, "There is a password in it.", number)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data = tmp_path_factory.mktemp("git-http") / "data"
    with hosting(Settings(data=data, llm_provider="offline")) as host:
        host.services.pushes.scanners = {"passwords": NoPasswords()}
        yield host


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path)


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """Return somebody who is in no other test."""
    digest = zlib.crc32(request.node.nodeid.encode())
    return f"user-{digest:08x}"


@pytest.fixture
def clone(host: Host, git: Git, user: str) -> Path:
    return git.clone(host.url(f"users/{user}.git", user), "clone")


# Clone, fetch, push


def test_a_volume_is_cloned_changed_and_pushed(host: Host, git: Git, clone: Path, user: str) -> None:
    status, _ = host.ask(
        user, "POST", "/skills", {"skill_id": "first", "name": "First", "content": "# First\n\nDo it."}
    )
    assert status == 201
    git(clone, "pull", "-q")
    assert (clone / "skills/first/SKILL.md").is_file()
    git(clone, "-c", f"gpg.ssh.allowedSignersFile={host.settings.data}/allowed_signers", "verify-commit", "HEAD")

    pushed = git.commit(clone, {"skills/second/SKILL.md": skill("second"), "skills/second/notes.txt": "Notes"})
    git(clone, "push", "-q")

    folder = host.folder(f"users/{user}")
    assert git(folder, "rev-parse", "main") == pushed
    assert git(folder, "status", "--porcelain") == ""
    assert (folder / "skills/second/notes.txt").read_text() == "Notes"
    assert host.ask(user, "GET", "/skills/second")[1]["description"] == "How to do second."
    git(folder, "fsck", "--strict")


def test_nothing_is_added_to_what_was_pushed(host: Host, git: Git, clone: Path, user: str) -> None:
    before = git(clone, "rev-list", "--count", "HEAD")
    git.commit(clone, {"memory/notes.md": "One"})
    git.commit(clone, {"memory/notes.md": "Two"})
    git(clone, "push", "-q")
    assert git(host.folder(f"users/{user}"), "rev-list", "--count", "main") == str(int(before) + 2)


def test_a_push_on_an_old_head_is_refused_until_it_is_rebased(host: Host, git: Git, clone: Path, user: str) -> None:
    other = git.clone(host.url(f"users/{user}.git", user), "other")
    git.commit(clone, {"skills/one/SKILL.md": skill("one")})
    git(clone, "push", "-q")
    git.commit(other, {"skills/two/SKILL.md": skill("two")})
    assert "fetch first" in git.fails(other, "push")
    assert "main only goes forward" in git.fails(other, "push", "--force")
    git(other, "pull", "-q", "--rebase")
    git(other, "push", "-q")
    names = {path.name for path in (host.folder(f"users/{user}") / "skills").iterdir()}
    assert names == {"one", "two"}


def test_history_is_never_dropped(host: Host, git: Git, clone: Path, user: str) -> None:
    head = git.commit(clone, {"skills/one/SKILL.md": skill("one")})
    git(clone, "push", "-q")
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    git.commit(clone, {"skills/two/SKILL.md": skill("two")})
    assert "remote: refs/heads/main: main only goes forward" in git.fails(clone, "push", "--force")
    git(clone, "checkout", "-q", "--orphan", "fresh")
    git.commit(clone, {"skills/three/SKILL.md": skill("three")})
    assert "shares no history with main" in git.fails(clone, "push", "--force", "origin", "fresh:main")
    assert git(host.folder(f"users/{user}"), "rev-parse", "main") == head


@pytest.mark.parametrize(
    ("refspec", "said"),
    [
        (":main", "refs/heads/main: cannot be deleted"),
        ("HEAD:refs/heads/feature", "refs/heads/feature: only main takes a push"),
        ("HEAD:refs/tags/v1", "refs/tags/v1: only main takes a push"),
        ("HEAD:refs/notes/lifecycle", "refs/notes/lifecycle: only main takes a push"),
        ("HEAD:refs/heads/main/below", "only main takes a push"),
        ("HEAD:refs/for/other", "refs/for/other: only main takes a push"),
        ("HEAD^{tree}:refs/heads/main", ""),
    ],
)
def test_only_main_takes_a_push(git: Git, clone: Path, refspec: str, said: str) -> None:
    git.commit(clone, {"memory/notes.md": "One"})
    before = git(clone, "ls-remote", "origin")
    assert said in git.fails(clone, "push", "origin", refspec)
    assert git(clone, "ls-remote", "origin") == before


def test_a_tag_is_no_commit(git: Git, clone: Path) -> None:
    git.commit(clone, {"memory/notes.md": "One"})
    git(clone, "tag", "-a", "-m", "Tag", "v1")
    assert "is no commit" in git.fails(clone, "push", "origin", "v1:refs/for/main")


def test_one_bad_ref_refuses_the_whole_push(host: Host, git: Git, clone: Path, user: str) -> None:
    before = git(host.folder(f"users/{user}"), "rev-parse", "main")
    git.commit(clone, {"memory/notes.md": "One"})
    git.fails(clone, "push", "origin", "HEAD:main", "HEAD:refs/heads/feature")
    assert git(host.folder(f"users/{user}"), "rev-parse", "main") == before


def test_shallow_and_partial_clones_work_and_push(host: Host, git: Git, clone: Path, user: str) -> None:
    for name in ("one", "two", "three"):
        git.commit(clone, {f"skills/{name}/SKILL.md": skill(name)})
    git(clone, "push", "-q")
    url = host.url(f"users/{user}.git", user)
    shallow = git.clone(url, "shallow", "--depth=1")
    assert git(shallow, "rev-list", "--count", "HEAD") == "1"
    git.commit(shallow, {"skills/four/SKILL.md": skill("four")})
    git(shallow, "push", "-q")
    partial = git.clone(url, "partial", "--filter=blob:none", "--no-checkout")
    missing = git(partial, "rev-list", "--objects", "--missing=print", "HEAD")
    assert "?" in missing
    git(partial, "checkout", "-q", "main")
    assert (partial / "skills/four/SKILL.md").read_text() == skill("four")
    git.commit(partial, {"skills/five/SKILL.md": skill("five")})
    git(partial, "push", "-q")
    assert (host.folder(f"users/{user}") / "skills/five/SKILL.md").is_file()


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_every_version_of_the_protocol_is_spoken(host: Host, git: Git, user: str, version: str) -> None:
    url = host.url(f"users/{user}.git", user)
    git(git.home, "-c", f"protocol.version={version}", "clone", "-q", url, "clone")
    git.commit(git.home / "clone", {"memory/notes.md": "One"})
    git(git.home / "clone", "-c", f"protocol.version={version}", "push", "-q")


def test_edits_by_hand_come_before_a_push(host: Host, git: Git, clone: Path, user: str) -> None:
    folder, path = host.folder(f"users/{user}"), "skills/shared/SKILL.md"
    git.commit(clone, {path: skill("shared", "One\n\nTwo\n\nThree\n")})
    git(clone, "push", "-q")
    (folder / path).write_text(skill("shared", "One\n\nTwo\n\nThree, by hand\n"))
    (folder / "skills/dropped.md").write_text(skill("dropped"))
    git.commit(clone, {path: skill("shared", "One, pushed\n\nTwo\n\nThree\n")})
    assert re.search("fetch first|pull --rebase", git.fails(clone, "push"))
    for _ in range(3):  # the two edits may be found one after the other, each by a commit of its own
        git(clone, "pull", "-q", "--rebase")
        if git.run(clone, "push", "-q").returncode == 0:
            break
    assert (folder / path).read_text() == skill("shared", "One, pushed\n\nTwo\n\nThree, by hand\n")
    assert (folder / "skills/dropped.md").read_text() == skill("dropped")


# What is refused, with file and line

BAD = {
    "no front matter": (
        {"skills/x/SKILL.md": "# X\n\nDo it.\n"},
        "skills/x/SKILL.md:1: It does not begin with front matter",
    ),
    "another name": (
        {"skills/x/SKILL.md": "---\ndescription: D.\nname: y\n---\nX\n"},
        "skills/x/SKILL.md:3: The name is 'y'; it has to be 'x', as the folder.",
    ),
    "no name": (
        {"skills/x/SKILL.md": "---\ndescription: D.\n---\nX\n"},
        "skills/x/SKILL.md:1: The front matter has no",
    ),
    "no description": (
        {"skills/x/SKILL.md": "---\nname: x\ndescription:\n---\nX\n"},
        "skills/x/SKILL.md:3: The front matter has no description.",
    ),
    "long description": (
        {"skills/x/SKILL.md": f"---\nname: x\ndescription: {'d' * 1025}\n---\nX\n"},
        "skills/x/SKILL.md:3: The description has 1025 characters",
    ),
    "broken yaml": (
        {"skills/x/SKILL.md": "---\nname: x\ndescription: [a\n---\nX\n"},
        "skills/x/SKILL.md:",
    ),
    "never closed": (
        {"skills/x/SKILL.md": "---\nname: x\nX\n"},
        "skills/x/SKILL.md:1: The front matter is never closed",
    ),
    "no text": ({"skills/x/SKILL.md": b"\xff\xfe\x00"}, "skills/x/SKILL.md:1: It is no UTF-8 text"),
    "too large": ({"skills/x/SKILL.md": skill("x", "x\n" * (1 << 19))}, "skills/x/SKILL.md: has 1,04"),
    "no id": ({"skills/My Skill/SKILL.md": skill("x")}, "skills/My Skill/SKILL.md: is not named as a skill"),
    "flat with no id": ({"skills/My_Skill.md": skill("x")}, "skills/My_Skill.md: is not named as a skill"),
    "no skill": ({"skills/x.txt": "X"}, "skills/x.txt: is no skill"),
    "no SKILL.md": ({"skills/x/notes.md": "X"}, "skills/x: has no SKILL.md"),
    "two forms": (
        {"skills/x/SKILL.md": skill("x"), "skills/x.md": skill("x")},
        "skills/x.md: stands beside the folder of the same skill",
    ),
    "elsewhere": ({"src/main.py": "print()"}, "src/main.py: does not belong into a volume"),
    "traces": ({"traces.git": "X"}, "traces.git: does not belong into a volume"),
    "attributes": ({".gitattributes": "* filter=x"}, ".gitattributes: does not belong into a volume"),
    "large memory": ({"memory/x.md": "x" * ((1 << 20) + 1)}, "memory/x.md: has 1,048,577 bytes"),
    "case": ({"memory/Notes.md": "1", "memory/notes.md": "2"}, "memory/Notes.md: differs from its neighbour"),
    "metadata": ({"metadata.json": '{\n"a":\n'}, "metadata.json:3: is no JSON"),
    "metadata list": ({"metadata.json": "[]"}, "metadata.json:1: is no JSON object"),
    "metadata bytes": ({"metadata.json": b"\xff"}, "metadata.json:1: 'utf-8' codec"),
    "metadata depth": ({"metadata.json": "[" * 200_000}, "metadata.json:1: is nested too deeply"),
    "another volume": ({"metadata.json": POLICY % ("system", "none")}, "metadata.json:1: 'volume' may not be changed"),
    "metadata gone": ({"metadata.json": None}, "metadata.json: may not be removed"),
    "many files": (
        {"skills/x/SKILL.md": skill("x")} | {f"skills/x/{n}.txt": "" for n in range(512)},
        "skills/x: has 513 files",
    ),
    "terminal": ({"memory/\x1b[31m.md": "X"}, "memory/?[31m.md: is not a path that a volume takes"),
    "invisible": ({"memory/\u202e.md": "X"}, "memory/?.md: has a name that is no text"),
}


@pytest.fixture(scope="module")
def refused(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone that nothing is ever pushed from."""
    return Git(tmp_path_factory.mktemp("refused")).clone(host.url("users/refused.git", "refused"), "clone")


@pytest.mark.parametrize(("files", "said"), BAD.values(), ids=list(BAD))
def test_a_refusal_names_file_and_line(
    host: Host, git: Git, refused: Path, files: dict[str, str | bytes | None], said: str
) -> None:
    git(refused, "reset", "-q", "--hard", "origin/main")
    git(refused, "clean", "-q", "-f", "-d")
    gitdir = host.folder("users/refused") / ".git"
    before = {path for part in ("objects", "refs") for path in (gitdir / part).rglob("*")}
    git.commit(refused, files)
    complaint = git.fails(refused, "push")
    assert f"remote: {said}" in complaint
    assert "\x1b" not in complaint
    assert {path for part in ("objects", "refs") for path in (gitdir / part).rglob("*")} == before
    assert (gitdir / "refs/heads/main").read_text().strip() == git(refused, "rev-parse", "origin/main")


def test_links_and_submodules_are_refused(git: Git, clone: Path) -> None:
    (clone / "memory").mkdir()
    (clone / "memory/link").symlink_to("/etc/passwd")
    head = git(clone, "rev-parse", "HEAD")
    git(clone, "update-index", "--add", "--cacheinfo", f"160000,{head},memory/module")
    git(clone, "add", "memory/link")
    git(clone, "commit", "-q", "-m", "Links")
    complaint = git.fails(clone, "push")
    assert "remote: memory/link: is a symbolic link" in complaint
    assert "remote: memory/module: is a submodule" in complaint


def test_a_volume_of_others_takes_nothing_unsafe_in_any_commit(host: Host, git: Git) -> None:
    clone = git.clone(host.url("system.git", "admin"), "system")
    secret = git.commit(clone, {"skills/x/SKILL.md": skill("x", "hunter2\n")})
    said = "skills/x/SKILL.md:5: There is a password in it. [secret.password]"
    assert f"remote: {said}" in git.fails(clone, "push")
    git.commit(clone, {"skills/x/SKILL.md": skill("x")})
    assert f"remote: commit {secret[:10]}: {said}" in git.fails(clone, "push")


def test_ones_own_volume_takes_it_with_a_warning(git: Git, clone: Path) -> None:
    git.commit(clone, {"skills/x/SKILL.md": skill("x", "hunter2\n")})
    done = git.run(clone, "push")
    assert done.returncode == 0
    assert "remote: warning: skills/x/SKILL.md:5: There is a password in it. [secret.password]" in done.stderr


def test_a_skill_may_be_unfinished_in_between(git: Git, clone: Path) -> None:
    git.commit(clone, {"skills/x/SKILL.md": "Not yet.\n"})
    git.commit(clone, {"skills/x/SKILL.md": skill("x")})
    git(clone, "push", "-q")


def test_what_is_in_the_seeds_form_is_taken(host: Host, git: Git, clone: Path, user: str) -> None:
    flat = "---\nname: Flat Skill\ncategory: coding\nkeywords: a, b\n---\n# Flat\n\nDo it.\n"
    git.commit(clone, {"skills/flat.md": flat, "skills/README.md": "Skills", "README.md": "Mine"})
    git(clone, "push", "-q")
    assert host.ask(user, "GET", "/skills/flat")[1]["name"] == "Flat Skill"


def test_a_commit_of_the_future_is_refused(git: Git, clone: Path) -> None:
    (clone / "memory").mkdir()
    (clone / "memory/x.md").write_text("X")
    git(clone, "add", "--all")
    date = "2099-01-01T00:00:00Z"
    assert git.run(clone, "commit", "-q", "-m", "Late", GIT_COMMITTER_DATE=date).returncode == 0
    assert "is dated in the future" in git.fails(clone, "push")


def test_many_problems_are_counted(git: Git, clone: Path) -> None:
    git.commit(clone, {f"elsewhere/{number}": "X" for number in range(40)})
    assert "remote: ... and 10 more." in git.fails(clone, "push")


def test_an_owner_sets_the_policy_of_a_volume(host: Host, git: Git, clone: Path, user: str) -> None:
    git.commit(clone, {"metadata.json": POLICY % (f"user:{user}", "required")})
    git(clone, "push", "-q")
    assert host.services.volumes.open(PLATFORM, VolumeRef.user(user)).review_required
