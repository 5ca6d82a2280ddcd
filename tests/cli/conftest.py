"""Commands run in this process, each on the routes that were made once: to make them takes longer than a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmos_lite.api import app

if TYPE_CHECKING:
    from fastapi import FastAPI

    from llmos_lite.bootstrap import Services


@pytest.fixture(autouse=True)
def routes_are_made_once(routes: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(services: Services) -> FastAPI:
        routes.state.services = services
        return routes

    monkeypatch.setattr(app, "_load", load)
