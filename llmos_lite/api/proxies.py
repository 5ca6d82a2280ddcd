"""Behind a proxy the peer of every request is the proxy; one that is trusted says in a header who the client is."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

from llmos_lite.api.errors import Scope
from llmos_lite.errors import Invalid

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


class Proxies:
    """The proxies that are trusted.

    Args:
        setting: addresses and networks, comma-separated.

    Raises:
        Invalid: `settings.invalid`.
    """

    def __init__(self, setting: str) -> None:
        try:
            names = [part.strip() for part in setting.split(",") if part.strip()]
            self._networks: list[Network] = [ipaddress.ip_network(name, strict=False) for name in names]
        except ValueError as error:
            raise Invalid(
                "settings.invalid",
                f"LLMOS_TRUSTED_PROXIES cannot be read: {error}.",
                hint="Name addresses or networks, as in 10.0.0.5,192.168.0.0/24.",
            ) from None

    def __bool__(self) -> bool:
        return bool(self._networks)

    def place_client(self, scope: Scope) -> None:
        """Put the client's address into the scope of a request, when a trusted proxy says it.

        Each proxy adds the peer that it saw at the end of `X-Forwarded-For`, and anybody may have written what stands
        before; so it is read from the end, up to the first address that is no trusted proxy.
        """
        peer = scope.get("client")
        if not peer or not self._trusts(peer[0]):
            return
        said = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        for text in reversed(said.decode("latin-1").split(",")):
            address = _address(text.strip())
            if address is None:
                return
            scope["client"] = (address, 0)
            if not self._trusts(address):
                return

    def _trusts(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._networks)


def _address(text: str) -> str | None:
    """Return an address without port and brackets, as some proxies write them; None for what is none."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
