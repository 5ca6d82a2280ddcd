"""Anthropic's models on Google Vertex AI: `rawPredict` and `streamRawPredict`, which speak the Messages API.

A service account signs a JWT for itself and changes it for an access token (RFC 7523); tokens are used until shortly
before they end.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from joserfc import jwt
from joserfc.jwk import RSAKey
from msgspec import structs

from llmos_lite.engines.http_client import HttpClient, PlainClient, Reply
from llmos_lite.engines.http_tls import TlsClient
from llmos_lite.engines.llm_http import ModelServer, decoded
from llmos_lite.engines.upstream import HttpUpstream, Passing, Wire
from llmos_lite.engines.upstream_kinds import cloud_body
from llmos_lite.errors import Invalid, UpstreamFailed

VERSION = "vertex-2023-10-16"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
LIFE = 3600
EARLY = 120
"""Seconds before its end after which a token is not used any more."""
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


def token_source(key: str) -> Callable[[], Awaitable[str]]:
    """Return what gives an access token.

    Args:
        key: the JSON of a service account's key file, or a token.

    Raises:
        Invalid: `provider.invalid`, for a key file that is none.
    """
    if not key.lstrip().startswith("{"):

        async def fixed() -> str:
            return key

        return fixed
    try:
        return ServiceAccount(_key_file.decode(key)).token
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
        self._token, self._until = "", 0.0

    async def token(self) -> str:
        """Return an access token.

        Raises:
            UpstreamFailed: `model.rejected`, when the account gets none; `model.unreachable`.
        """
        if self._clock() >= self._until:
            answer = await self._asked()
            self._token, self._until = answer.access_token, self._clock() + answer.expires_in - EARLY
        return self._token

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
        token: gives an access token.
    """

    def __init__(self, name: str, server: ModelServer, token: Callable[[], Awaitable[str]]) -> None:
        super().__init__(name, server, frozenset({Wire.MESSAGES}))
        self._access = token

    async def send(self, passing: Passing) -> Reply:
        """Pass a request on; see `Upstream`."""
        model, stream, body = cloud_body(passing.body, VERSION)
        path = f"/{quote(model, safe='@')}:{'streamRawPredict' if stream else 'rawPredict'}"
        headers = dict(passing.headers)
        if not passing.own_key:
            headers["authorization"] = f"Bearer {await self._access()}"
        return await super().send(structs.replace(passing, path=path, body=body, headers=headers))
