"""Templates over the API."""

from __future__ import annotations

from asgi_client import Client

NEW = {"skill_id": "search-runbook", "values": {"service": "the search service"}}


async def test_templates_are_listed_read_and_made_into_skills(client: Client) -> None:
    alice = client.acting_as("alice")
    listed = (await alice.get("/templates")).json()
    assert listed["total"] == len(listed["items"]) >= 12
    [row] = [one for one in listed["items"] if one["template_id"] == "runbook"]
    assert (row["title"], row["volume"], row["category"], row["error"]) == ("Runbook", "system", "coding", None)
    shown = (await alice.get("/templates/runbook")).json()
    assert "# Runbook: {{service}}" in shown["content"]
    assert shown["values"][0] == {
        "key": "service",
        "ask": "Which service is this for?",
        "default": "the service",
    }
    made = await alice.post("/templates/runbook/skills", NEW)
    assert made.status == 201
    assert (made.json()["name"], made.json()["volume"]) == ("Runbook: the search service", "user:alice")
    assert (await alice.post("/templates/runbook/skills", NEW)).json()["code"] == "skill.exists"
    assert (await alice.get("/skills/search-runbook")).json()["content"] == made.json()["content"]


async def test_what_cannot_be_made_is_said(client: Client) -> None:
    alice = client.acting_as("alice")

    async def code(body: object, template: str = "runbook", query: str = "") -> str:
        return str((await alice.post(f"/templates/{template}/skills{query}", body)).json()["code"])

    assert await code(NEW, "nothing") == "template.unknown"
    assert await code(NEW | {"values": {"nothing": "x"}}) == "template.unknown_value"
    assert await code(NEW | {"skill_id": "../x"}) == "skill.invalid_id"
    assert await code(NEW | {"volume": "system"}) == "volume.readonly"
    assert await code(NEW, query="?source=user:bob") == "volume.unknown"
    assert await code(NEW | {"more": 1}) == "request.invalid"
