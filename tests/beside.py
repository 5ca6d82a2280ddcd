"""Servers of other event loops, for what has one of its own."""

from __future__ import annotations

import asyncio
from asyncio import Runner
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def beside(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Keep something open in the event loop of a thread."""
    with Runner() as runner, ThreadPoolExecutor(1) as thread:
        found = thread.submit(runner.run, context.__aenter__()).result()
        ended = asyncio.Event()
        waiting = thread.submit(runner.run, ended.wait())
        try:
            yield found
        finally:
            runner.get_loop().call_soon_threadsafe(ended.set)
            waiting.result()
            thread.submit(runner.run, context.__aexit__(None, None, None)).result()
