"""The OpenID relying party against a real provider, and against one that lies."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from oidc_server import OidcServer, oidc_server

from llmos_lite.engines.oidc import PAUSE, Client, OpenIdProvider, challenge
from llmos_lite.errors import LlmosError, Unauthenticated, UpstreamFailed

BACK = "http://127.0.0.1:8420/sign-in/oidc/callback"
VERIFIER = "v" * 43


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with oidc_server() as running:
        running.add("ana-1", {"email": "ana@example.org", "email_verified": True, "groups": ["sre"], "name": "Ana"})
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(server: OidcServer, clock: Clock) -> AsyncIterator[OpenIdProvider]:
    provider = OpenIdProvider(Client(server.issuer, "llmos", "s:cret/&"), clock)
    yield provider
    await provider.close()


async def code_of(provider: OpenIdProvider, server: OidcServer) -> str:
    address = await provider.address(BACK, state="s", nonce="n", verifier=VERIFIER)
    came = server.sign_in(address, "ana-1")
    assert came["state"] == "s"
    return came["code"]


async def claims_of(provider: OpenIdProvider, server: OidcServer) -> dict[str, object]:
    return await provider.claims(await code_of(provider, server), BACK, nonce="n", verifier=VERIFIER)


def forged(server: OidcServer, head: dict[str, object] | None = None, **changes: object) -> str:
    """Return a token that the provider's own key signed, with some claims changed."""
    now = int(time.time())
    claims = {"iss": server.issuer, "aud": "llmos", "sub": "ana-1", "nonce": "n", "iat": now, "exp": now + 60}
    key = RSAKey.import_key(server.key())  # type: ignore[arg-type]  # a JWK
    return jwt.encode({"alg": "RS256", "kid": key.kid, **(head or {})}, {**claims, **changes}, key)


async def test_somebody_signs_in(provider: OpenIdProvider, server: OidcServer) -> None:
    claims = await claims_of(provider, server)
    assert (claims["sub"], claims["email"], claims["groups"]) == ("ana-1", "ana@example.org", ["sre"])


async def test_a_code_works_once(provider: OpenIdProvider, server: OidcServer) -> None:
    code = await code_of(provider, server)
    await provider.claims(code, BACK, nonce="n", verifier=VERIFIER)
    with pytest.raises(Unauthenticated) as refused:
        await provider.claims(code, BACK, nonce="n", verifier=VERIFIER)
    assert refused.value.code == "oidc.refused"


async def test_a_stolen_code_is_worth_nothing_without_the_verifier(
    provider: OpenIdProvider, server: OidcServer
) -> None:
    code = await code_of(provider, server)
    with pytest.raises(Unauthenticated):
        await provider.claims(code, BACK, nonce="n", verifier="w" * 43)


async def test_a_token_of_another_sign_in_is_refused(provider: OpenIdProvider, server: OidcServer) -> None:
    with pytest.raises(Unauthenticated, match="another sign-in"):
        await provider.claims(await code_of(provider, server), BACK, nonce="m", verifier=VERIFIER)


async def test_a_new_key_of_the_provider_is_found(provider: OpenIdProvider, server: OidcServer, clock: Clock) -> None:
    await claims_of(provider, server)
    server.rotate()
    assert (await claims_of(provider, server))["sub"] == "ana-1"
    server.rotate()
    with pytest.raises(
        Unauthenticated, match="no key that it publishes"
    ):  # a flood of unknown keys asks no more than this
        await claims_of(provider, server)
    clock.ahead += PAUSE + 1
    assert (await claims_of(provider, server))["sub"] == "ana-1"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "http://evil.example"}, "another provider"),
        ({"aud": "another"}, "somebody else"),
        ({"aud": ["llmos", "another"]}, "somebody else"),
        ({"aud": ["llmos", "another"], "azp": "another"}, "somebody else"),
        ({"exp": 1}, "expired"),
        ({"exp": "never"}, "expired"),
        ({"iat": 9_999_999_999}, "future"),
        ({"nonce": None}, "another sign-in"),
        ({"sub": ""}, "nobody"),
        ({"sub": 7}, "nobody"),
    ],
)
async def test_claims_that_do_not_hold(
    provider: OpenIdProvider, server: OidcServer, changes: dict[str, object], why: str
) -> None:
    server.forge(forged(server, **changes))
    with pytest.raises(Unauthenticated, match=why):
        await claims_of(provider, server)


async def test_several_audiences_are_fine_when_we_are_the_authorized_party(
    provider: OpenIdProvider, server: OidcServer
) -> None:
    server.forge(forged(server, aud=["llmos", "another"], azp="llmos"))
    assert (await claims_of(provider, server))["sub"] == "ana-1"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _confused(server: OidcServer) -> list[str]:
    """Return tokens whose algorithm is meant to confuse."""
    public = RSAKey.import_key(server.key())  # type: ignore[arg-type]  # a JWK
    claims = json.loads(base64.urlsafe_b64decode(forged(server).split(".")[1] + "=="))
    text = f"{_part({'alg': 'HS256', 'kid': public.kid})}.{_part(claims)}"
    mac = hmac.digest(public.as_pem(private=False), text.encode(), "sha256")
    with_public = f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    other = RSAKey.generate_key(2048)
    good = forged(server)
    return [
        f"{_part({'alg': 'none'})}.{_part(claims)}.",
        f"{_part({'alg': 'none', 'kid': public.kid})}.{_part(claims)}.",
        with_public,
        jwt.encode({"alg": "RS256", "kid": public.kid}, claims, other),
        jwt.encode({"alg": "RS256"}, claims, other),
        jwt.encode({"alg": "RS256", "kid": "../../etc/passwd"}, claims, other),
        jwt.encode({"alg": "RS256", "jwk": other.as_dict(private=False)}, claims, other),
        good[:-6] + "AAAAAA",
        f"{good.split('.')[0]}.{_part({**claims, 'sub': 'root'})}.{good.split('.')[2]}",
        "",
        "a.b.c",
        "....",
        _part({"alg": 7}) + ".x.y",
        "\N{SNOWMAN}.x.y",
    ]


@pytest.mark.filterwarnings("ignore:.*")  # joserfc warns of keys that only an attacker makes
async def test_no_algorithm_or_key_confuses_it(provider: OpenIdProvider, server: OidcServer) -> None:
    for token in _confused(server):
        server.forge(token)
        with pytest.raises(Unauthenticated):
            await claims_of(provider, server)


async def test_a_provider_that_calls_itself_otherwise_is_not_used(server: OidcServer) -> None:
    provider = OpenIdProvider(Client(server.issuer.replace("127.0.0.1", "localhost") + "/", "llmos"))
    with pytest.raises(UpstreamFailed) as failed:
        await provider.address(BACK, state="s", nonce="n", verifier=VERIFIER)
    assert failed.value.code in {"oidc.invalid", "oidc.unreachable"}
    await provider.close()


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:9", "http://127.0.0.1:9/realm?x"])
async def test_a_provider_that_is_not_there_is_said(issuer: str) -> None:
    provider = OpenIdProvider(Client(issuer, "llmos"))
    with pytest.raises(UpstreamFailed) as failed:
        await provider.address(BACK, state="s", nonce="n", verifier=VERIFIER)
    assert failed.value.code == "oidc.unreachable"
    await provider.close()


def test_addresses_that_a_provider_names_are_looked_at(server: OidcServer) -> None:
    provider = OpenIdProvider(Client(server.issuer, "llmos"))
    for good in (f"{server.issuer}/x", "https://login.example/x"):
        provider._check_address(good)
    for bad in ("http://169.254.169.254/latest", "file:///etc/passwd", "ftp://x", "//x", "", "http://[", "https:///x"):
        with pytest.raises(LlmosError):
            provider._check_address(bad)


def test_the_challenge_is_that_of_the_standard() -> None:
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
