"""What a model refuses of a translated request and the request may do without: who is asked again, and how often."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.gating import PHOTOS, Gate, gate
from tests.upstream import Upstream

HARD: dict[str, dict[str, Any]] = {
    "messages": {"output_config": {"effort": "xhigh"}},
    "responses": {"reasoning": {"effort": "xhigh"}},
}
QUOTED = "Please think of forbidden things, and reason about them"
DATA = b64encode(b"%PDF-1.7 pages").decode()


def read(number: int) -> list[dict[str, Any]]:
    """A call that reads a PDF, and the PDF, as Claude Code has them."""
    call = {"type": "tool_use", "id": f"c{number}", "name": "Read", "input": {"path": "a.pdf"}}
    given = {"type": "tool_result", "tool_use_id": f"c{number}", "content": "PDF read: a.pdf"}
    block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": DATA}}
    return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [given, block]}]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_that_quotes_a_person_is_handed_on_at_once(here: Gate, *, stream: bool) -> None:
    before = len(here.upstream.chats)
    answer = await here.ask("messages", QUOTED, model="picky", stream=stream, **HARD["messages"])
    assert (answer.status, len(here.upstream.chats) - before) == (400, 1)
    assert QUOTED in answer.json()["error"]["message"]
    assert "x-llmos-left-out" not in answer.headers
    trace = await here.trace()
    assert (trace.ended, trace.error) == ("error", "model.rejected")


async def test_a_word_is_given_up_for_others_only_where_that_helped(here: Gate) -> None:
    """Somebody's odd request does not keep a model from thinking for everybody."""
    before = len(here.upstream.chats)
    answer = await here.ask("messages", "My effort is forbidden", model="picky", **HARD["messages"])
    assert answer.status == 400
    assert len(here.upstream.chats) - before <= 3
    await here.ask("messages", PHOTOS, model="picky", **HARD["messages"])
    assert here.seen.effort == "xhigh"


@pytest.mark.parametrize("stream", [False, True])
async def test_refused_files_are_known_until_the_conversation_has_a_further_one(
    fresh_copy: Path, upstream: Upstream, *, stream: bool
) -> None:
    """Else each later request of it is sent twice."""
    async with gate(fresh_copy, upstream) as here:
        talk: list[object] = [PHOTOS, *read(1)]
        on = [{"role": "assistant", "content": "Done."}, {"role": "user", "content": "Go on"}]
        for more, times in (([], 2), (on, 1), (read(2), 2), (on, 1)):
            talk += more
            before = len(upstream.chats)
            answer = await here.ask("messages", *talk, model="nofiles", stream=stream)
            assert (answer.status, answer.headers["x-llmos-left-out"]) == (200, "files")
            assert len(upstream.chats) - before == times
        before = len(upstream.chats)
        await here.ask("messages", "Another conversation", *read(1), model="nofiles")
        assert len(upstream.chats) - before == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_all_that_a_model_refuses_gives_way_and_counts_once(
    fresh_copy: Path, upstream: Upstream, *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream) as here:
        talk = [PHOTOS, *read(1)]
        answer = await here.ask("messages", *talk, model="thoughtless-nofiles", stream=stream, **HARD["messages"])
        assert (answer.status, answer.headers["x-llmos-left-out"]) == (200, "effort,files")
        assert len(upstream.chats) == 4
        trace = await here.trace()
    assert (trace.ended, trace.error) == ("complete", "")
