"""A tree that is edited is the tree that is written from nothing, byte for byte, in Git's order."""

from __future__ import annotations

import random

import pytest

from llmos_lite.engines.git_objects import FILE_MODE, PROGRAM_MODE, NewObject, TreeEdit, parse_tree
from llmos_lite.errors import Conflict

NAMES = ("a", "a.b", "a0", "ab", "b", "c")
Files = dict[str, tuple[bytes, bytes]]
Stored = dict[bytes, NewObject]


def parts(path: str) -> list[bytes]:
    return [name.encode() for name in path.split("/")]


def written(edit: TreeEdit, stored: Stored) -> bytes:
    return edit.write(lambda made: stored.update({made.oid: made}))


def from_nothing(files: Files, stored: Stored) -> bytes:
    edit = TreeEdit(b"", lambda _: {})
    for path, (mode, oid) in files.items():
        edit.put(parts(path), mode, oid)
    return written(edit, stored)


def edit_of(root: bytes, stored: Stored) -> TreeEdit:
    return TreeEdit(root, lambda oid: parse_tree(stored[oid].data))


def is_free(files: Files, path: str) -> bool:
    return not any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in files)


def change(chance: random.Random, files: Files, edit: TreeEdit) -> None:
    """Make one change of a kind drawn by chance in both."""
    path = "/".join(chance.choices(NAMES, k=chance.randint(1, 3)))
    if chance.random() < 0.45:
        edit.delete(parts(path))
        for gone in [one for one in files if one == path or one.startswith(f"{path}/")]:
            del files[gone]
    elif is_free(files, path):
        files[path] = (chance.choice((FILE_MODE, PROGRAM_MODE)), chance.randbytes(20))
        edit.put(parts(path), *files[path])
    else:
        with pytest.raises(Conflict):
            edit.put(parts(path), FILE_MODE, b"x" * 20)


@pytest.mark.parametrize("seed", range(8))
def test_edits_give_the_tree_that_is_written_from_nothing(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same trees every time
    for _ in range(250):
        files: Files = {}
        for _ in range(chance.randint(1, 14)):
            path = "/".join(chance.choices(NAMES, k=chance.randint(1, 3)))
            if is_free(files, path):
                files[path] = (FILE_MODE, chance.randbytes(20))
        stored: Stored = {}
        edit = edit_of(from_nothing(files, stored), stored)
        for _ in range(chance.randint(1, 5)):
            change(chance, files, edit)
        found = written(edit, stored)
        assert found == from_nothing(files, {})
        made = stored.get(found)
        if made is not None and made.lines is not None:
            assert list(made.lines.items()) == list(parse_tree(made.data).items())


def test_a_folder_that_is_written_anew_keeps_its_place() -> None:
    stored: Stored = {}
    root = from_nothing({f"s{number:03}/f": (FILE_MODE, bytes([number]) * 20) for number in range(200)}, stored)
    edit = edit_of(root, stored)
    edit.delete(parts("s050"))
    edit.put(parts("s050/g"), FILE_MODE, b"n" * 20)
    lines = stored[written(edit, stored)].lines
    assert lines is not None
    assert list(lines) == sorted(lines)
    assert [name for name in lines if lines[name] != stored[root].lines[name]] == [b"s050"]  # type: ignore[index]
