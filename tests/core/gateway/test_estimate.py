"""How many tokens are guessed where nobody counts them."""

from __future__ import annotations

import base64

import pytest

from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.estimate import PICTURE, by_length
from llmos_lite.engines.llm import Completion, ToolCall

BYTES = base64.b64encode(bytes(range(256)) * 600).decode()


def guessed(*parts: str) -> int:
    said = ",".join(parts)
    body = f'{{"model":"m","messages":[{{"role":"user","content":[{said}]}}]}}'.encode()
    return by_length(len(body), ChatDialect().read(body), None)[0]


@pytest.mark.parametrize(
    "part",
    [
        '{"type":"image_url","image_url":{"url":"data:image/png;base64,%s"}}',
        '{"type":"input_audio","input_audio":{"data":"%s","format":"wav"}}',
        '{"type":"image","source":{"type":"base64","media_type":"image/png","data":"%s"}}',
    ],
)
def test_a_picture_counts_as_one_and_not_by_its_bytes(part: str) -> None:
    text = '{"type":"text","text":"What is this?"}'
    assert guessed(part % BYTES, text) - guessed(text) == pytest.approx(PICTURE, abs=50)
    escaped = (part % BYTES).replace("/", r"\/")
    assert guessed(escaped, part % BYTES, text) - guessed(text) == pytest.approx(2 * PICTURE, abs=80)


def test_long_words_are_no_picture() -> None:
    text = '{"type":"text","text":"%s"}' % ("Read this log again. " * 10_000)
    assert guessed(text) == pytest.approx(len(text) / 4, abs=50)


def test_an_answer_counts_its_words_and_its_calls() -> None:
    asked = ChatDialect().read(b'{"messages":[{"role":"user","content":"hi"}]}')
    calls = (ToolCall("c1", "read_file", '{"path": "notes.txt"}'),)
    assert by_length(40, asked, Completion(text="four" * 5, model="m")) == (10, 5)
    assert by_length(40, asked, Completion(text="", model="m", tool_calls=calls)) == (10, 30 // 4)
