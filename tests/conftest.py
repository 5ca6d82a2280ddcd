"""Shared fixtures. A data folder of its own for every test; nothing is faked but the language model."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import coverage
import hypothesis
import pytest
from asgi_client import Client
from fork_server import ForkServer

from llmos_lite.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from llmos_lite.api.app import App
    from llmos_lite.bootstrap import Services


IN_MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # noqa: S108 - pytest makes folders of its own there


def pytest_configure() -> None:
    """Let tests share two cores and a disk: one thread for numpy, and folders in memory, where a sync costs nothing.

    Nothing fails for being slow: how long Hypothesis takes says more about the machine.
    """
    hypothesis.settings.register_profile(
        "shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "shared")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["LLMOS_EMBEDDER"] = "off"  # of the servers that tests start; see `words_alone`
    if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))


@pytest.hookimpl(trylast=True)  # coverage runs by then, in workers too
def pytest_sessionstart() -> None:
    """Let coverage look for greenlets in this thread alone, where SQLAlchemy has nearly all of them.

    What runs in the event loop of another thread, which few tests start, may be missed by it.
    It asked greenlet in every thread, which then tells the main thread of each that ends. When two end at once, and
    that is traced, Python 3.11 waits for the second for ever (RESUME looks at the eval breaker before it goes on).
    """
    running = coverage.Coverage.current()
    if running is not None and running._collector is not None:
        running._collector.concur_id_func = itertools.repeat(threading.main_thread()).__next__


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", llm_provider="offline", fold_seconds=0.2)


@pytest.fixture(autouse=True)
def words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed beside us must not change what a test sees: an embedder is used where one is named."""
    monkeypatch.setattr("llmos_lite.engines.embedder_auto.packaged", lambda: None)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """An instance sends its logs to standard error and nowhere else; undo that, so that `caplog` hears the next one."""
    logger = logging.getLogger("llmos")
    yield
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def fresh_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as the first start leaves it. To copy it is four times as fast as to make one."""
    from llmos_lite.bootstrap import open_services  # noqa: PLC0415 - most tests need less

    data = tmp_path_factory.mktemp("fresh") / "data"

    async def start() -> None:
        async with open_services(Settings(data=data, llm_provider="offline"), serve=False):
            pass

    thread = threading.Thread(target=lambda: asyncio.run(start()))
    thread.start()
    thread.join()
    return data


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Runs code in processes of their own, quickly."""
    server = ForkServer(tmp_path_factory.mktemp("forks"))
    yield server
    server.close()


@pytest.fixture
async def services(settings: Settings, fresh_data: Path) -> AsyncIterator[Services]:
    """An instance on a fresh data folder, as a command opens it; what runs by itself is not started."""
    from llmos_lite.bootstrap import open_services  # noqa: PLC0415 - as above

    shutil.copytree(fresh_data, settings.data, symlinks=True)
    async with open_services(settings, serve=False) as services:
        yield services


@pytest.fixture(scope="session")
def routes() -> FastAPI:
    """The CRUD routes: to make them takes longer than most tests, and they ask for the services at each request."""
    from llmos_lite.api.routes import build  # noqa: PLC0415 - as above

    return build()


@pytest.fixture
def app(services: Services, routes: FastAPI) -> App:
    from llmos_lite.api.app import create_app  # noqa: PLC0415 - as above

    app = create_app(services)
    routes.state.services = services
    app._routes = routes
    return app


@pytest.fixture
def client(app: App, settings: Settings) -> Client:
    """Acts as the admin; `client.acting_as("alice")` as somebody."""
    key = (settings.data / "admin.key").read_text().strip()
    return Client(app, {"Authorization": f"Bearer {key}"})
