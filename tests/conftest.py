"""Shared fixtures. A data folder of its own for every test; nothing is faked but the language model."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asgi_client import Client

from llmos_lite.settings import Settings

if TYPE_CHECKING:
    from llmos_lite.api.app import App
    from llmos_lite.bootstrap import Services


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", llm_provider="offline", fold_seconds=0.2)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """An instance sends its logs to standard error and nowhere else; undo that, so that `caplog` hears the next one."""
    logger = logging.getLogger("llmos")
    yield
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """An instance on a fresh data folder, as a command opens it; what runs by itself is not started."""
    from llmos_lite.bootstrap import open_services  # noqa: PLC0415 - most tests need less

    async with open_services(settings, serve=False) as services:
        yield services


@pytest.fixture
def app(services: Services) -> App:
    from llmos_lite.api.app import create_app  # noqa: PLC0415 - as above

    return create_app(services)


@pytest.fixture
def client(app: App, settings: Settings) -> Client:
    """Acts as the admin; `client.acting_as("alice")` as somebody."""
    key = (settings.data / "admin.key").read_text().strip()
    return Client(app, {"Authorization": f"Bearer {key}"})
