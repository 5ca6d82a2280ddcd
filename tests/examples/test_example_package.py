"""The package that docs/extending.md shows is installed for real, and each of its parts is used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_lite.core.traces.importers import Skipped, Source, Target, choose, importers
from llmos_lite.core.traces.trace import Trace
from llmos_lite.engines.llm import ChatRequest, Completion, Delta
from llmos_lite.engines.llm_auto import open_model
from llmos_lite.settings import Settings

EXAMPLE = Path(__file__).parent / "llmos-example"
LOG = (
    '{"ticket": 7, "at": "2026-11-02T09:00:00Z", "question": "How do I reset a key?", "answer": "Open the settings."}\n'
    '{"ticket": 8, "at": "2026-11-02T10:00:00Z", "question": "The export is empty", "answer": "Widen the dates."}\n'
    '{"ticket": 9, "note": "closed without an answer"}\n'
    "not a line of this log\n"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", site, EXAMPLE], check=True)
    return site


@pytest.fixture
def example(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(installed)
    yield installed
    for module in [name for name in sys.modules if name.partition(".")[0] == "llmos_example"]:
        del sys.modules[module]


@pytest.mark.usefixtures("example")
def test_the_importer_recognises_its_log_and_turns_it_into_traces(tmp_path: Path) -> None:
    log = tmp_path / "desk.jsonl"
    log.write_text(LOG)
    source, target = Source(log), Target(actor="alice", volume="user:alice")
    chosen = choose(source, importers())
    assert chosen
    assert chosen.name == "desk"
    read = list(chosen.read(source, target))
    traces = [item for item in read if isinstance(item, Trace)]
    assert [trace.goal for trace in traces] == ["How do I reset a key?", "The export is empty"]
    assert [trace.answer for trace in traces] == ["Open the settings.", "Widen the dates."]
    assert [item for item in read if isinstance(item, Skipped)] == [Skipped("not a ticket", 3), Skipped("not JSON", 4)]
    assert traces == [item for item in chosen.read(Source(log), target) if isinstance(item, Trace)]


@pytest.mark.usefixtures("example")
async def test_the_model_is_chosen_by_its_name_and_gets_the_settings() -> None:
    model = open_model(Settings(llm_provider="parrot", llm_model="polly"))
    request = ChatRequest(messages=[{"role": "user", "content": "pieces of eight"}])
    *pieces, whole = [piece async for piece in model.stream(request)]
    assert isinstance(whole, Completion)
    assert whole == await model.complete(request)
    assert whole.text == "polly: pieces of eight"
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == whole.text
