"""What somebody sees who opens the link of an invitation."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from asgi_client import Answer, Client

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://localhost"}
NEW = {"user_id": "bob", "name": "Bob <b>", "password": "a long sentence about owls"}


@pytest.fixture
async def link(client: Client) -> str:
    await client.post("/teams", {"team_id": "sre"})
    made = await client.post("/invitations", {"team_id": "sre"})
    assert made.status == 201
    return "/invitation?token=" + made.json()["link"].partition("?token=")[2]


async def send(client: Client, link: str, fields: dict[str, str], **headers: str) -> Answer:
    body = urlencode({"token": link.partition("=")[2]} | fields).encode()
    return await client.without_credential().request("POST", "/invitation", content=body, headers=FORM | headers)


async def test_somebody_new_comes_in_and_is_signed_in(client: Client, link: str) -> None:
    stranger = client.without_credential()
    for _ in range(2):  # looking spends nothing
        shown = await stranger.get(link)
        assert (shown.status, "Come in" in shown.body.decode()) == (200, True)
    answer = await send(client, link, NEW)
    assert (answer.status, "signed in as bob" in answer.body.decode()) == (200, True), answer.body
    cookie = re.match(r"llmos_session=[^;]+", answer.headers["set-cookie"])
    assert cookie is not None
    me = (await stranger.get("/me", headers={"Cookie": cookie[0]})).json()
    assert (me["user_id"], me["teams"]) == ("bob", {"sre": "user"})
    form = urlencode({"user": "bob", "password": NEW["password"]}).encode()
    assert (await stranger.request("POST", "/sign-in", content=form, headers=FORM)).status == 303
    assert (await send(client, link, NEW | {"user_id": "eve"})).status == 404


async def test_whoever_is_signed_in_joins_as_who_they_are(client: Client, link: str) -> None:
    first = await send(client, link, NEW)
    cookie = first.headers["set-cookie"].partition(";")[0]
    again = "/invitation?token=" + (await client.post("/invitations", {"team_id": "sre"})).json()["token"]
    shown = await client.without_credential().get(again, headers={"Cookie": cookie})
    assert "Join as bob" in shown.body.decode()
    done = await send(client, again, {"user_id": "eve"}, Cookie=cookie)
    assert (done.status, "signed in as bob" in done.body.decode()) == (200, True)
    assert (await client.get("/users/eve")).status == 404
    gone = await client.without_credential().get(again, headers={"Cookie": "llmos_session=gone"})
    assert "Come in" in gone.body.decode()


@pytest.mark.parametrize(
    ("change", "status"),
    [({"password": "short"}, 400), ({"password": ""}, 400), ({"user_id": "admin"}, 400), ({"user_id": "../x"}, 400)],
)
async def test_what_is_refused_spends_nothing(client: Client, link: str, change: dict[str, str], status: int) -> None:
    answer = await send(client, link, NEW | change)
    assert (answer.status, "set-cookie" in answer.headers) == (status, False)
    assert "Bob &lt;b&gt;" in answer.body.decode()
    assert (await send(client, link, NEW)).status == 200


async def test_another_site_cannot_send_the_form(client: Client, link: str) -> None:
    assert (await send(client, link, NEW, Origin="https://evil.example")).status == 403
    broken = await client.without_credential().request("POST", "/invitation", content=b"\xff", headers=FORM)
    assert broken.status == 400


async def test_programs_come_in_with_a_key(client: Client, link: str) -> None:
    stranger, token = client.without_credential(), link.partition("=")[2]
    done = await stranger.post("/invitations/accept", {"token": token, "user_id": "bob"})
    assert (done.status, done.json()["team_id"]) == (201, "sre")
    bob = Client(client.app, {"X-API-Key": done.json()["key"]})
    made = await bob.post("/keys", {"name": "CI", "scopes": ["git", "skills:read"], "expires_days": 30})
    assert (made.status, made.json()["made_with"]) == (201, done.json()["key"][6:14])
    listed = (await bob.get("/keys")).json()
    assert (listed["total"], [key["name"] for key in listed["items"] if key["scopes"] == ["git", "skills:read"]]) == (
        2,
        ["CI"],
    )
    assert (await bob.request("DELETE", f"/keys/{made.json()['key_id']}")).status == 204
    again = await stranger.post("/invitations/accept", {"token": token, "user_id": "eve"})
    assert (again.status, again.json()["code"]) == (404, "invitation.unknown")
    wrong = await Client(client.app, {"X-API-Key": "x"}).post("/invitations/accept", {"token": token})
    assert wrong.status == 401


async def test_invitations_are_listed_and_ended(client: Client, link: str) -> None:
    (one,) = (await client.get("/invitations?team_id=sre")).json()["items"]
    assert (one["team_id"], one["accepted"], "token" in one) == ("sre", None, False)
    path = f"/invitations/{one['invitation_id']}"
    assert [(await client.request("DELETE", path)).status for _ in range(2)] == [204, 409]
    assert (await send(client, link, NEW)).status == 404
