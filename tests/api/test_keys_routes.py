"""How long keys hold, as programs ask for it."""

from __future__ import annotations

import pytest
from asgi_client import Client

DAY = 24 * 60 * 60 * 1000


@pytest.mark.parametrize("body", [{"scopes": ["skills:read"]}, {"purpose": "catalog"}, {"purpose": "mcp"}])
async def test_a_key_holds_as_long_as_the_settings_say_unless_it_is_asked_for(
    client: Client, body: dict[str, object]
) -> None:
    alice = client.acting_as("alice")
    usual = 90 if "purpose" in body else 365
    asked = ((None, usual), (30, 30), (3650, 3650))
    for given, days in asked:
        made = (await alice.post("/keys", {"name": "x", "expires_days": given} | body)).json()
        assert made["expires"] - made["created"] == days * DAY
    left_out = (await alice.post("/keys", {"name": "x"} | body)).json()
    assert left_out["expires"] - left_out["created"] == usual * DAY
    endless = (await alice.post("/keys", {"name": "x", "expires_days": "never"} | body)).json()
    assert endless["expires"] is None
    for wrong in (0, -1, 3651, "", "always", 1.5):
        answer = await alice.post("/keys", {"name": "x", "expires_days": wrong} | body)
        assert (answer.status, answer.json()["code"]) == (400, "request.invalid")
        [said] = answer.json()["fields"]
        assert said.startswith("body.expires_days: Input should be ")
        assert said.endswith(", or: Input should be 'never'")
    switch = await alice.post("/keys", {"name": "x", "expires_days": True} | body)
    assert switch.status == 400
    assert switch.json()["fields"] == ["body.expires_days: a number is wanted, not true"]
