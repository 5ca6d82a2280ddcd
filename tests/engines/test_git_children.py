"""Children end in time, all together, and their output is bounded."""

from __future__ import annotations

import os
import threading

import pytest

from llmos_lite.engines import git_children
from llmos_lite.engines.git_children import Children
from llmos_lite.errors import Unavailable, UpstreamTimeout

ENV = {"PATH": os.environ["PATH"]}


def test_what_a_child_writes_is_returned_and_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_children, "MOST_SAID", 10)
    done = Children().run(["sh", "-c", "seq 100000; echo no >&2; exit 3"], ENV, 60)
    assert (done.code, done.out, done.said) == (3, "1\n2\n3\n4\n5\n", "no\n")


def test_a_child_that_takes_too_long_is_ended_with_its_own_children() -> None:
    with pytest.raises(UpstreamTimeout) as caught:
        Children().run(["sh", "-c", "sleep 60 & sleep 60"], ENV, 0.1)
    assert caught.value.code == "remote.timeout"


def test_what_a_child_leaves_behind_holds_nobody_up() -> None:
    assert Children().run(["sh", "-c", "sleep 60 & echo x"], ENV, 60).out == "x\n"


def test_stopping_ends_what_runs_and_starts_nothing_more() -> None:
    children, problems = Children(), list[str]()
    reading, writing = os.pipe()

    def run() -> None:
        try:
            children.run(["sh", "-c", f"echo > /dev/fd/{writing}; sleep 60"], ENV, 60, [writing])
        except Unavailable as error:
            problems.append(error.code)

    thread = threading.Thread(target=run)
    thread.start()
    os.read(reading, 1)
    children.stop()
    thread.join(30)
    assert problems == ["remote.stopping"]
    with pytest.raises(Unavailable):
        children.run(["true"], ENV, 60)
    children.start()
    assert children.run(["true"], ENV, 60).code == 0
    os.close(reading)
    os.close(writing)


def test_without_git() -> None:
    with pytest.raises(Unavailable) as caught:
        Children().run(["no-such-program-here"], ENV, 60)
    assert caught.value.code == "git.missing"
