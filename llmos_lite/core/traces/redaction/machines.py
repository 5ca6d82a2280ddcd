"""Addresses of machines, which lead to people: public IPv4 and IPv6, and MAC."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.look import Look, starts_here

EVERYBODYS = frozenset(
    (
        *(
            "8.8.8.8",
            "8.8.4.4",
            "1.1.1.1",
            "1.0.0.1",
            "1.1.1.2",
            "1.0.0.2",
            "9.9.9.9",
            "149.112.112.112",
            "208.67.222.222",
        ),
        *("208.67.220.220", "4.2.2.1", "4.2.2.2", "114.114.114.114", "1.2.3.4", "4.3.2.1", "5.6.7.8", "192.0.0.8"),
        *("192.0.0.9", "192.0.0.10"),
    )
)
"""Public resolvers, and what people write when they mean no address at all."""
KNOWN = ("ffff:", "64:ff9b:", "2001:4860:4860:", "2606:4700:4700:", "2620:fe::")
"""Beginnings of masks, of translated addresses, and of public resolvers."""
SMALL = 64
"""Four numbers below this are a version or a section more often than an address."""
MULTICAST = 224
GROUPS = ("33:33:", "01:00:5e:", "01:80:c2:", "ff:ff:ff:")
"""Ethernet addresses of many."""

_V4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d|\.in-addr)")
_VERSION = re.compile(
    r"(?:\bv|version[\s:=\"']{0,4}|[=<>~^!]=?\s{0,2}[\"']?|[A-Za-z][\w+-]{0,40}[/@-]"
    r"|\b(?:release|build|ver|rev|section|chapter|oid|upgrade\w*|update\w*|from|to)\.?[\s:=\"'(]{1,4}|\u00a7\s?"
    r"|OID\W{1,3})$",
    re.IGNORECASE,
)
_NO_VERSION = re.compile(
    r"(?:://|\bip\b)[\w\s:=\"']{0,12}$|(?:from|to|host|addr|address|ip|client|remote|peer)\w{0,4}[\s=:\"']{1,4}$",
    re.IGNORECASE,
)
_UPGRADE = re.compile(r"\b(?:upgrad|updat|bump|roll|version|releas|patch)\w*\b[^\n:]{0,30}$|\d\.\d+\s$", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:\bip\b|\bipv4|address|host|client|remote|peer|server|login|connect|ssh|from|to|visitor|source|src|dst)"
    r"[\w\s:=\"'\[(-]{0,16}$",
    re.IGNORECASE,
)
_NETWORK = re.compile(r"/(?!32\b|64\b|128\b)\d")
_COLONS = re.compile(r":[0-9a-fA-F]{0,4}:")
_DASHES = re.compile(r"-[0-9a-fA-F]{2}-[0-9a-fA-F]{2}-")
_V6 = re.compile(r"[0-9a-fA-F:]{2,39}(?:\.\d{1,3}){0,3}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}(?![:\w-])|[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){5}(?![-\w:])")
_BACK = re.compile(r"[0-9a-fA-F:]{0,39}")


def ip4(text: str, start: int) -> Found | None:
    """Return the public IPv4 address that begins at a place."""
    match = _V4.match(text, start)
    if match is None or not starts_here(text, start) or text[start - 1 : start] in tuple("._-"):
        return None
    before = text[max(0, start - 48) : start]
    if match[0] in EVERYBODYS or (_VERSION.search(before) and not _NO_VERSION.search(before)):
        return None
    if (
        _UPGRADE.search(before)
        or _NETWORK.match(text, match.end())
        or not _is_public(match[0], named=_NAMED.search(before) is not None)
    ):
        return None
    return Found(*match.span(), "ip")


def _is_public(said: str, *, named: bool) -> bool:
    try:
        address = ipaddress.IPv4Address(said)
    except ValueError:  # a number over 255, or with a zero in front
        return False
    numbers = address.packed
    if (max(numbers) < SMALL and not named) or not any(numbers[2:]):
        return False
    return address.is_global and numbers[0] < MULTICAST


def machines(look: Look) -> Iterator[Found]:
    """Find public IPv6 addresses and MAC addresses."""
    text, end = look.text, 0
    for match in _COLONS.finditer(text) if ":" in text else ():
        if match.start() < end:
            continue
        back = _BACK.match(text[max(0, match.start() - 39) : match.start()][::-1])
        begin = match.start() - (back.end() if back else 0)
        whole = _V6.match(text, begin)
        if whole is not None and starts_here(text, begin):
            end = whole.end()
            yield from _mac(text, begin) or _ip6(text, begin, whole[0])
    for match in _DASHES.finditer(text) if "-" in text else ():
        if match.start() >= max(end, 2):
            end = match.end()
            yield from _mac(text, match.start() - 2)


def _mac(text: str, begin: int) -> list[Found]:
    match = _MAC.match(text, begin)
    if match is None or not starts_here(text, begin) or text[begin - 1 : begin] in tuple(":-"):
        return []
    said = match[0].lower().replace("-", ":")
    several = len(set(said)) > 3  # more than zeros, or than what answers everybody
    return [Found(*match.span(), "mac")] if several and not said.startswith(GROUPS) else []


def _ip6(text: str, begin: int, said: str) -> list[Found]:
    said = said if said.endswith("::") else said.rstrip(".:")
    end = begin + len(said)
    after, before = text[end : end + 1], text[begin - 1 : begin]
    if after.isalnum() or after == "_" or before in tuple("_.$") or _NETWORK.match(text, end):
        return []
    try:
        address = ipaddress.IPv6Address(said)
    except ValueError:
        return []
    groups = said.split(":")
    known = said.lower().startswith(KNOWN) or sum(map(bool, groups)) < 3 or max(map(len, groups)) < 3
    return [Found(begin, end, "ip")] if address.is_global and not known else []
