"""A library that follows a volume is the one that would be read from it anew."""

from __future__ import annotations

import itertools
from types import MappingProxyType

from conftest import skill_text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.core.skills.library import Library
from llmos_lite.core.skills.search import search
from llmos_lite.core.skills.text import Analyzer
from llmos_lite.engines.git import PLATFORM
from llmos_lite.volumes.git_volume import GitVolume

ANALYZER = Analyzer()
PATHS = [
    *(f"skills/{name}{end}" for name in ("tea", "mail", "sql", "zoo") for end in ("/SKILL.md", ".md", "/notes.txt")),
    "skills/My Skill.md",
    "skills/tea.md/SKILL.md",
    "skills/README",
    "skills/tea.md.md",
    "other.txt",
]
CONTENTS = [
    skill_text("tea", "Use to boil water."),
    skill_text("mail", "Use to write a reply."),
    "no front matter",
    "---\nbroken: [",
]
NUMBERS = itertools.count()


def commit(volume: GitVolume, path: str, content: str | None) -> None:
    """Write a file, or remove what stands at its place in `skills/`; what is of another kind there makes room."""
    top = "/".join(path.split("/")[:2])
    there = volume.store.entry(top)
    needs_folder = top != path
    if content is None or (there is not None and there.is_tree is not needs_folder):
        volume.store.commit({top: None}, f"Remove {next(NUMBERS)}", PLATFORM)
    if content is not None:
        volume.store.commit({path: content.encode()}, f"Write {next(NUMBERS)}", PLATFORM)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(PATHS), st.none() | st.sampled_from(CONTENTS)), min_size=1, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_any_history_of_commits_ends_like_one_reading(
    own: GitVolume, commits: list[list[tuple[str, str | None]]]
) -> None:
    known = Library.empty(own.ref, ANALYZER)
    for changes in commits:
        for path, content in changes:
            commit(own, path, content)
        head = own.store.head() or ""
        known = known.at(own.store, head)
        fresh = Library.empty(own.ref, ANALYZER).at(own.store, head)
        assert list(known.skills.items()) == list(fresh.skills.items())
        assert known.index.count == fresh.index.count
        for query in ("boil water", "write a reply", "steps"):
            ours, theirs = ({hit.key: hit.searched for hit in search([one.index], query, 9)} for one in (known, fresh))
            assert ours == theirs


def test_a_change_reads_what_changed_alone(own: GitVolume) -> None:
    for name in ("tea", "mail", "sql"):
        own.write_skill(name, skill_text(name, "Use it."))
    known = Library.empty(own.ref, ANALYZER).at(own.store, own.store.head() or "")
    own.write_skill("mail", skill_text("mail", "Use it well."))
    own.delete_skill("sql")
    own.write_skill("cake", skill_text("cake", "Use it."))
    after = known.at(own.store, own.store.head() or "")
    assert list(after.skills) == ["cake", "mail", "tea"]
    assert after.skills["tea"] is known.skills["tea"]
    assert after.skills["mail"].description == "Use it well."


def test_a_history_that_was_written_anew_is_read_as_a_whole(own: GitVolume) -> None:
    own.write_skill("tea", skill_text("tea", "Use it."))
    lost = Library(own.ref, "0" * 40, MappingProxyType({}), Library.empty(own.ref, ANALYZER).index)
    assert list(lost.at(own.store, own.store.head() or "").skills) == ["tea"]
