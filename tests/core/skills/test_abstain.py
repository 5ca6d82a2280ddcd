"""No skill is better than a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.abstain import ALONE_COVERAGE, ALONE_SURPRISE, THRESHOLD, evidence, is_side_request, parts
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.search import Hit
from llmos_lite.core.skills.starter import starter_skills

STARTER = [Skill.parse(skill_id, text, volume="system") for skill_id, text in starter_skills().items()]

NEEDS_ONE = {
    "Review this pull request": "code-review",
    "Write a Python script that renames files": "python-scripts",
    "SQL query to count users per country": "sql-queries",
    "summarize the meeting and list the action items": "meeting-notes",
    "why does my program crash with a segfault?": "debugging",
    "my script keeps crashing": "debugging",
    "should I use React or Vue, pros and cons": "option-comparison",
}
NEEDS_NONE = [
    "hi",
    "thanks a lot, that was great!",
    "what is the capital of France?",
    "how do I boil an egg",
    "tell me a joke",
    "book a table for two tonight",
    "what's the weather like in Lisbon",
    "你好 今天天气怎么样",
    "مرحبا",
    "🎉🎉🎉",
    "null",
]
ON_THE_SIDE = [
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\nreview my code",
    "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history, along with subtopic tags.",
    "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might ask next in this chat",
    "Please write a 5-10 word title for the following conversation:\n\nUser: review my python code",
]


@pytest.mark.parametrize(("query", "skill_id"), NEEDS_ONE.items())
def test_what_needs_a_skill_gets_it(manager: SkillsManager, query: str, skill_id: str) -> None:
    assert manager.filter_skills_by_query(STARTER, query)[0].skill.skill_id == skill_id


@pytest.mark.parametrize("query", [*NEEDS_NONE, *ON_THE_SIDE])
def test_what_needs_none_gets_none(manager: SkillsManager, query: str) -> None:
    assert manager.filter_skills_by_query(STARTER, query) == []


FROM_TOOLS = [
    '{"status": "error", "message": "the pull request has conflicts"}',
    '[{"type": "tool_result", "content": "3 tests failed"}]',
    "<system-reminder>\nThe todo list is empty.\n</system-reminder>",
    "<bash-stdout>2 tests failed</bash-stdout>",
    "Tool result: invoice.pdf report.xlsx",
]
FROM_CLIENTS = [
    "Summarize the conversation so far, so that the work can go on from the summary alone.",
    "Your task is to create a detailed summary of the conversation so far.",
    "[SUGGESTION MODE: What would the user type next?]",
    "The user stepped away, and is coming back. Recap in a few plain sentences.",
    "### Task:\nPredict 3-5 useful messages this user might naturally send next to advance what they want.",
    "Please analyze the conversation history above and generate a project summary in markdown.",
    "Generate the session title now. Populate the schema with it.",
    "Summarize this session for continuation. Be factual.\n\n## Goal",
    "Summarize conversation chunk 1 of 3.\nFacts alone.",
    "Complete the user's unfinished message. Output only the missing part.\n\nwrite a sql query that",
    "Does this message start a new topic? Answer as JSON.\n\nNow write the unit tests",
    "Given the conversation, write one search query for the last message. Only the query.\n\nuser: slow sql",
    "user: review my code\nassistant: Done.\n\n" * 200 + "Give this chat a short name, at most four words.",
]


@pytest.mark.parametrize("query", [*ON_THE_SIDE, *FROM_TOOLS, *FROM_CLIENTS])
def test_side_requests_are_known(query: str) -> None:
    assert is_side_request(query)


@pytest.mark.parametrize(
    "query",
    [
        "Write a title for my blog post on Rust",
        "Generate tags for this article",
        "suggest names for a cat",
        "Summarize this conversation with the customer and list the action items",
        "Write a chatbot that suggests follow-up questions to our users",
        "How do I store chat history in Postgres?",
        "Extract only the user ids from this JSON: {}",
        "Summarize this session for the people who missed the workshop",
        "Please analyze the conversation history table and generate a chart of it",
        "<div>why is this not centred?</div>",
        "[urgent] review my pull request",
        "Add a session title to the page and write tests for it",
        "Generate a title for this chat app's settings page",
        "The user stepped away from the keyboard: write a hook that locks the screen",
        "Rewrite the message that the user sees when a payment fails",
        "a" * 100_000,
    ],
)
def test_ordinary_requests_are_none(query: str) -> None:
    assert not is_side_request(query)


def test_a_skill_that_is_named_is_used(manager: SkillsManager) -> None:
    skill = Skill(skill_id="deploy", name="Deploy", description="How we deploy", body="Run make deploy.")
    (found,) = manager.filter_skills_by_query([skill], "how do I deploy the service?")
    assert found.fits
    assert manager.filter_skills_by_query([skill], "how do I run the marathon?") == []


def test_a_small_library_gives_a_skill_whose_body_alone_holds_the_whole_request(manager: SkillsManager) -> None:
    odd = Skill.parse(
        "my-skill", "---\nname: my-skill\ndescription: Does x when y.\n---\n# Steps\n\nzebra quantification"
    )
    many = [Skill.parse(f"skill-{n}", f"---\nname: skill-{n}\ndescription: About {n}.\n---\nx{n}") for n in range(300)]
    query = "how do I do zebra quantification?"
    assert [scored.skill.skill_id for scored in manager.filter_skills_by_query([*STARTER, odd], query)] == ["my-skill"]
    assert manager.filter_skills_by_query([*many, odd], query) == []


def test_the_weak_stay_in_a_ranking_and_say_so(manager: SkillsManager) -> None:
    found = manager.filter_skills_by_query(STARTER, "which meetings do I have today", only_fitting=False)
    assert found
    assert not any(scored.fits for scored in found)


def test_evidence_grows_with_what_matches_and_shrinks_with_the_library() -> None:
    few = Hit(source=0, key="x", score=25.0, coverage=0.5, header=0.5, terms=2, searched=10)
    many = Hit(source=0, key="x", score=25.0, coverage=0.5, header=0.5, terms=2, searched=10_000)
    assert evidence(few) > THRESHOLD > evidence(many)
    assert evidence(few, named=True) > evidence(few)


SHARES = st.sampled_from([0.0, 0.15, 0.2, 0.5, 0.99, 1.0])
HITS = st.builds(
    Hit,
    source=st.just(0),
    key=st.just("x"),
    score=st.floats(0, 100),
    coverage=SHARES,
    header=SHARES,
    terms=st.integers(0, 9),
    searched=st.sampled_from([1, 200, 201, 9000]),
    meaning=st.floats(0, 10),
    surprise=st.none() | st.floats(-9, 9),
)


@given(HITS, st.booleans())
def test_the_evidence_is_the_sum_of_its_parts_or_enough_where_the_meaning_is(hit: Hit, named: bool) -> None:  # noqa: FBT001
    plain = sum(parts(hit, named=named).values())
    alone = hit.surprise is not None and hit.surprise >= ALONE_SURPRISE and hit.coverage <= ALONE_COVERAGE
    assert evidence(hit, named=named) == pytest.approx(max(plain, THRESHOLD) if alone else plain)


@pytest.mark.parametrize("around", ["", "\ud800 ", "İ" * 50, "x " * 1000])
def test_what_stands_around_a_side_request_does_not_hide_it(around: str) -> None:
    asked = "Generate a short title for this conversation. Answer with the title only."
    assert is_side_request(f"{around}{asked}")
    assert is_side_request(f"{asked}{around}")
    assert not is_side_request(f"{around}Brew a pot of tea.{around}")
