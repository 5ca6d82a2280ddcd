"""What a model server lists, and whether it can be reached at all."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from llmos_lite.engines.upstream import Passing, Upstream

LARGEST_LIST = 4 << 20
PATIENCE = 5.0
OK = 200
REFUSED = frozenset({401, 403})
"""Statuses that speak of the key."""


class Told(NamedTuple):
    """What a server answers when it is asked for its models: a status, and their names where it has a list."""

    status: int
    names: list[str]


class _Listed(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Listed] = []


_list = msgspec.json.Decoder(_List)


async def ask_for_models(server: Upstream) -> Told:
    """Ask a server for its models.

    Raises:
        LlmosError: it cannot be asked.
        TimeoutError: it says nothing for `PATIENCE` seconds.
        msgspec.DecodeError: it answers with something else.
    """
    async with asyncio.timeout(PATIENCE):
        async with await server.send(Passing(path="/models", headers={}, method="GET")) as reply:
            body = await reply.read(LARGEST_LIST)
            return Told(reply.status, _names_in(body) if reply.status == OK else [])


def _names_in(body: bytes) -> list[str]:
    try:
        return [one.id for one in _list.decode(body).data]
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
