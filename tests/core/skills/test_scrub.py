"""A text is taken out of the whole history of a volume's skills, and nothing else changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pygit2
import pytest
from msgspec import structs
from planted import fsck, objects_of

from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.core.proposals.events import Event, Kind
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.scrub import Scrubber, pattern_of, quotations
from llmos_lite.core.traces.trace import make_ulid
from llmos_lite.core.verify import Integrity
from llmos_lite.engines.git import Author, LocalGitStore, compose_message
from llmos_lite.engines.git_scrub import DONE, PLAN, Plan, became, note
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, Forbidden, Invalid, NotFound, StorageFailed
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

REF = VolumeRef.user("alice")
ALICE, BOB = Author("alice", "alice@localhost"), Author("bob", "bob@localhost")
ME = Actor("alice")
SECRET = "sk-live-4242 blue harbour"


def skill(name: str, body: str = "Do it.") -> str:
    return f"---\nname: {name}\ndescription: How to {name}.\n---\n\n# Steps\n\n{body}\n"


@pytest.fixture
def volumes(tmp_path: Path) -> VolumeManager:
    return VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))


@pytest.fixture
def volume(volumes: VolumeManager) -> GitVolume:
    volume = volumes.open(PLATFORM, REF, write=True)
    volume.write_skill("harmless", skill("harmless"), author=ALICE)
    volume.write_skill("deploy", skill("deploy", f"Use {SECRET} here."), author=ALICE)
    volume.write_skill(
        "deploy",
        skill("deploy", "Use sk-live-4242\n> blue harbour, wrapped."),
        f"Say {SECRET}",
        BOB,
        files={"data.json": json.dumps({"key": SECRET}).encode(), f"about {SECRET}.txt": b"x"},
    )
    volume.create_branch("pr/bob/deploy")
    volume.write_skill("other", skill("other", SECRET), author=BOB, branch="pr/bob/deploy")
    volume.write_skill("deploy", skill("deploy", "Nothing here any more."), author=ALICE, replace=True)
    volume.write_skill("last", skill("last"), author=BOB)
    return volume


class Seen:
    """Remotes and rows, for a scrubber."""

    def __init__(self, *remotes: str) -> None:
        self.found, self.after = list(remotes), list[VolumeRef]()

    async def remotes(self, _ref: VolumeRef) -> Sequence[str]:
        return self.found

    async def changed(self, ref: VolumeRef) -> None:
        self.after.append(ref)


def scrubber(volumes: VolumeManager, *remotes: str) -> Scrubber:
    seen = Seen(*remotes)
    return Scrubber(volumes, seen.remotes, seen.changed)


def gitdir(volumes: VolumeManager) -> Path:
    return volumes.folder(REF) / ".git"


def log(volume: GitVolume, branch: str = "main") -> list[tuple[str, str, int, str]]:
    return [(one.author, one.email, one.time, one.subject) for one in volume.get_git_log(branch=branch)][::-1]


def gone(volumes: VolumeManager) -> None:
    """Show that no object, decoded, and no file holds the text, and that the repository is whole."""
    found = objects_of(gitdir(volumes))
    for part in (b"sk-live-4242", b"blue harbour"):
        assert [oid for oid, data in found.items() if part in data] == []
        assert [path for path in volumes.folder(REF).rglob("*") if path.is_file() and part in path.read_bytes()] == []
    assert fsck(gitdir(volumes)) == ""


async def test_a_text_leaves_every_commit_and_the_rest_stays(volumes: VolumeManager, volume: GitVolume) -> None:
    before, old = log(volume), {one.oid for one in volume.get_git_log()}
    version = volume.skill_entry("harmless")
    done = await scrubber(volumes).scrub(ME, REF, texts=[SECRET], reason="Leaked")
    gone(volumes)
    after = log(volume)
    assert [(*one[:3], one[3].replace(SECRET, "(removed)")) for one in before] == after[:-1]
    assert after[-1][0] == "alice"
    assert after[-1][3] == "Scrub the history of user:alice - Reason: Leaked"
    stone = volume.get_git_log(1)[0]
    assert stone.trailers["Scrub-By"] == "alice"
    assert stone.trailers["Scrub-Id"] == done.scrub_id
    assert int(stone.trailers["Scrub-Commits"]) == done.commits == 5
    assert stone.committer == "llmos-lite"
    assert len(old & {one.oid for one in volume.get_git_log()}) == 2  # those before the text
    assert volume.skill_entry("harmless") == version
    assert volume.read_skill("last") == skill("last")
    assert sorted(done.branches) == ["main", "pr/bob/deploy"]
    assert "(removed)" in volume.read_skill("other", at="pr/bob/deploy")
    assert (done.files, done.remotes, done.resigned) == ([], [], 0)
    assert done.objects > 0
    skills, _ = await Integrity(volumes).verify(ME, REF)
    assert (skills.sound, skills.persons) == (True, 0)
    status = ["git", "-c", "safe.directory=*", "-C", str(volumes.folder(REF)), "status", "--porcelain"]
    assert subprocess.check_output(status, text=True) == ""  # noqa: ASYNC221 - a test
    assert volume.commit_changes() is None


async def test_what_became_of_each_version_is_kept_without_the_text(volumes: VolumeManager, volume: GitVolume) -> None:
    head, pr = volume.store.head() or "", volume.store.head("pr/bob/deploy") or ""
    old = volume.skill_entry("other", at="pr/bob/deploy")
    done = await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    new = volume.skill_entry("other", at="pr/bob/deploy")
    assert old is not None
    assert new is not None
    found = became(gitdir(volumes))
    assert found[pr] == volume.store.head("pr/bob/deploy")
    assert found[head] == volume.get_git_log(2)[1].oid
    assert found[old.version] == new.version
    assert (gitdir(volumes) / DONE / f"{done.scrub_id}.json").stat().st_mode & 0o077 == 0


async def test_commits_of_people_lose_their_signature_and_keep_their_name(
    volumes: VolumeManager, volume: GitVolume
) -> None:
    repo = pygit2.Repository(str(gitdir(volumes)))
    who = pygit2.Signature("Bob", "bob@example.org", 1_790_000_000, 120)
    head = repo.references["refs/heads/main"].target
    tree = repo[head].peel(pygit2.Commit).tree_id
    text = repo.create_commit_string(who, who, f"Mine\n\n{SECRET}", tree, [head])
    oid = repo.create_commit_with_signature(
        str(text), "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----"
    )
    repo.references.create("refs/heads/main", oid, force=True)
    done = await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    assert done.resigned == 1
    mine = volume.get_git_log(2)[1]
    assert (mine.author, mine.committer, mine.time, mine.body) == ("Bob", "Bob", 1_790_000_000_000, "(removed)")
    repo = pygit2.Repository(str(gitdir(volumes)))
    assert repo[mine.oid].peel(pygit2.Commit).author.offset == 120
    skills, _ = await Integrity(volumes).verify(ME, REF)
    assert skills.sound
    gone(volumes)


async def test_edits_by_hand_are_kept(volumes: VolumeManager, volume: GitVolume) -> None:
    folder = volumes.folder(REF)
    (folder / "skills/mine").mkdir()
    (folder / "skills/mine/SKILL.md").write_text(skill("mine", f"By hand: {SECRET}"))
    (folder / "notes.txt").write_text(f"Mine alone: {SECRET}")
    done = await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    assert "By hand: (removed)" in volume.read_skill("mine")
    assert "By hand: (removed)" in (folder / "skills/mine/SKILL.md").read_text()
    assert done.files == ["notes.txt"]
    (folder / "notes.txt").unlink()
    gone(volumes)


async def test_nothing_to_find_changes_nothing(volumes: VolumeManager, volume: GitVolume) -> None:
    head = volume.store.head()
    done = await scrubber(volumes).scrub(ME, REF, texts=["never said anywhere"])
    assert (done.commits, done.scrub_id, done.branches) == (0, "", [])
    assert volume.store.head() == head


async def test_objects_that_nothing_leads_to_go_too(volumes: VolumeManager, volume: GitVolume) -> None:
    assert volume.writable
    repo = pygit2.Repository(str(gitdir(volumes)))
    repo.create_blob(b"a zebra crosses the road")
    repo.free()
    done = await scrubber(volumes).scrub(ME, REF, texts=["zebra crosses"])
    assert (done.commits, done.objects) == (0, 1)
    assert volume.list_skills()


async def test_who_may_and_what_is_refused(volumes: VolumeManager, volume: GitVolume) -> None:
    one, texts = scrubber(volumes), [SECRET]
    team = VolumeRef.team("sre")
    volumes.create(team)
    for actor, ref, error in [
        (Actor("bob"), REF, NotFound),
        (Actor("bob", teams={"sre": Role.USER}), team, Forbidden),
        (Actor("carol"), VolumeRef.user("carol"), NotFound),
    ]:
        with pytest.raises(error):
            await one.scrub(actor, ref, texts=texts)
    for given in ({}, {"texts": texts, "quoted": True}, {"texts": ["short"]}, {"texts": ["x" * 70_000]}):
        with pytest.raises(Invalid, match=r"text"):
            await one.scrub(ME, REF, **given)
    for bad in (["\ud800 lone surrogate"], texts * 51):
        with pytest.raises(Invalid):
            await one.scrub(ME, REF, texts=bad)
    with pytest.raises(Invalid) as caught:
        await one.scrub(ME, REF, texts=texts, reason=f"It held {SECRET}")
    assert caught.value.code == "scrub.reason"
    admin = Actor("admin", Role.SYSTEM_ADMIN, scopes=EVERYTHING)
    assert (await one.scrub(admin, REF, texts=texts)).commits == 5
    assert SECRET not in volume.read_skill("deploy")


async def test_remotes_that_would_diverge_are_told(volumes: VolumeManager, volume: GitVolume) -> None:
    one, head = scrubber(volumes, "origin"), volume.store.head()
    with pytest.raises(Conflict) as caught:
        await one.scrub(ME, REF, texts=[SECRET])
    assert caught.value.code == "scrub.remotes"
    assert volume.store.head() == head
    assert (await one.scrub(ME, REF, texts=[SECRET], diverge=True)).remotes == ["origin"]


async def test_somebodys_own_refs_and_a_merge_that_goes_on_stop_it(volumes: VolumeManager, volume: GitVolume) -> None:
    one, path, head = scrubber(volumes), gitdir(volumes), volume.store.head() or ""
    git = ["git", "-c", "safe.directory=*", "-c", "user.name=x", "-c", "user.email=x@y", "-C", str(volumes.folder(REF))]
    subprocess.run([*git, "tag", "-a", "v1", "-m", "one", head], check=True)  # noqa: ASYNC221
    with pytest.raises(Conflict) as caught:
        await one.scrub(ME, REF, texts=[SECRET])
    assert caught.value.code == "scrub.refs"
    assert "refs/tags/v1" in caught.value.message
    subprocess.run([*git, "tag", "-d", "v1"], check=True, capture_output=True)  # noqa: ASYNC221
    (path / "MERGE_HEAD").write_text(f"{head}\n")
    with pytest.raises(Conflict) as caught:
        await one.scrub(ME, REF, texts=[SECRET])
    assert caught.value.code == "scrub.busy"
    (path / "MERGE_HEAD").unlink()
    assert volume.store.head() == head
    await one.scrub(ME, REF, texts=[SECRET])
    gone(volumes)


async def test_an_object_that_cannot_be_removed_is_told(volumes: VolumeManager, volume: GitVolume) -> None:
    for pack in (gitdir(volumes) / "objects/pack").glob("*.pack"):
        pack.with_suffix(".keep").write_text("")
    with pytest.raises(StorageFailed) as caught:
        await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    assert caught.value.code == "scrub.left"
    for keep in (gitdir(volumes) / "objects/pack").glob("*.keep"):
        keep.unlink()
    await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    gone(volumes)
    assert volume.list_skills()


QUOTED = "It wanted to know about the seven purple walruses"


async def test_what_was_quoted_from_erased_traces_goes(volumes: VolumeManager, volume: GitVolume) -> None:
    text = skill("walrus", f"- {QUOTED}\n- Be kind.")
    volume.write_skill("walrus", text)
    volume.write_skill("others", skill("others", f"- {QUOTED}"))
    erased = compose_message("Take out of walrus what was erased", "", {"Skill-Op": "erase"})
    volume.write_skill("walrus", skill("walrus", "- Be kind."), erased)
    assert set(quotations(volume)) == {"walrus"}
    done = await scrubber(volumes).scrub(ME, REF, quoted=True, reason="The erasure")
    assert done.commits == 3
    holding = [data for data in objects_of(gitdir(volumes)).values() if QUOTED.encode() in data]
    assert holding == [skill("others", f"- {QUOTED}").encode()]  # what others said in the same words is nobody's
    assert "Be kind" in volume.read_skill("walrus")
    assert (await scrubber(volumes).scrub(ME, REF, quoted=True)).commits == 0


def test_a_text_is_found_however_it_is_written() -> None:
    pattern = pattern_of(['one "two"\tthree ü'])
    for form in (b'one "two" three \xc3\xbc', b'one\n> "two"\n  three \xc3\xbc', b'one \\"two\\"\\tthree \\u00fc'):
        assert pattern.sub(b"", b"a" + form + b"b") == b"ab", form
    assert pattern.search(b"one two three") is None


# Crashes


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_scrub import ME, REF, SECRET, Seen
from llmos_lite.core.skills.scrub import Scrubber
from llmos_lite.engines import git_scrub
from llmos_lite.engines.signing import Signer
from llmos_lite.volumes import scrubbing
from llmos_lite.volumes.manager import VolumeManager

data, step = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def counted(module, name):
    real = getattr(module, name)
    def call(*given, **named):
        global calls
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return real(*given, **named)
    setattr(module, name, call)

counted(git_scrub, "write_pack")
counted(git_scrub, "_write")
counted(scrubbing, "finish")
counted(scrubbing, "_prune")
seen = Seen()
volumes = VolumeManager(data, Signer.open(data / "keys"))
asyncio.run(Scrubber(volumes, seen.remotes, seen.changed).scrub(ME, REF, texts=[SECRET]))
"""


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4, 5, 7])
def test_a_kill_leaves_the_old_history_or_the_new_one(
    volumes: VolumeManager, volume: GitVolume, tmp_path: Path, step: int
) -> None:
    before, pr = log(volume), log(volume, "pr/bob/deploy")
    volumes.close()
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(step), str(Path(__file__).parent)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    again = VolumeManager(tmp_path, Signer.open(tmp_path / "keys"))
    after = again.open(PLATFORM, REF, write=True)
    assert not (gitdir(again) / PLAN).exists()
    new = len(log(after)) == len(before) + 1
    assert new == (step > 1)
    assert new or (log(after), log(after, "pr/bob/deploy")) == (before, pr)
    assert len(log(after, "pr/bob/deploy")) == len(pr)
    assert after.commit_changes() is None
    assert after.read_skill("last") == skill("last")
    assert isinstance(after.store, LocalGitStore)
    if new:
        gone(again)
    assert [line for line in fsck(gitdir(again)).splitlines() if not line.startswith(("unreachable", "dangling"))] == []
    again.close()


def test_a_plan_whose_branch_went_on_is_no_reason_to_lose_it(volumes: VolumeManager, volume: GitVolume) -> None:
    """Nobody can commit while a plan stands, but somebody's own git."""
    store = volume.store
    assert isinstance(store, LocalGitStore)
    plan = Plan(
        scrub_id="x", by="alice", at=0, refs={"refs/heads/main": ("1" * 40, "2" * 40)}, became={"3" * 40: "4" * 40}
    )
    note(store.gitdir, plan)
    head = store.head()
    volumes.close()
    with pytest.raises(Conflict) as caught:
        volumes.open(PLATFORM, REF)
    assert caught.value.code == "volume.moved"
    assert (store.gitdir / "refs/heads/main").read_text().strip() == head


async def test_words_that_a_volume_is_made_of_stay(volumes: VolumeManager, volume: GitVolume) -> None:
    for word in ("skills", "SKILL.md", "description", "metadata.json", "memory/"):
        with pytest.raises(Invalid, match="cannot be taken out"):
            await scrubber(volumes).scrub(ME, REF, texts=[word])
    before = volume.store.head()
    for word in ("llmos-lite", "user:alice", "Scrub-Id"):
        with pytest.raises(Invalid, match="The commit that says what was done"):
            await scrubber(volumes).scrub(ME, REF, texts=[word])
    with pytest.raises(Conflict) as caught:
        await scrubber(volumes).scrub(ME, REF, texts=['"volume":'])  # in metadata.json
    assert caught.value.code == "scrub.needed"
    assert volume.store.head() == before


@pytest.mark.parametrize("word", ["author", "committer", "+0000\ncommitter", "bob@localhost", "localhost> 179"])
async def test_a_commit_is_one_whatever_is_taken_out(volumes: VolumeManager, volume: GitVolume, word: str) -> None:
    volume.write_skill("said", skill("said", f"It is {word}."), f"Say {word}", ALICE)
    text = word if len(word) >= 6 else f"is {word}"
    await scrubber(volumes).scrub(ME, REF, texts=[text])
    assert fsck(gitdir(volumes)) == ""
    assert (await Integrity(volumes).verify(ME, REF))[0].problems == []
    assert [one.time > 0 for one in volume.get_git_log()] == [True] * len(volume.get_git_log())


async def test_what_is_left_of_front_matter_is_front_matter(volumes: VolumeManager, volume: GitVolume) -> None:
    volume.write_skill("said", f"---\nname: said\ndescription: {SECRET} opens it.\n---\n", author=ALICE)
    await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    assert Skill.parse("said", volume.read_skill("said")).description == "(removed) opens it."


async def test_what_llmos_needs_of_a_proposal_stays(volumes: VolumeManager, volume: GitVolume) -> None:
    proposal_id = make_ulid(1_790_000_000_123)
    event = Event(
        kind=Kind.OPENED, at=1_790_000_000_123, by="bob", target=str(REF), branch="pr/bob/deploy", author="bob"
    )
    with volume.store.lock():
        said = structs.replace(event, reason=f"Say {SECRET}")
        ProposalLog(volume).append(proposal_id, [said], branch=event.branch)
    for word in ("target", "opened", "790000000123"):
        with pytest.raises(Conflict) as caught:
            await scrubber(volumes).scrub(ME, REF, texts=[word])
        assert caught.value.code == "scrub.needed"
    await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    assert ProposalLog(volume).events(proposal_id) == [structs.replace(event, reason="Say (removed)")]


async def test_a_ref_that_is_named_so_stops_it(volumes: VolumeManager, volume: GitVolume) -> None:
    volume.create_branch("pr/bob/sk-live-4242")
    with pytest.raises(Conflict, match="in their name") as caught:
        await scrubber(volumes).scrub(ME, REF, texts=["sk-live-4242"])
    assert caught.value.code == "scrub.refs"
    volume.store.delete_branch("pr/bob/sk-live-4242")
    await scrubber(volumes).scrub(ME, REF, texts=["sk-live-4242", SECRET, "blue harbour"])
    gone(volumes)


async def test_commits_are_counted_on_when_those_that_were_counted_are_gone(
    volumes: VolumeManager, volume: GitVolume
) -> None:
    before = volume.store.count()
    await scrubber(volumes).scrub(ME, REF, texts=[SECRET])
    assert volume.store.count() == before + 1


@pytest.mark.parametrize("text", ["ab " * 9000, "a" * 60_000, "> > > > > >", ">" * 60])
def test_a_text_that_takes_for_ever_to_look_for_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        pattern_of([text])
    assert caught.value.code == "scrub.text"


def test_marks_of_quotations_are_passed_over_in_one_way() -> None:
    pattern = pattern_of(["> > > > > > > > > > the >blue harbour"])
    assert pattern.sub(b"", b">" * 100_000) == b">" * 100_000  # at once, not in years
    assert pattern.sub(b"", b"> the\n> > blue\nharbour!") == b"> !"
    assert pattern_of(["a->b is > it"]).search(b"say a->b is it")
