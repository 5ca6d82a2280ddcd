"""How much of a conversation a provider can cache behind the gateway, beside the same conversation without it.

A provider caches the longest beginning that a request shares with the one before it, in the order tools, system prompt,
messages. A conversation of 20 turns in each dialect goes through the gateway, over the starter skills; its goals change
twice, so skills come in on the way: as texts, or from a catalog, of which the model loads one with each goal. What
counts is the client's own text in the shared beginning: with us / without us. So it is for servers of other dialects,
whose requests are translations.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import Row
from llmos_lite.bootstrap import open_services
from llmos_lite.core.chat.choice import Chooser
from llmos_lite.core.chat.disclosure import Disclosure
from llmos_lite.core.gateway.context import Contexts
from llmos_lite.core.gateway.pieces import Piece, Request
from llmos_lite.core.gateway.service import Gateway
from llmos_lite.core.gateway.steering import steering_of
from llmos_lite.engines.http_client import Reply
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.engines.upstreams import Route, Sent
from llmos_lite.records.background import BackgroundRows
from llmos_lite.settings import Settings

TURNS = 20
TARGET = "value >= 0.98"
GOALS = {
    0: "Write a Python script that renames my photos by date",
    7: "Now review this pull request for bugs and security, please",
    14: "Write the notes of this meeting: we decided to ship on Friday, Ana does the release",
}
LOADED = {0: "python-scripts", 7: "code-review", 14: "meeting-notes"}
"""What the model loads for these goals, where it gets a catalog."""
OWN = "You are a careful assistant for a team of engineers. " * 60
ANSWER = "Here is the next piece of it, with a word on each step that I took and why. " * 12


class _Capture:
    """A model server that keeps what it got, and always answers the same, but for what it is told to load."""

    name = "capture"

    def __init__(self, speaks: Wire) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.load, self._speaks = "", speaks

    async def send(self, model: str, wire: Wire, make: Callable[[Route], Passing]) -> Sent:
        """Keep a request."""
        del wire
        route = Route(self, model, self._speaks)
        self.bodies.append(json.loads(make(route).body))
        load, self.load = self.load, ""
        return Sent(route, _Reply(_call(self._speaks, load) if load else _answer(self._speaks)))

    @property
    def wires(self) -> frozenset[Wire]:
        """Speak one dialect."""
        return frozenset({self._speaks})

    async def close(self) -> None:
        """Do nothing."""


class _Nobody:
    """Takes the answers, and does not look at them."""

    begun = False

    async def __call__(self, piece: Piece) -> None:
        """Take a piece."""


class _Reply(Reply):
    status = 200

    def __init__(self, body: bytes) -> None:
        self._left = [body]

    def header(self, name: str) -> str:
        """Return the one header."""
        return "application/json" if name == "content-type" else ""

    def headers(self) -> Iterable[tuple[bytes, bytes]]:
        """Return the one header."""
        return [(b"content-type", b"application/json")]

    async def chunk(self) -> bytes:
        """Return the body, once."""
        return self._left.pop() if self._left else b""

    async def end(self) -> None:
        """Do nothing."""


def _answer(wire: Wire) -> bytes:
    text = {"type": "output_text", "text": ANSWER}
    return json.dumps({
        Wire.CHAT: {"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]},
        Wire.MESSAGES: {"content": [{"type": "text", "text": ANSWER}], "stop_reason": "end_turn", "usage": {}},
        Wire.RESPONSES: {"output": [{"type": "message", "content": [text]}], "usage": {}},
    }[wire]).encode()  # fmt: skip


def _call(wire: Wire, name: str) -> bytes:
    arguments = json.dumps({"name": name})
    function = {"name": "load_skill", "arguments": arguments}
    return json.dumps({
        Wire.CHAT: {"choices": [{"message": {"tool_calls": [{"id": "c", "function": function}]}}]},
        Wire.MESSAGES: {"content": [{"type": "tool_use", "id": "c", "name": "load_skill", "input": {"name": name}}]},
        Wire.RESPONSES: {"output": [{"type": "function_call", "call_id": "c", **function}], "usage": {}},
    }[wire]).encode()  # fmt: skip


def _requests(wire: Wire) -> list[dict[str, Any]]:
    """Return what a client sends, turn by turn: the whole conversation each time."""
    said: list[dict[str, Any]] = []
    found = []
    for turn in range(TURNS):
        content = GOALS.get(turn, f"Good. Go on with part {turn}, and keep to what we said before about it.")
        said.append({"role": "user", "content": content})
        found.append(_request(wire, said))
        said.append({"role": "assistant", "content": ANSWER})
    return found


def _request(wire: Wire, said: Sequence[dict[str, Any]]) -> dict[str, Any]:
    if wire is Wire.MESSAGES:
        system = [{"type": "text", "text": OWN, "cache_control": {"type": "ephemeral"}}]
        return {"model": "m", "max_tokens": 1000, "system": system, "messages": list(said)}
    if wire is Wire.RESPONSES:
        return {"model": "m", "instructions": OWN, "input": [{"type": "message", **one} for one in said]}
    return {"model": "m", "messages": [{"role": "system", "content": OWN}, *said]}


def _atoms(body: dict[str, Any]) -> Iterator[str]:
    """Return the texts that a model reads, in the order in which a provider caches them."""
    yield from map(json.dumps, body.get("tools", ()))
    for key in ("system", "instructions", "messages", "input"):
        yield from _texts(body.get(key))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, dict):
        yield from _texts(value.get("content", value.get("text")))


def _shared(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the beginning that two requests share."""
    one, two = "\0".join(_atoms(before)), "\0".join(_atoms(now))
    length = next((at for at, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return two[:length]


def _cacheable(bodies: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]]) -> int:
    """Return how many characters of the client's own text could come from the cache, over all turns."""
    total = 0
    for turn in range(1, len(bodies)):
        left = _shared(bodies[turn - 1], bodies[turn])
        for text in _atoms(own[turn]):
            at = left.find(text[: len(left)])
            if at < 0 or not left:
                break
            total += min(len(text), len(left) - at)
            left = left[at + len(text) :]
    return total


async def _captured(wire: Wire, server: Wire, folder: Path, disclosure: Disclosure) -> list[dict[str, Any]]:
    """Return the last request behind each turn, as the server has it."""
    async with open_services(Settings(data=folder, llm_provider="offline", log_level="error"), serve=False) as services:
        capture = _Capture(server)
        chooser = Chooser(services.skills.manager, budget_tokens=4000)
        contexts = Contexts(chooser, max_skills=3, disclosure=disclosure)
        gateway = Gateway(
            contexts,
            services.traces,
            services.accounts,
            capture,
            limits=services.limits,
            background=BackgroundRows(services.database),
        )
        key = (folder / "admin.key").read_text().strip()
        actor = await services.accounts.authenticate(key, "alice")
        turns = []
        for turn, request in enumerate(_requests(wire)):
            capture.load = LOADED.get(turn, "") if disclosure is Disclosure.CATALOG else ""
            await gateway.pass_on(
                actor, wire, Request(json.dumps(request).encode(), partial(steering_of, [])), _Nobody()
            )
            turns.append(capture.bodies[-1])
        await gateway.close()
        return turns


def _way(wire: Wire, server: Wire) -> str:
    return wire if wire is server else f"{wire} to {server}"


def run() -> list[Row]:
    """Measure each dialect."""
    rows = []
    for wire, server, disclosure in product(Wire, Wire, (Disclosure.BODIES, Disclosure.CATALOG)):
        own = _requests(wire)
        with tempfile.TemporaryDirectory() as folder:
            bodies = asyncio.run(_captured(wire, server, Path(folder, "data"), disclosure))
        brought = sum("<skill_content" in json.dumps(body) for body in bodies)
        if brought != TURNS:
            raise RuntimeError(f"skills were in {brought} of {TURNS} requests, so there is little to see")
        ours, alone = _cacheable(bodies, own), _cacheable(own, own)
        rows.append(
            Row(
                f"prompt that can be cached, {TURNS} turns of {_way(wire, server)}, {disclosure} / without us",
                ours / alone,
                target=TARGET,
            )
        )
    return rows
