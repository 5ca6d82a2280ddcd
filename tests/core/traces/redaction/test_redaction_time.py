"""Whoever writes a text, the time to redact it grows as its length does."""

from __future__ import annotations

import time

import pytest

from llmos_lite.core.traces.redaction import Redaction

SHORT = 4_000
TRIES = 3
"""A busy machine takes its time; a pattern that explodes does so every time."""
SEEDS = (
    *("a", "@", "sk-", "1", "-", "1 ", "0x", "(", "0", "+1 ", "\n", "=", ":", "{", '"', "\\", "%", "<", "😀", "ß", "İ"),
    *("password=", "password: ", "<password>", 'password","', "password \n", "password for a b c d e f g h ", "pass"),
    *("token is ", "secret key ", "api key for ", "bearer ", "authorization: ", "basic ", "cookie: a="),
    *("cookie: a=bbbbbbbb;", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----\n"),
    *("eyJ", "eyJa.", "://", "://a:", "://a:b@", "xoxb-", "AKIAAAAAAAAAAAAAAAAA ", "ghp_", ".atlasv1.", "Q~", "-us1"),
    *('{"kty"', "LS0tLS1CRUdJTi", "private-lines: 1\nAAAA\n", "PuTTY"),
    *("seed phrase ", "mnemonic word word ", "curl -u a:b ", "mysql -p", "login: a:", 'auth=("a","b")'),
    *("echo a | sudo -S",),
    *("a@", "a@b.com ", "a.a.", "%40", "(at)", " dot com", "a at b dot com ", "DE89", "GB29NWBK", "4111111111111111 "),
    *("1.", "1.2.3.4 ", "::", ":a:", "a:b:c:", "-aa-aa-", "ssn ", "passport ", "born on ", "pin is ", " street"),
    *("12 Main Street ",),
    *("\\u0041", "&quot;", "\u200b", "\uff11", "\ud800", "<email:1>", "user,password\nbob,x\n", "| password |\n"),
    *("A" * 47 + " ",),
)  # fmt: skip
STARTS = (
    *("password", "password for ", "secret is ", "api key ", "token: ", "cookie: ", "bearer ", "basic ", "mysql -p'"),
    *("ssn ", "passport ", "born on ", "seed phrase ", "-----BEGIN PRIVATE KEY-----", "auth=(", "login: ", "curl -u "),
    *("://", "://a:", "Private-Lines: 1\n", "12 ", '{"kty"', "WIFI:T:", "jdbc:oracle:thin:", "a@", "@a", " street "),
    *("12 rue ", "calle ", "echo ", "net user ", "eyJ", "pin ", "DE89", "+1", "credentials: a ", "sig=", "| password "),
    *("x at y dot com ", "machine x login ", "wifi:s:", "hooks.slack.com/services/", "ssh ", '"auth"', "<password>"),
)
RUNS = (
    " ",
    "(",
    ",",
    "a ",
    ",a",
    "'",
    '"',
    "\\",
    "\\n",
    "=",
    ":",
    "/",
    "-",
    "+",
    "A",
    "a.",
    "|",
    "*",
    "1",
    "1 ",
    "'a",
    "a/",
)
REDACTION = Redaction(remembered=0)


def cpu(text: str) -> float:
    """Return the seconds of processor time that a text takes."""
    start = time.thread_time()
    REDACTION.text(text)
    return time.thread_time() - start


def grows_as_its_text(seed: str) -> bool:
    short = (seed * SHORT)[:SHORT]
    once, four = cpu(short), cpu(short * 4)
    # growth by the square would be sixteen times; fifty microseconds are ten times what a character takes here
    return four < 9 * once + 0.05 and four < 4 * SHORT * 50e-6


@pytest.mark.parametrize("seed", SEEDS, ids=ascii)
def test_a_text_four_times_as_long_takes_about_four_times_as_long(seed: str) -> None:
    assert any(grows_as_its_text(seed) for _ in range(TRIES))


@pytest.mark.parametrize("start", STARTS, ids=ascii)
def test_no_run_of_anything_keeps_a_pattern_busy(start: str) -> None:
    for run in RUNS:
        text = (start + run * SHORT)[: SHORT // 4]
        assert any(cpu(text) < len(text) * 50e-6 for _ in range(TRIES)), run
