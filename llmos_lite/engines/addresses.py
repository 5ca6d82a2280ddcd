"""Which addresses this server calls when a person names them: none in the network that it stands in.

A name is resolved here, every address that it has is looked at, and the caller connects to exactly these: a name that
means another machine a moment later (DNS rebinding) gains nothing. Whoever follows a redirect looks at each new address
in the same way, as `web` does for imports; all others follow none.
"""

from __future__ import annotations

import socket
import threading
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from llmos_lite.errors import Invalid, UpstreamFailed

PATIENCE = 10.0
"""Seconds that a name server has."""
_TRANSLATED = ip_network("64:ff9b::/96")
"""Its low 32 bits are an IPv4 address behind a translator (RFC 6052)."""
_PUBLIC = ip_network("2000::/3")
"""All of IPv6 that is given to anybody (RFC 4291, section 2.4); Python knows some of what lies outside as global."""
_KEPT = (ip_network("192.0.0.0/24"), ip_network("192.88.99.0/24"), ip_network("3fff::/20"))
"""Inside what is given, and still nobody's: for protocols (RFC 6890), relays (RFC 7526) and examples (RFC 9637)."""


def resolve(host: str, port: int, *, private: bool) -> tuple[str, ...]:
    """Return the addresses of a host, as numbers.

    Args:
        host: a name, or an address without brackets.
        port: of the service.
        private: whether addresses that are not public may be called.

    Raises:
        Invalid: `address.private`, when any of them is not public.
        UpstreamFailed: `address.unknown`, when there is none.
    """
    found = _look_up(host, port)
    if not private and not all(map(is_public, found)):
        raise Invalid(
            "address.private",
            f"{host[:200]} is not an address on the public internet.",
            hint="An operator may allow it with LLMOS_ALLOW_PRIVATE_URLS=on.",
        )
    return found


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public internet, whatever it is wrapped into."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(map(_is_given, (found, *_inside(found))))


def _is_given(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in _KEPT if network.version == address.version):
        return False
    placed = isinstance(address, IPv4Address) or address.ipv4_mapped or address in _PUBLIC or address in _TRANSLATED
    return bool(placed) and address.is_global and not address.is_multicast


def _inside(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return []
    teredo = address.teredo or ()
    low = [IPv4Address(int(address) & 0xFFFFFFFF)] if address in _TRANSLATED else []
    return [one for one in (address.ipv4_mapped, address.sixtofour, *teredo, *low) if one is not None]


def _look_up(host: str, port: int) -> tuple[str, ...]:
    """Ask the system, in a thread that nobody waits for at the end: a name server may be silent for a minute."""
    found, problem = list[str](), list[OSError | UnicodeError]()

    def ask() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            problem.append(error)
        else:
            found.extend(dict.fromkeys(str(answer[4][0]) for answer in answers))

    thread = threading.Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not found:
        why = "there is no such name" if problem else "no name server answers"
        raise UpstreamFailed("address.unknown", f"{host[:200]} was not found: {why}.")
    return tuple(found)
