"""Keys of access tokens: only what they signed holds, whatever a token says about itself."""

from __future__ import annotations

import base64
import hmac
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OKPKey

from llmos_lite.engines.token_keys import CHANGED, KEPT, TokenKeys
from llmos_lite.errors import Unavailable

CLAIMS: dict[str, str | int] = {"sub": "ana", "exp": 1}


class Clock:
    """Milliseconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> TokenKeys:
    return TokenKeys(tmp_path / "tokens", clock)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).rstrip(b"=").decode()


def test_what_was_signed_is_read_back(keys: TokenKeys) -> None:
    assert keys.verify(keys.sign(CLAIMS)) == CLAIMS


@pytest.mark.filterwarnings("ignore:.*")  # joserfc would rather call the algorithm Ed25519
def test_another_library_reads_it_with_the_published_key(keys: TokenKeys) -> None:
    published = OKPKey.import_key(keys.jwks()["keys"][0])  # type: ignore[arg-type]  # a JWK
    read = jwt.decode(keys.sign(CLAIMS), published, algorithms=["EdDSA"])
    assert (read.claims, read.header["kid"]) == (CLAIMS, published.kid)
    assert "d" not in keys.jwks()["keys"][0]


def test_the_files_are_private_and_read_again(keys: TokenKeys, tmp_path: Path, clock: Clock) -> None:
    (path,) = (tmp_path / "tokens").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert TokenKeys(tmp_path / "tokens", clock).verify(keys.sign(CLAIMS)) == CLAIMS


def test_a_key_that_was_replaced_is_known_for_an_hour(keys: TokenKeys, tmp_path: Path, clock: Clock) -> None:
    token = keys.sign(CLAIMS)
    kid = keys.rotate()
    assert json.loads(base64.urlsafe_b64decode(keys.sign(CLAIMS).split(".")[0] + "=="))["kid"] == kid
    assert keys.verify(token) == CLAIMS
    assert len(keys.jwks()["keys"]) == 2
    clock.now += KEPT + 1
    keys.rotate()
    assert keys.verify(token) is None
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_an_old_key_is_replaced_at_a_start(keys: TokenKeys, tmp_path: Path, clock: Clock) -> None:
    token = keys.sign(CLAIMS)
    clock.now += CHANGED
    later = TokenKeys(tmp_path / "tokens", clock)
    assert later.sign(CLAIMS) != token
    assert later.verify(token) == CLAIMS


def test_no_head_but_our_own_is_taken(keys: TokenKeys) -> None:
    head, body, signature = keys.sign(CLAIMS).split(".")
    known = json.loads(base64.urlsafe_b64decode(head + "=="))
    public = base64.urlsafe_b64decode(keys.jwks()["keys"][0]["x"] + "=")
    text = f"{part({**known, 'alg': 'HS256'})}.{body}"
    mac = base64.urlsafe_b64encode(hmac.digest(public, text.encode(), "sha256")).rstrip(b"=").decode()
    for token in (
        f"{text}.{mac}",
        f"{part({**known, 'alg': 'none'})}.{body}.",
        f"{part({**known, 'kid': '../../../etc/passwd'})}.{body}.{signature}",
        f"{part({**known, 'kid': ''})}.{body}.{signature}",
        f"{part({**known, 'jwk': keys.jwks()['keys'][0]})}.{body}.{signature}",
        f"{head}.{part({'sub': 'admin', 'exp': 9})}.{signature}",
        f"{head}.{body}.{signature}=",
        f"{head}.{body}.{signature[:-1]}",
        f"{head}.{body}",
        f"{head}.{body}.{signature}.x",
        f"{head}.{body}." + "A" * 5000,
        "é.é.é",
        "..",
        "",
    ):
        assert keys.verify(token) is None, token


def test_one_signature_has_one_spelling(keys: TokenKeys) -> None:
    """The last character of 64 bytes in base64 has four unused bits."""
    token = keys.sign(CLAIMS)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [end for end in alphabet if keys.verify(token[:-1] + end)] == [token[-1]]


@given(st.text(max_size=200))
def test_any_other_text_is_no_token(text: str) -> None:
    assert _KEYS.verify(text) is None
    assert _KEYS.verify(f"{_TOKEN.partition('.')[0]}.{text}") is None


@pytest.fixture(scope="module", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    global _KEYS, _TOKEN  # noqa: PLW0603 - hypothesis wants no fixture of a function
    _KEYS = TokenKeys(tmp_path_factory.mktemp("keys") / "tokens")
    _TOKEN = _KEYS.sign(CLAIMS)


_KEYS: TokenKeys
_TOKEN: str


@pytest.mark.parametrize("name", ["1-abc.pem", "x-y.pem", "nodash.pem"])
def test_something_else_in_the_folder_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / name).write_text("no key")
    with pytest.raises(Unavailable) as broken:
        TokenKeys(tmp_path / "tokens")
    assert broken.value.code == "token.key"


@pytest.mark.usefixtures("keys")
def test_a_key_under_another_name_is_not_taken(tmp_path: Path) -> None:
    (path,) = (tmp_path / "tokens").iterdir()
    path.rename(path.with_name("1-0123456789abcdef.pem"))
    with pytest.raises(Unavailable):
        TokenKeys(tmp_path / "tokens")
