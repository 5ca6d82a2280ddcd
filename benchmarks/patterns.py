"""Which goals repeat: quality on public intents beside the seed's hash, and the time for 10,000 goals.

Data: `intents_dev.jsonl.gz` (CLINC150, half of its intents), looked for in `LLMOS_BENCH_DATA` and `../shared/data`.
A pattern is a group of at least 3; it is pure when .8 of it have one intent.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import Row
from llmos_lite.core.evolution.patterns import Conversation, PatternDetector
from llmos_lite.core.traces.trace import make_ulid

PURE = 0.8
LEAST = 3


def run() -> list[Row]:
    """Return the figures; none where the data is not there."""
    path = Path(os.environ.get("LLMOS_BENCH_DATA", "../shared/data")) / "intents_dev.jsonl.gz"
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    order = np.random.default_rng(1).permutation(len(rows))
    goals = [rows[place]["text"] for place in order]
    truth = [rows[place]["intent"] for place in order]
    ours, seconds = _labels(goals)
    hashed = list(np.unique([goal.lower().strip() for goal in goals], return_inverse=True)[1])
    us, seed = _quality(ours, truth), _quality(hashed, truth)
    intents = len(set(truth) - {None})
    return [
        Row(f"patterns: intents found of {intents}", us.found, seed.found, unit="intents", target="value >= 62"),
        Row("patterns: share of pure ones", us.precision, seed.precision, target="value >= .7"),
        Row("patterns: goals in a pure one", us.coverage, seed.coverage, target="value >= .5"),
        Row("patterns: out-of-scope goals in any", us.stray, seed.stray, target="value <= .2"),
        Row("patterns: V-measure", us.v_measure, seed.v_measure, target="value >= .75"),
        Row("patterns: adjusted Rand index", us.rand, seed.rand, target="value >= .35"),
        Row(f"patterns: time for {len(goals):,} goals", seconds, unit="s", target="value <= 15"),
    ]


def _labels(goals: Sequence[str]) -> tuple[list[int], float]:
    """Return the group of each goal, one of its own where it belongs to no pattern, and the CPU seconds."""
    asked = [Conversation(make_ulid(place, str(place)), goal, "u", place) for place, goal in enumerate(goals)]
    begun = time.process_time()
    patterns = PatternDetector().analyze_traces(asked)
    seconds = time.process_time() - begun
    group = {trace_id: place for place, pattern in enumerate(patterns) for trace_id in pattern.trace_ids}
    return [group.get(one.trace_id, len(patterns) + place) for place, one in enumerate(asked)], seconds


@dataclass(frozen=True)
class _Quality:
    found: int
    precision: float
    coverage: float
    stray: float
    v_measure: float
    rand: float


def _quality(labels: Sequence[int], truth: Sequence[str | None]) -> _Quality:
    groups: dict[int, list[str | None]] = {}
    for label, intent in zip(labels, truth, strict=True):
        groups.setdefault(label, []).append(intent)
    patterns = [members for members in groups.values() if len(members) >= LEAST]
    tops = [(Counter(members).most_common(1)[0], len(members)) for members in patterns]
    pure = [top for top, size in tops if top[0] is not None and top[1] >= PURE * size]
    scoped = sum(intent is not None for intent in truth)
    return _Quality(
        found=len({intent for intent, _ in pure}),
        precision=len(pure) / max(len(patterns), 1),
        coverage=sum(count for _, count in pure) / scoped,
        stray=sum(members.count(None) for members in patterns) / max(len(truth) - scoped, 1),
        v_measure=_v_measure(labels, truth),
        rand=_rand(labels, truth),
    )


def _numbers(labels: Sequence[int], truth: Sequence[str | None]) -> list[np.ndarray]:
    """Return the sizes of the cells, of the intents and of the groups; each out-of-scope goal is an intent."""
    told = [intent or f"out of scope {place}" for place, intent in enumerate(truth)]
    gold, mine = (np.unique(np.asarray(values), return_inverse=True)[1] for values in (told, labels))
    cells = np.unique(gold * (mine.max() + 1) + mine, return_counts=True)[1]
    return [cells, np.bincount(gold), np.bincount(mine)]


def _v_measure(labels: Sequence[int], truth: Sequence[str | None]) -> float:
    total = len(truth)
    cells, gold, mine = (float(-np.sum(n / total * np.log(n / total))) for n in _numbers(labels, truth))
    shared = gold + mine - cells
    return 2 * shared / (gold + mine)


def _rand(labels: Sequence[int], truth: Sequence[str | None]) -> float:
    cells, gold, mine = (float(np.sum(n * (n - 1.0) / 2)) for n in _numbers(labels, truth))
    expected = gold * mine / (len(truth) * (len(truth) - 1) / 2)
    return (cells - expected) / ((gold + mine) / 2 - expected)
