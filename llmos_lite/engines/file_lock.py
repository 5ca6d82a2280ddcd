"""A lock between processes that many may share or one may have, for as long as a block runs or its process lives."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from llmos_lite.errors import storage_error

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two tries; a thread that waited could not be given up."""


@asynccontextmanager
async def file_lock(path: Path, *, shared: bool) -> AsyncIterator[None]:
    """Hold a lock on a file, made when there is none.

    Args:
        path: the file.
        shared: with others that share it; otherwise alone.

    Raises:
        StorageFailed: the file cannot be made.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, f"lock {path}") from error
    try:
        pause = FIRST_PAUSE
        while not _taken(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        yield
    finally:
        os.close(file)


def _taken(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
