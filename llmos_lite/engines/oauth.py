"""Words of OAuth 2.1 as MCP servers speak it: who signs in, as whom, and what came of it.

They are kept, sealed, between a sign-in and its refreshes. `engines/mcp_oauth.py` speaks HTTP, and is loaded late.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlencode, urlsplit

import msgspec

from llmos_lite.engines.oidc import challenge
from llmos_lite.errors import LlmosError, UpstreamFailed

CLIENT_NAME = "llmos-lite"
GRANTS = ("authorization_code", "refresh_token")
LONGEST_SCOPE = 1000


class AuthorizationServer(msgspec.Struct, frozen=True, kw_only=True):
    """Who signs in for one tool server, as its metadata say (RFC 8414, RFC 9728).

    Args:
        issuer: exactly as it names itself.
        authorize: where browsers go; empty when it knows no browsers.
        token: where codes and refresh tokens go.
        register: where clients are registered (RFC 7591); empty when they are not.
        revoke: where tokens are taken back (RFC 7009); empty when they are not.
        resource: what tokens are for (RFC 8707).
        scope: what is asked for; empty leaves that to it.
        pkce: whether it knows PKCE with S256.
        names_itself: whether it says who it is when it sends a browser back (RFC 9207).
        documents: whether the address of a document may stand for a client.
        methods: how clients say who they are at `token`.
    """

    issuer: str
    authorize: str = ""
    token: str
    register: str = ""
    revoke: str = ""
    resource: str
    scope: str = ""
    pkce: bool = False
    names_itself: bool = False
    documents: bool = False
    methods: tuple[str, ...] = ()

    def check_browsers(self) -> None:
        """Raise unless people may sign in here without their code being worth anything to others.

        Raises:
            UpstreamFailed: `tool_server.oauth`.
        """
        if not (self.authorize and self.pkce):
            raise unusable(f"{self.issuer[:200]} does not know PKCE with S256")

    def address(self, client: OAuthClient, redirect_uri: str, *, state: str, verifier: str) -> str:
        """Return where a browser is sent to sign in.

        Args:
            client: whom it signs in for.
            redirect_uri: where it comes back to.
            state: random, bound to the browser.
            verifier: the PKCE secret; only its hash is sent.
        """
        said = {
            "response_type": "code",
            "client_id": client.id,
            "redirect_uri": redirect_uri,
            "state": state,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
            "resource": self.resource,
        }
        if self.scope:
            said["scope"] = self.scope
            if "offline_access" in self.scope.split():
                said["prompt"] = "consent"  # OpenID Connect Core, section 11
        return f"{self.authorize}{'&' if urlsplit(self.authorize).query else '?'}{urlencode(said)}"

    def client(self, name: str, secret: str = "") -> OAuthClient:
        """Return a client that it knows already, and how that one says who it is."""
        if not secret:
            return OAuthClient(id=name)
        basic = not self.methods or "client_secret_basic" in self.methods
        return OAuthClient(id=name, secret=secret, method="client_secret_basic" if basic else "client_secret_post")

    def check_answer(self, issuer: str | None) -> None:
        """Raise unless the browser was sent back by this server, as far as it says (RFC 9207, section 2.4).

        Raises:
            UpstreamFailed: `tool_server.oauth`.
        """
        if (issuer is None and self.names_itself) or issuer not in {None, self.issuer}:
            raise unusable(f"another server answered than {self.issuer[:200]}")


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True):
    """What an authorization server knows us by.

    Args:
        id: its name for us.
        secret: empty for a public client.
        method: how we say it: `none`, `client_secret_basic`, `client_secret_post`.
    """

    id: str
    secret: str = ""
    method: str = "none"

    def __repr__(self) -> str:
        return f"OAuthClient({self.id!r})"


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """What an authorization server gave.

    Args:
        access: sent to the tool server.
        refresh: gets the next; empty when there is none.
        expires: ms since the epoch; 0 when it does not say.
    """

    access: str
    refresh: str = ""
    expires: int = 0

    def __repr__(self) -> str:
        return "Tokens(…)"


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool server says to a request that it refuses (RFC 6750, section 3).

    Args:
        status: 401 or 403.
        bearer: whether a token of ours would do.
        error: its word for it; empty when it has none.
        scope: what the token would have to be for; empty when it does not say.
    """

    status: int
    bearer: bool
    error: str = ""
    scope: str = ""


class Bearer(Protocol):
    """Gives the requests to one tool server their token. None of these raise; what is wrong is in `problem`."""

    problem: LlmosError | None

    async def token(self) -> str:
        """Return a token that should hold; empty when there is none."""

    async def renewed(self, stale: str) -> str:
        """Return another token than one that was refused; empty when there is none."""

    async def refused(self, refusal: Refusal, token: str) -> None:
        """Take note of a refusal, and of which token."""


class GrantRefused(Exception):
    """An authorization server gives no token, and will not; `code` is what it calls that (RFC 6749, section 5.2)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def client_document(address: str, redirect_uri: str) -> dict[str, object]:
    """Return the document that stands for a client whose id is the document's address."""
    return {
        "client_id": address,
        "client_name": CLIENT_NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": list(GRANTS),
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


def unusable(why: str) -> UpstreamFailed:
    """Return the error for whoever signs in for a tool server and cannot be used."""
    return UpstreamFailed("tool_server.oauth", f"Signing in to the tool server does not work: {why}.")
