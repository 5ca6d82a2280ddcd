"""The docs say what the code does: generated parts are fresh, links lead somewhere, and nothing is left unlinked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from llmos_lite.settings import Settings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
SEED_ROUTES = {
    "POST /chat", "GET /skills", "GET /skills/{skill_id}", "POST /skills", "POST /skills/promote", "POST /evolve",
    "GET /traces", "GET /traces/{trace_id}", "GET /volumes/stats", "GET /volumes/history",
}  # fmt: skip
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_generated_parts_are_fresh() -> None:
    command = [sys.executable, DOCS / "tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_setting_is_described_with_its_default() -> None:
    page = (DOCS / "settings.md").read_text()
    rows = dict(re.findall(r"^\| `(LLMOS_\w+)` \| (.*?) \|", page, re.MULTILINE))
    assert set(rows) == {item.metadata["env"] for item in fields(Settings)} | {"LLMOS_URL", "LLMOS_KEY", "LLMOS_USER"}
    defaults = Settings().environment()
    assert [
        key for key, shown in rows.items() if key in defaults and shown.strip("`") not in {defaults[key], "(empty)"}
    ] == []


def test_every_route_is_described_with_an_example() -> None:
    described, page = json.loads((DOCS / "openapi.json").read_text()), (DOCS / "api.md").read_text()
    routes = {f"{method.upper()} {path}" for path, item in described["paths"].items() for method in item}
    sections = dict(re.findall(r"^#### (\w+ /\S*)\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == routes
    assert routes >= SEED_ROUTES
    assert [route for route, text in sections.items() if "```" not in text and not route.startswith("DELETE")] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{name(page)} links to {target}"
        assert not anchor or anchor[1:] in anchors(path), f"{name(page)} links to {target}{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set[Path](), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        local = (target for target, _ in LINK.findall(prose(page)) if target and "://" not in target)
        todo += [(page.parent / target).resolve() for target in local]
    assert [name(page) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_pages_are_plain(page: Path) -> None:
    text = prose(page)
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    fluff = r"\b(seamless\w*|powerful|blazing\w*|effortless\w*|leverag\w+|cutting-edge|robust|simply|easily)\b"
    assert re.findall(fluff, text, re.IGNORECASE) == []
