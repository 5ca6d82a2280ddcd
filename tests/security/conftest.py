"""One instance with people of every kind for each module of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from world import Host, World


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = Host(tmp_path_factory.mktemp("security") / "data")
    yield host
    host.close()


@pytest.fixture(scope="module")
def world(host: Host) -> World:
    return host.world
