"""A name changes in a SKILL.md, and not one byte beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills import frontmatter
from llmos_lite.core.skills.naming import named

PLAIN = "---\nname: tea\ndescription: Brews tea. Use when thirsty.\n---\n\n# Tea\n\nname: tea\n"


WIDE = "---\ndescription: Öl für Überall \U0001f375. Use when.\nmetadata:\n  name: tea\n  l: [name, tea]\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PLAIN, PLAIN.replace("name: tea", "name: green-tea", 1)),
        (PLAIN.replace("\n", "\r\n"), PLAIN.replace("name: tea", "name: green-tea", 1).replace("\n", "\r\n")),
        ("\ufeff" + PLAIN, "\ufeff" + PLAIN.replace("name: tea", "name: green-tea", 1)),
        ('---\nname:   "tea"   # short\nx: [1, 2]\n---\n', "---\nname:   green-tea   # short\nx: [1, 2]\n---\n"),
        ("---\nname: >-\n  tea\ndescription: d\n---\n", "---\nname: green-tea\ndescription: d\n---\n"),
        (
            f"{WIDE}name: tea\n---\n",
            f"{WIDE}name: green-tea\n---\n",
        ),
        (
            "---\nname: tea\ndescription: Use when: always\n---\n",
            "---\nname: green-tea\ndescription: Use when: always\n---\n",
        ),
        (
            "---\nname: tea\nhooks:\n- a: {name: tea}\nname: tea\n---\n",
            "---\nname: green-tea\nhooks:\n- a: {name: tea}\nname: green-tea\n---\n",
        ),
    ],
)
def test_only_the_name_changes(before: str, after: str) -> None:
    assert named(before.encode(), "green-tea") == after.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"# No block\n",
        b"---\ndescription: No name\n---\n",
        b"---\nname: A Title\ncategory: coding\n---\n",
        b"---\nname:\ndescription: d\n---\n",
        b"---\nname: [tea]\n---\n",
        b"---\nname: tea\nnever closed\n",
        b"---\nname: tea\nx: \xff\n---\n",
        b"---\n- name\n---\n",
    ],
)
def test_where_no_id_is_the_name_there_is_nothing_to_change(content: bytes) -> None:
    assert named(content, "green-tea") is None


@given(
    st.dictionaries(st.sampled_from(["description", "license", "nämé", "x-name"]), st.text(max_size=40), max_size=3),
    st.integers(0, 3),
    st.text(max_size=60),
)
def test_whatever_stands_beside_it_stays(fields: dict[str, str], place: int, body: str) -> None:
    items = list(fields.items())
    items.insert(place, ("name", "tea"))
    text = frontmatter.dump(dict(items)) + body
    try:
        before = text.encode()
    except UnicodeEncodeError:
        return
    after = named(before, "true")
    assert after is not None
    block, rest = frontmatter.split(after.decode())
    assert (frontmatter.load(block or ""), rest) == (
        frontmatter.load(frontmatter.split(text)[0] or "") | {"name": "true"},
        body,
    )
    assert after.replace(b'name: "true"', b"name: tea", 1) == before
