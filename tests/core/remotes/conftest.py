"""An instance that may reach this machine, and a Git server beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from remote_people import SRE
from remote_server import GitHost, bare, git_host

from llmos_lite.bootstrap import Services, open_services
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM
from llmos_lite.volumes.git_volume import GitVolume


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path / "data",
        llm_provider="offline",
        allow_private_urls=True,
        remote_folder=str(tmp_path / "disk"),
    )


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings, serve=False) as services:
        yield services


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A bare repository that a `file://` remote names."""
    return bare(tmp_path / "disk" / "skills.git")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[GitHost]:
    with git_host(tmp_path / "disk") as host:
        yield host


@pytest.fixture
def volume(services: Services) -> GitVolume:
    """The volume of the team, to write."""
    return services.volumes.open(PLATFORM, SRE, write=True)
