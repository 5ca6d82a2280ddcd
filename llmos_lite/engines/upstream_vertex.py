"""Anthropic's models on Google Vertex AI: `rawPredict` and `streamRawPredict`, which speak the Messages API.

A service account signs a JWT for itself and changes it for an access token (RFC 7523); tokens are used until shortly
before they end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from joserfc import jwt
from joserfc.jwk import RSAKey
from msgspec import structs

from llmos_lite.engines.http_client import HttpClient, PlainClient, Reply
from llmos_lite.engines.http_tls import TlsClient
from llmos_lite.engines.llm_http import ModelServer, decoded
from llmos_lite.engines.upstream import HttpUpstream, Passing, Wire
from llmos_lite.engines.upstream_kinds import cloud_ask, in_messages
from llmos_lite.errors import Invalid, UpstreamFailed

VERSION = "vertex-2023-10-16"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFE = 3600
EARLY = 120
"""Seconds before its end after which a token is not used any more."""
UNKNOWN_TOKEN = 401
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class _KeyFile(msgspec.Struct):
    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
    private_key_id: str = ""


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int = LIFE


_key_file = msgspec.json.Decoder(_KeyFile)
_token = msgspec.json.Decoder(_Token)


class Tokens(Protocol):
    """Gives access tokens."""

    async def token(self) -> str:
        """Return an access token."""

    def refused(self, token: str) -> bool:
        """Take note of a token that is refused before its end; tell whether there may be another."""


class Fixed:
    """A token that somebody gave.

    Args:
        token: that one.
    """

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """Return the token."""
        return self._token

    def refused(self, token: str) -> bool:  # noqa: ARG002 - there is one
        """Tell that there is no other."""
        return False


def token_source(key: str) -> Tokens:
    """Return what gives access tokens.

    Args:
        key: the JSON of a service account's key file, or a token.

    Raises:
        Invalid: `provider.invalid`, for a key file that is none.
    """
    if not key.lstrip().startswith("{"):
        return Fixed(key)
    try:
        return ServiceAccount(_key_file.decode(key))
    except (msgspec.DecodeError, ValueError) as error:
        raise Invalid("provider.invalid", "That is no key file of a Google service account.") from error


class ServiceAccount:
    """An account that signs for itself.

    Args:
        file: its key file.
        clock: seconds since the epoch.

    Raises:
        ValueError: the key is none.
    """

    def __init__(self, file: _KeyFile, clock: Callable[[], float] = time.time) -> None:
        self._file, self._clock = file, clock
        self._key = RSAKey.import_key(file.private_key)
        self._token, self._until, self._asking = "", 0.0, asyncio.Lock()

    async def token(self) -> str:
        """Return an access token; who asks while another asks waits for that one.

        Raises:
            UpstreamFailed: `model.rejected`, when the account gets none; `model.failed`, `model.unreachable`.
        """
        if self._clock() < self._until:
            return self._token
        async with self._asking:
            if self._clock() >= self._until:
                answer = await self._asked()
                self._token, self._until = answer.access_token, self._clock() + answer.expires_in - EARLY
            return self._token

    def refused(self, token: str) -> bool:
        """Ask for another token next time, unless there is one already; see `Tokens`."""
        if token == self._token:
            self._until = 0.0
        return True

    async def _asked(self) -> _Token:
        form = urlencode({"grant_type": GRANT, "assertion": self._assertion()}).encode()
        url = urlsplit(self._file.token_uri)
        base = f"{url.scheme}://{url.netloc}"
        plain = url.scheme == "http"
        client: HttpClient = PlainClient(urlsplit(base), timeout=10) if plain else TlsClient(base, timeout=10)
        headers = {"content-type": "application/x-www-form-urlencoded"}
        try:
            async with await client.send("POST", url.path or "/", headers, form) as reply:
                body = await reply.read(1 << 16)
                if reply.status >= 500:  # noqa: PLR2004 - where HTTP's failures of a server begin
                    said = f"Google's token service at {url.netloc} answers {reply.status}."
                    raise UpstreamFailed("model.failed", said, hint="Try again.")
                if reply.status != 200:  # noqa: PLR2004 - the one status that carries a token
                    said = f"Google gives {self._file.client_email} no token ({reply.status})."
                    raise UpstreamFailed("model.rejected", said, hint="Check the service account.")
                return decoded(_token, body)
        except OSError as error:
            said = f"Google's token service at {url.netloc} cannot be reached: {type(error).__name__}."
            raise UpstreamFailed("model.unreachable", said, hint="Try again.") from error
        finally:
            await client.close()

    def _assertion(self) -> str:
        now = int(self._clock())
        claims = {"iss": self._file.client_email, "scope": SCOPE, "aud": self._file.token_uri, "iat": now}
        header = {"alg": "RS256", "typ": "JWT", "kid": self._file.private_key_id}
        return jwt.encode(header, claims | {"exp": now + LIFE}, self._key, algorithms=["RS256"])


class Vertex(HttpUpstream):
    """Anthropic's models on Vertex.

    Args:
        name: what people call it.
        server: where the models are.
        tokens: gives access tokens.
    """

    def __init__(self, name: str, server: ModelServer, tokens: Tokens) -> None:
        super().__init__(name, server, frozenset({Wire.MESSAGES}))
        self._tokens = tokens

    async def send(self, passing: Passing) -> Reply:
        """Pass a request on; see `Upstream`. A token that is refused before its end is changed for another, once."""
        ask = cloud_ask(passing.body, VERSION)
        path = f"/{quote(ask.model, safe='@')}:{'streamRawPredict' if ask.stream else 'rawPredict'}"
        passing = structs.replace(passing, path=path, body=ask.body)
        if passing.own_key:
            return await in_messages(await super().send(passing))
        token = await self._tokens.token()
        reply = await super().send(_with(passing, token))
        if reply.status == UNKNOWN_TOKEN and self._tokens.refused(token):
            await reply.end()
            reply = await super().send(_with(passing, await self._tokens.token()))
        return await in_messages(reply)


def _with(passing: Passing, token: str) -> Passing:
    return structs.replace(passing, headers={**passing.headers, "authorization": f"Bearer {token}"})
