from __future__ import annotations

import pytest

from llmos_lite.core.accounts.sign_in import LINK_SECONDS, SESSION_SECONDS, SignIn
from llmos_lite.errors import Unauthenticated


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_link_works_once() -> None:
    sign_in = SignIn()
    token = sign_in.link("admin")
    assert sign_in.user(sign_in.exchange(token)) == "admin"
    with pytest.raises(Unauthenticated, match="used already"):
        sign_in.exchange(token)
    assert sign_in.user(token) is None


def test_a_link_is_short_lived() -> None:
    clock = Clock()
    sign_in = SignIn(clock)
    token = sign_in.link("admin")
    clock.now += LINK_SECONDS
    with pytest.raises(Unauthenticated):
        sign_in.exchange(token)


def test_a_session_ends_by_itself_or_by_signing_out() -> None:
    clock = Clock()
    sign_in = SignIn(clock)
    first, second = sign_in.session("admin"), sign_in.session("alice")
    sign_in.end(first)
    assert (sign_in.user(first), sign_in.user(second)) == (None, "alice")
    clock.now += SESSION_SECONDS
    assert sign_in.user(second) is None
    sign_in.session("admin")
    assert len(sign_in._sessions) == 1


def test_tokens_are_kept_as_digests() -> None:
    sign_in = SignIn()
    token = sign_in.link("admin")
    assert token not in repr(vars(sign_in))
