"""A thread for work, one piece after the other."""

from __future__ import annotations

import threading
import time
import weakref

import pytest

from llmos_lite.engines.daemon import Daemon


class Large:
    """What a piece of work works with."""

    def kind(self) -> str:
        return "large"


def test_it_holds_nothing_of_the_work_that_it_has_done() -> None:
    daemon, large = Daemon("test"), Large()
    gone = threading.Event()
    weakref.finalize(large, gone.set)
    assert daemon.submit(large.kind).result(10) == "large"
    del large
    assert gone.wait(10)
    daemon.stop(10)


def test_what_goes_wrong_is_told_and_stops_nothing() -> None:
    daemon = Daemon("test")
    with pytest.raises(ZeroDivisionError):
        daemon.submit(lambda: 1 // 0).result(10)
    assert daemon.submit(time.monotonic).result(10) > 0
    daemon.stop(10)
