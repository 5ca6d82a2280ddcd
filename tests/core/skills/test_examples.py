"""Example requests are written once for each text, a few at a time, and only ever counted."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest
from conftest import ALICE, BOB, skill_text
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.skills import examples as module
from llmos_lite.core.skills.examples import Examples
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.requests import (
    LARGEST_ANSWER,
    LONGEST,
    MOST_REQUESTS,
    SHORTEST,
    SYSTEM,
    UnusableRequestsError,
    digest,
    read,
)
from llmos_lite.engines.database import Database
from llmos_lite.engines.llm import OFFLINE, ChatRequest, Completion, LanguageModel, OfflineModel, Piece
from llmos_lite.errors import UpstreamFailed
from llmos_lite.records import schema
from llmos_lite.records.catalog_examples import ExampleRows
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager

ASKED = ["granny visits on sunday, what do I serve", "something hot for the guests"]


class Writer:
    """A model that answers what it is told to, or fails."""

    def __init__(self, answer: str = json.dumps(ASKED), name: str = "writer") -> None:
        self.answer, self.name = answer, name
        self.requests: list[ChatRequest] = []
        self.fails = False

    async def complete(self, request: ChatRequest) -> Completion:
        self.requests.append(request)
        if self.fails:
            raise UpstreamFailed("model.failed", "It is down.")
        return Completion(text=self.answer, model="writer-1")

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        yield await self.complete(request)

    async def close(self) -> None:
        pass


@pytest.fixture
async def rows(tmp_path: Path) -> AsyncIterator[ExampleRows]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}")
    await schema.prepare(database)
    yield ExampleRows(database)
    await database.close()


@pytest.fixture
def model() -> Writer:
    return Writer()


@pytest.fixture
def writing(volumes: VolumeManager, manager: SkillsManager, rows: ExampleRows, model: Writer) -> Examples:
    manager.examples = Examples(volumes, manager, rows, model, pause=0.0)
    return manager.examples


@pytest.fixture
def again(volumes: VolumeManager, manager: SkillsManager, rows: ExampleRows, model: Writer) -> Examples:
    """As after a restart."""
    return Examples(volumes, manager, rows, model, pause=0.0)


async def found(manager: SkillsManager, query: str, actor: Actor = ALICE) -> list[str]:
    asked = await manager.asked(actor)
    hits = manager.ranking.ranked(manager.libraries(actor), query, only_fitting=False, asked=asked)
    return [f"{one.skill.volume}/{one.skill.skill_id}" for one in hits]


async def test_a_skill_is_found_by_requests_that_a_model_wrote(
    writing: Examples, manager: SkillsManager, own: GitVolume, model: Writer
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    assert await found(manager, "granny visits") == []
    assert await writing.look() == 1
    assert await found(manager, "granny visits") == ["user:alice/tea"]
    assert await found(manager, "granny visits", BOB) == []
    (request,) = model.requests
    assert request.system == SYSTEM
    assert json.loads(request.messages[0]["content"])["description"] == "Brews tea"


async def test_a_text_is_never_asked_about_twice(
    writing: Examples, again: Examples, model: Writer, own: GitVolume, team: GitVolume
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    assert await writing.look() == 1
    team.write_skill("tea", skill_text("tea", "Brews tea"))  # promoted
    own.write_skill("tea", skill_text("tea", "Brews green tea"))
    assert await writing.look() == 1
    own.write_skill("tea", skill_text("tea", "Brews tea"))  # restored
    assert await writing.look() == 0
    assert await again.look() == 0
    assert len(model.requests) == 2
    assert [goal.volume for goal in again.of([VolumeRef.team("sre")])[0].goals.values()] == ["team:sre"] * 2


async def test_a_changed_or_deleted_skill_loses_its_old_requests(
    writing: Examples, manager: SkillsManager, own: GitVolume, model: Writer
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    await writing.look()
    model.answer = json.dumps(["a cup of the green stuff, please"])
    own.write_skill("tea", skill_text("tea", "Brews another tea"))
    await writing.look()
    assert await found(manager, "granny visits") == []
    assert await found(manager, "green stuff") == ["user:alice/tea"]
    own.delete_skill("tea")
    await writing.look()
    assert await found(manager, "green stuff") == []
    assert (await manager.asked(ALICE))[-1].goals == {}


async def test_a_large_volume_keeps_no_other_waiting(
    writing: Examples, own: GitVolume, team: GitVolume, model: Writer
) -> None:
    for number in range(module.MOST_AT_ONCE + 3):
        own.write_skill(f"tea-{number}", skill_text(f"tea-{number}", f"Brews tea number {number}"))
    team.write_skill("soap", skill_text("soap", "Boils soap"))
    assert await writing.look() == module.MOST_AT_ONCE + 1
    assert any('"soap"' in request.messages[0]["content"] for request in model.requests)
    assert await writing.look() == 3
    assert await writing.look() == 0


async def test_a_model_that_fails_is_left_alone_for_a_while(
    writing: Examples, own: GitVolume, model: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        own.write_skill(f"tea-{number}", skill_text(f"tea-{number}", f"Brews tea number {number}"))
    model.fails = True
    assert await writing.look() == 0
    assert len(model.requests) == module.MOST_FAILURES
    model.fails = False
    assert await writing.look() == 0
    assert len(model.requests) == module.MOST_FAILURES
    later = module.now_ms() + module.RESTS
    monkeypatch.setattr(module, "now_ms", lambda: later)
    assert await writing.look() == 5


async def test_an_answer_of_no_use_is_asked_for_once_more_and_then_never(
    writing: Examples, own: GitVolume, model: Writer
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    model.answer = "Sure! Here are some requests."
    for _ in range(5):
        assert await writing.look() == 0
    assert len(model.requests) == module.MOST_TRIES


@pytest.mark.parametrize("model", [OfflineModel(), Writer(name=OFFLINE)], ids=["offline", "named so"])
async def test_the_offline_model_writes_none(
    volumes: VolumeManager, manager: SkillsManager, rows: ExampleRows, own: GitVolume, model: LanguageModel
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    assert await Examples(volumes, manager, rows, model, pause=0.0).look() == 0
    assert await rows.all() == {}


async def test_what_is_switched_off_writes_none_and_uses_what_is_there(
    writing: Examples, again: Examples, manager: SkillsManager, own: GitVolume
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    await writing.look()
    own.write_skill("soap", skill_text("soap", "Boils soap"))
    again._active = False
    assert await again.look() == 0
    manager.examples = again
    assert await found(manager, "granny visits") == ["user:alice/tea"]


async def test_what_no_volume_holds_is_removed_at_once_when_asked(
    writing: Examples, own: GitVolume, rows: ExampleRows
) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    await writing.look()
    own.write_skill("tea", skill_text("tea", "Brews another tea"))
    await writing.look()
    assert await writing.prune(older_than=module.KEPT) == 0
    assert len(await rows.all()) == 2
    assert await writing.prune() == 1
    assert len(await rows.all()) == 1


async def test_it_runs_in_the_background_and_ends(writing: Examples, own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Brews tea"))
    writing.start()
    await writing.stop()
    await writing.stop()


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "{}", "[1]", '["short"]', "x" * 9000, f'["{"y" * (LONGEST + 1)}"]', '"text"', "[["],
)
def test_what_is_no_list_of_requests_is_refused(answer: str) -> None:
    with pytest.raises(UnusableRequestsError):
        read(answer)


def test_requests_come_on_one_line_each_and_without_what_steers() -> None:
    answer = json.dumps(["how\ndo I\x1b[2J  brew\u202e tea\0 now?", "how do I [2J brew tea now?", "x" * LONGEST] * 9)
    assert read(f"```json\n{answer}\n```")[:1] == ["how do I [2J brew tea now?"]
    assert len(read(answer)) == 2


@given(st.text(max_size=LARGEST_ANSWER + 10) | st.lists(st.text(max_size=LONGEST + 10), max_size=12).map(json.dumps))
def test_any_answer_gives_a_few_plain_lines_or_is_refused(answer: str) -> None:
    try:
        lines = read(answer)
    except UnusableRequestsError:
        return
    assert 0 < len(lines) <= MOST_REQUESTS
    for line in lines:
        assert SHORTEST <= len(line) <= LONGEST
        assert line.isprintable()
        line.encode()


def test_the_digest_is_of_what_the_model_sees() -> None:
    skill = Skill(skill_id="tea", name="Tea", description="Brews tea", body="Boil.")
    assert digest(skill) == digest(Skill(skill_id="other", name="Tea", description="Brews tea", body="Boil."))
    assert digest(skill) != digest(Skill(skill_id="tea", name="Tea", description="Brews tea", body="Boil. "))
