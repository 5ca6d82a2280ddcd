"""Secrets where they are sent: in headers, in the addresses of servers and databases, on command lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import SECRET, Found
from llmos_lite.core.traces.redaction.look import Look, Rules
from llmos_lite.core.traces.redaction.placeholders import is_placeholder
from llmos_lite.core.traces.redaction.tokens import decoded
from llmos_lite.core.traces.redaction.values import is_password, is_random, is_strong

_BEARER = re.compile(r"[\s:=\\\"']{1,6}([\w.~+/=:|-]{12,6000})")
_BASIC = re.compile(r"[\s:=\\\"']{1,6}([A-Za-z0-9+/_-]{6,2000}={0,2})")
_HEADER = re.compile(
    r"[\\\"'`]{0,4}\s{0,4}[:=,]\s{0,4}[\\\"'`]{0,4}(?:[A-Za-z][\w-]{0,24}\s{1,3})?([\w.~+/=:|%-]{8,6000})(?![\w(\[])"
)
_COOKIES = re.compile(r"[\\\"'`]{0,4}\s{0,4}:\s{0,4}[\\\"'`]{0,4}([^\n\"'`\\<>]{6,8000})")
_COOKIE = re.compile(r"([\w.$-]{1,100})=([^;\s]{1,4096})")
_ATTRIBUTES = frozenset(
    ["path", "domain", "expires", "max-age", "samesite", "version", "lang", "locale", "theme", "consent"]
)
_USERINFO = re.compile(
    r"://([^\s/@:\"'`<>()?#]{0,100}):([^\s\"'`<>]{1,300}?)@(?=[\w\[*$.{-])(?![^\s\"'`<>/?#]{0,200}@[\w\[])"
)
_USER_KEY = re.compile(r"://([^\s/@:\"'`<>()?#]{16,300})@(?=[\w\[])")
_DEFAULTS = frozenset(
    [
        "user:password",
        "user:pass",
        "username:password",
        "guest:guest",
        "root:root",
        "admin:admin",
        "postgres:postgres",
        "root:password",
        "foo:bar",
    ]
)
_CURL = re.compile(r"\b(?:curl|http|https|wget|xh|httpie|ab|siege)\b[^\n]{0,400}$", re.DOTALL)
_USER = re.compile(r"(?:-u|--user|--proxy-user|-a|--auth|-U)[\s=]{0,3}(\\?[\"']?)([^\s:\"']{1,120}):([^\s\"']{3,300})")
_COMMANDS = re.compile(
    r"[^\n|;&]{0,200}?\s(?:-p\s{0,2}|-(?:a|w|pw|P|N|k)[\s=]{1,2}|--pass[\s=]{1,2})(\\?[\"']?)([^\s\"']{4,200})\1(?=[\s\"'`)\\]|$)"
)
_PASS_ARGUMENT = re.compile(r"([^\s\"'`]{4,200})")


def bearer(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find what follows `Bearer`."""
    match = _BEARER.match(look.text, end)
    if match and end >= look.done and (is_random(match[1], least=12) or is_strong(match[1], least=12)):
        yield Found(*match.span(1), SECRET)


def basic(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find what follows `Basic` and says `user:password` in base64."""
    match = _BASIC.match(look.text, end)
    if match and _says_password(match[1]):
        yield Found(*match.span(1), SECRET)


def _says_password(text: str) -> bool:
    said = decoded(text)
    return b":" in said[1:] and said.isascii() and all(32 <= byte < 127 for byte in said)


def header(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the value of a header that says who asks."""
    match = _HEADER.match(look.text, end)
    if match and (is_random(match[1], least=12) or is_strong(match[1], least=10) or _says_password(match[1])):
        yield Found(*match.span(1), SECRET)


def cookies(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the values of cookies."""
    match = _COOKIES.match(look.text, end)
    if match is None or not look.first("cookies", end, match.end()):
        return
    for cookie in _COOKIE.finditer(look.text, *match.span(1)):
        if cookie[1].lower() not in _ATTRIBUTES and len(cookie[2]) >= 8 and is_random(cookie[2].rstrip(",."), least=8):
            yield Found(*cookie.span(2), SECRET)


def address(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find the password in an address, or the key that stands in the place of the user."""
    match = _USERINFO.match(look.text, start)
    if match is None:
        key = _USER_KEY.match(look.text, start)
        if key and is_random(key[1]):
            yield Found(*key.span(1), SECRET)
        return
    user, word = match[1], match[2]
    if "/" in word and re.match(r"\d{1,5}(?:/|$)|/", word):  # a port and a path
        return
    if f"{user}:{word}".lower() in _DEFAULTS or is_placeholder(word) or len(word) < 3 or user.lower() == word.lower():
        if is_random(user):
            yield Found(*match.span(1), SECRET)
        return
    yield Found(*match.span(2), SECRET)


def user(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find the password in `curl -u user:password`."""
    text = look.text
    if (start and text[start - 1] not in " \t\n\"'`[,") or not _CURL.search(text, max(0, start - 400), start):
        return
    match = _USER.match(text, start)
    if match and not is_placeholder(match[3]) and not match[3].isdigit():
        yield Found(*match.span(3), SECRET)


def command(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password behind the short option of a command."""
    match = _COMMANDS.match(look.text, end)
    if match and match[2][0] not in "-@/" and not match[2].isdigit() and is_password(match[2], quoted=True, firm=True):
        yield Found(*match.span(2), SECRET)


def pass_argument(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password in `-passin pass:…`."""
    match = _PASS_ARGUMENT.match(look.text, end)
    if match and is_strong(match[1]):
        yield Found(*match.span(1), SECRET)


_PAIR = re.compile(r"\s{0,4}[\"'][^\"'\n]{1,100}[\"']\s{0,4},\s{0,4}[\"']([^\"'\n]{4,200})[\"']")
_LOGIN = re.compile(
    r"(?:s|data)?[\"'*]{0,3}\s{0,3}(?:(?:are|is|sind|lauten|with|using|mit|as|:|=|-|>)\s{0,3}){1,3}[\"'`*(]{0,3}[\w.@+-]{1,64}\s{0,2}[:/|,]\s{0,2}([^\s\"'`]{5,128})"
)
_THIRD = re.compile(r"(?:\s+-\w{1,8})*\s+(?:\S{1,100}\s+)??[\w.@\\-]{1,64}\s+[\"']?([^\s\"'/*-][^\s\"']{4,128})")
_ECHO = re.compile(r"(?:echo|printf|<<<)\s{1,4}(?:-\w+\s)?[\"']?([^\s\"'|]{4,128})[\"']?\s{0,4}$")
_WIFI = re.compile(r"(?:[^;\n]{0,80};){0,3}P:((?:\\.|[^;\\\n]){4,80});", re.IGNORECASE)
_SLASH = re.compile(r"(?:-\w{1,8}\s+)*[\"']?\w{1,60}/[\"']?([^\s@\"'/]{3,128})[\"']?@")
_SIGNED = re.compile(r"([\w%+/=~-]{20,500})")


def pair(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password of `auth=("user", "password")`."""
    match = _PAIR.match(look.text, end)
    if match and is_strong(match[1], least=4):
        yield Found(*match.span(1), SECRET)


def login(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password of `credentials: user / password`."""
    match = _LOGIN.match(look.text, end)
    if match and is_strong(match[1].rstrip(".,;)")):
        yield Found(match.start(1), match.start(1) + len(match[1].rstrip(".,;)")), SECRET)


def third(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password that a command takes after a name."""
    match = _THIRD.match(look.text, end)
    if match and is_strong(match[1]):
        yield Found(*match.span(1), SECRET)


def slash(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password of Oracle's `user/password@server`."""
    match = _SLASH.match(look.text, end)
    if match and not is_placeholder(match[1]):
        yield Found(*match.span(1), SECRET)


def wifi(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the password of a network in the text of its QR code."""
    match = _WIFI.match(look.text, end)
    if match:
        yield Found(*match.span(1), SECRET)


def echoed(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find the password that is told to sudo."""
    match = _ECHO.search(look.text, max(0, start - 160), start)
    if match and not is_placeholder(match[1]):
        yield Found(*match.span(1), SECRET)


def signed(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the signature that opens an address."""
    match = _SIGNED.match(look.text, end)
    if match and is_random(match[1]):
        yield Found(*match.span(1), SECRET)


_HEADERS = (
    *("authorization", "x-api-key", "x-auth-key", "x-auth-token", "x-vault-token", "private-token", "job-token"),
    *("x-amz-signature", "x-amz-security-token", "x-goog-signature", "x-functions-key", "ocp-apim-subscription-key"),
    *("x-access-token", "x-token", "dd-api-key", "dd-application-key", "api-key", "apikey"),
)
_TAKE_PASSWORDS = (
    *("sshpass", "mysql", "mariadb", "docker login", "podman login", "redis-cli", "ldapsearch", "ldapadd"),
    *("ldapmodify", "sqlcmd", "mongosh", "mongo ", "mongodump", "mongorestore", "plink", "pscp", "az login"),
    *("helm registry login", "oc login", "7z ", "zip ", "impala", "influx", "rabbitmqadmin", "openssl", "ssh-keygen"),
)
SENT: tuple[Rules, ...] = (
    Rules(("bearer", "ssws", "authorization: token", "authorization: apikey", "genericapikey "), bearer),
    Rules(("basic",), basic),
    Rules(_HEADERS, header),
    Rules(("cookie",), cookies),
    Rules(("://",), address),
    Rules(("-u ", "-u=", "-u'", '-u"', "--user ", "--user=", "--proxy-user", "-a ", "--auth"), user),
    Rules(_TAKE_PASSWORDS, command),
    Rules((" pass:",), pass_argument),
    Rules(("auth=(", "auth(", "auth =(", "auth = ("), pair),
    Rules(("credential", "creds", "login", "zugangs"), login),
    Rules(("wifi:t:", "wifi:s:"), wifi),
    Rules(("net user", "htpasswd"), third),
    Rules(("jdbc:oracle:thin:", "sqlplus ", "impdp ", "expdp "), slash),
    Rules(("| sudo -s", "|sudo -s", "| docker login", "| passwd", "--password-stdin", "| chpasswd"), echoed),
    Rules(("sig=", "signature=", "sig%3d"), signed),
)  # fmt: skip
