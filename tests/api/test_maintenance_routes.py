from __future__ import annotations

from asgi_client import Client


async def test_an_admin_maintains_one_volume_or_all(client: Client) -> None:
    for body in ({"volume": "system"}, {}):
        answer = await client.post("/admin/maintain", body)
        assert answer.status == 200
        [one] = answer.json()["items"]
        assert one["volume"] == "system"
        assert one["problem"] is None
        assert one["packs_after"] <= one["packs_before"]
        assert one["bytes_after"] > 0


async def test_nobody_else_may(client: Client) -> None:
    answer = await client.acting_as("alice").post("/admin/maintain", {"volume": "user:alice"})
    assert answer.status == 403
    for volume, status in (("user:nobody", 404), ("nothing", 400)):
        answer = await client.post("/admin/maintain", {"volume": volume})
        assert answer.status == status
