"""How well a skill is written: each check, the public validator beside ours, neighbours, and what clients can list."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import skills_ref
from conftest import ALICE, SRE, People, skill_text
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.lint.budget import CLIENTS, budgets, over_budget
from llmos_lite.core.skills.lint.codes import CODES
from llmos_lite.core.skills.lint.linter import Linter
from llmos_lite.core.skills.lint.rules import lint
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.scan import Severity
from llmos_lite.core.skills.service import SkillService
from llmos_lite.engines.git import Author
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import VolumeRef
from llmos_lite.volumes.git_volume import GitVolume

GOOD = "Finds why a Postgres query is slow. Use when EXPLAIN shows a sequential scan or an index is not used."
BODY = "# Slow queries\n\n1. Run EXPLAIN ANALYZE, and look at the rows that were expected and those that came.\n"
STARTERS = Path(__file__).parents[3] / "llmos_lite"


def text(description: str = GOOD, body: str = BODY, front: str = "", name: str = "slow-query") -> str:
    return f"---\nname: {name}\ndescription: {description}\n{front}---\n\n{body}"


def codes(content: str, *files: str) -> dict[str, int]:
    return {one.code: one.line for one in lint("slow-query", content.encode(), files)}


def test_a_good_one_says_nothing() -> None:
    assert codes(text()) == {}


GERMAN = (
    "Findet heraus, warum eine Abfrage in Postgres langsam ist, und schl\u00e4gt einen Index vor.",
    "Erst EXPLAIN lesen, dann den Plan pr\u00fcfen, dann messen.\n",
)
SPANISH = "Explica por qu\u00e9 una consulta de Postgres es lenta y propone el \u00edndice que falta."
CHINESE = (
    "\u67e5\u627e\u6162\u67e5\u8be2\u7684\u539f\u56e0",
    "\u5148\u8fd0\u884c\u67e5\u8be2\u8ba1\u5212\uff0c\u518d\u770b\u54ea\u4e00\u6b65\u6700\u6162\u3002\n",
)
LATER = (
    "---\nname: slow-query\nlicense: MIT\ndescription: Finds slow Postgres queries and mends the plan.\n---\n\n" + BODY
)


CASES: dict[str, tuple[str, dict[str, int]]] = {
    "no when": (text("Finds why a Postgres query is slow and mends its plan."), {"trigger.when": 3}),
    "no what": (text("Use when a Postgres query is slow, or its plan has changed"), {"trigger.what": 3}),
    "vague": (text("Helps users with various things when needed, and makes it better"), {"trigger.vague": 3}),
    "short": (text("Use when Postgres queries crawl badly"), {"trigger.short": 3, "trigger.what": 3}),
    "opening": (text("This skill is one that helps with Postgres queries when a plan is bad."), {"trigger.opening": 3}),
    "long": (text(GOOD + " Postgres plans." * 40), {"trigger.long": 3}),
    "brackets": (text(f'"{GOOD} <b>"'), {"trigger.brackets": 3}),
    "cut": (text(front=f'when_to_use: "{"Postgres " * 180}"\n'), {"standard.keys": 1, "trigger.cut": 3}),
    "lines": (text(body=BODY + "\n- x" * 500), {"size.lines": 509}),
    "tokens": (text(body=BODY + "word " * 5000), {"size.tokens": 0}),
    "empty": (text(body="# x\n"), {"body.empty": 5}),
    "unfinished": (text(body=BODY + "\nTODO: the rest\n"), {"body.unfinished": 10}),
    "missing": (text(body=BODY + "See [plans](references/plans.md).\n"), {"reference.missing": 9}),
    "missing script": (text(body=BODY + "Run `scripts/explain.py`.\n"), {"reference.missing": 9}),
    "outside": (text(body=BODY + "See [other](../other/SKILL.md).\n"), {"reference.outside": 9}),
    "name": (text(name="slow"), {"standard.name": 2}),
    "keys": (text(front="category: db\n"), {"standard.keys": 1}),
    "metadata": (text(front="metadata: x\n"), {"standard.metadata": 4}),
    "flow": (text(front="metadata: {a: b}\n"), {"standard.front_matter": 1}),
    "no description": ("---\nname: slow-query\n---\n" + BODY, {"standard.description": 1}),
    "too long": (text("Use when. " * 110), {"standard.description": 3, "trigger.long": 3}),
    "no front matter": (BODY, {"standard.front_matter": 1}),
    "German": (text(*GERMAN), {}),
    "Spanish": (text(SPANISH), {}),
    "Chinese text": (text(*CHINESE), {}),
    "later": (LATER, {"trigger.when": 4}),
    "Chinese": (text("\u67e5\u627e\u6162\u67e5\u8be2\u7684\u539f\u56e0"), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said_with_its_line(name: str) -> None:
    content, wanted = CASES[name]
    found = codes(content)
    assert wanted.items() <= found.items() if wanted else found == {}


@pytest.mark.parametrize("name", CASES)
def test_the_public_validator_and_ours_agree(tmp_path: Path, name: str) -> None:
    content, _ = CASES[name]
    (tmp_path / "slow-query").mkdir()
    (tmp_path / "slow-query/SKILL.md").write_text(content)
    refused = bool(skills_ref.validate(tmp_path / "slow-query"))
    assert refused == any(one.severity is Severity.HIGH for one in lint("slow-query", content.encode()))


NAMED = ["Bad_Name", "My Tool", "\u6280\u80fd", "-a", "a-", "a--b", "a.b", "x" * 65, "Tea", "caf\u00e9", "ok-1"]


@pytest.mark.parametrize("name", NAMED)
def test_the_public_validator_and_ours_agree_on_names(tmp_path: Path, name: str) -> None:
    content = text(name=name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "SKILL.md").write_text(content)
    ours = {one.code: one.severity for one in lint(name, content.encode())}
    if skills_ref.validate(tmp_path / name) or not name.isascii():  # most clients take ASCII alone
        assert ours == {"standard.name": Severity.HIGH}
    else:
        assert ours == {}


@given(st.text("abA1_-. \u00e9\u6280", min_size=1, max_size=6).map(str.strip).filter(lambda name: name.strip(". ")))
def test_they_agree_on_any_name(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("skill") / name
    folder.mkdir()
    content = text(name=f"'{name}'")
    (folder / "SKILL.md").write_text(content)
    ours = any(one.code == "standard.name" and one.severity is Severity.HIGH for one in lint(name, content.encode()))
    assert ours or not skills_ref.validate(folder), name


def test_no_text_keeps_the_linter_busy() -> None:
    for piece in ("[", "[](", "[a](b) ", "```\n[a](b.md)\n", "scripts/"):
        begun = time.thread_time()
        lint("slow-query", text(body=piece * (200_000 // len(piece))).encode())
        assert time.thread_time() - begun < 1, piece


VALUES = st.sampled_from(
    ["x", '"a: b"', "a: b", "[a, b]", "- a", "'q'", "", "|\n  text", "@x", "x # y", "{a: 1}", "1.0"]
)
KEYS = st.sampled_from(
    ["name", "description", "license", "compatibility", "metadata", "allowed-tools", "category", "name "]
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=5))
def test_they_agree_on_any_front_matter(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    block = "".join(f"{key}: {value}\n" for key, value in rows)
    content = f"---\n{block}---\n\n{BODY}"
    folder = tmp_path_factory.mktemp("skill") / "x"
    folder.mkdir()
    (folder / "SKILL.md").write_text(content)
    ours = any(one.severity is Severity.HIGH for one in lint("x", content.encode()))
    assert ours or not skills_ref.validate(folder), content  # never less strict


def test_our_own_skills_and_templates_keep_to_the_standard() -> None:
    found = {
        path.parent.name: [
            one.code
            for one in lint(path.parent.name, path.read_bytes(), _others(path))
            if one.severity is Severity.HIGH
        ]
        for path in STARTERS.glob("**/SKILL.md")
        if "templates" not in path.parts
    }
    assert {name: said for name, said in found.items() if said} == {}
    assert len(found) > 5


def _others(path: Path) -> list[str]:
    return [str(one.relative_to(path.parent)) for one in path.parent.rglob("*") if one.is_file() and one != path]


def test_references_that_are_there_are_fine() -> None:
    body = (
        BODY
        + "See [plans](references/plans.md#top), [site](https://example.com/x.md), `scripts/a.py`, "
        + "[a](#b), [f](references/).\n"
    )
    body += "```md\n[not](one.md)\n```\n"
    assert codes(text(body=body), "references/plans.md", "scripts/a.py") == {}
    assert codes(text(body=BODY + "[x](a/b/c.md)"), "a/b/c.md") == {"reference.deep": 9}


@given(st.binary(max_size=300), st.text(max_size=200))
def test_any_bytes_are_linted(data: bytes, more: str) -> None:
    for content in (data, f"---\nname: x\ndescription: {more}\n---\n{more}".encode("utf-8", "surrogatepass")):
        for one in lint("x", content, ["a.md"]):
            assert one.code in CODES
            assert one.message


# A catalog


def skill(number: int, length: int) -> Skill:
    return Skill(skill_id=f"s{number:03d}", description="d" * length)


def test_a_small_catalog_fits_every_client() -> None:
    found = budgets([skill(number, 100) for number in range(20)])
    assert [one.fits for one in found] == [True] * len(CLIENTS)
    assert found[0].used == 20 * (100 + 4 + 4)
    assert over_budget(found) == []


def test_a_large_one_loses_descriptions() -> None:
    skills = [skill(number, 200) for number in range(50)] + [skill(900, 1000)]
    claude, million, codex, hermes = budgets(skills)
    assert claude.name_only[0] == "s900"
    kept = [one for one in skills if one.skill_id not in claude.name_only]
    assert sum(len(one.description) for one in kept) + 51 * 8 <= 8000
    assert sum(len(one.description) for one in kept) + 51 * 8 > 8000 - 200
    assert million.fits
    assert sum(min(len(one.description), codex.shortened) for one in skills) + 51 * 8 <= 8000
    assert hermes.fits
    assert [one.code for one in over_budget([claude, codex])] == ["budget.names", "budget.cut"]


@given(st.lists(st.integers(1, 1500), min_size=1, max_size=120))
def test_what_is_left_fits(lengths: list[int]) -> None:
    skills = [skill(number, length) for number, length in enumerate(lengths)]
    for one in budgets(skills):
        gone, entry = set(one.name_only), min(one.client.entry, one.shortened or one.client.entry)
        used = sum(8 + (0 if each.skill_id in gone else min(len(each.description), entry)) for each in skills)
        assert used <= one.client.budget or not one.client.budget or entry == 1 or len(gone) == len(skills)


# Neighbours


@pytest.fixture
def linter(service: SkillService, manager: SkillsManager) -> Linter:
    assert isinstance(service._directory, People)
    return Linter(service, manager)


async def test_neighbours_that_take_its_place_are_named(own: GitVolume, linter: Linter) -> None:
    tea = skill_text(
        "tea", "Brews green tea in a pot. Use when somebody wants green tea.", "Boil water for green tea.\n" * 5
    )
    twin = tea.replace("name: tea", "name: green-tea")
    files = {"skills/tea/SKILL.md": tea.encode(), "skills/green-tea/SKILL.md": twin.encode()}
    weak = skill_text(
        "cup", "Brews green tea in a pot.", "# Steps\n\n" + "Wash the cup with soap and dry it well.\n" * 9
    )
    files |= {"skills/cup/SKILL.md": weak.encode()}
    own.store.commit(files, "Add", Author("alice", "alice@localhost"))
    assert "overlap.same" in {one.code for one in (await linter.skill(ALICE, "tea")).findings}
    assert "overlap.wins" in {one.code for one in (await linter.skill(ALICE, "cup")).findings}
    draft = await linter.draft(ALICE, "my-tea", tea.replace("name: tea", "name: my-tea"))
    assert "overlap.same" in {one.code for one in draft}
    whole = await linter.volume(ALICE, ALICE.volume)
    assert {one.skill_id for one in whole.skills} == {"tea", "green-tea", "cup"}
    assert all(one.fits for one in whole.budgets)


async def test_a_misnamed_folder_is_one_finding(own: GitVolume, linter: Linter) -> None:
    files = {f"skills/{name}/SKILL.md": text(name=name).encode() for name in ("slow-query", "Bad_Name")}
    own.store.commit(files, "Dropped", Author("alice", "alice@localhost"))
    whole = await linter.volume(ALICE, ALICE.volume)
    said = {one.skill_id: [found.code for found in one.findings] for one in whole.skills}
    assert said == {"Bad_Name": ["standard.name"], "slow-query": []}


@pytest.mark.usefixtures("team")
async def test_nobody_lints_what_they_may_not_read(linter: Linter) -> None:
    with pytest.raises(NotFound):
        await linter.volume(ALICE, VolumeRef.team("data"))
    assert (await linter.volume(ALICE, SRE)).skills == []
