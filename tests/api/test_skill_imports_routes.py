"""Importing over the API: who may, what is said, and where the server does not go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from asgi_client import Client
from remote_server import bare, commit
from world import Host, World

from llmos_lite.core.remotes.dialing import Reach

SKILL = "---\nname: tea\ndescription: Brews tea. Use when somebody is thirsty.\n---\n# Tea\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    found = Host(tmp_path_factory.mktemp("imports") / "data")
    yield found
    found.close()


@pytest.fixture(scope="module")
def world(host: Host) -> World:
    return host.world


@pytest.fixture
def repository(world: World, tmp_path: Path) -> Path:
    found = bare(tmp_path / "repositories" / "tea")
    commit(found, {"skills/tea/SKILL.md": SKILL})
    data = world.services.settings.data
    world.services.mirrors.dialer.reach = Reach(data, folder=str(tmp_path / "repositories"))
    return found


def test_a_repository_is_imported_followed_and_pinned(host: Host, world: World, repository: Path) -> None:
    async def look() -> None:
        chief, asked = world.client("chief"), {"source": f"file://{repository}", "volume": "team:sre"}
        token = "9f" * 32
        (row,) = (await chief.post("/skills/import", asked | {"dry_run": True})).json()["items"]
        assert (row["skill_id"], row["status"]) == ("tea", "available")
        assert row["detail"] == "Brews tea. Use when somebody is thirsty."
        answer = await chief.post("/skills/import", asked)
        assert answer.status == 200, answer.body
        assert answer.json()["items"][0]["status"] == "created"
        commit(repository, {"skills/tea/SKILL.md": SKILL + "More.\n"})
        (row,) = (await chief.post("/skills/update", {"volume": "team:sre", "dry_run": True})).json()["items"]
        assert (row["state"], "+More." in row["diff"]) == ("available", True)
        pinned = await chief.request("PUT", "/skills/tea/pin?volume=team:sre", json_body={"pinned": True})
        assert pinned.json()["state"] == "pinned"
        (row,) = (await chief.post("/skills/update", {"volume": "team:sre"})).json()["items"]
        assert row["state"] == "pinned"
        await chief.request("PUT", "/skills/tea/pin?volume=team:sre", json_body={"pinned": False})
        (row,) = (await chief.post("/skills/update", {"volume": "team:sre"})).json()["items"]
        assert row["state"] == "updated"
        assert (await chief.get("/skills/tea?volume=team:sre")).json()["content"].endswith("More.\n")
        for who, code in (("alice", "volume.readonly"), ("bob", "volume.unknown")):
            for path, body in (("/skills/import", asked), ("/skills/update", {"volume": "team:sre"})):
                assert (await world.client(who).post(path, body)).json()["code"] == code
        audit = (await world.client("root").get("/audit?action=skill.import")).json()["items"]
        assert audit[0]["detail"]["source"] == f"file://{repository}"
        await chief.post("/skills/import", asked | {"source": "http://x.example/a.zip?private_token=hush&ref=main"})
        await chief.post("/skills/import", asked | {"source": f"http://x.example/c/llmos_0a1b2c3d_{token}"})
        audit = (await world.client("root").get("/audit?action=skill.import")).json()["items"]
        assert "hush" not in str(audit)
        assert token not in str(audit)

    host.run(look())


INSIDE = [
    "https://127.0.0.1/x.git", "https://localhost/skills.zip", "https://[::1]", "https://169.254.169.254/latest",
    "git@127.0.0.1:x.git", "ssh://git@localhost/x.git", "https://10.0.0.1/marketplace.json", "https://2130706433/SKILL.md",
    "http://example.org/x.zip", "file:///etc", "ext::sh -c id", "-x", "https://a:b@example.org/x.zip", "\x00", "",
]  # fmt: skip


@pytest.mark.parametrize("source", INSIDE)
def test_the_server_does_not_go_everywhere(host: Host, world: World, source: str) -> None:
    async def look() -> None:
        answer = await world.client("alice").post("/skills/import", {"source": source})
        assert answer.status in {400, 404, 502}, answer.body
        assert answer.json()["code"].split(".")[0] in {"address", "remote", "source"}, answer.body

    host.run(look())


async def test_what_was_not_imported_is_said(client: Client) -> None:
    alice = client.acting_as("alice")
    assert (await alice.post("/skills/update", {})).json()["items"] == []
    assert (await alice.post("/skills/update", {"skills": ["tea"]})).json()["code"] == "skill.not_imported"
    answer = await alice.request("PUT", "/skills/tea/pin", json_body={"pinned": True})
    assert answer.json()["code"] == "skill.not_imported"
