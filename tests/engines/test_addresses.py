"""Which addresses are on the public internet, whatever they are wrapped into."""

from __future__ import annotations

import threading
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines import addresses
from llmos_lite.engines.addresses import is_public, resolve
from llmos_lite.errors import Invalid, UpstreamFailed

INSIDE = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
          "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"]  # fmt: skip


@pytest.mark.parametrize(
    "address",
    ["::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::",
     "64:ff9b::a9fe:a9fe", "::127.0.0.1", "no address", "", "fec0::1", "64:ff9b:1::7f00:1", "::ffff:0:7f00:1",
     "5f00::1", "3fff::1", "4000::1", "100::1", "192.0.0.8", "192.88.99.1"],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "140.82.121.4", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@given(network=st.sampled_from(INSIDE), number=st.integers(0, 2**32 - 1))
def test_an_inner_address_stays_one_however_it_is_wrapped(network: str, number: int) -> None:
    inside = IPv4Network(network)
    low = int(inside.network_address) + number % inside.num_addresses
    wrapped = [
        0xFFFF << 32 | low,
        0x64FF9B << 96 | low,
        0x2002 << 112 | low << 80,
        0x20010000 << 96 | (~low & 0xFFFFFFFF),
    ]
    assert not is_public(str(IPv4Address(low)))
    assert not any(is_public(str(IPv6Address(one))) for one in wrapped)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "::1", "0", "169.254.169.254"]
)
def test_this_machine_is_refused_by_every_name(host: str) -> None:
    with pytest.raises(Invalid) as caught:
        resolve(host, 443, private=False)
    assert caught.value.code == "address.private"
    assert "LLMOS_ALLOW_PRIVATE_URLS" in caught.value.hint


def test_this_machine_is_taken_where_that_is_allowed() -> None:
    assert resolve("127.0.0.1", 443, private=True) == ("127.0.0.1",)
    assert "127.0.0.1" in resolve("localhost", 443, private=True)


@pytest.mark.parametrize("host", ["does-not-exist.invalid", "a" * 64 + ".example", "x..y"])
def test_a_host_that_is_not_there(host: str) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        resolve(host, 443, private=True)
    assert caught.value.code == "address.unknown"


def test_one_inner_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_look_up", lambda *_: ("8.8.8.8", "10.0.0.1"))
    with pytest.raises(Invalid):
        resolve("rebinding.example", 443, private=False)


def test_a_silent_name_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(addresses, "PATIENCE", 0.01)
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: end.wait(60) and [])
    with pytest.raises(UpstreamFailed, match="no name server answers"):
        resolve("silent.example", 443, private=True)
    end.set()
