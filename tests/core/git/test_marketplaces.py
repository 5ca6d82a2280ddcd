"""Views of marketplaces: every node, and every time anew, gives the same commits, and whoever pulls moves forward."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pygit2
import pytest

from llmos_lite.core.git import market_view, marketplaces
from llmos_lite.core.git.market_record import REF as RECORD
from llmos_lite.core.git.market_record import Shown, record, recorded, since
from llmos_lite.core.git.marketplaces import Marketplaces
from llmos_lite.core.git.repositories import Repositories
from llmos_lite.core.skills import guard as guarding
from llmos_lite.core.skills.catalogs import Catalogs
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.guard import Guard
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scan import Finding, Scanner, Severity
from llmos_lite.core.skills.scan_helper import Said
from llmos_lite.core.skills.scan_pool import Folder, ScanPool
from llmos_lite.core.skills.service import SkillService
from llmos_lite.core.skills.signoffs import REF, SignOff, path_of, write
from llmos_lite.engines.git import Author
from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, Unavailable
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.manager import VolumeManager

SRE = VolumeRef.team("sre")
WRITER = Author("alice", "alice@localhost")
WORDS = ("plain", "good", "evil")


class Nobody:
    async def all_teams(self) -> list[str]:
        return ["sre"]

    async def named(self, user_id: str) -> object:
        return user_id


@dataclass
class Refuses:
    word: str

    def scan(self, skill: Skill) -> Iterable[Finding]:
        return [Finding("test.word", Severity.HIGH, "It says so.")] if self.word in skill.body else []


@dataclass
class World:
    """A volume, and nodes that show it."""

    folder: Path
    volumes: VolumeManager
    rules: Mapping[str, Scanner] = field(default_factory=lambda: {"test": Refuses("evil")})
    nodes: dict[str, Marketplaces] = field(default_factory=dict)
    nothing: int = 0

    def __post_init__(self) -> None:
        self.volume = self.volumes.open(PLATFORM, SRE, write=True)

    def node(self, name: str) -> Marketplaces:
        if name not in self.nodes:
            skills = SkillService(self.volumes, SkillsManager(self.volumes), Nobody())
            catalogs = Catalogs(skills, Guard(self.volumes, self.rules))
            self.nodes[name] = Marketplaces(self.volumes, Repositories(self.volumes), catalogs, self.folder / name)
        return self.nodes[name]

    def ask(self, name: str) -> str:
        return self.tip(self.node(name).refresh(SRE))

    @staticmethod
    def tip(gitdir: Path) -> str:
        return str(pygit2.Repository(gitdir).references["refs/heads/main"].target)

    def put(self, skill_id: str, said: str, *, branch: str = "main") -> None:
        text = f"---\nname: {skill_id}\ndescription: Use it to test.\n---\n# Test\n\n{said}\n"
        self.volume.store.commit({f"skills/{skill_id}/SKILL.md": text.encode()}, f"Say {said}", WRITER, branch=branch)

    def sign(self, skill_id: str) -> None:
        if entry := self.volume.skill_entry(skill_id):
            write(self.volume, SignOff(digest=entry.version, skill_id=skill_id, by="bob", at=1))

    def take_back(self, skill_id: str) -> None:
        if entry := self.volume.skill_entry(skill_id):
            self.volume.notes.commit({path_of(entry.version): None}, "Take it back", WRITER, branch=REF)

    def refuse(self, word: str) -> None:
        self.rules = {word: Refuses(word)}
        self.nodes.clear()  # new rules come with a new program

    def offered(self) -> list[str]:
        guard = Guard(self.volumes, self.rules)
        return [entry.skill_id for entry in self.volume.list_skills() if not guard.holds_entry(SRE, entry)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    volumes = VolumeManager(tmp_path / "data", Signer.open(tmp_path / "keys"))
    yield World(tmp_path, volumes)
    volumes.close()


def shown(gitdir: Path) -> list[str]:
    repository = pygit2.Repository(gitdir)
    tree = repository.revparse_single("refs/heads/main^{tree}")
    assert isinstance(tree, pygit2.Tree)
    skills = [one for one in tree if one.name == "skills"]
    return sorted(str(one.name) for folder in skills if isinstance(folder, pygit2.Tree) for one in folder)


def something(world: World, chance: random.Random, step: int) -> Callable[[], object]:
    """Return one thing that may happen to a volume."""
    name = f"skill-{chance.randrange(4)}"
    store = world.volume.store

    def merge() -> None:
        branch = f"side-{step}"
        store.create_branch(branch, chance.choice(store.log(limit=6)).oid)
        world.put(f"skill-{chance.randrange(4, 6)}", chance.choice(WORDS), branch=branch)
        store.commit({"memory/merged.md": f"{step}\n".encode()}, "Merge", WRITER, merges=[store.head(branch) or ""])

    deeds: list[Callable[[], object]] = [
        lambda: world.put(name, f"{chance.choice(WORDS)} {chance.randrange(3)}"),
        lambda: world.put(name, f"{chance.choice(WORDS)} {chance.randrange(3)}"),
        lambda: store.commit({f"skills/{name}": None}, "Delete", WRITER),
        lambda: store.commit({"memory/note.md": f"{step}\n".encode()}, "Note", WRITER),
        lambda: world.sign(name),
        lambda: world.take_back(name),
        lambda: world.refuse(chance.choice(WORDS[1:])),
        merge,
    ]
    return chance.choice(deeds)


@pytest.mark.parametrize("seed", range(12))
def test_every_node_and_every_time_anew_gives_the_same_commits(world: World, seed: int) -> None:
    chance, client = random.Random(seed), ""  # noqa: S311 - a test
    for step in range(40):
        something(world, chance, step)()
        if chance.random() < 0.5:
            name = chance.choice("ab")
            if chance.random() < 0.2:
                shutil.rmtree(world.folder / name, ignore_errors=True)  # a view is a cache
            tip = world.ask(name)
            gitdir = world.node(name).refresh(SRE)
            assert not client or tip == client or pygit2.Repository(gitdir).descendant_of(tip, client)
            assert shown(gitdir) == world.offered()
            client = tip
    last = world.ask("a")
    assert [world.ask("b"), world.ask("fresh"), world.ask("a")] == [last] * 3
    shutil.rmtree(world.folder / "b")
    assert world.ask("b") == last


def test_a_long_history_begins_where_it_did_when_it_is_made_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(market_view, "MOST_COMMITS", 5)
    monkeypatch.setattr(marketplaces, "_UNRECORDED", 3)
    for turn in range(3):
        for number in range(9 - turn):
            world.put(f"skill-{number}", f"plain {turn}")
        for number in range(4):
            world.volume.store.commit({"memory/note.md": f"{turn} {number}\n".encode()}, "Note", WRITER)
            world.ask("a")
    assert world.ask("b") == world.ask("a")


def test_what_shows_nothing_new_is_not_written_down(world: World) -> None:
    world.put("one", "plain")
    world.ask("a")
    before = recorded(world.volume)
    world.volume.store.commit({"memory/note.md": b"Something.\n"}, "Note", WRITER)
    world.sign("one")
    world.ask("a")
    assert recorded(world.volume) == before
    world.put("one", "evil")
    world.ask("a")
    [(commit, last)] = since(world.volume, recorded(world.volume), before)
    entry = world.volume.skill_entry("one")
    assert entry
    assert (commit, last) == (
        recorded(world.volume),
        Shown(main=world.volume.store.head() or "", held=(entry.version,)),
    )


def test_a_history_that_was_rewritten_begins_anew(world: World) -> None:
    world.put("one", "plain")
    old = world.ask("a")
    before = since(world.volume, recorded(world.volume), "")[-1][1]
    gone = Shown(main="0" * 40, first=False)  # as a scrub leaves it: no history leads to that commit
    record(world.volume, gone, recorded(world.volume))
    assert world.ask("a") == world.ask("b") == old  # it begins at the same commits
    times = since(world.volume, recorded(world.volume), "")
    assert [one for _, one in times] == [Shown(main=before.main, first=True)]


def test_two_nodes_that_move_at_once_agree(world: World) -> None:
    world.put("one", "plain")
    node = world.node("a")
    now = node._now(world.volume)
    first = world.ask("b")  # moves between the look of the other node and its word
    with pytest.raises(Conflict):
        node._follow(world.volume, node._folder_of(SRE), now)
    looks = iter([now, node._now(world.volume)])
    node._now = lambda _: next(looks)  # type: ignore[method-assign]  # as it saw it, once
    assert world.ask("a") == first


def test_a_volume_that_never_rests_keeps_nobody_waiting(world: World) -> None:
    node, before = world.node("a"), world.node("a")._follow

    def follow(*given: Any) -> str:  # noqa: ANN401 - as it is
        last = before(*given)
        world.put("one", f"plain {world.nothing}")
        world.nothing += 1
        return last

    node._follow = follow  # type: ignore[method-assign]
    world.put("one", "plain")
    node.refresh(SRE)
    assert world.nothing == 1


def test_a_record_that_cannot_be_read_says_so(world: World) -> None:
    world.put("one", "plain")
    world.volume.notes.commit({"market.json": b"{"}, "Damage", WRITER, branch=RECORD)
    with pytest.raises(Unavailable, match="cannot be read"):
        world.ask("a")


def test_many_skills_are_looked_at_by_helpers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarding, "MANY", 3)
    asked = list[str]()

    class Pool(ScanPool):
        def scan(self, rules: str, folders: Iterable[Folder], told: Callable[[Sequence[Said]], None]) -> None:
            said = [Said(version, ("test.word",) * (skill_id == "two"), final=True) for version, skill_id, _ in folders]
            asked.append(rules)
            told(said)

    for name in ("one", "two", "three"):
        world.put(name, "plain")
    guard = Guard(world.volumes, world.rules, pool=Pool())
    world.node("a")._catalogs._guard = guard
    assert shown(world.node("a").refresh(SRE)) == ["one", "three"]
    world.put("one", "good")
    assert shown(world.node("a").refresh(SRE)) == ["one", "three"]
    assert asked == [guard.rules]
