"""kill -9 between two turns: the conversation goes on, in every dialect, and nothing that a provider caches moves."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.gating import PATHS, PHOTOS, REVIEW, WIRES, request, system_of
from tests.upstream import WORD, Upstream, running

if TYPE_CHECKING:
    from tests.story.conftest import Serve, Server


async def ask(server: Server, wire: str, *said: str) -> None:
    body = {"model": "plain", **request(wire, f"{PHOTOS} ({wire})", *said)}
    await asyncio.to_thread(server.ask, "alice", "POST", PATHS[wire], body)


def sent(upstream: Upstream) -> tuple[str, str]:
    """The system prompt and the conversation of the last request, as bytes are compared."""
    body = upstream.chats[-1].body
    return system_of(upstream.chats[-1]), json.dumps(body.get("messages", body.get("input")))[:-1]


async def test_a_conversation_goes_on_after_kill_9_in_every_dialect(serve: Serve, tmp_path: Path) -> None:
    async with running() as upstream:
        providers = tmp_path / "providers.toml"
        providers.write_text(
            f'[providers.all]\nurl = "{upstream.url}"\nmodels = ["*"]\ndialects = {json.dumps(WIRES)}\n'
        )
        server = serve(LLMOS_PROVIDERS=str(providers))
        before = {}
        for wire in WIRES:
            await ask(server, wire)
            await ask(server, wire, WORD * 3, REVIEW)
            before[wire] = sent(upstream)
        await asyncio.to_thread(server.stop, signal.SIGKILL)
        again = await asyncio.to_thread(server.start)
        for wire in WIRES:
            await ask(again, wire, WORD * 3, REVIEW, WORD * 3, "thanks")
            system, said = sent(upstream)
            assert (system, said[: len(before[wire][1])]) == before[wire]
            assert upstream.chats[-1].path.endswith(PATHS[wire])
        rows = await asyncio.to_thread(again.ask, "alice", "GET", "/traces?limit=50")
    traces = [await asyncio.to_thread(again.ask, "alice", "GET", f"/traces/{row['trace_id']}") for row in rows["items"]]
    for wire in WIRES:
        third, second, first = sorted(
            (trace for trace in traces if trace["source"] == f"gateway:{wire}"), key=lambda trace: -trace["time"]
        )
        assert (third["parent"], second["parent"], first["parent"]) == (second["trace_id"], first["trace_id"], "")
        assert len({trace["conversation_id"] for trace in (first, second, third)}) == 1
