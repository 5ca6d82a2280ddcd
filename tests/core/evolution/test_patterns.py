from __future__ import annotations

import itertools
import random
import zlib
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.evolution import features
from llmos_lite.core.evolution.clusters import cluster
from llmos_lite.core.evolution.features import content_words, embed_goals, words
from llmos_lite.core.evolution.patterns import Conversation, Pattern, PatternDetector, thresholds
from llmos_lite.core.evolution.success import Verdict
from llmos_lite.core.traces.trace import make_ulid
from llmos_lite.engines.embedder import PluggedEmbedder
from tests.embedding import Broken

CSV = ["Create a python script to parse CSV", "write a Python script that parses a csv file"]
CSV += ["I need a python script for parsing CSVs"]
SECURITY = ["Review this pull request for security problems", "please do a security review of my PR"]
SECURITY += ["check my pull request for security issues"]
RELEASE = ["write release notes for version 2.1", "Draft the release notes from these commits"]
RELEASE += ["release notes for the next version please"]
OTHER = ["How do I fix a leaking tap?", "What's the capital of France?", "plan my holiday in Rome", "hello", "thanks!"]


def conversation(place: int, goal: str, **given: object) -> Conversation:
    defaults: dict[str, object] = {"actor": "alice", "time": place}
    return Conversation(trace_id=make_ulid(1_000 + place, f"{place}"), goal=goal, **(defaults | given))  # type: ignore[arg-type]


def conversations(goals: list[str]) -> list[Conversation]:
    return [conversation(place, goal) for place, goal in enumerate(goals)]


def goals_of(patterns: list[Pattern]) -> list[set[str]]:
    return [{member.goal for member in pattern.members} for pattern in patterns]


def test_the_same_goal_in_other_words_is_one_pattern() -> None:
    found = PatternDetector().analyze_traces(conversations([*CSV, *OTHER]))
    assert goals_of(found) == [set(CSV)]


def test_several_goals_are_kept_apart() -> None:
    mixed = [goal for trio in zip(CSV, SECURITY, RELEASE, strict=True) for goal in trio]
    found = PatternDetector().analyze_traces(conversations([*mixed, *OTHER]))
    assert sorted(map(sorted, goals_of(found))) == sorted(map(sorted, (CSV, SECURITY, RELEASE)))


def test_a_handful_that_repeats_itself_word_for_word_is_a_pattern() -> None:
    found = PatternDetector().analyze_traces(conversations(["Create Python script"] * 5))
    assert [pattern.count for pattern in found] == [5]


def test_two_conversations_are_no_pattern() -> None:
    detector = PatternDetector()
    assert detector.analyze_traces(conversations(CSV[:2])) == []
    assert detector.analyze_traces(conversations([*CSV[:2], *OTHER])) == []
    assert detector.analyze_traces([]) == []


def test_goals_without_words_make_no_trouble() -> None:
    detector = PatternDetector()
    assert detector.analyze_traces(conversations(["", "  ", "\n", "?"])) == []
    detector.analyze_traces(conversations(["?", "!", "…", "🙂", "\ud800", "的的的", "```\ncode\n```"]))


def test_the_order_of_reading_does_not_matter() -> None:
    asked = conversations([*CSV, *SECURITY, *OTHER, *RELEASE])
    expected = PatternDetector().analyze_traces(asked)
    shuffled = list(asked)
    random.Random(1).shuffle(shuffled)  # noqa: S311 - not a secret
    assert [pattern.trace_ids for pattern in PatternDetector().analyze_traces(shuffled)] == [
        pattern.trace_ids for pattern in expected
    ]


def test_a_pattern_says_what_is_in_it() -> None:
    asked = [
        conversation(0, CSV[0], verdict=Verdict.CONFIRMED),
        conversation(1, CSV[1], verdict=Verdict.FAILED, actor="bob"),
        conversation(2, CSV[2], verdict=Verdict.CORRECTED, actor="bob"),
        conversation(3, CSV[2]),
    ]
    pattern = PatternDetector().analyze_traces(asked)[0]
    assert (pattern.count, pattern.users, pattern.success_rate) == (4, 2, 0.5)
    assert pattern.goal in CSV
    assert sorted(pattern.examples) == sorted(CSV)
    assert pattern.trace_ids == sorted(one.trace_id for one in asked)
    assert pattern.alike(pattern) > 0.5


def test_an_id_is_kept_when_a_pattern_grows_even_backwards() -> None:
    detector = PatternDetector()
    asked = conversations([*OTHER, *CSV])
    first = detector.analyze_traces(asked, volume="user:alice")[0]
    known = {first.pattern_id: first.trace_ids}
    older = Conversation(trace_id=make_ulid(1, "older"), goal="python script that parses CSV", actor="alice", time=1)
    grown = detector.analyze_traces([*asked, older], volume="user:alice", known=known)[0]
    assert grown.pattern_id == first.pattern_id
    assert grown.count == first.count + 1
    fresh = detector.analyze_traces([*asked, older], volume="user:alice")[0]
    assert fresh.pattern_id != first.pattern_id
    assert detector.analyze_traces(asked, volume="team:sre")[0].pattern_id != first.pattern_id


def test_two_patterns_never_share_an_id() -> None:
    detector = PatternDetector()
    asked = conversations([*CSV, *SECURITY])
    everything = {"p-old": [one.trace_id for one in asked]}
    found = detector.analyze_traces(asked, volume="user:alice", known=everything)
    assert len(found) == 2
    assert len({pattern.pattern_id for pattern in found}) == 2
    assert "p-old" in {pattern.pattern_id for pattern in found}
    # the id that the second group would make of its oldest member is taken by a pattern that is known
    taken = {detector.analyze_traces(conversations(CSV), volume="v")[0].pattern_id: ["somebody-else"]}
    again = detector.analyze_traces(conversations(CSV), volume="v", known=taken)[0]
    assert again.pattern_id not in taken


def test_tools_bring_conversations_together_that_use_few_words() -> None:
    vectors = embed_goals(
        ["go on", "and the next", "go on"], [("deploy", "rollback"), ("deploy", "rollback"), ("mail",)]
    )
    assert (
        vectors[0] @ vectors[1] > embed_goals(["go on", "and the next"])[0] @ embed_goals(["go on", "and the next"])[1]
    )


def test_code_links_and_slots_are_no_words() -> None:
    assert words("Fix <email:1> https://x.example/a?b ```\nsecret = 1\n``` Now") == ["fix", "now"]
    assert content_words("Can you help me write the Invoice letter") == ["invoice", "letter"]


def test_thresholds_grow_with_the_volume() -> None:
    sizes = [thresholds(goals) for goals in (1, 50, 200, 600, 10**6)]
    assert sizes == sorted(sizes)
    assert sizes[0] == sizes[1]
    assert sizes[3] == sizes[4]


SYNONYMS = {
    "management": "report", "board": "report", "forgot": "reset", "letter": "french", "repair": "fix",
    "breaks": "failing",
    "rain": "weather", "evening": "tonight", "reserve": "book", "month": "monthly", "meal": "dinners",
    "plan": "dinners",
    "light": "photosynthesis", "plants": "photosynthesis", "hire": "job", "posting": "advert", "turn": "convert",
    "file": "json", "balance": "money", "automobile": "car", "vehicle": "car", "clean": "wash", "polish": "wash",
}  # fmt: skip


class SynonymEmbedder:
    """Stands in for a language model: knows synonyms, and calls everything rather alike, as such models do."""

    def embed(self, texts: list[str]) -> np.ndarray:
        return np.array([self.vector(text) for text in texts], dtype=np.float32)

    def vector(self, text: str) -> np.ndarray:
        said = [SYNONYMS.get(word, word) for word in content_words(text)]
        parts = [np.random.default_rng(zlib.crc32(word.encode())).standard_normal(256) for word in said]
        return np.sum([np.full(256, 1.5), *parts], axis=0)


def test_an_embedder_groups_what_shares_no_word() -> None:
    goals = ["wash car", "clean automobile", "polish vehicle", *OTHER]
    assert PatternDetector().analyze_traces(conversations(goals)) == []
    found = PatternDetector(PluggedEmbedder(SynonymEmbedder(), "synonyms")).analyze_traces(conversations(goals))
    assert goals_of(found) == [set(goals[:3])]


def test_an_embedder_that_fails_leaves_the_words(caplog: pytest.LogCaptureFixture) -> None:
    goals = [*["translate the letter", "translate a letter", "translate that letter"], *OTHER]
    found = PatternDetector(Broken()).analyze_traces(conversations(goals))
    assert goals_of(found) == goals_of(PatternDetector().analyze_traces(conversations(goals))) != []
    assert "goals are grouped by words alone" in caplog.text


@given(st.lists(st.text(max_size=30), max_size=12))
@settings(max_examples=15, deadline=None)
def test_every_goal_is_in_at_most_one_pattern(goals: list[str]) -> None:
    found = PatternDetector().analyze_traces(conversations(goals))
    members = list(itertools.chain.from_iterable(pattern.trace_ids for pattern in found))
    assert len(members) == len(set(members))
    assert all(pattern.count >= 3 for pattern in found)


@pytest.mark.parametrize("count", [1, 2, 300, 700])
def test_clusters_of_well_separated_vectors_are_found(count: int) -> None:
    randomness = np.random.default_rng(count)
    centres = np.eye(16, dtype=np.float32)
    truth = randomness.integers(0, 16, count)
    vectors = centres[truth] + 0.05 * randomness.standard_normal((count, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = cluster(vectors, leader=0.7, merge=0.6)
    assert len(set(zip(truth.tolist(), labels.tolist(), strict=True))) == len(set(truth.tolist()))


def test_no_vectors_make_no_clusters() -> None:
    assert cluster(np.zeros((0, 4), dtype=np.float32), leader=0.5, merge=0.5).size == 0


@pytest.mark.parametrize("count", [1, 2, 30, 200])
def test_few_goals_lie_where_they_lay_by_the_longer_way(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    goals = [f"{CSV[number % len(CSV)]} {number % 7} of {number % 11}" for number in range(count)]
    short = embed_goals(goals)
    sizes = features.LATENT
    monkeypatch.setattr(features, "_latent", partial(_by_the_longer_way, sizes))
    assert np.allclose(short @ short.T, embed_goals(goals) @ embed_goals(goals).T, atol=1e-5)


def _by_the_longer_way(sizes: tuple[int, int], sparse: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    _, directions = np.linalg.eigh((sparse.T @ sparse).astype(np.float64))
    size = int(np.clip(len(sparse) // 3, *sizes))
    return features._unit((sparse @ directions[:, ::-1][:, :size]).astype(np.float32))
