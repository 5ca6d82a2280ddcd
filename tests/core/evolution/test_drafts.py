from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos_lite.core.evolution.drafts import Account, Material, SkillDraft, heuristic_draft, shorten, unique_id
from llmos_lite.core.evolution.publishing import rendered
from llmos_lite.core.evolution.steps import recurring, steps_of, tool_name, tools_in_order
from llmos_lite.core.evolution.success import Verdict
from llmos_lite.core.skills.format import Skill
from llmos_lite.volumes.access import ID
from tests.evolving import CSV

ONE = "Sure!\n\n1. **Open the file** `sales.csv` with the csv module\n2. Read the header row\n3. Sum 12 rows\n"
TWO = "- Open the file `users.csv` with the csv module.\n- Read the header row first.\n- Send it to Anna\n"
THREE = "## Open the file `x.csv` with the csv module\nprose\n## Sum 99 rows\n```\n1. not a step, but code\n```\n"


def texts(*answers: str) -> list[str]:
    return [step.text for step in recurring(answers)]


def test_steps_that_recur_are_kept_in_their_order_with_slots() -> None:
    assert texts(ONE, TWO, THREE) == [
        "Open the file <file> with the csv module",
        "Read the header row",
        "Sum <number> rows",
    ]
    assert [step.support for step in recurring([ONE, TWO, THREE])] == [3, 2, 2]


def test_a_step_of_one_answer_alone_is_no_step() -> None:
    assert texts(ONE) == []
    assert texts(ONE, "- Something else entirely\n- And that as well") == []
    assert texts("- Read the header row\n- Read the header row\n") == []


def test_what_does_not_vary_stays() -> None:
    assert texts(ONE, ONE) == ["Open the file `sales.csv` with the csv module", "Read the header row", "Sum 12 rows"]
    assert texts('- Write "hello" on top\n- <name:1> signs', '- Write "dear all" on top\n- <name:1> signs') == [
        "Write <text> on top", "<name:1> signs",
    ]  # fmt: skip
    assert texts("- Rename `a`\n- x y z", "- Rename `b`\n- q r s") == ["Rename <name>"]


def test_prose_gives_its_sentences() -> None:
    one = "First open the settings. Then choose the printer. I hope this helps!"
    two = "Then choose the printer. Restart afterwards."
    assert steps_of(one) == ["First open the settings.", "Then choose the printer."]
    assert texts(one, two) == ["Then choose the printer."]


def test_a_long_step_is_cut_and_an_empty_answer_gives_none() -> None:
    assert steps_of("") == []
    assert steps_of("- " + "word " * 100 + "\n- second step here")[0].endswith("…")
    assert steps_of("| a | b |\n|---|---|\n") == []


def test_tools_come_in_their_usual_order() -> None:
    calls = [("Read", "{}"), ("Edit", "{}"), ("Bash", '{"command": "cd /x && pytest -q"}')]
    other = [("Read", "{}"), ("Read", "{}"), ("Bash", '{"command": "cd /y"}'), ("Once", "")]
    assert tools_in_order([calls, other, []]) == ["Read", "Bash: cd"]
    assert tools_in_order([calls]) == []
    assert tool_name("Bash", '{"command": "FOO=1 /usr/bin/git status"}') == "Bash: git"
    assert tool_name("Bash", '{"command": 3}') == tool_name("Bash", "{broken") == tool_name("Bash", "") == "Bash"


def material(*accounts: Account, **given: object) -> Material:
    return Material(accounts, len(accounts), **given)  # type: ignore[arg-type]


def test_a_draft_says_what_it_is_about_in_the_persons_words() -> None:
    draft = heuristic_draft(material(*(Account(goal=goal, answer=ONE) for goal in CSV)))
    assert draft.title == "Python script to parse CSV"
    assert draft.description.startswith("Python script to parse CSV: the way that worked, learned from 5 conversations")
    assert draft.category == "coding"
    assert set(draft.keywords) >= {"csv", "python", "script"}
    assert draft.phrasings == tuple(CSV)


def test_words_of_the_whole_volume_are_no_keywords() -> None:
    goals = [f"quarterly sales report {place}" for place in ("north", "south", "east")]
    common = {"quarter": 3, "sale": 3, "report": 90}
    draft = heuristic_draft(material(*(Account(goal=goal) for goal in goals), background=common, goals=100))
    assert draft.keywords[:2] == ("quarterly", "sales")


def test_what_went_wrong_becomes_pitfalls() -> None:
    bad = Account(
        goal=CSV[0],
        answer="1. Split the lines at commas\n2. Ignore the quotes",
        verdict=Verdict.CORRECTED,
        objections=("no, that is wrong: fields may hold commas",),
        errors=("Bash: command not found",),
    )
    draft = heuristic_draft(material(Account(goal=CSV[1], answer=ONE), bad, bad))
    assert draft.pitfalls[0] == 'Somebody had to say: "no, that is wrong: fields may hold commas"'
    assert "This failed 2 times: Bash: command not found" in draft.pitfalls
    assert "Stood only in answers that were rejected: Split the lines at commas" in draft.pitfalls
    assert "(1 of 3 went well)" in draft.description


def test_the_example_is_the_most_typical_success_shortened() -> None:
    long = "```python\n" + "print('line')\n" * 200 + "```"
    draft = heuristic_draft(
        material(
            Account(goal=CSV[0], answer="bad", verdict=Verdict.FAILED),
            Account(goal=CSV[1], answer="completed"),
            Account(goal=CSV[2], answer=long, verdict=Verdict.CONFIRMED),
        )
    )
    assert draft.example.startswith(f"Asked: {CSV[2]}")
    assert draft.example.endswith("> ```\n> …")
    assert len(draft.example) < 2_000


def test_without_recurring_steps_the_typical_answer_is_the_outline() -> None:
    draft = heuristic_draft(material(Account(goal=CSV[0], answer=ONE), Account(goal=CSV[1])))
    assert "No step recurs" in draft.body
    assert "1. Open the file `sales.csv`" in draft.body


def test_goals_alone_make_an_honest_draft() -> None:
    draft = heuristic_draft(material(*(Account(goal=goal) for goal in CSV)))
    assert "not yet how it was done" in draft.body
    assert draft.example == ""
    assert "## Pitfalls" not in draft.body


def test_a_draft_without_shared_words_still_has_a_title() -> None:
    assert heuristic_draft(material(Account(goal="…"), Account(goal="?"))).title == "…"
    assert heuristic_draft(material(Account(goal="Dogs"), Account(goal="dogs"))).title == "Dogs"


def test_ids_are_short_unique_and_made_of_words() -> None:
    assert unique_id("Python script to parse CSV", set()) == "python-script-parse-csv"
    assert unique_id("Python script", {"python-script", "python-script-2"}) == "python-script-3"
    assert unique_id("Überblick für Jörg", set()) == "uberblick-fur-jorg"
    assert unique_id("的", set()) == "skill"
    assert unique_id("to the", set()) == "to-the"
    assert len(unique_id("word " * 60, {"word"})) <= 64
    assert len(unique_id("x" * 200, lambda name: not name.endswith("-7"))) <= 64


def test_shortening_ends_at_a_word() -> None:
    assert shorten("one  two\nthree", 100) == "one two three"
    assert shorten("one two three", 9) == "one two…"


@given(st.lists(st.text(max_size=200), min_size=3, max_size=4), st.lists(st.text(max_size=300), min_size=3, max_size=4))
@settings(max_examples=40, deadline=None)
def test_whatever_people_write_becomes_a_valid_skill(goals: list[str], answers: list[str]) -> None:
    clean = [goal.replace("\0", "").encode("utf-8", "ignore").decode() for goal in goals]
    said = [answer.replace("\0", "").encode("utf-8", "ignore").decode() for answer in answers]
    accounts = [Account(goal=goal, answer=answer) for goal, answer in zip(clean, said, strict=False)]
    draft = heuristic_draft(material(*accounts))
    skill_id = unique_id(draft.title, set())
    assert ID.fullmatch(skill_id)
    skill = Skill.parse(skill_id, rendered(skill_id, draft))
    assert skill.error is None


def test_an_empty_draft_has_only_its_heading() -> None:
    assert SkillDraft(title="T", description="D").body == "\n# T\n"
