"""Skills by their meaning: other languages, budgets, failures, restarts; only the model is a toy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import ALICE, skill_text

from llmos_lite.core.skills import semantic as module
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.semantic import Semantics
from llmos_lite.engines.embedder import Embedder
from llmos_lite.engines.vectors import LocalVectors
from llmos_lite.volumes.access import SYSTEM
from llmos_lite.volumes.git_volume import GitVolume
from llmos_lite.volumes.manager import VolumeManager
from tests.embedding import Babel, Broken

SKILLS = {
    "tea": "Brew tea for guests. Use when somebody wants tea.",
    "invoices": "Write an invoice for a customer. Use when an invoice is due.",
    "rollout": "Deploy a service. Use when somebody wants to deploy the service.",
    "databases": "Back up a database. Use when the database is at risk.",
}
FOREIGN = {
    "Wie brühe ich Tee": "tea",
    "¿Cómo preparar té?": "tea",
    "泡茶": "tea",
    "Rechnung": "invoices",
    "factura": "invoices",
    "发票": "invoices",
    "部署服务": "rollout",
    "desplegar el servicio": "rollout",
    "数据库": "databases",
}
Make = Callable[[Embedder], tuple[SkillsManager, Semantics]]


@pytest.fixture
def make(volumes: VolumeManager, tmp_path: Path) -> Make:
    def made(embedder: Embedder, budget: float = 5.0) -> tuple[SkillsManager, Semantics]:
        semantics = Semantics(embedder, LocalVectors(tmp_path / "vectors", embedder.name), budget=budget)
        return SkillsManager(volumes, semantics=semantics), semantics

    return made


@pytest.fixture
def library(system: GitVolume) -> GitVolume:
    for skill_id, description in SKILLS.items():
        system.write_skill(skill_id, skill_text(skill_id, description))
    return system


def ready(made: tuple[SkillsManager, Semantics]) -> SkillsManager:
    manager, semantics = made
    semantics.look_at(manager.libraries(ALICE))
    assert semantics.settle()
    return manager


def used(manager: SkillsManager, query: str) -> list[str]:
    return [one.skill.skill_id for one in manager.build_context_for_query(ALICE, query).used]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(("query", "skill_id"), FOREIGN.items())
def test_a_question_in_another_language_finds_an_english_skill(
    make: Make, query: str, skill_id: str, *, quick: bool
) -> None:
    assert used(ready(make(Babel(quick=quick))), query) == [skill_id]


@pytest.mark.usefixtures("library")
def test_an_embedder_of_one_language_harms_nothing(make: Make, volumes: VolumeManager) -> None:
    plain, one = SkillsManager(volumes), ready(make(Babel(multilingual=False)))
    for query in [*FOREIGN, "brew tea", "deploy the service", "how are you?", "写一首诗", "Was kostet ein Haus?"]:
        assert used(one, query) == used(plain, query)


@pytest.mark.usefixtures("library")
def test_what_no_skill_is_about_gets_none(make: Make) -> None:
    manager = ready(make(Babel()))
    for query in ("how are you today", "was ist die Hauptstadt von Peru", "今天天气怎么样", "tell me a joke", "🙂", ""):
        assert used(manager, query) == []


@pytest.mark.usefixtures("library")
async def test_words_decide_until_all_skills_have_a_vector(make: Make) -> None:
    embedder = Babel()
    manager, semantics = make(embedder)
    libraries = manager.libraries(ALICE)
    assert await semantics.meaning([], "发票") is None
    gate = threading.Event()
    semantics._reading.submit(gate.wait)
    assert await manager.meaning(libraries, "发票") is None
    assert "发票" not in embedder.asked
    gate.set()
    assert semantics.settle()
    meaning = await manager.meaning(libraries, "发票")
    assert meaning is not None
    assert [one.skill.skill_id for one in manager.context(libraries, "发票", meaning=meaning).used] == ["invoices"]


class Slow(Babel):
    """Answers queries when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if len(texts) == 1:
            self.gate.wait(10)
        return super().embed(texts)


@pytest.mark.usefixtures("library")
async def test_a_query_that_is_late_goes_by_words_and_is_known_the_next_time(make: Make) -> None:
    slow = Slow()
    manager, semantics = make(slow)
    semantics._budget = 0.01
    ready((manager, semantics))
    libraries = manager.libraries(ALICE)
    assert await manager.meaning(libraries, "发票") is None
    assert await manager.meaning(libraries, "发票") is None
    slow.gate.set()
    semantics._asking.submit(lambda: None).result(10)
    assert await manager.meaning(libraries, "发票") is not None
    assert slow.asked.count("发票") == 1


@pytest.mark.usefixtures("library")
def test_many_waiting_queries_keep_nobody_waiting(make: Make) -> None:
    slow = Slow()
    manager, semantics = make(slow)
    semantics._budget = 0.0
    ready((manager, semantics))
    for number in range(20):
        assert manager.meaning_now(manager.libraries(ALICE), f"query {number}") is None
    assert semantics._asking.waiting <= module.MOST_WAITING
    slow.gate.set()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("quick", [True, False])
def test_an_embedder_that_breaks_leaves_the_words_and_is_left_alone(
    make: Make, caplog: pytest.LogCaptureFixture, *, quick: bool
) -> None:
    broken = Broken(quick=quick)
    manager = ready(make(broken))
    for _ in range(3):
        assert used(manager, "brew tea") == ["tea"]
    assert broken.calls == 1
    assert caplog.text.count("Skills are chosen by words") == 1


@pytest.mark.usefixtures("library")
def test_an_embedder_that_breaks_later_leaves_the_words_and_may_come_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Babel()
    manager, semantics = make(embedder)
    ready((manager, semantics))
    with monkeypatch.context() as patch:
        patch.setattr(embedder, "embed", Broken().embed)
        assert used(manager, "泡茶") == []
        assert used(manager, "brew tea") == ["tea"]
    assert used(manager, "泡茶") == []
    semantics._rested = time.monotonic()
    assert used(manager, "泡茶") == ["tea"]


@pytest.mark.usefixtures("library")
def test_a_query_is_embedded_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    embedder = Babel()
    manager = ready(make(embedder))
    for query in ("tea", "tea ", "invoice", "tea", "service", "tea", "invoice"):
        used(manager, query)
    asked = [text for text in embedder.asked if text in {"tea", "invoice", "service"}]
    assert asked == ["tea", "invoice", "service", "invoice"]


def test_a_restart_embeds_no_skill_again(make: Make, library: GitVolume) -> None:
    ready(make(Babel()))
    again = Babel()
    manager = ready(make(again))
    assert not any("Brew tea" in text for text in again.asked)
    assert used(manager, "泡茶") == ["tea"]
    library.write_skill("tea", skill_text("tea", "Translate a letter. Use when somebody wants to translate."))
    changed = Babel()
    assert used(ready(make(changed)), "翻译") == ["tea"]
    texts = [text for text in changed.asked if text.startswith(tuple(SKILLS))]
    assert len(texts) == 2  # what it says of itself, and the whole


def test_a_deleted_skill_takes_its_vector_with_it(make: Make, library: GitVolume, tmp_path: Path) -> None:
    manager, semantics = make(Babel())
    ready((manager, semantics))
    library.delete_skill("tea")
    ready((manager, semantics))
    assert semantics._vectors.versions(str(SYSTEM)).keys() == SKILLS.keys() - {"tea"}
    assert used(manager, "泡茶") == []
    assert all(b"tea" not in path.read_bytes()[:200] for path in tmp_path.glob("vectors/*/*"))


def test_a_changed_skill_goes_by_words_until_it_is_embedded(make: Make, library: GitVolume) -> None:
    manager, semantics = make(Babel())
    ready((manager, semantics))
    library.write_skill("tea", skill_text("tea", "Translate a letter. Use when somebody wants to translate."))
    gate = threading.Event()
    semantics._reading.submit(gate.wait)
    assert used(manager, "泡茶") == []
    gate.set()
    assert semantics.settle()
    assert used(manager, "翻译") == ["tea"]


@pytest.mark.usefixtures("library")
def test_closing_ends_the_work(make: Make) -> None:
    embedder = Babel()
    manager, semantics = make(embedder)
    ready((manager, semantics))
    manager.close()
    assert embedder.closed
    assert used(manager, "brew tea") == ["tea"]
    SkillsManager(manager._volumes).close()


@pytest.mark.usefixtures("library")
def test_a_model_of_latin_script_is_not_asked_what_another_means(make: Make) -> None:
    """To MiniLM every Chinese text means much the same, so that one about the weather found one about deployment."""
    toy = Babel()
    toy.latin = True
    manager = ready(make(toy))
    assert used(manager, "发票") == []
    assert used(manager, "factura") == ["invoices"]
