"""`llmos mcp`: the Model Context Protocol over standard input and output, for clients that start a program."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator

import typer

from llmos_lite.cli.client import Where, connect
from llmos_lite.cli.command import Data, Key, Url, User
from llmos_lite.cli.mcp_pipe import LONGEST, Pipe
from llmos_lite.cli.skills import Team

IDLE = 3.0
"""Seconds without a message after which a data folder is let go of, so that others can open it meanwhile."""
BLOCK = 1 << 16
STDIN, STDOUT, STDERR = 0, 1, 2


def add(app: typer.Typer) -> None:
    """Add the command."""
    app.command("mcp")(mcp)


def mcp(*, team: Team = "", data: Data = "", url: Url = "", key: Key = "", user: User = "") -> None:
    """Speak MCP over standard input and output, for clients that start a program."""
    where = Where(data=data, url=url, key=key, user=user)
    with os.fdopen(os.dup(STDOUT), "wb") as out:
        os.dup2(STDERR, STDOUT)  # whatever else is printed is no message

        def write(message: bytes) -> None:
            out.write(message + b"\n")
            out.flush()

        pipe = Pipe(lambda: connect(where, os.environ), f"/mcp/{team}" if team else "/mcp", write)
        try:
            for line in lines(STDIN, pipe.rest):
                pipe.take(line)
        finally:
            pipe.close()


def lines(source: int, rest: Callable[[], None]) -> Iterator[bytes]:
    """Yield the lines that come, without their ends; one that is too long is cut, and so is no message any more."""
    begun = b""
    while True:
        if not _comes(source):
            rest()
        block = os.read(source, BLOCK)
        if not block:
            break
        *whole, begun = (begun + block).split(b"\n")
        yield from filter(bytes.strip, whole)
        begun = begun[: LONGEST + 1]
    if begun.strip():
        yield begun


def _comes(source: int) -> bool:
    try:
        return bool(select.select([source], [], [], IDLE)[0])
    except OSError:  # Windows waits for no pipe: then the folder is kept
        return True
