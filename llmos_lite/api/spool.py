"""A body that is too large for memory goes to a file first."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from starlette.requests import ClientDisconnect, Request

from llmos_lite.errors import Invalid

BLOCK = 1 << 20


@asynccontextmanager
async def spooled(request: Request, data: Path, *, keep: bool = False) -> AsyncIterator[Path]:
    """Write the body of a request to a private file below `<data>/tmp`; it goes away when the block ends.

    Args:
        request: the request; its size is limited by the edge.
        data: the data folder.
        keep: leave the file to somebody else, unless the block raises.
    """
    file = await asyncio.to_thread(_made, data / "tmp")
    path = Path(file.name)
    try:
        with file:
            async for block in _blocks(request):
                await asyncio.to_thread(file.write, block)
        yield path
    except BaseException:
        _remove(path)
        raise
    if not keep:
        _remove(path)


async def _blocks(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces that are worth a thread.

    Raises:
        Invalid: `request.broken_off`.
    """
    block = bytearray()
    try:
        async for piece in request.stream():
            block += piece
            if len(block) >= BLOCK:
                yield bytes(block)
                block.clear()
    except ClientDisconnect:
        raise Invalid("request.broken_off", "The client went away before it had sent everything.") from None
    yield bytes(block)


def _made(folder: Path) -> IO[bytes]:
    folder.mkdir(mode=0o700, exist_ok=True)
    return tempfile.NamedTemporaryFile(dir=folder, prefix="upload-", delete=False)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
