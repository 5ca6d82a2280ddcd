"""Diffs of two contents: stock git applies them, and the lines that they share are the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from llmos_lite.engines.git_diff import is_binary, lines_of, shared, unified

TEXT = st.lists(st.sampled_from([b"a", b"b", b"c", b"", b"long line", b"\xff\xfe", b"x\ry"]), max_size=12).flatmap(
    lambda lines: st.sampled_from([b"\n".join(lines), b"".join(line + b"\n" for line in lines)])
)


@given(TEXT, TEXT)
@example(b"", b"a")
@example(b"a\nb", b"a\nb\n")
@example(b"b\na\n", b"a\nb\n")
def test_shared_lines_are_the_same_in_both_and_in_order(old: bytes, new: bytes) -> None:
    before, after = old.splitlines(keepends=True), new.split(b"\n")
    assert len(lines_of(new)) == len(after) - (after[-1] == b"")
    before = [line + b"\n" for line in lines_of(old)]
    later = [line + b"\n" for line in lines_of(new)]
    if old and not old.endswith(b"\n"):
        before[-1] = before[-1][:-1]
    if new and not new.endswith(b"\n"):
        later[-1] = later[-1][:-1]
    ends = (0, 0)
    for part in shared(old, new):
        assert part.size > 0
        assert (part.old, part.new) >= ends
        assert before[part.old : part.old + part.size] == later[part.new : part.new + part.size]
        ends = (part.old + part.size, part.new + part.size)
    patch = unified(old, new, "a", "a")
    kept = sum(part.size for part in shared(old, new))
    assert (patch.removed, patch.added) == (len(before) - kept, len(later) - kept)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.none() | TEXT, new=st.none() | TEXT)
def test_stock_git_applies_a_diff(tmp_path: Path, old: bytes | None, new: bytes | None) -> None:
    if old == new or b"\xff" in (old or b"") + (new or b""):
        return
    file = tmp_path / "f"
    file.unlink(missing_ok=True)
    if old is not None:
        file.write_bytes(old)
    text = unified(old, new, "f", "f").text
    subprocess.run(["git", "apply", "--unsafe-paths", "-"], input=text.encode(), check=True, cwd=tmp_path)
    assert (file.read_bytes() if file.exists() else None) == new


def test_what_is_no_text_is_only_named() -> None:
    patch = unified(b"\0a", b"\0b", "x", "x")
    assert patch.binary
    assert patch.text.endswith("Binary files a/x and b/x differ\n")
    assert is_binary(b"a\0")
    assert not is_binary(b"a" * 9000 + b"\0")
