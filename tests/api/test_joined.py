"""What an answer's head and its first bytes look like on the wire: one packet, in order, whatever ends the answer."""

from __future__ import annotations

import asyncio
from typing import cast

from llmos_lite.api.joined import Joined

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


class Wire:
    """A transport that keeps each packet."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep a packet."""
        self.packets.append(data)

    def close(self) -> None:
        """Keep the end."""
        self.packets.append(b"closed")

    def get_extra_info(self, name: str) -> str:
        """Return what was asked for."""
        return name

    is_closing = pause_reading = resume_reading = close


def joined() -> tuple[Joined, list[bytes]]:
    wire = Wire()
    return Joined(cast("asyncio.Transport", wire), asyncio.get_running_loop()), wire.packets


async def test_a_head_goes_with_the_first_bytes() -> None:
    connection, packets = joined()
    for data in (HEAD, b"one", b"two", HEAD, HEAD):
        connection.write(data)
    await asyncio.sleep(0)
    assert packets == [HEAD + b"one", b"two", HEAD + HEAD]


async def test_a_head_without_bytes_does_not_wait_for_them() -> None:
    connection, packets = joined()
    connection.write(HEAD)
    await asyncio.sleep(0)
    assert packets == [HEAD]
    connection.write(b"later")
    assert packets == [HEAD, b"later"]


async def test_a_connection_that_is_closed_says_all_before() -> None:
    connection, packets = joined()
    connection.write(HEAD)
    connection.close()
    await asyncio.sleep(0)
    assert packets == [HEAD, b"closed"]
    assert connection.get_extra_info("peername") == "peername"


async def test_whoever_answers_hears_of_the_end() -> None:
    connection, _ = joined()
    connection.ended()
    heard: list[str] = []
    connection.on_end = lambda: heard.append("end")
    connection.ended()
    assert heard == ["end"]
