"""Links let somebody in once, and shortly."""

from __future__ import annotations

import pytest

from llmos_lite.core.accounts import sign_in as module
from llmos_lite.core.accounts.sign_in import LINK_SECONDS, Links
from llmos_lite.errors import Unauthenticated


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_link_works_once() -> None:
    links = Links()
    assert links.spend(links.make("admin", "t")) == "admin"
    for token in ("t", "", "another"):
        with pytest.raises(Unauthenticated, match="used already"):
            links.spend(token)


def test_a_link_is_short_lived() -> None:
    clock = Clock()
    links = Links(clock)
    token = links.make("admin", "t")
    clock.now += LINK_SECONDS
    with pytest.raises(Unauthenticated):
        links.spend(token)


def test_links_of_one_person_end_together() -> None:
    links = Links()
    links.make("ana", "1")
    links.make("ana", "2")
    links.make("ben", "3")
    links.end_all("ana")
    assert links.spend("3") == "ben"
    with pytest.raises(Unauthenticated):
        links.spend("1")


def test_old_links_and_too_many_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINKS", 2)
    clock = Clock()
    links = Links(clock)
    for token in ("1", "2", "3"):
        links.make("ana", token)
    assert len(links._kept) == 2
    clock.now += LINK_SECONDS
    links.make("ana", "4")
    assert len(links._kept) == 1


def test_tokens_are_kept_as_digests() -> None:
    links = Links()
    token = links.make("admin", "the token of a link")
    assert token not in repr(vars(links))
