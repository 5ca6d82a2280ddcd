from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.engines import git_pack
from llmos_lite.engines.git_objects import BLOB, TREE, compose_message, new_object, parse_message, parse_tree
from llmos_lite.engines.git_pack import write_pack

WORD = st.from_regex(r"[A-Z][a-z]{1,8}(-[a-z]{1,5})?", fullmatch=True)
LINE = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30).map(str.strip).filter(bool)


def verify(folder: Path, name: str) -> str:
    command = ["git", "verify-pack", "-v", folder / f"{name}.idx"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.binary(max_size=300), min_size=1, max_size=20))
def test_stock_git_reads_every_object(tmp_path: Path, contents: list[bytes]) -> None:
    objects = [new_object(BLOB, data) for data in contents]
    found = verify(tmp_path, write_pack(objects, tmp_path))
    for item in objects:
        assert f"{item.oid.hex()} blob   {len(item.data)} " in found
    assert sum(" blob " in line for line in found.splitlines()) == len({item.oid for item in objects})


@pytest.mark.parametrize("size", [0, 15, 16, 2047, 2048, 300_000])
def test_objects_of_every_size(tmp_path: Path, size: int) -> None:
    item = new_object(BLOB, b"x" * size)
    assert f"{item.oid.hex()} blob   {size} " in verify(tmp_path, write_pack([item], tmp_path))


def test_a_large_tree_is_stored_as_it_is(tmp_path: Path) -> None:
    blob = new_object(BLOB, b"x")
    lines = [b"100644 %05d\0" % i + blob.oid for i in range(1000)]
    tree = new_object(TREE, b"".join(lines))
    name = write_pack([blob, tree], tmp_path)
    assert f"{tree.oid.hex()} tree   {len(tree.data)} " in verify(tmp_path, name)
    assert (tmp_path / f"{name}.pack").stat().st_size > len(tree.data)
    assert list(parse_tree(tree.data)) == [b"%05d" % i for i in range(1000)]


def test_offsets_beyond_two_gigabytes_stand_in_their_own_table() -> None:
    packed = [git_pack._Packed(bytes([i]) * 20, i, offset) for i, offset in enumerate([12, 1 << 31, 40, 1 << 40])]
    assert git_pack._small_offsets(packed) == [12, 1 << 31, 40, 1 << 31 | 1]
    index = git_pack._index(packed, b"p" * 20)
    assert index[-56:-40] == (1 << 31).to_bytes(8, "big") + (1 << 40).to_bytes(8, "big")


@given(subject=LINE, body=LINE | st.just(""), trailers=st.dictionaries(WORD, LINE, max_size=4))
def test_a_message_is_read_as_it_was_written(subject: str, body: str, trailers: dict[str, str]) -> None:
    text = compose_message(subject, body, trailers)
    found = parse_message(text)
    assert found[0] == subject
    if trailers:
        assert found[1] == body
        assert found[2] == {key: " ".join(value.split()) for key, value in trailers.items()}


def test_a_trailer_given_twice_keeps_both_values() -> None:
    message = "Subject\n\nBody: not a trailer,\nsince this line is none\n\nCo-authored-by: a\nCo-authored-by: b\n"
    assert parse_message(message) == (
        "Subject",
        "Body: not a trailer,\nsince this line is none",
        {"Co-authored-by": "a\nb"},
    )
