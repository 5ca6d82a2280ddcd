"""The import: batches, archives, reports, plug-ins, and everything that can be wrong with a file."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.traces.importers import Import, ImportReport, Skipped, Source, Target, importers
from llmos_lite.core.traces.importers.base import MAX_LINE, MAX_TEXT, as_text, clean, parse_json
from llmos_lite.core.traces.trace import Message, Trace, encode
from llmos_lite.engines import plugins
from llmos_lite.errors import Invalid

SAMPLES = Path(__file__).parent / "samples"
ALICE = Target("alice", "user:alice")
CHAT = '{"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]}\n'


class Shelf:
    """A store that keeps traces by id."""

    def __init__(self) -> None:
        self.traces: dict[str, Trace] = {}
        self.batches = 0

    async def __call__(self, batch: list[Trace]) -> tuple[int, int]:
        self.batches += 1
        new = {trace.id: trace for trace in batch if trace.id not in self.traces}
        self.traces |= new
        return len(new), len(batch) - len(new)


async def run(path: Path, shelf: Shelf | None = None, **more: object) -> ImportReport:
    return await Import(ALICE, shelf or Shelf(), importers(), **more).file(path)  # type: ignore[arg-type]


async def test_the_same_file_twice_adds_nothing() -> None:
    shelf = Shelf()
    path = SAMPLES / "daaain_todowrite_examples.jsonl"
    assert (await run(path, shelf)).traces == 6
    report = await run(path, shelf)
    assert (report.traces, report.duplicates, report.lines) == (0, 6, 12)


async def test_an_archive_is_imported_file_by_file(tmp_path: Path) -> None:
    path = tmp_path / "upload"
    with tarfile.open(path, "w") as archive:
        archive.add(SAMPLES, arcname="samples")
    report = await run(path)
    assert report.files == 7
    assert report.formats == {"claude-code": 4, "codex": 1, "openai-chat": 1}
    assert report.skipped["file of no known format"] == 1
    assert os.listdir(tmp_path) == ["upload"]  # noqa: PTH208 - nothing else to say


async def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(CHAT.replace("hello", f"hello {number}") for number in range(1200)))
    heard: list[tuple[int, int]] = []
    shelf = Shelf()
    report = await run(path, shelf, progress=lambda done, total: heard.append((done, total)))
    assert report.traces == 1200
    assert shelf.batches == 3
    assert heard == sorted(heard)
    assert heard[-1] == (path.stat().st_size, path.stat().st_size)


async def test_what_cannot_be_read_is_counted_and_never_fatal(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    deep = b'{"messages": [{"role": "user", "content": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]}\n"
    lines = [
        CHAT.encode(),
        b'{"messages": "\xff"}\n',
        b"\x00\x01\n",
        deep,
        b'"text"\n',
        b'{"open": ',
        b"\r\n",
        CHAT.encode(),
    ]
    path.write_bytes(b"".join(lines))
    report = await run(path)
    assert report.as_dict() == {
        "files": 1,
        "lines": 7,
        "traces": 1,
        "duplicates": 1,
        "skipped": {"binary": 1, "nested too deeply": 1, "no messages": 1, "not JSON": 1, "not a JSON object": 1},
        "formats": {"openai-chat": 1},
    }


async def test_a_line_of_fifty_megabytes_is_passed_over_in_small_pieces(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(CHAT.encode() + b'{"messages": "')
        file.writelines(b"x" * (1 << 20) for _ in range(50))
        file.write(b'"}\n' + CHAT.replace("hello", "bye").encode())
    report = await run(path)
    assert (report.traces, report.lines) == (2, 3)
    assert report.skipped == {f"line over {MAX_LINE >> 20} MiB": 1}


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x00\x00", b"just text\n", b"{}", b"\xff" * 100])
async def test_a_file_that_nobody_knows_is_counted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    report = await run(tmp_path / "file")
    assert (report.files, report.skipped) == (1, {"file of no known format": 1})


async def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(CHAT)
    with pytest.raises(Invalid) as caught:
        await run(tmp_path / "file", format="cobol")
    assert caught.value.code == "import.unknown_format"
    assert "openai-chat" in caught.value.hint


def test_half_a_character_is_stored_as_a_mark() -> None:
    assert parse_json(b'"ok \\ud83d."') == "ok \ufffd."
    assert parse_json('"caf\u00e9 \U0001f600"'.encode()) == "caf\u00e9 \U0001f600"
    assert parse_json(b'"\xff \\ud83d\\ude00"') == "\ufffd \U0001f600"


def test_a_text_beyond_all_measure_is_cut_and_says_so() -> None:
    text = clean("x" * (MAX_TEXT + 5))
    assert "5 more characters were left out" in text


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_content_has_a_text(value: object) -> None:
    as_text(value).encode()


KEYS = st.sampled_from(
    [
        "type",
        "message",
        "messages",
        "role",
        "content",
        "uuid",
        "parentUuid",
        "tool_calls",
        "id",
        "usage",
        "sessionId",
        "isSidechain",
        "choices",
        "created",
    ]
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.sampled_from(["user", "assistant", "tool_use", "x", "\ud800", "Skill"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=30,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=8), max_size=5), st.sampled_from(["claude-code", "openai-chat"]))
def test_no_line_however_odd_stops_an_import(
    tmp_path_factory: pytest.TempPathFactory, lines: list[object], name: str
) -> None:
    path = tmp_path_factory.mktemp("odd") / "log.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    for item in importers()[name].read(Source(path), ALICE):
        if isinstance(item, Trace):
            assert encode(item)


class Diary:
    """The example of docs/importers: lines of `time<TAB>question<TAB>answer`."""

    name = "diary"

    def sniff(self, head: bytes) -> bool:
        return head.startswith(b"#diary\n")

    def read(self, source: Source, target: Target) -> Iterator[Trace | Skipped]:
        for number, line in enumerate(source.path.read_text().splitlines()[1:], 2):
            at, tab, rest = line.partition("\t")
            if not tab:
                yield Skipped("no tab", number)
                continue
            question, _, answer = rest.partition("\t")
            trace_id = target.trace_id(int(at), line)
            yield Trace(
                id=trace_id,
                actor=target.actor,
                volume=target.volume,
                conversation=trace_id,
                time=int(at),
                goal=question,
                messages=(Message("user", question), Message("assistant", answer)),
                source="import:diary",
            )


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    points: list[EntryPoint] = []
    monkeypatch.setattr(plugins, "entry_points", lambda group: [item for item in points if item.group == group])
    return points


def point(name: str) -> EntryPoint:
    return EntryPoint(name.lower(), f"{__name__}:{name}", plugins.IMPORTERS)


async def test_a_plug_in_reads_its_own_files(tmp_path: Path, plugged: list[EntryPoint]) -> None:
    plugged.append(point("Diary"))
    path = tmp_path / "diary.txt"
    path.write_text("#diary\n1767225600000\thow?\tso\nbroken\n")
    shelf = Shelf()
    report = await run(path, shelf)
    assert (report.traces, report.skipped, report.formats) == (1, {"no tab": 1}, {"diary": 1})
    assert next(iter(shelf.traces.values())).goal == "how?"


NOT_AN_IMPORTER = object()


@pytest.mark.parametrize(("name", "code"), [("NOT_AN_IMPORTER", "plugin.importer"), ("Missing", "plugin.broken")])
def test_a_broken_plug_in_is_named(plugged: list[EntryPoint], name: str, code: str) -> None:
    plugged.append(point(name))
    with pytest.raises(Invalid, match=name.lower()) as caught:
        importers()
    assert caught.value.code == code
