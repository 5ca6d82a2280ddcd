"""Nobody does something and has the audit log say something else, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgi_client import Answer
from world import Host, World

SKILL = {"skill_id": "evasive", "description": "How to.", "content": "# It\n", "volume": "team:sre"}
JSON = {"content-type": "application/json"}


def last(host: Host, world: World, action: str) -> dict[str, Any]:
    answer = host.run(world.ask("root", "GET", f"/audit?action={action}&limit=1"))
    row: dict[str, Any] = answer.json()["items"][0]
    return row


def send(host: Host, world: World, method: str, url: str, content: bytes = b"", **headers: str) -> Answer:
    return host.run(world.client("root").request(method, url, content=content, headers=headers or JSON))


def test_a_query_that_the_route_does_not_know_names_nothing(host: Host, world: World) -> None:
    body = json.dumps({"team_id": "real", "name": "Real"}).encode()
    assert send(host, world, "POST", "/teams?team_id=forged&name=Forged", body).status == 201
    row = last(host, world, "team.create")
    assert (row["target"], row["detail"]) == ("team:real", {"name": "Real"})


def test_a_body_that_the_route_does_not_read_names_nothing(host: Host, world: World) -> None:
    assert send(host, world, "POST", "/skills", json.dumps(SKILL).encode()).status == 201
    hidden = json.dumps({"volume": "user:bob"}).encode()
    assert send(host, world, "DELETE", "/skills/evasive?volume=team:sre", hidden).status == 200
    assert last(host, world, "skill.delete")["target"] == "team:sre/evasive"


@pytest.mark.parametrize(
    "query",
    [
        "volume=user:bob&volume=team:sre",
        "&".join(["volume=team:sre", *(f"n{number}=x" for number in range(200))]),
        "volume=team%3Asre",
        "volume=team:sre;volume=user:bob",
    ],
    ids=["twice", "many", "encoded", "semicolon"],
)
def test_the_volume_is_the_one_that_the_route_took(host: Host, world: World, query: str) -> None:
    send(host, world, "POST", "/skills", json.dumps(SKILL).encode())
    answer = send(host, world, "DELETE", f"/skills/evasive?{query}")
    if answer.status == 200:
        assert last(host, world, "skill.delete")["target"] == "team:sre/evasive"
    else:
        assert answer.status == 400


def test_an_empty_second_value_is_what_counts(host: Host, world: World) -> None:
    mine = json.dumps(SKILL | {"volume": "user:root"}).encode()
    assert send(host, world, "POST", "/skills", mine).status == 201
    assert send(host, world, "DELETE", "/skills/evasive?volume=team:sre&volume=").status == 200
    assert last(host, world, "skill.delete")["target"] == "user:root/evasive"


@pytest.mark.parametrize(
    ("number", "body", "kind"),
    [
        (1, "{}", "Application/JSON"),
        (2, "{}", "application/vnd.x+json; charset=utf-8"),
        (3, " " * 300_000 + "{}", "application/json"),
        (4, "utf-16", "application/json"),
        (5, "utf-8-sig", "application/json"),
        (6, "twice", "application/json"),
    ],
)
def test_however_a_body_is_written_its_names_are_found(
    host: Host, world: World, number: int, body: str, kind: str
) -> None:
    text = json.dumps({"team_id": f"written-{number}", "name": "Name"})
    if body == "twice":
        body, text = "{}", '{"team_id": "other", ' + text[1:]
    content = text.encode(body) if body.startswith("utf") else body.replace("{}", text).encode()
    answer = host.run(world.client("root").request("POST", "/teams", content=content, headers={"content-type": kind}))
    assert answer.status == 201, answer.body
    row = last(host, world, "team.create")
    assert (row["target"], row["detail"]) == (f"team:written-{number}", {"name": "Name"})


@pytest.mark.parametrize("path", ["/teams%0A", "/teams%0D", "/teams%00", "/teams%C2%A0", "/users/bob%0A", "/health%0A"])
def test_a_path_that_a_router_would_trim_is_none(host: Host, world: World, path: str) -> None:
    before = last(host, world, "team.create")
    answer = send(host, world, "POST", path, b'{"team_id": "sneaked"}')
    assert (answer.status, answer.json()["code"]) == (404, "route.unknown")
    assert last(host, world, "team.create") == before


def test_an_export_of_what_is_somebody_elses_leaves_a_row(host: Host, world: World) -> None:
    assert host.run(world.ask("root", "GET", "/traces/export?volume=user:bob")).status == 200
    row = last(host, world, "trace.export")
    assert (row["actor"], row["target"], row["result"]) == ("root", "user:bob", "ok")
    before = row["seq"]
    assert host.run(world.ask("bob", "GET", "/traces/export")).status == 200
    assert last(host, world, "trace.export")["seq"] == before


def test_traces_are_not_fetched_unseen_by_leaving_out_the_first_question(host: Host, world: World) -> None:
    headers = {
        "authorization": f"Bearer {world.keys['root']}",
        "content-type": "application/x-git-upload-pack-request",
        "git-protocol": "version=2",
    }
    listing = b"0014command=ls-refs\n00010000"
    answer = host.run(
        world.client("").request("POST", "/git/users/bob/traces.git/git-upload-pack", content=listing, headers=headers)
    )
    assert answer.status == 200
    assert b"refs/heads/" in answer.body
    row = last(host, world, "git.fetch_traces")
    assert (row["actor"], row["target"]) == ("root", "user:bob")
