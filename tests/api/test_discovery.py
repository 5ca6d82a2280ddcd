"""Well-known catalogs, as an independent client of the RFC sees them, and as a stranger does."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from asgi_client import Answer, Client

from llmos_lite.api.app import App, create_app
from llmos_lite.bootstrap import Services
from llmos_lite.core.accounts.permissions import EVERYTHING, Actor, Role
from llmos_lite.volumes.access import VolumeRef

INDEX = "/.well-known/agent-skills/index.json"
SKILL = {"description": "Use it for tests.", "content": "# It\n\n1. Do it.\n"}


ADMIN = Actor("admin", role=Role.SYSTEM_ADMIN, teams={"sre": Role.USER}, scopes=EVERYTHING)


class Discoverer:
    """Follows the RFC 0.2.0 and nothing else; knows only an address, and sends no header."""

    def __init__(self, app: App, headers: dict[str, str] | None = None) -> None:
        self.client = Client(app, headers or {})

    async def index(self, base: str) -> list[dict[str, Any]]:
        answer = await self.client.get(f"{base}{INDEX}")
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/json"
        document = answer.json()
        assert document.keys() == {"$schema", "skills"}
        assert document["$schema"] == "https://schemas.agentskills.io/discovery/0.2.0/schema.json"
        for entry in document["skills"]:
            assert entry.keys() == {"name", "type", "description", "url", "digest"}
            assert 0 < len(entry["description"]) <= 1024
        return list(document["skills"])

    async def install(self, base: str) -> dict[str, dict[str, bytes]]:
        """Return the files of every skill, by name; every digest is verified."""
        found = {}
        for entry in await self.index(base):
            url = urlsplit(urljoin(f"https://host.example{base}{INDEX}", entry["url"]))
            answer = await self.client.get(f"{url.path}?{url.query}")
            assert answer.status == 200, answer.body
            assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == entry["digest"]
            found[entry["name"]] = self.unpacked(entry["type"], answer)
        return found

    def unpacked(self, kind: str, answer: Answer) -> dict[str, bytes]:
        if kind == "skill-md":
            assert answer.headers["content-type"].startswith("text/markdown")
            return {"SKILL.md": answer.body}
        assert answer.headers["content-type"] == "application/gzip"
        with tarfile.open(fileobj=io.BytesIO(answer.body), mode="r:gz") as archive:
            files = {one.name: archive.extractfile(one) for one in archive if one.isreg()}
            return {name: file.read() for name, file in files.items() if file is not None}


@pytest.fixture
async def people(client: Client) -> dict[str, Client]:
    """Alice of sre, Bob of hr, and skills of both teams and of Alice."""
    for team, user in (("sre", "alice"), ("hr", "bob")):
        await client.post("/teams", {"team_id": team})
        await client.post("/users", {"user_id": user})
        await client.post(f"/teams/{team}/members", {"user_id": user})
        await client.post("/skills", SKILL | {"skill_id": f"{team}-skill", "volume": f"team:{team}"})
    alice = client.acting_as("alice")
    await alice.post("/skills", SKILL | {"skill_id": "mine"})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, data, mode in (
            ("folder/SKILL.md", b"---\nname: folder\ndescription: Has files.\n---\n# Folder\n", 0o644),
            ("folder/scripts/run.sh", b"#!/bin/sh\n", 0o755),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))
    done = await client.request("POST", "/skills/install?volume=team:sre", content=archive.getvalue())
    assert done.json()["items"][0]["status"] == "created", done.body
    return {"alice": alice, "bob": client.acting_as("bob"), "admin": client}


async def url(client: Client, **body: object) -> tuple[str, str]:
    made = (await client.post("/keys", {"purpose": "catalog", "name": "x"} | body)).json()
    return urlsplit(made["url"]).path, made["key_id"]


async def test_a_client_without_headers_installs_a_teams_skills(people: dict[str, Client], app: App) -> None:
    base, _ = await url(people["alice"], teams=["sre"])
    assert base.endswith("/t/sre")
    found = await Discoverer(app).install(base)
    assert found.keys() == {"sre-skill", "folder"}
    assert found["folder"].keys() == {"SKILL.md", "scripts/run.sh"}


async def test_a_token_for_everything_has_what_the_person_reads(people: dict[str, Client], app: App) -> None:
    base, _ = await url(people["alice"])
    found = await Discoverer(app).install(base)
    assert found.keys() >= {"sre-skill", "folder", "mine", "code-review"}
    assert "hr-skill" not in found
    assert (await Discoverer(app).install(f"{base}/t/sre")).keys() == {"sre-skill", "folder"}


@pytest.mark.parametrize("end", ["", "/", "/t/sre"])
async def test_a_person_who_opens_the_address_is_told_what_it_is_for(app: App, end: str) -> None:
    path = f"/c/llmos_0123abcd_{'0' * 64}{end}"
    answer = await Client(app, {"accept": "text/html,*/*"}).get(path)
    assert answer.status == 404
    assert b"llmos skills add ADDRESS" in answer.body
    assert b"0000" not in answer.body
    assert (await Client(app, {}).get(path)).json()["code"] == "route.unknown"


async def test_the_index_tells_no_token(people: dict[str, Client], app: App) -> None:
    base, _ = await url(people["alice"])
    answer = await Client(app).get(f"{base}{INDEX}")
    assert b"llmos_" not in answer.body
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"].startswith("private")
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_a_key_in_a_header_does_as_well(people: dict[str, Client], app: App) -> None:
    made = (await people["alice"].post("/keys", {"name": "x", "scopes": ["skills:read"]})).json()
    bearer = {"Authorization": f"Bearer {made['key']}"}
    assert (await Discoverer(app, bearer).install("/t/sre")).keys() == {"sre-skill", "folder"}
    assert "code-review" in await Discoverer(app, bearer).install("")
    answer = await Client(app, bearer).get(f"/t/sre{INDEX}")
    assert answer.headers["vary"] == "Authorization, X-API-Key, Accept-Encoding"
    assert "access-control-allow-origin" not in answer.headers
    chats = (await people["alice"].post("/keys", {"name": "x", "scopes": ["chat"]})).json()
    refused = await Client(app, {"Authorization": f"Bearer {chats['key']}"}).get(f"/t/sre{INDEX}")
    assert (refused.status, refused.json()["code"]) == (403, "scope.missing")


async def test_the_system_is_public_only_where_somebody_said_so(services: Services, app: App) -> None:
    closed = await Client(app).get(INDEX)
    assert (closed.status, closed.json()["code"]) == (401, "credential.missing")
    artifact = await Client(app).get("/.well-known/agent-skills/code-review/SKILL.md")
    assert artifact.status == 401
    opened = create_app(replace(services, settings=replace(services.settings, public_catalog=True)))
    found = await Discoverer(opened).install("")
    assert "code-review" in found
    answer = await Client(opened).get(INDEX)
    assert answer.headers["cache-control"].startswith("public")
    for path in (f"/t/sre{INDEX}", "/skills", "/me", "/skills/code-review", f"/t/system{INDEX}"):
        assert (await Client(opened).get(path)).status == 401, path
    bad = await Client(opened, {"Authorization": "Bearer x"}).get(INDEX)
    assert bad.status == 401


async def test_strangers_who_look_into_the_public_catalog_are_counted(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services.limits, "defaults", replace(services.limits.defaults, strangers=3))
    settings = replace(services.settings, public_catalog=True)
    opened = create_app(replace(services, settings=settings))
    path = "/.well-known/agent-skills/code-review/SKILL.md?version=" + "a" * 40
    codes = [(await Client(opened).get(path)).json()["code"] for _ in range(4)]
    assert codes == ["skill.unknown"] * 3 + ["limit.strangers"]


async def test_what_did_not_change_is_not_sent_again(people: dict[str, Client], app: App) -> None:
    base, _ = await url(people["alice"], teams=["sre"])
    stranger = Client(app)
    index = await stranger.get(f"{base}{INDEX}")
    for sent in (index.headers["etag"], f'"x", W/{index.headers["etag"]}', "*"):
        again = await stranger.get(f"{base}{INDEX}", headers={"If-None-Match": sent})
        assert (again.status, again.body) == (304, b"")
    entry = next(one for one in index.json()["skills"] if one["name"] == "folder")
    path = urljoin(f"{base}{INDEX}", entry["url"])
    artifact = await stranger.get(path)
    assert artifact.headers["etag"] == f'"{entry["digest"]}"'
    assert artifact.headers["cache-control"] == "private, max-age=86400, immutable"
    assert int(artifact.headers["content-length"]) == len(artifact.body)
    assert (await stranger.get(path, headers={"If-None-Match": artifact.headers["etag"]})).status == 304
    whole = await stranger.get(path, headers={"Range": "bytes=0-9"})
    assert (whole.status, whole.body) == (200, artifact.body)
    head = await stranger.request("HEAD", path)
    assert (head.status, head.headers["etag"]) == (200, artifact.headers["etag"])
    plain = await stranger.get(path.partition("?")[0])
    assert (plain.body, plain.headers["cache-control"]) == (artifact.body, "private, max-age=60")
    await people["admin"].post("/skills", SKILL | {"skill_id": "another", "volume": "team:sre"})
    assert (await stranger.get(f"{base}{INDEX}", headers={"If-None-Match": index.headers["etag"]})).status == 200


async def test_a_skill_that_changes_between_index_and_download_keeps_its_digest(
    people: dict[str, Client], app: App
) -> None:
    base, _ = await url(people["alice"], teams=["sre"])
    entry = next(one for one in await Discoverer(app).index(base) if one["name"] == "sre-skill")
    changed = await people["admin"].request(
        "PATCH", "/skills/sre-skill?volume=team:sre", json_body={"content": "# It\n\n1. Do it twice.\n"}
    )
    assert changed.status == 200
    answer = await Client(app).get(urljoin(f"{base}{INDEX}", entry["url"]))
    assert f"sha256:{hashlib.sha256(answer.body).hexdigest()}" == entry["digest"]


async def test_a_revoked_token_ends_midway(people: dict[str, Client], app: App) -> None:
    base, key_id = await url(people["alice"], teams=["sre"])
    entries = await Discoverer(app).index(base)
    assert (await people["alice"].request("DELETE", f"/keys/{key_id}")).status == 204
    for entry in entries:
        answer = await Client(app).get(urljoin(f"{base}{INDEX}", entry["url"]))
        assert (answer.status, answer.json()["code"]) == (401, "credential.revoked")


async def test_no_token_leads_to_what_is_not_its_owners(people: dict[str, Client], app: App) -> None:
    whole, _ = await url(people["alice"])
    team, _ = await url(people["alice"], teams=["sre"])
    token = team.split("/")[2]
    for base in (f"{whole}/t/hr", f"/c/{token}/t/hr", f"/c/{token}/t/none"):
        answer = await Client(app).get(f"{base}{INDEX}")
        assert (answer.status, answer.json()["code"]) == (404, "volume.unknown")
        assert (await Client(app).get(f"{base}/.well-known/agent-skills/hr-skill/SKILL.md")).status == 404
    own = await Client(app).get(f"/c/{token}/.well-known/agent-skills/mine/SKILL.md")
    assert own.status == 404
    mcp = (await people["alice"].post("/keys", {"purpose": "mcp", "name": "x"})).json()["key"]
    for wrong in (mcp, people["admin"].headers["Authorization"].split()[1], "x", "llmos_", token[:-1], token + "0"):
        answer = await Client(app, people["admin"].headers).get(f"/c/{wrong}{INDEX}")
        assert answer.status == 401, wrong
        assert wrong[15:] == "" or wrong[15:].encode() not in answer.body
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await Client(app).request(method, f"{whole}{INDEX}")).status == 405


async def test_guessing_tokens_is_bounded(people: dict[str, Client], services: Services, app: App) -> None:
    base, _ = await url(people["alice"], teams=["sre"])
    services.limits.defaults = replace(services.limits.defaults, strangers=3)
    guesses = [f"/c/llmos_{number:08x}_{'0' * 64}{INDEX}" for number in range(5)]
    assert [(await Client(app).get(guess)).status for guess in guesses] == [401, 401, 401, 429, 429]
    assert (await Client(app).get(f"{base}{INDEX}")).status == 200


HOSTILE = [
    "..%2f..%2f..%2fetc%2fpasswd", "../metadata.json", "%2e%2e/metadata.json/SKILL.md", "folder/scripts/run.sh",
    "folder/SKILL.md", "sre-skill.tar.gz", ".tar.gz", "/SKILL.md", "folder", "folder.tar.gz/x", "index.json/x",
    "FOLDER.tar.gz", "folder%00.tar.gz", "folder%0a.tar.gz", "%e2%80%aefolder.tar.gz", "x" * 200 + ".tar.gz",
    "folder.tar.gz?version=main", "folder.tar.gz?version=" + "0" * 40, "folder.tar.gz?version=..", "hr-skill/SKILL.md",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_name_leads_elsewhere(people: dict[str, Client], app: App, name: str) -> None:
    base, _ = await url(people["alice"], teams=["sre"])
    answer = await Client(app).get(f"{base}/.well-known/agent-skills/{name}")
    assert answer.status in {400, 404}, answer.body
    assert json.loads(answer.body)["code"]


async def test_what_a_token_asks_counts_against_its_owner(people: dict[str, Client], app: App) -> None:
    base, key_id = await url(people["alice"], teams=["sre"])
    limited = await people["admin"].request("PUT", "/limits/user:alice", json_body={"requests": 2})
    assert limited.status == 200
    statuses = [(await Client(app).get(f"{base}{INDEX}")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    (row,) = [
        one for one in (await people["admin"].get("/keys?user_id=alice")).json()["items"] if one["key_id"] == key_id
    ]
    assert row["purpose"] == "catalog"


PACKED = ("gzip", "GZIP;q=0.1, identity", "br, deflate, gzip", "*", "gzip; q=0.50")
PLAIN = ("", "identity", "gzip;q=0", "gzip;q=0.000, *", "br", "*;q=0")


@pytest.mark.parametrize("accepted", [*PACKED, *PLAIN])
async def test_the_index_is_packed_for_whoever_takes_it(people: dict[str, Client], app: App, accepted: str) -> None:
    packed = accepted in PACKED
    base, _ = await url(people["alice"])
    plain = await Client(app).get(f"{base}{INDEX}")
    answer = await Client(app).get(f"{base}{INDEX}", headers={"Accept-Encoding": accepted})
    assert ("content-encoding" in answer.headers) == packed
    assert (gzip.decompress(answer.body) if packed else answer.body) == plain.body
    assert (answer.headers["etag"] == plain.headers["etag"]) == (not packed)
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    for etag in (plain.headers["etag"], f"W/{answer.headers['etag']}", f'"x", {answer.headers["etag"]}', "*"):
        known = {"Accept-Encoding": accepted, "If-None-Match": etag}
        again = await Client(app).get(f"{base}{INDEX}", headers=known)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == answer.headers["etag"]


async def test_an_index_is_written_once_for_all_who_read_the_same(
    people: dict[str, Client], app: App, services: Services
) -> None:
    base, _ = await url(people["alice"], teams=["sre"])
    before = await Client(app).get(f"{base}{INDEX}")
    index = await services.catalogs.index(ADMIN, VolumeRef.team("sre"))
    assert index.body == before.body
    assert await services.catalogs.index(ADMIN, VolumeRef.team("sre"), packed=True) is index
    await people["admin"].post("/skills", SKILL | {"skill_id": "sre-other", "volume": "team:sre"})
    assert (await services.catalogs.index(ADMIN, VolumeRef.team("sre"))).body != before.body
