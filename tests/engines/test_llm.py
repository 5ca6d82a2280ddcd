"""The offline model, and what is done with any model's stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from llmos_lite.engines.llm import OFFLINE, ChatRequest, Completion, Delta, OfflineModel, Piece, gathered
from llmos_lite.errors import UpstreamFailed

SKILL = """<skill_content name="refund" title="Refunds &amp; returns" version="abc" volume="team:shop">
# Skill: Refunds

## When to Use
When a customer wants money back.

## Approach
1. Look up the order.
2. Check the date.

## Example
```bash
# not a heading
refund 42
```
</skill_content>"""


def ask(text: str, system: str = "") -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": text}], system=system)


async def answer(text: str, system: str = "") -> str:
    return (await OfflineModel().complete(ask(text, system))).text


async def test_it_says_what_it_is_and_how_to_get_another() -> None:
    for text in (await answer("hi"), await answer("refund", SKILL)):
        assert "no language model" in text
        assert "LLMOS_LLM_URL" in text


async def test_it_quotes_the_steps_of_the_skill() -> None:
    text = await answer("please handle a refund", SKILL)
    assert "**Refunds & returns** (`refund`, team:shop) Approach:" in text
    assert "1. Look up the order.\n2. Check the date." in text
    assert "When a customer" not in text


async def test_a_question_for_another_section_gets_that_section() -> None:
    system = SKILL.replace("wants money back", "wants money back because the parcel arrived broken yesterday evening")
    text = await answer("customer wants money back, parcel arrived broken yesterday evening", system)
    assert "parcel arrived broken" in text


async def test_without_skills_it_says_so() -> None:
    assert "No skill that may be used fits" in await answer("hello")


async def test_a_skill_without_text_is_only_named() -> None:
    text = await answer("x", '<skill_content name="a" title="A" volume="system">\n\n</skill_content>')
    assert "**A** (`a`, system)\n" in text


async def test_a_long_section_is_cut_and_its_fence_closed() -> None:
    body = "## Steps\n```\n" + "\n".join(f"line {number}" for number in range(50)) + "\n```"
    text = await answer("steps", f'<skill_content name="a" title="A" volume="system">\n{body}\n</skill_content>')
    assert "line 10\n```\n…" in text
    assert "line 11" not in text


async def test_a_stream_is_the_answer_in_pieces() -> None:
    request = ask("refund", SKILL)
    *deltas, last = [piece async for piece in OfflineModel().stream(request)]
    assert len(deltas) > 2
    assert last == await OfflineModel().complete(request)
    assert "".join(piece.text for piece in deltas if isinstance(piece, Delta)) == last.text
    assert last.model == OfflineModel.name == OFFLINE
    await OfflineModel().close()


async def test_an_empty_request_is_no_crash() -> None:
    assert "No skill" in (await OfflineModel().complete(ChatRequest(messages=[]))).text


async def test_a_stream_without_an_end_is_an_error() -> None:
    async def half() -> AsyncGenerator[Piece, None]:
        yield Delta("half")

    with pytest.raises(UpstreamFailed, match="middle"):
        await gathered(half())


async def test_a_stream_is_gathered_to_its_completion() -> None:
    done = Completion(text="ab", model="m")

    async def whole() -> AsyncGenerator[Piece, None]:
        yield Delta("ab")
        yield done

    assert await gathered(whole()) == done
