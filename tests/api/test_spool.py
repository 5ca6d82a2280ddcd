"""A large body goes to a private file, which never stays behind."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from starlette.requests import Request

from llmos_lite.api.spool import BLOCK, spooled
from llmos_lite.errors import Invalid


def request(messages: Sequence[dict[str, object]]) -> Request:
    left = iter(messages)

    async def receive() -> dict[str, object]:
        return next(left)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def piece(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_a_private_file_while_it_is_used(tmp_path: Path) -> None:
    sent = [b"x" * BLOCK, b"y" * 10]
    async with spooled(request([piece(sent[0], more=True), piece(sent[1], more=False)]), tmp_path) as path:
        assert path.read_bytes() == b"".join(sent)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_it_is_left_to_somebody_else_on_demand(tmp_path: Path) -> None:
    async with spooled(request([piece(b"x", more=False)]), tmp_path, keep=True) as path:
        pass
    assert path.read_bytes() == b"x"


async def test_a_client_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = request([piece(b"x" * BLOCK, more=True), {"type": "http.disconnect"}])
    with pytest.raises(Invalid) as refused:
        async with spooled(broken, tmp_path, keep=True):
            raise AssertionError("what is not whole is not used")
    assert refused.value.code == "request.broken_off"
    assert list((tmp_path / "tmp").iterdir()) == []
