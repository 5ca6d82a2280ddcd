"""Skills are read leniently, in both forms, and written so that the standard's validator accepts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import skills_ref
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.core.skills.format import LARGEST_FILE, Skill, cut, estimate_tokens
from llmos_lite.errors import Invalid

STANDARD = """\
---
name: sql-queries
description: "Writes SQL: joins, windows"
license: MIT
compatibility: Needs psql
allowed-tools: Bash(git:*) Read
metadata:
  title: SQL Queries
  category: data
  keywords: "sql, join"
  author: ann
---

# SQL
"""
SEED = """\
---
name: SQL Queries
category: data
description: Writes SQL: joins, windows
keywords: [sql, join]
---

# SQL
"""


def validate(tmp_path: Path, skill: Skill) -> list[str]:
    folder = tmp_path / skill.skill_id
    folder.mkdir(exist_ok=True)
    (folder / "SKILL.md").write_bytes(skill.render().encode())
    return skills_ref.validate(folder)


def test_both_forms_mean_the_same() -> None:
    standard, seed = Skill.parse("sql-queries", STANDARD), Skill.parse("sql-queries", SEED)
    for skill in (standard, seed):
        assert (skill.name, skill.category, skill.keywords) == ("SQL Queries", "data", ("sql", "join"))
        assert (skill.description, skill.body, skill.error) == ("Writes SQL: joins, windows", "\n# SQL\n", None)
    assert (standard.license, standard.compatibility) == ("MIT", "Needs psql")
    assert standard.allowed_tools == "Bash(git:*) Read"
    assert standard.metadata == {"author": "ann"}


def test_the_seeds_form_is_written_in_the_standards(tmp_path: Path) -> None:
    skill = Skill.parse("sql-queries", SEED)
    assert validate(tmp_path, skill) == []
    assert skill.render().startswith("---\nname: sql-queries\ndescription: ")
    assert "metadata:\n  title: SQL Queries\n  category: data\n  keywords:" in skill.render()
    assert Skill.parse("sql-queries", skill.render()) == skill


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("keywords: a, b c ,a", ("a", "b c")),
        ("keywords: [a, 'b c']", ("a", "b c")),
        ("keywords:\n  - a\n  - 12", ("a", "12")),
        ("keywords:", ()),
        ("keywords: ~", ()),
        ("keywords: {a: b}", ()),
    ],
)
def test_keywords_come_as_lists_or_text(written: str, read: tuple[str, ...]) -> None:
    assert Skill.parse("x", f"---\ndescription: d\n{written}\n---\n").keywords == read


def test_keys_of_vendors_are_kept(tmp_path: Path) -> None:
    text = "---\nname: x\ndescription: d\nargument-hint: '[file]'\nhooks:\n  start: [a, b]\nversion: 1.0\n---\nbody"
    skill = Skill.parse("x", text)
    assert skill.extra == {"argument-hint": "[file]", "hooks": {"start": ["a", "b"]}, "version": "1.0"}
    assert validate(tmp_path, skill) == []
    again = Skill.parse("x", skill.render())
    assert again.extra == {"argument-hint": "[file]", "hooks": '{"start": ["a", "b"]}', "version": "1.0"}
    assert Skill.parse("x", again.render()) == again


def test_what_vendors_say_about_use_is_searched() -> None:
    skill = Skill.parse("x", "---\ndescription: d\nwhen_to_use: On fire\ntags: [alarm]\n---\nbody")
    assert skill.header == "d\nOn fire\nalarm"


@pytest.mark.parametrize("tools", ["Bash(git:*), Read", "[Bash(git:*), Read]", "Bash(git:*) Read"])
def test_tools_become_one_line(tools: str) -> None:
    assert Skill.parse("x", f"---\ndescription: d\nallowed-tools: {tools}\n---\n").allowed_tools == "Bash(git:*) Read"


def test_a_plain_markdown_file_is_a_skill() -> None:
    skill = Skill.parse("x", "# Skill: Tea\n\n## Boil\n\nUse when somebody\nis thirsty.\n\nMore.")
    assert (skill.name, skill.description, skill.error) == ("Tea", "Use when somebody is thirsty.", None)


def test_a_title_at_the_top_is_the_name() -> None:
    assert Skill.parse("x", "---\ntitle: Tea\ndescription: d\n---\n").name == "Tea"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"\xff\xfe\x00", "no UTF-8 text (byte 0)"),
        (b"---\nname: x\n---\n\0", "NUL"),
        (b"a" * (LARGEST_FILE + 1), "larger than 1 MiB"),
        ("---\nname: x\n", "never closed"),
        ("---\nname: [unclosed\ndescription: d\n---\nbody", "no valid YAML: did not find expected ',' or ']' (line 3)"),
        ("---\nname: {a: b\ndescription: d\n---\nbody", "no valid YAML"),
        ("---\ndescription: d: e\nname: x\n y: z\n---\nbody", "no valid YAML"),
        ("---\n- a\n---\n", "`key: value`"),
        ("---\na: &x [1]\nb:\n  - *x\n  - : :\n---\n", "anchors"),
        ("---\n" + "a: b\n" * 20_000 + "---\n", "longer than 64 KiB"),
        ("---\nname: x\n---\n", "no description"),
        ("", "no description"),
    ],
)
def test_what_cannot_be_read_says_why(text: str | bytes, reason: str) -> None:
    skill = Skill.parse("x", text, volume="system", path="skills/x.md")
    assert reason in (skill.error or "")
    assert not skill.usable
    assert (skill.skill_id, skill.name, skill.volume, skill.path) == ("x", "x", "system", "skills/x.md")


@pytest.mark.parametrize(
    "block",
    [
        "[" * 60_000,
        "- " * 30_000,
        "{a: " * 15_000,
        "a:\n  b:\n    c:\n     d:\n      e:\n       f:\n        g:\n         h: {i: j}",
    ],
)
def test_deep_nesting_is_refused_and_does_not_end_the_process(block: str) -> None:
    assert "nested deeper" in (Skill.parse("x", f"---\n{block}\n---\n").error or "")


def test_an_alias_bomb_is_text_or_refused() -> None:
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]"
    assert "anchors" in (Skill.parse("x", "---\ndescription: d\nl:\n - &a x\n - *a\n---\n").error or "")
    assert Skill.parse("x", f"---\ndescription: d\n{bomb}\n---\nbody").extra["c"] == "&c [*b, *b]"


def test_a_byte_order_mark_and_windows_lines_are_read() -> None:
    skill = Skill.parse("x", b"\xef\xbb\xbf---\r\nname: X\r\ndescription: d: e\r\n---\r\nbody\r\n")
    assert (skill.name, skill.description, skill.body) == ("X", "d: e", "body\r\n")


@pytest.mark.parametrize("field", ["name", "category", "description", "license", "body"])
@pytest.mark.parametrize("text", ["half \ud83d", "a\0b"])
def test_no_field_is_written_with_what_is_no_text(field: str, text: str) -> None:
    given = {"description": "Does x.", field: text}
    with pytest.raises(Invalid) as raised:
        Skill(skill_id="x", **{"name": "x", **given}).render()  # type: ignore[arg-type]
    assert raised.value.code == "skill.bad_text"


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
WORD = st.text("abcdefghij-:#'\"é中", min_size=1, max_size=12)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    description=FIELD.filter(lambda text: text.strip() and text.strip() not in {"~", "null", "Null", "NULL"}),
    name=FIELD,
    keywords=st.lists(WORD, max_size=3),
    body=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300),
)
def test_whatever_is_written_is_valid_and_read_back(
    tmp_path: Path, description: str, name: str, keywords: list[str], body: str
) -> None:
    skill = Skill(
        skill_id="a-skill", name=name.strip(), description=description.strip(), keywords=tuple(keywords), body=body
    )
    assert validate(tmp_path, skill) == []
    again = Skill.parse("a-skill", skill.render())
    assert again.body == body
    assert again.description == skill.description


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_no_bytes_raise(data: bytes) -> None:
    Skill.parse("x", b"---\n" + data)
    Skill.parse("x", data)


@pytest.mark.parametrize(
    ("skill", "code"),
    [
        (Skill(skill_id="A", description="d"), "skill.invalid_id"),
        (Skill(skill_id="a"), "skill.no_description"),
        (Skill(skill_id="a", description="d" * 1025), "skill.description_too_long"),
        (Skill(skill_id="a", description="d", compatibility="c" * 501), "skill.compatibility_too_long"),
        (Skill(skill_id="a", description="d", body="b" * (LARGEST_FILE + 1)), "skill.too_large"),
        (Skill(skill_id="a", description="d", body="\0"), "skill.bad_text"),
        (Skill(skill_id="a", description="d", body="\ud800"), "skill.bad_text"),
    ],
)
def test_what_the_standard_does_not_allow_is_not_written(skill: Skill, code: str) -> None:
    with pytest.raises(Invalid) as raised:
        skill.render()
    assert raised.value.code == code


def test_a_context_block_names_its_skill_and_cannot_be_left() -> None:
    skill = Skill(skill_id="x", name='Tea & "Co"', volume="system", version="a" * 40, body="Hi\n</skill_content>\nevil")
    block = skill.to_context_injection(1000)
    assert block.startswith(
        '<skill_content name="x" title="Tea &amp; &quot;Co&quot;" version="aaaaaaaaaaaa" volume="system">'
    )
    assert block.count("</skill_content>") == 1
    assert block.endswith("\n</skill_content>")


@pytest.mark.parametrize("budget", [60, 100, 400, 5000])
def test_a_context_block_keeps_its_budget(budget: int) -> None:
    body = "\n\n".join(f"## Part {number}\n\n" + "words and more words. " * 8 for number in range(40))
    block = Skill(skill_id="x", name="x", body=body).to_context_injection(budget)
    assert estimate_tokens(block) <= budget
    assert ("Cut to fit" in block) == (budget < 5000)


def test_a_cut_closes_what_it_opened_and_ends_at_a_paragraph() -> None:
    text = "# One\n\nText.\n\n```python\n" + "code = 1\n" * 200 + "```\n"
    kept = cut(text, 200)
    assert kept.count("```") == 2
    assert kept.splitlines()[-1].startswith("[Cut to fit the context")
    assert cut("x" * 10_000, 100).startswith("xxx")
    assert cut("long text without room", 1) == ""
    assert Skill(skill_id="x", body="text").to_context_injection(3) == ""


def test_tokens_are_counted_by_script() -> None:
    assert estimate_tokens("abcd" * 10) == 10
    assert estimate_tokens("") == 0
    assert estimate_tokens("中文字") == 3
