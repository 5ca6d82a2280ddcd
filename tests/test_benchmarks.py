"""The frame of the benchmarks: rows know their ratio and whether their target is met, and modules are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import Row, __main__


@pytest.mark.parametrize(
    ("row", "times", "met"),
    [
        (Row("a", 6.0, 2.0, target="ratio <= 3"), 3.0, True),
        (Row("a", 6.1, 2.0, target="<= 3"), 3.05, False),
        (Row("a", 90.0, 45.0, target="ratio <= 3, value <= 100"), 2.0, True),
        (Row("a", 101.0, 45.0, target="ratio <= 3, value <= 100"), 101 / 45, False),
        (Row("a", 101.0, target="value < 150"), None, True),
        (Row("a", 0.6, target="value >= .7"), None, False),
        (Row("a", 101.0), None, None),
        (Row("a", 1.0, 2.0, ratio=0.7, target="ratio >= 0.6"), 0.7, True),
        (Row("a", 1.0, 0.0, target="ratio <= 3"), None, None),
    ],
)
def test_a_row_knows_its_ratio_and_whether_its_target_is_met(row: Row, times: float | None, met: object) -> None:
    assert row.times == times
    assert row.met is met


def test_numbers_keep_three_digits() -> None:
    assert [__main__.number(value) for value in (None, 0.0, 0.00001, 0.0042, 0.1234, 1.234, 123.4, 12345.6)] == [
        "",
        "0.00",
        "1e-05",
        "0.004",
        "0.12",
        "1.23",
        "123",
        "12,346",
    ]


def test_the_table_is_one_text_for_people_and_one_for_the_docs() -> None:
    rows = [Row("chat p99", 12.0, 10.0, unit="ms", target="ratio <= 1"), Row("start", 0.9, unit="s")]
    text = __main__.text_table(rows)
    assert text.splitlines()[1].split() == ["chat", "p99", "12.0", "10.0", "1.20x", "ms", "ratio", "<=", "1", "MISSED"]
    assert "| chat p99 | 12.0 | 10.0 | 1.20x | ms | ratio <= 1 | MISSED |" in __main__.markdown_table(rows)


def test_the_page_in_the_docs_is_rewritten_between_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Figures\n\n{__main__.START}old\n{__main__.END}\nThe end.\n")
    monkeypatch.setattr(__main__, "PAGE", page)
    for _ in range(2):
        __main__.write_page([Row("start", 0.9, unit="s")], "today")
    text = page.read_text()
    assert text.startswith("# Figures\n")
    assert text.endswith("\nThe end.\n")
    assert text.count("| start | 0.90 |") == 1
    assert "old" not in text


def test_only_known_benchmarks_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["no-such-benchmark"])
    assert "no-such-benchmark" in capsys.readouterr().err


def test_a_broken_benchmark_is_told_and_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(name: str) -> list[Row]:
        if name == "bad":
            raise RuntimeError("no disk")
        return [Row("start", 0.9, unit="s")]

    monkeypatch.setattr(__main__, "names", lambda: ["bad", "good"])
    monkeypatch.setattr(__main__, "measure", measure)
    assert __main__.main([]) == 1
    printed = capsys.readouterr()
    assert "no disk" in printed.err
    assert "start" in printed.out
