"""OpenID Connect, as a relying party: discovery, the authorization code flow with PKCE, and checking ID tokens.

OpenID Connect Core 1.0 and Discovery 1.0; RFC 7636 (PKCE, S256 only); RFC 9700 (what to mind). Signatures and keys are
joserfc's business. Whatever a provider may say is taken as hostile: sizes are bounded, redirects are not followed.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from llmos_lite.engines.http_client import HttpClient, PlainClient
from llmos_lite.engines.http_tls import TlsClient
from llmos_lite.errors import Unauthenticated, UpstreamFailed

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

_T = TypeVar("_T")

TIMEOUT = 10.0
"""Seconds of silence that a provider is allowed."""
LARGEST = 1 << 20
"""Bytes of the largest answer that is read."""
KEPT = 60 * 60
"""Seconds that a provider's metadata and keys are kept."""
PAUSE = 10
"""Seconds between two looks for a key that is not known: unknown ones cost the provider no more than that."""
LEEWAY = 60
"""Seconds that clocks may differ."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures that are taken: with a private key that only the provider has."""


@dataclass(frozen=True, slots=True)
class Client:
    """What a provider knows this instance by.

    Args:
        issuer: the provider's address, exactly as it names itself.
        client_id: the id that it gave.
        secret: the secret that it gave; empty for a public client.
        scopes: what is asked for, `openid` among it.
    """

    issuer: str
    client_id: str
    secret: str = ""
    scopes: str = "openid profile email"


class _Metadata(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)


class _Tokens(msgspec.Struct):
    id_token: str
    access_token: str = ""


class _Head(msgspec.Struct):
    alg: str
    kid: str = ""


class OpenIdProvider:
    """Asks one provider who somebody is.

    Args:
        client: what it knows this instance by.
        clock: seconds since the epoch.
    """

    def __init__(self, client: Client, clock: Callable[[], float] = time.time) -> None:
        self._client, self._clock = client, clock
        self._metadata: tuple[float, _Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None
        self._looked = 0.0
        self._clients: dict[str, HttpClient] = {}
        self._looking = asyncio.Lock()

    async def address(self, redirect_uri: str, *, state: str, nonce: str, verifier: str) -> str:
        """Return where a browser is sent to sign in.

        Args:
            redirect_uri: where it comes back to.
            state: random, bound to the browser.
            nonce: random, comes back in the token.
            verifier: the PKCE secret; only its hash is sent.

        Raises:
            UpstreamFailed: `oidc.unreachable`, `oidc.invalid`.
        """
        endpoint = (await self._known_metadata()).authorization_endpoint
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._client.client_id,
                "redirect_uri": redirect_uri,
                "scope": self._client.scopes,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge(verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}"

    async def claims(self, code: str, redirect_uri: str, *, nonce: str, verifier: str) -> dict[str, object]:
        """Return what the provider says about whoever came back with a code.

        Raises:
            UpstreamFailed: `oidc.unreachable`, `oidc.invalid`.
            Unauthenticated: `oidc.refused`: the code or the token does not hold.
        """
        tokens = await self._exchange(code, redirect_uri, verifier)
        claims = await self._checked(tokens.id_token, nonce)
        metadata = await self._known_metadata()
        if metadata.userinfo_endpoint and tokens.access_token:
            said = await self._ask(
                "GET", metadata.userinfo_endpoint, {"authorization": f"Bearer {tokens.access_token}"}
            )
            more = _decoded(said[1], dict[str, object]) if said[0] == 200 else {}  # noqa: PLR2004 - OK
            claims = {**more, **claims} if more.get("sub") == claims["sub"] else claims
        return claims

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    # -- the provider's side ----------------------------------------------------------------------------------------

    async def _known_metadata(self) -> _Metadata:
        if self._metadata is None or self._metadata[0] + KEPT < self._clock():
            url = f"{self._client.issuer.rstrip('/')}/.well-known/openid-configuration"
            found = await self._document(url, _Metadata)
            if found.issuer != self._client.issuer:
                raise _invalid(f"it calls itself {found.issuer[:200]!r}")
            for endpoint in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                self._check_address(endpoint)
            self._metadata = self._clock(), found
        return self._metadata[1]

    def _check_address(self, url: str) -> None:
        """Raise unless an address that a provider names is as well protected as its own."""
        try:
            parts, own = urlsplit(url), urlsplit(self._client.issuer)
            good = parts.hostname and (
                parts.scheme == "https" or (parts.scheme, parts.netloc) == (own.scheme, own.netloc)
            )
        except ValueError:
            good = False
        if not good:
            raise _invalid(f"it names the address {url[:200]!r}")

    async def _exchange(self, code: str, redirect_uri: str, verifier: str) -> _Tokens:
        metadata = await self._known_metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._client.client_id,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if self._client.secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote(self._client.client_id, safe='')}:{quote(self._client.secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif self._client.secret:
            form["client_secret"] = self._client.secret
        status, body = await self._ask("POST", metadata.token_endpoint, headers, urlencode(form).encode())
        if status in {400, 401, 403}:
            raise refused("it does not take the code")
        if status != 200:  # noqa: PLR2004 - OK
            raise _unreachable(f"its token endpoint answered {status}")
        return _decoded(body, _Tokens)

    async def _checked(self, token: str, nonce: str) -> dict[str, object]:
        """Return the claims of an ID token, as section 3.1.3.7 of OpenID Connect Core has it."""
        head = _head(token)
        if head.alg not in ALGORITHMS:
            raise refused("its token is signed in a way that is not taken")
        keys = await self._known_keys()
        claims = _signed(token, head, keys)
        if claims is None and (fresh := await self._new_keys(keys)) is not None:
            claims = _signed(token, head, fresh)
        if claims is None:
            raise refused("no key that it publishes has signed its token")
        self._check_claims(claims, nonce)
        return claims

    def _check_claims(self, claims: Mapping[str, object], nonce: str) -> None:
        audience, now = claims.get("aud"), self._clock()
        audiences = audience if isinstance(audience, list) else [audience]
        ours, expires, issued = self._client.client_id, claims.get("exp"), claims.get("iat")
        if claims.get("iss") != self._client.issuer:
            raise refused("its token names another provider")
        if ours not in audiences or (len(audiences) > 1 and claims.get("azp") != ours):
            raise refused("its token is for somebody else")
        if not isinstance(expires, (int, float)) or expires + LEEWAY < now:
            raise refused("its token has expired")
        if not isinstance(issued, (int, float)) or issued - LEEWAY > now:
            raise refused("its token is from the future")
        if claims.get("nonce") != nonce:
            raise refused("its token belongs to another sign-in")
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise refused("its token names nobody")

    async def _known_keys(self) -> KeySet:
        async with self._looking:
            if self._keys is None or self._keys[0] + KEPT < self._clock():
                self._keys = self._clock(), await self._read_keys()
            return self._keys[1]

    async def _new_keys(self, old: KeySet) -> KeySet | None:
        """Return the keys that took the place of `old`; None when it is too soon to look again."""
        async with self._looking:
            if self._keys is not None and self._keys[1] is not old:
                return self._keys[1]
            if self._looked + PAUSE > self._clock():
                return None
            self._looked = self._clock()
            self._keys = self._looked, await self._read_keys()
            return self._keys[1]

    async def _read_keys(self) -> KeySet:
        from joserfc.errors import JoseError  # noqa: PLC0415 - loaded by the first sign-in, not at start
        from joserfc.jwk import KeySet  # noqa: PLC0415 - as above

        found = await self._document((await self._known_metadata()).jwks_uri, dict[str, list[dict[str, object]]])
        public = [key for key in found.get("keys", []) if key.get("kty") in {"RSA", "EC"} and key.get("use") != "enc"]
        try:
            return KeySet.import_key_set({"keys": public})  # type: ignore[typeddict-item]  # it checks them itself
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise _invalid("its keys cannot be read") from error

    # -- HTTP -------------------------------------------------------------------------------------------------------

    async def _document(self, url: str, kind: type[_T]) -> _T:
        status, body = await self._ask("GET", url, {"accept": "application/json"})
        if status != 200:  # noqa: PLR2004 - OK
            raise _unreachable(f"{url[:200]} answered {status}")
        return _decoded(body, kind)

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> tuple[int, bytes]:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._clients:
            plain = parts.scheme == "http"
            self._clients[origin] = (
                PlainClient(urlsplit(origin), timeout=TIMEOUT) if plain else TlsClient(origin, timeout=TIMEOUT)
            )
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        try:
            async with asyncio.timeout(2 * TIMEOUT):
                async with await self._clients[origin].send(method, path, headers, body) as reply:
                    status, said = reply.status, await reply.read(LARGEST)
        except OSError as error:  # TimeoutError and ConnectionError are ones
            raise _unreachable(str(error)[:200] or type(error).__name__) from error
        if len(said) > LARGEST:
            raise _invalid("its answer is too large")
        return status, said


def challenge(verifier: str) -> str:
    """Return the PKCE challenge of a verifier (RFC 7636, section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def refused(why: str) -> Unauthenticated:
    """Return the error for a sign-in that the provider, or what it said, does not bear out."""
    return Unauthenticated("oidc.refused", f"The sign-in provider did not let you in: {why}.", hint="Sign in again.")


def _signed(token: str, head: _Head, keys: KeySet) -> dict[str, object] | None:
    """Return the claims of a token that one of these keys has signed, or None."""
    from joserfc import jwt  # noqa: PLC0415 - as above
    from joserfc.errors import JoseError  # noqa: PLC0415 - as above

    for key in keys.keys:
        if head.kid in {"", key.kid}:
            with suppress(JoseError, ValueError, TypeError):
                claims: dict[str, object] = jwt.decode(token, key, algorithms=[head.alg]).claims
                return claims
    return None


def _head(token: str) -> _Head:
    try:
        first = token.partition(".")[0]
        return msgspec.json.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)), type=_Head)
    except (ValueError, msgspec.DecodeError) as error:
        raise refused("its token cannot be read") from error


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _invalid(f"its answer cannot be read ({error})"[:200]) from error


def _invalid(why: str) -> UpstreamFailed:
    return UpstreamFailed(
        "oidc.invalid", f"The sign-in provider cannot be used: {why}.", hint="Compare LLMOS_OIDC_ISSUER with it."
    )


def _unreachable(why: str) -> UpstreamFailed:
    return UpstreamFailed("oidc.unreachable", f"The sign-in provider does not answer: {why}.", hint="Try again later.")
