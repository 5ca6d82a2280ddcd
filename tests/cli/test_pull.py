"""A folder in step with the server: what it wrote follows, what a person wrote stays, and nothing leads out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.cli import archives, in_step
from llmos_lite.cli.archives import Offered, read_folder
from llmos_lite.cli.client import Client, Reply, Request
from llmos_lite.cli.in_step import SCRATCH, STATE, Folder, digest_of
from llmos_lite.cli.pull import _left
from llmos_lite.core.skills.packing import pack
from llmos_lite.engines.git import File
from llmos_lite.errors import Conflict, LlmosError, UpstreamFailed

Skills = dict[str, dict[str, File]]
TEA = {"SKILL.md": File(b"---\nname: tea\n---\r\n"), "scripts/run": File(b"#!/bin/sh\n", executable=True)}
MATE = {"SKILL.md": File(b"mate"), "assets/x.bin": File(bytes(range(256)))}


def offers(server: Skills) -> list[Offered]:
    return [Offered(skill_id, "system", digest_of(files)[:40]) for skill_id, files in server.items()]


def pull(root: Path, server: Skills, *, force: bool = False) -> dict[str, str]:
    folder = Folder(root)
    steps = folder.plan(offers(server), force=force)
    return {step.skill_id: step.status for step in folder.apply(steps, lambda skill: server[skill.skill_id])}


def there(root: Path) -> Skills:
    return {path.name: read_folder(path) for path in root.iterdir() if path.is_dir()}


def test_what_is_new_changed_or_gone_is_followed(tmp_path: Path) -> None:
    root = tmp_path / "project" / ".claude" / "skills"
    assert pull(root, {"tea": TEA, "mate": MATE}) == {"tea": "added", "mate": "added"}
    assert there(root) == {"tea": TEA, "mate": MATE}
    assert pull(root, {"tea": TEA, "mate": MATE}) == {"tea": "unchanged", "mate": "unchanged"}
    changed = {"SKILL.md": File(b"new")}
    assert pull(root, {"tea": changed}) == {"tea": "updated", "mate": "removed"}
    assert there(root) == {"tea": changed}
    assert not (root / SCRATCH).exists()


@pytest.mark.parametrize("how", ["text", "new file", "removed file", "mode", "link", "case"])
def test_an_edit_is_never_overwritten_unless_forced(tmp_path: Path, how: str) -> None:
    pull(tmp_path, {"tea": TEA})
    folder = tmp_path / "tea"
    if how == "text":
        (folder / "SKILL.md").write_text("mine")
    elif how == "new file":
        (folder / "notes.md").write_text("mine")
    elif how == "removed file":
        (folder / "scripts" / "run").unlink()
    elif how == "mode":
        (folder / "SKILL.md").chmod(0o755)
    elif how == "link":
        (folder / "SKILL.md").unlink()
        (folder / "SKILL.md").symlink_to("scripts/run")
    else:
        (folder / "SKILL.md").rename(folder / "skill.md")
    before = read_folder(folder)
    assert pull(tmp_path, {"tea": TEA}) == {"tea": "edited"}
    assert pull(tmp_path, {"tea": MATE}) == {"tea": "edited"}
    assert pull(tmp_path, {}) == {"tea": "edited"}
    assert read_folder(folder) == before
    assert pull(tmp_path, {"tea": MATE}, force=True) == {"tea": "updated"}
    assert read_folder(folder) == MATE
    (folder / "SKILL.md").write_text("mine")
    assert pull(tmp_path, {}, force=True) == {"tea": "removed"}
    assert not folder.exists()


def test_what_was_removed_here_comes_again(tmp_path: Path) -> None:
    pull(tmp_path, {"tea": TEA})
    in_step.remove(tmp_path / "tea")
    assert pull(tmp_path, {"tea": TEA}) == {"tea": "added"}


@pytest.mark.parametrize("force", [False, True])
def test_what_a_pull_did_not_write_is_not_touched(tmp_path: Path, *, force: bool) -> None:
    root, elsewhere = tmp_path / "skills", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "SKILL.md").write_text("theirs")
    root.mkdir()
    (root / "tea").symlink_to(elsewhere)
    (root / "mate").write_text("a file")
    (root / "own").mkdir()
    (root / "own" / "SKILL.md").write_text("own")
    server = {"tea": TEA, "mate": MATE, "own": TEA}
    assert set(pull(root, server, force=force).values()) == {"foreign"}
    assert (elsewhere / "SKILL.md").read_text() == "theirs"
    assert (root / "tea").is_symlink()
    assert pull(root, {}, force=force) == {}
    assert (root / "own" / "SKILL.md").read_text() == "own"


def test_a_folder_that_became_a_link_is_left_alone(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "skills", tmp_path / "elsewhere"
    pull(root, {"tea": TEA})
    (root / "tea").rename(elsewhere)
    (root / "tea").symlink_to(elsewhere)
    assert pull(root, {"tea": MATE}, force=True) == {"tea": "foreign"}
    assert pull(root, {}, force=True) == {"tea": "foreign"}
    assert read_folder(elsewhere) == TEA


def test_links_in_the_place_of_our_own_files_lead_nowhere(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "skills", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    root.mkdir()
    (root / SCRATCH).symlink_to(elsewhere)
    (root / f".{STATE}.part").symlink_to(elsewhere / "precious")
    assert pull(root, {"tea": TEA}) == {"tea": "added"}
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    assert (elsewhere / "precious").read_text() == "x"


# Edits while it runs


@pytest.mark.parametrize("server", [{"tea": MATE}, {}])
@pytest.mark.parametrize("how", ["edit", "link", "new"])
def test_an_edit_while_a_pull_runs_is_kept(tmp_path: Path, server: Skills, how: str) -> None:
    root = tmp_path / "skills"
    pull(root, {} if how == "new" else {"tea": TEA, "other": MATE})
    folder = Folder(root)
    steps = folder.plan(offers({**server, "other": MATE}))
    if how == "link":
        (root / "tea").rename(tmp_path / "moved")
        (root / "tea").symlink_to(tmp_path / "moved")
    else:
        (root / "tea").mkdir(parents=True, exist_ok=True)
        (root / "tea" / "mine.md").write_text("mine")
    before = read_folder(root / "tea")
    done = {step.skill_id: step.status for step in folder.apply(steps, lambda _: MATE)}
    assert done.get("tea", "edited") == "edited"
    assert read_folder(root / "tea") == before
    assert "tea" not in pull(root, {"other": MATE}) or read_folder(root / "tea") == before
    assert there(root)["other"] == MATE


def test_what_an_editor_writes_at_the_last_moment_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pull(tmp_path, {"tea": TEA})
    folder = Folder(tmp_path)
    with (tmp_path / "tea" / "SKILL.md").open("ab") as file:  # open before, and written after it was taken away
        steps = folder.plan(offers({"tea": MATE}))
        real = Path.rename

        def rename(path: Path, target: Path) -> Path:
            done = real(path, target)
            if path.parent == tmp_path:
                file.write(b"mine")
                file.flush()
            return done

        monkeypatch.setattr(Path, "rename", rename)
        assert [step.status for step in folder.apply(steps, lambda _: MATE)] == ["updated"]
    assert read_folder(tmp_path / "tea") == MATE
    (kept,) = (tmp_path / in_step.KEPT).iterdir()
    assert (kept / "SKILL.md").read_bytes().endswith(b"mine")
    monkeypatch.undo()
    assert pull(tmp_path, {"tea": MATE}) == {"tea": "unchanged"}
    assert kept.exists()


def test_what_is_broken_on_the_server_is_not_gone(tmp_path: Path) -> None:
    pull(tmp_path, {"tea": TEA, "mate": MATE})
    broken = [Offered("tea", "system", "1", "no front matter"), Offered("new", "system", "1", "none")]
    steps = Folder(tmp_path).plan([*broken, *offers({"mate": MATE})], force=True)
    assert {step.skill_id: step.status for step in steps} == {"tea": "broken", "mate": "unchanged"}
    list(Folder(tmp_path).apply(steps, lambda _: TEA))
    assert there(tmp_path) == {"tea": TEA, "mate": MATE}


@pytest.mark.parametrize(("left", "wary"), [(0, True), (1, True), (2, False), (3, False)])
def test_most_of_a_folder_does_not_go_unasked(tmp_path: Path, left: int, *, wary: bool) -> None:
    server = dict.fromkeys(("a", "b", "c", "d"), TEA)
    pull(tmp_path, server)
    folder = Folder(tmp_path)
    steps = folder.wary(folder.plan(offers(dict(list(server.items())[:left]))))
    assert any(step.status == "gone" for step in steps) == wary
    list(folder.apply(steps, lambda _: TEA))
    assert len(there(tmp_path)) == (4 if wary else left)


# Interruption


class CutOffError(Exception):
    """As if the power went."""


@pytest.mark.parametrize("before", [{}, {"tea": MATE, "old": MATE}])
def test_a_pull_that_was_cut_off_anywhere_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: Skills
) -> None:
    server: Skills = {"tea": TEA, "mate": MATE}
    for count in range(60):
        root = tmp_path / str(count)
        pull(root, before)
        left = [count]

        def cut(real: object, left: list[int] = left) -> object:
            def step(*given: object, **named: object) -> object:
                if not left[0]:
                    raise CutOffError
                left[0] -= 1
                return real(*given, **named)  # type: ignore[operator]

            return step

        with monkeypatch.context() as patched:
            for name in ("rename", "write_bytes", "mkdir", "replace", "chmod", "open"):
                patched.setattr(Path, name, cut(getattr(Path, name)))
            try:
                pull(root, server)
                done = True
            except CutOffError:
                done = False
        later: Skills = {"tea": {"SKILL.md": File(b"later")}, "mate": MATE}
        assert "edited" not in pull(root, later).values()
        assert there(root) == later
        assert set(pull(root, later).values()) == {"unchanged"}
        if done:
            assert count > 10
            return
    raise AssertionError("it is never done")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2, "skills": {}}', '{"version": 1, "skills": {"../x": {}}}', "[" * 99_999]
)
def test_a_state_that_cannot_be_read_is_no_leave_to_remove_anything(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE).write_text(text)
    with pytest.raises(Conflict) as raised:
        Folder(tmp_path)
    assert raised.value.code == "pull.state"


def test_without_its_state_what_is_the_same_is_known_again(tmp_path: Path) -> None:
    pull(tmp_path, {"tea": TEA, "mate": MATE})
    (tmp_path / STATE).unlink()
    (tmp_path / "mate" / "SKILL.md").write_text("mine")
    assert pull(tmp_path, {"tea": TEA, "mate": MATE}) == {"tea": "unchanged", "mate": "foreign"}
    assert pull(tmp_path, {"tea": MATE, "mate": MATE}) == {"tea": "updated", "mate": "foreign"}


NAMES = st.sampled_from(["a", "b", "c"])
CONTENT = st.sampled_from([TEA, MATE, {"SKILL.md": File(b"1")}])
MOVE = st.tuples(st.sampled_from(["server", "edit", "pull"]), st.dictionaries(NAMES, CONTENT), NAMES)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOVE, max_size=8))
def test_whatever_happens_no_edit_is_lost_and_the_rest_is_in_step(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, Skills, str]]
) -> None:
    root = tmp_path_factory.mktemp("pull") / "skills"
    root.mkdir()
    server: Skills = {}
    edited = set[str]()
    for what, skills, name in moves:
        if what == "server":
            server = skills
        elif what == "edit" and (root / name).is_dir():
            (root / name / "mine.md").write_text("mine")
            edited.add(name)
        elif what == "pull":
            pull(root, server)
            for skill_id in edited:
                assert (root / skill_id / "mine.md").read_text() == "mine"
            assert {key: files for key, files in there(root).items() if key not in edited} == {
                key: files for key, files in server.items() if key not in edited
            }


# What a hostile server may send


class Serving:
    """A transport that answers with one archive."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def send(self, request: Request) -> Reply:
        assert request.path.startswith("/skills/tea/archive?")
        return Answer(self.data)

    def wait(self, seconds: float) -> None:
        raise AssertionError(seconds)

    def close(self) -> None:
        pass


class Answer:
    status, headers = 200, Mapping[str, str]

    def __init__(self, data: bytes) -> None:
        self.headers, self._data = {}, data

    def chunks(self) -> list[bytes]:
        return [self._data[at : at + 999] for at in range(0, len(self._data), 999)]


def served(files: Mapping[str, bytes]) -> dict[str, File]:
    data = pack({name: File(content) for name, content in files.items()})
    return archives.fetch(Client(Serving(data)), Offered("tea", "system", "0" * 40))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "names",
    [
        ["../x"],
        ["/etc/x"],
        ["a/../../x"],
        ["a\\..\\x"],
        ["SKILL.md/x"],
        ["A", "a"],
        ["x" * 300],
        ["a//b/.."],
    ],
)
def test_no_name_of_a_servers_leads_out(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises((LlmosError, OSError)):
        archives.write_folder(tmp_path / "tea", served(dict.fromkeys(names, b"x") | {"SKILL.md": b"x"}))
    assert {path.name for path in tmp_path.iterdir()} <= {"tea"}


def test_what_is_no_skill_or_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UpstreamFailed):
        served({"other.md": b"x"})
    monkeypatch.setattr(archives, "LARGEST", 50)
    with pytest.raises(LlmosError):
        served({"SKILL.md": bytes(1000)})


def test_a_skill_is_offered_by_an_id_only() -> None:
    with pytest.raises(UpstreamFailed):
        archives._offered({"skill_id": "../x", "volume": "system", "version": "1"})
    with pytest.raises(UpstreamFailed):
        archives._offered({"skill_id": "x"})


def test_what_a_run_of_a_script_leaves_is_no_edit(tmp_path: Path) -> None:
    pull(tmp_path, {"tea": TEA})
    (tmp_path / "tea" / "scripts" / "__pycache__").mkdir()
    (tmp_path / "tea" / "scripts" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (tmp_path / "tea" / ".DS_Store").write_bytes(b"x")
    assert pull(tmp_path, {"tea": TEA}) == {"tea": "unchanged"}


def test_what_was_left_alone_is_told_with_what_helps() -> None:
    steps = [in_step.Step("a", "edited"), in_step.Step("b", "foreign"), in_step.Step("c", "gone")]
    edited, foreign, gone = _left(steps)
    assert "--force" in edited
    assert "--force" not in foreign
    assert "--force" in gone
