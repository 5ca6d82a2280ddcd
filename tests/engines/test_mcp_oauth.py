"""Finding who signs in for a tool server: over TLS, and no further than where anybody may go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.types import Receive, Scope, Send

from llmos_lite.core.toolservers.config import ToolServer
from llmos_lite.engines import addresses
from llmos_lite.engines.mcp_oauth import OAuthSpeaker
from llmos_lite.engines.oauth import AuthorizationServer, OAuthClient, Tokens
from llmos_lite.errors import LlmosError
from tests.tool_oauth import listening, running, said

OPEN, CLOSED = "127.0.0.2", "127.0.0.1"
"""The first stands for an address of the internet here, the second is in our own network."""
NAME = "wiki.example"
METADATA = "/.well-known/oauth-authorization-server"


@dataclass
class Net:
    """A tool server and its provider over TLS at an open address, and something at a closed one."""

    port: int
    inside: int
    says: dict[str, Any] = field(default_factory=dict)
    resource: dict[str, Any] = field(default_factory=dict)
    token: dict[str, Any] = field(default_factory=dict)
    challenge: str = "Bearer"
    moved: str = ""
    bare: bool = False
    seen: list[str] = field(default_factory=list)
    given_keys: list[str] = field(default_factory=list)
    seen_inside: list[str] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"https://{NAME}:{self.port}"

    @property
    def gone(self) -> set[str]:
        """Paths where there is nothing."""
        return {METADATA} if self.moved else {"/.well-known/oauth-protected-resource/mcp"} if self.bare else set()

    @property
    def server(self) -> ToolServer:
        return ToolServer(name="wiki", url=f"{self.origin}/mcp", headers={"x-key": "k"})

    async def outside(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        self.given_keys += [scope["path"] for name, _ in scope["headers"] if name == b"x-key"]
        answers = {
            "/mcp": said({}, 401, {"www-authenticate": self.challenge}),
            "/.well-known/oauth-protected-resource/mcp": said(
                {"resource": f"{self.origin}/mcp", "authorization_servers": [self.origin]} | self.resource
            ),
            "/.well-known/oauth-authorization-server": said(
                {
                    "issuer": self.origin,
                    "authorization_endpoint": f"{self.origin}/authorize",
                    "token_endpoint": f"{self.origin}/token",
                    "registration_endpoint": f"{self.origin}/register",
                    "code_challenge_methods_supported": ["S256"],
                }
                | self.says
            ),
            "/token": said({"access_token": "t", "token_type": "Bearer"} | self.token),
        }
        path = METADATA if scope["path"] == self.moved else "" if scope["path"] in self.gone else scope["path"]
        await answers.get(path, said({}, 404))(scope, receive, send)

    async def within(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen_inside.append(scope["path"])
        await said({})(scope, receive, send)


@pytest.fixture
async def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Net]:
    monkeypatch.setattr(addresses, "is_public", lambda address: address == OPEN)
    real = addresses._look_up
    monkeypatch.setattr(addresses, "_look_up", lambda host, port: (OPEN,) if host == NAME else real(host, port))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate(tmp_path)))
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(listening(one)) for one in (OPEN, CLOSED)]
        found = Net(*(one.getsockname()[1] for one in sockets))
        await stack.enter_async_context(running(found.outside, sockets[0], tmp_path))
        await stack.enter_async_context(running(found.within, sockets[1], tmp_path))
        yield found


def certificate(folder: Path) -> Path:
    """Write a certificate for the name and for both addresses, and its key; return the certificate's path."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.OID_COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME), x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*private))
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem"


async def code(speaker: OAuthSpeaker, server: ToolServer) -> str:
    with pytest.raises(LlmosError) as caught:
        await speaker.find(server)
    return caught.value.code


async def test_a_provider_is_found_over_tls_at_the_address_that_was_looked_at(net: Net) -> None:
    found = await OAuthSpeaker(private=False).find(net.server)
    assert (found.issuer, found.token, found.resource) == (net.origin, f"{net.origin}/token", f"{net.origin}/mcp")
    assert found.pkce
    client = OAuthClient(id="a", secret="b", method="client_secret_basic")
    assert (await OAuthSpeaker(private=False).as_itself(found, client)).access == "t"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("resource_metadata", ""),
        ("resource", "authorization_servers"),
        ("says", "token_endpoint"),
        ("says", "registration_endpoint"),
        ("says", "revocation_endpoint"),
    ],
)
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_what_a_server_names_in_our_own_network_is_not_called(net: Net, place: str, name: str, host: str) -> None:
    speaker, there = OAuthSpeaker(private=False), f"https://{host}:{net.inside}"
    if place == "resource_metadata":
        net.challenge = f'Bearer resource_metadata="{there}/x"'
        assert await code(speaker, net.server) == "address.private"
    elif place == "resource":
        net.resource = {name: [there]}
        assert await code(speaker, net.server) == "address.private"
    else:
        net.says = {name: f"{there}/x"}
        found = await speaker.find(net.server)
        with pytest.raises(LlmosError) as caught:
            await CALLS[name](speaker, found)
        assert caught.value.code == "address.private"
    assert net.seen_inside == []


TOKENS = Tokens(access="x")
CLIENT = OAuthClient(id="a", secret="b", method="client_secret_post")
CALLS: dict[str, Callable[[OAuthSpeaker, AuthorizationServer], Any]] = {
    "token_endpoint": lambda speaker, found: speaker.as_itself(found, CLIENT),
    "registration_endpoint": lambda speaker, found: speaker.register(found, "https://llmos.example/callback"),
    "revocation_endpoint": lambda speaker, found: speaker.revoke(found, CLIENT, TOKENS),
}


@pytest.mark.parametrize("name", ["token_endpoint", "registration_endpoint", "revocation_endpoint"])
async def test_nothing_is_sent_without_encryption(net: Net, name: str) -> None:
    net.says = {name: f"http://{NAME}:{net.port}/x"}
    assert await code(OAuthSpeaker(private=False), net.server) == "tool_server.oauth"
    assert net.seen[-1] == "/.well-known/oauth-authorization-server"


async def test_a_provider_with_a_path_and_openid_metadata_is_found(net: Net) -> None:
    issuer = f"{net.origin}/realms/x"
    net.resource, net.says = {"authorization_servers": [issuer]}, {"issuer": issuer}
    net.moved = "/realms/x/.well-known/openid-configuration"
    found = await OAuthSpeaker(private=False).find(net.server)
    assert found.issuer == issuer
    assert net.seen[-1] == net.moved
    assert net.seen[2] == "/.well-known/oauth-authorization-server/realms/x"


async def test_a_server_of_the_first_specification_signs_in_at_its_own_origin(net: Net) -> None:
    """It has no metadata of a resource (MCP of 2025-03-26)."""
    net.bare = True
    found = await OAuthSpeaker(private=False).find(net.server)
    assert (found.issuer, found.resource, found.scope) == (net.origin, net.server.url, "")


async def test_a_client_goes_to_its_own_issuer(net: Net) -> None:
    other = "https://other.example"
    net.resource = {"authorization_servers": [other, net.origin]}
    assert (await OAuthSpeaker(private=False).find(net.server, issuer=net.origin)).issuer == net.origin
    net.resource = {"authorization_servers": [other]}
    seen = len(net.seen)
    with pytest.raises(LlmosError) as caught:
        await OAuthSpeaker(private=False).find(net.server, issuer=net.origin)
    assert (caught.value.code, len(net.seen) - seen) == ("tool_server.oauth", 2)


@pytest.mark.parametrize(
    ("challenge", "resource", "scope"),
    [
        ("Bearer", {}, ""),
        ("Bearer", {"scopes_supported": ["a", "b"]}, "a b"),
        ('Bearer scope="c"', {"scopes_supported": ["a", "b"]}, "c"),
    ],
)
async def test_what_is_asked_for_is_what_the_server_asks_for(
    net: Net, challenge: str, resource: dict[str, Any], scope: str
) -> None:
    net.challenge, net.resource, net.says = challenge, resource, {"scopes_supported": ["everything"]}
    assert (await OAuthSpeaker(private=False).find(net.server)).scope == scope


async def test_a_certificate_of_another_name_is_refused(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_look_up", lambda *_: (OPEN,))
    other = ToolServer(name="wiki", url=f"https://bank.example:{net.port}/mcp")
    assert await code(OAuthSpeaker(private=False), other) == "tool_server.oauth"
    assert net.seen == []


async def test_headers_of_the_server_go_to_the_server_alone(net: Net) -> None:
    await OAuthSpeaker(private=False).find(net.server)
    assert net.given_keys == ["/mcp"]
    assert len(net.seen) == 3


@pytest.mark.parametrize(
    ("methods", "named"),
    [
        (["private_key_jwt"], "private_key_jwt"),
        (["tls_client_auth", "private_key_jwt"], "tls_client_auth, private_key_jwt"),
        (["<script>"], "something else"),
    ],
)
async def test_a_provider_that_knows_clients_in_no_way_of_ours_is_refused_with_words(
    net: Net, methods: list[str], named: str
) -> None:
    net.says = {"token_endpoint_auth_methods_supported": methods}
    with pytest.raises(LlmosError) as caught:
        await OAuthSpeaker(private=False).find(net.server)
    assert caught.value.code == "tool_server.oauth"
    assert f"knows a client only by {named}, and here is only client_secret_post, client" in caught.value.message
    assert "--token-file" in caught.value.hint


@pytest.mark.parametrize("methods", [["private_key_jwt", "none"], ["client_secret_basic"], []])
async def test_one_way_of_ours_is_enough(net: Net, methods: list[str]) -> None:
    net.says = {"token_endpoint_auth_methods_supported": methods}
    assert (await OAuthSpeaker(private=False).find(net.server)).methods == tuple(methods)


async def test_a_token_that_is_bound_to_a_key_is_named(net: Net) -> None:
    net.token = {"token_type": "DPoP"}
    speaker = OAuthSpeaker(private=False)
    found = await speaker.find(net.server)
    with pytest.raises(LlmosError, match="a token of the kind DPoP, and only Bearer is known here"):
        await speaker.as_itself(found, OAuthClient(id="c", secret="s", method="client_secret_basic"))
