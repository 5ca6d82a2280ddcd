from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from asgi_client import Client

from llmos_lite.api.app import create_app
from llmos_lite.bootstrap import address, open_services
from llmos_lite.core.skills.starter import starter_skills
from llmos_lite.engines.folder import holder
from llmos_lite.errors import Invalid, StorageFailed, Unavailable
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, SYSTEM, VolumeRef


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def skill_ids(services: object) -> set[str]:
    return {entry.skill_id for entry in services.volumes.open(PLATFORM, SYSTEM).list_skills()}  # type: ignore[attr-defined]  # Services


async def test_a_fresh_folder_gets_everything_that_it_needs(settings: Settings) -> None:
    async with open_services(settings, serve=True) as services:
        assert skill_ids(services) == set(starter_skills())
        assert len(skill_ids(services)) >= 8
        by = holder(settings.data)
        assert by is not None
        assert (by.pid, by.url) == (os.getpid(), services.url)
        assert services.sign_in_url().startswith(f"{services.url}/sign-in?token=")
    data = settings.data
    private = [data / name for name in ("admin.key", "lock", "format", "llmos.db")]
    assert {mode(path) for path in private} == {0o600}
    assert (mode(data), mode(data / "keys")) == (0o700, 0o700)
    assert (data / "format").read_text() == "1\n"
    assert (data / "allowed_signers").read_text().startswith("llmos@localhost")
    assert (data / "admin.key").read_text().startswith("llmos_")
    assert holder(data) is None


async def test_it_opens_again_as_it_was(settings: Settings) -> None:
    async with open_services(settings, serve=False) as services:
        key = (settings.data / "admin.key").read_text()
        await services.accounts.ensure("alice")
        services.volumes.open(PLATFORM, SYSTEM, write=True).delete_skill("code-review")
    async with open_services(settings, serve=False) as services:
        assert await services.accounts.everybody() == ["alice"]
        assert "code-review" not in skill_ids(services)
        assert (settings.data / "admin.key").read_text() == key


async def test_a_second_one_is_told_where_the_first_is(settings: Settings) -> None:
    async with open_services(replace(settings, port=8499), serve=True):
        with pytest.raises(Unavailable, match=r"is served at http://127\.0\.0\.1:8499"):
            async with open_services(settings, serve=True):
                pass


async def test_a_worker_stands_beside_its_parent_and_takes_no_jobs(settings: Settings) -> None:
    async with open_services(settings, serve=True), open_services(settings, serve=False, lock=False) as worker:
        assert worker.journal is None
        checks = await worker.check()
        assert (checks["rows"], checks["journal"], checks["jobs"]) == ("ok", "held by the server", "ok")
        with pytest.raises(Unavailable, match="takes no evolve"):
            await worker.evolution.start(await worker.accounts.actor((await worker.accounts.ensure("alice")).user_id))
        await worker.start_jobs()
        assert (await worker.accounts.account("system-cron")).kind == "service"
        await worker.jobs.stop()


@pytest.mark.parametrize("text", ["2\n", "next"])
async def test_the_folder_of_another_version_is_refused_and_stays_as_it_is(settings: Settings, text: str) -> None:
    settings.data.mkdir(parents=True)
    (settings.data / "format").write_text(text)
    with pytest.raises(Unavailable, match="format"):
        async with open_services(settings, serve=True):
            pass
    assert {path.name for path in settings.data.iterdir()} == {"lock", "format"}


async def test_a_folder_that_cannot_be_written_is_a_sentence(settings: Settings) -> None:
    settings.data.parent.mkdir(parents=True, exist_ok=True)
    settings.data.write_text("a file")
    with pytest.raises(StorageFailed, match="data folder"):
        async with open_services(settings, serve=True):
            pass


async def test_a_key_file_that_cannot_be_read_is_a_sentence(settings: Settings) -> None:
    (settings.data / "admin.key").mkdir(parents=True)
    with pytest.raises(Unavailable, match=r"admin\.key"):
        async with open_services(settings, serve=True):
            pass


async def test_wrong_settings_are_a_sentence_at_start(settings: Settings) -> None:
    with pytest.raises(Invalid, match="LLMOS_LLM_PROVIDER"):
        async with open_services(replace(settings, llm_provider="nonsense"), serve=True):
            pass
    async with open_services(replace(settings, middleware="no.such:Thing"), serve=False) as services:
        with pytest.raises(Invalid, match="LLMOS_MIDDLEWARE"):
            create_app(services)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8420"),
        ("0.0.0.0", "http://127.0.0.1:8420"),  # noqa: S104 - shown, not bound
        ("::1", "http://[::1]:8420"),
        ("::", "http://[::1]:8420"),
        ("llmos.example", "http://llmos.example:8420"),
    ],
)
def test_the_address_is_one_that_works_on_this_machine(host: str, url: str) -> None:
    assert address(Settings(host=host)) == url


async def test_a_skill_dropped_into_a_work_tree_is_served_within_seconds(settings: Settings) -> None:
    async with open_services(settings, serve=False) as services:
        noticed = threading.Event()
        adopted = services.edits._adopted
        assert adopted is not None

        def hear(ref: VolumeRef) -> None:
            adopted(ref)
            if ref == VolumeRef.user("alice"):
                noticed.set()

        services.edits._adopted = hear
        app = create_app(services)
        key = (settings.data / "admin.key").read_text().strip()
        alice = Client(app, {"Authorization": f"Bearer {key}", "X-LLMOS-User": "alice"})
        assert (await alice.post("/skills", {"skill_id": "mine", "description": "d", "content": "# M"})).status == 201
        await services.start()
        folder = services.volumes.folder(VolumeRef.user("alice")) / "skills"
        (folder / "by-hand.md").write_text("---\nname: By hand\ndescription: Dropped in.\n---\n# By hand\n")
        await app.routes()
        assert await asyncio.to_thread(noticed.wait, 10)
        skill = (await alice.get("/skills/by-hand")).json()
        assert (skill["name"], skill["path"]) == ("By hand", "skills/by-hand.md")


async def test_a_folder_that_lost_its_accounts_says_so(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    async with open_services(settings, serve=False) as services:
        await services.accounts.ensure("alice")
        services.volumes.open(PLATFORM, VolumeRef.user("alice"), write=True)
    assert "is missing" not in capsys.readouterr().err
    (settings.data / "llmos.db").unlink()
    async with open_services(settings, serve=False):
        pass
    assert "llmos.db is missing: accounts, teams and keys begin anew" in capsys.readouterr().err
