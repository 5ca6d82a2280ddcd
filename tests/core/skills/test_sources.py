"""What somebody writes as a source is read in one way, and nothing in it is left for git to read in another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.skills.importing import read_source
from llmos_lite.core.skills.sources import Source
from llmos_lite.errors import Invalid

GITHUB = "https://github.com/acme/skills.git"
SHA = "4f1b0c9d2e7a5b8c3d6e9f0a1b2c3d4e5f6a7b8c"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("acme/skills", Source("git", GITHUB)),
        ("acme/skills@v1.2", Source("git", GITHUB, "v1.2")),
        ("acme/skills/tools/deploy@main", Source("git", GITHUB, "main", "tools/deploy")),
        ("acme/skills#main", Source("git", GITHUB, "main")),
        ("https://github.com/acme/skills", Source("git", GITHUB)),
        ("https://github.com/acme/skills.git@v1", Source("git", GITHUB, "v1")),
        ("https://github.com/acme/skills/tree/v1/tools/deploy", Source("git", GITHUB, "v1", "tools/deploy")),
        ("https://github.com/acme/skills/blob/main/a/SKILL.md", Source("git", GITHUB, "main", "a")),
        ("https://example.org/a/b/c/-/tree/main/x/", Source("git", "https://example.org/a/b/c.git", "main", "x")),
        ("https://git.example.org/a/b.git//x/y@v1", Source("git", "https://git.example.org/a/b.git", "v1", "x/y")),
        (f"https://git.example.org:8443/b.git@{SHA}", Source("git", "https://git.example.org:8443/b.git", SHA)),
        ("ssh://git@git.example.org/b.git//x@v1", Source("git", "ssh://git@git.example.org/b.git", "v1", "x")),
        ("git@git.example.org:team/b.git@v1", Source("git", "git@git.example.org:team/b.git", "v1")),
        ("file:///srv/b.git//x@v1", Source("git", "file:///srv/b.git", "v1", "x")),
        ("https://example.org/x/skills.tar.gz", Source("archive", "https://example.org/x/skills.tar.gz")),
        ("https://example.org/skills.zip?token=1", Source("archive", "https://example.org/skills.zip?token=1")),
        ("https://example.org/a/SKILL.md", Source("file", "https://example.org/a/SKILL.md")),
        ("https://example.org/marketplace.json", Source("marketplace", "https://example.org/marketplace.json")),
        ("https://example.org", Source("site", "https://example.org")),
        ("https://example.org/t/sre", Source("site", "https://example.org/t/sre")),
    ],
)  # fmt: skip
def test_a_source_is_told_by_what_it_is(text: str, source: Source) -> None:
    assert read_source(text) == source


NONE = [
    "", "-x", "--upload-pack=id", "ext::sh -c id", "ftp://x/y", "javascript:1", "x", "../x/y@z y", "a/b\x00", "a/b\nc",
    "git://x/y", "acme/skills/../..", "acme/skills@--x", "acme/skills@a..b", "acme/skills@x.lock", "a" * 2000,
    "https://h/x.git//../y",
]  # fmt: skip


@pytest.mark.parametrize("text", NONE)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        read_source(text)


def test_what_is_said_besides_wins() -> None:
    assert read_source("acme/skills/x@v1", ref="v2", folder="y") == Source("git", GITHUB, "v2", "y")
    with pytest.raises(Invalid):
        read_source("acme/skills", folder="../x")
    with pytest.raises(Invalid):
        read_source("acme/skills", ref="-x")


@pytest.mark.parametrize(
    ("source", "name", "kind"),
    [
        (Source("git", GITHUB), "acme/skills", "github"),
        (Source("git", "https://git.example.org/a/b.git"), "git.example.org/a/b", "git"),
        (Source("git", "git@git.example.org:b.git"), "git@git.example.org:b.git", "git"),
        (Source("site", "https://example.org/x"), "example.org/x", "well-known"),
    ],
)
def test_a_source_has_the_name_and_the_type_of_a_lock_file(source: Source, name: str, kind: str) -> None:
    assert (source.name, source.type) == (name, kind)


@given(st.text(max_size=60) | st.from_regex(r"[a-z@:/.#\-]{1,60}", fullmatch=True))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    try:
        source = read_source(text)
    except Invalid:
        return
    assert not source.url.startswith("-")
    assert ".." not in source.folder.split("/")
    assert not source.ref.startswith("-")
