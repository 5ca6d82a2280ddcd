from __future__ import annotations

from urllib.parse import urlencode, urlsplit

import pytest
from asgi_client import Answer, Client

from llmos_lite.bootstrap import Services

HERE = {"Origin": "http://localhost"}


async def form(client: Client, path: str, headers: dict[str, str], **fields: str) -> Answer:
    sent = {"content-type": "application/x-www-form-urlencoded"} | headers
    return await client.request("POST", path, content=urlencode(fields).encode(), headers=sent)


async def signed_in(client: Client, services: Services) -> dict[str, str]:
    """Follow the link that the server prints, and press the button; return the cookie as a header."""
    link = urlsplit(services.sign_in_url())
    shown = await client.without_credential().get(f"{link.path}?{link.query}")
    token = link.query.removeprefix("token=")
    assert f'value="{token}"'.encode() in shown.body
    answer = await form(client.without_credential(), "/sign-in", HERE, token=token)
    assert (answer.status, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    return {"Cookie": cookie.split(";")[0]}


async def test_a_stranger_sees_how_to_sign_in(client: Client) -> None:
    answer = await client.without_credential().get("/")
    assert answer.status == 200
    assert b"Sign in" in answer.body
    csp = answer.headers["content-security-policy"]
    assert "default-src 'none'" in csp
    assert "unsafe" not in csp
    assert b"<script" not in answer.body
    assert b"http" not in answer.body.replace(b"http://127.0.0.1:8420/chat", b"")


async def test_the_first_link_signs_in_once(client: Client, services: Services) -> None:
    stranger = client.without_credential()
    link = urlsplit(services.sign_in_url())
    for _ in range(3):  # mail programs and chats look at links before a person does
        assert (await stranger.get(f"{link.path}?{link.query}")).status == 200
    token = link.query.removeprefix("token=")
    assert (await form(stranger, "/sign-in", {"Origin": "http://evil.example"}, token=token)).status == 403
    assert (await form(stranger, "/sign-in", HERE, token=token)).status == 303
    again = await form(stranger, "/sign-in", HERE, token=token)
    assert again.status == 401
    assert b"used already" in again.body


async def test_signed_in_one_sees_what_there_is_and_can_chat(client: Client, services: Services) -> None:
    cookie = await signed_in(client, services)
    stranger = client.without_credential()
    assert b"Signed in as admin" in (await stranger.get("/", headers=cookie)).body
    chat = await form(stranger, "/try", cookie | HERE, message="How do I review a pull request?")
    assert chat.status == 200
    assert b"code-review" in chat.body
    chat = await form(stranger, "/try", cookie | HERE, message="<b>Now</b>")
    assert b"<b>Now" not in chat.body
    assert b"&lt;b&gt;Now" in chat.body
    assert (await form(stranger, "/try", cookie | HERE, message=" ")).status == 400
    me = await stranger.get("/me", headers=cookie)
    assert me.json()["user_id"] == "admin"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://localhost:81", "Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://localhost"}, True),
    ],
)
async def test_a_session_works_only_from_our_own_pages(
    client: Client,
    services: Services,
    headers: dict[str, str],
    allowed: bool,  # noqa: FBT001
) -> None:
    cookie = await signed_in(client, services)
    stranger = client.without_credential()
    answer = await stranger.request("POST", "/teams", json_body={"team_id": "sre"}, headers=cookie | headers)
    assert answer.status == (201 if allowed else 403)
    if not allowed:
        assert answer.json()["code"] == "request.cross_site"
        assert (await form(stranger, "/sign-out", cookie | headers)).status == 403


async def test_signing_out_ends_the_session(client: Client, services: Services) -> None:
    cookie = await signed_in(client, services)
    stranger = client.without_credential()
    out = await form(stranger, "/sign-out", cookie | HERE)
    assert (out.status, out.headers["location"]) == (303, "/")
    assert b"Sign in" in (await stranger.get("/", headers=cookie)).body
    assert (await stranger.get("/me", headers=cookie)).json()["code"] == "session.ended"


async def test_the_key_signs_in_by_form(client: Client) -> None:
    stranger = client.without_credential()
    key = client.headers["Authorization"].removeprefix("Bearer ")
    answer = await form(stranger, "/sign-in", HERE, key=key)
    cookie = {"Cookie": answer.headers["set-cookie"].split(";")[0]}
    assert b"Signed in as admin" in (await stranger.get("/", headers=cookie)).body
    assert (await form(stranger, "/sign-in", HERE, key=f" {key}\n")).status == 303
    assert (await form(stranger, "/sign-in", {"Origin": "http://evil.example"}, key=key)).status == 403
    broken = await stranger.request("POST", "/sign-in", content=b"key=\xff\xfe", headers=HERE)
    assert broken.status in {400, 401}


async def test_a_person_with_a_wrong_key_is_told_about_the_form(client: Client) -> None:
    stranger = client.without_credential()
    programs = (await client.post("/keys", {"name": "ci", "scopes": ["chat"]})).json()["key"]
    for key in ("wrong", "llmos_0a1b2c3d_" + "x" * 43, "a.b.c", programs):
        answer = await form(stranger, "/sign-in", HERE, key=key)
        assert answer.status == 401
        said = answer.body.decode().partition('<section class="error">')[2].partition("</section>")[0]
        assert "admin.key" in said
        assert "Bearer" not in said
        assert "X-API-Key" not in said
        assert 'name="key"' in answer.body.decode()


@pytest.mark.parametrize("cookie", ["llmos_session=", "llmos_session", 'llmos_session="\\"; x=', "llmos_session=x"])
async def test_a_cookie_of_nobody_is_nobody(client: Client, cookie: str) -> None:
    answer = await client.without_credential().get("/", headers={"Cookie": cookie})
    assert answer.status == 200
    assert b"Sign in" in answer.body
