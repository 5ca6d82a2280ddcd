"""What was made of a long text is found again by exactly this text, and only so much is kept."""

from __future__ import annotations

import json

import pytest

from llmos_lite.core.gateway.chat_dialect import ChatDialect, appended
from llmos_lite.core.gateway.repeated import LEAST, LONGEST, MOST, Repeated
from llmos_lite.core.gateway.turn import system_hash

LONG = "be brief, " * LEAST


def test_a_long_text_is_read_once() -> None:
    known, read = Repeated[str, int](), list[str]()

    def length(text: str) -> int:
        read.append(text)
        return len(text)

    assert [known.of(text, length) for text in (LONG, "".join(LONG), "short", "short")] == [len(LONG), len(LONG), 5, 5]
    assert read == [LONG, "short", "short"]


def test_texts_of_one_length_and_end_are_told_apart() -> None:
    known = Repeated[bytes, str]()
    one, other = b"a" + b"x" * LEAST, b"b" + b"x" * LEAST
    known.put(one, "one")
    assert (known.get(one), known.get(other)) == ("one", None)
    known.put(other, "other")
    assert (known.get(one), known.get(other)) == (None, "other")


def test_the_oldest_is_forgotten_and_the_longest_is_not_kept() -> None:
    known = Repeated[str, int]()
    texts = ["x" * (LEAST + number) for number in range(MOST + 1)]
    for number, text in enumerate(texts):
        known.put(text, number)
    assert [known.get(text) for text in texts] == [None, *range(1, MOST + 1)]
    assert known.put("x" * (LONGEST + 1), 7) == 7
    assert known.get("x" * (LONGEST + 1)) is None


def test_long_system_prompts_are_read_and_hashed_each_for_itself() -> None:
    chat = ChatDialect()
    for own in (f"a{LONG}", f"b{LONG}", f"a{LONG}"):
        asked = chat.read(json.dumps({"messages": [{"role": "system", "content": own}] * 2}).encode())
        assert (asked.system, asked.lead) == (f"{own}\n\n{own}", 2)
    assert len({system_hash(f"{first}{LONG}") for first in "abab"}) == 2


def test_a_long_message_of_a_person_leads_nothing() -> None:
    body = json.dumps({"messages": [{"role": "user", "content": LONG}]}).encode()
    chat = ChatDialect()
    assert [chat.read(body).lead, chat.read(body).lead] == [0, 0]


@pytest.mark.parametrize("content", ["Own.", LONG, "", None, [], [{"type": "text", "text": LONG}], 7])
@pytest.mark.parametrize("around", [("role", "content"), ("content", "role"), ("role", "content", "name"), ("role",)])
def test_a_text_is_appended_without_a_change_around_it(content: object, around: tuple[str, ...]) -> None:
    message = {key: content if key == "content" else "system" for key in around}
    said = message.get("content")
    if isinstance(said, str) and said:
        expected: object = f'{said}\n\n"new"'
    elif isinstance(said, list) and said:
        expected = [*said, {"type": "text", "text": '"new"'}]
    else:
        expected = '"new"'
    whole = json.dumps(message | {"content": expected}, separators=(",", ":")).encode()
    written = json.dumps(message, separators=(",", ":")).encode()
    assert [appended(written, '"new"'), appended(written, '"new"')] == [whole, whole]


def test_a_system_prompt_that_came_before_is_that_very_object() -> None:
    said = [{"role": "system", "content": "x" * 2000}, {"role": "user", "content": "hi"}]
    body = json.dumps({"messages": said}).encode()
    dialect = ChatDialect()
    one, other = dialect.read(body), dialect.read(b" " + body)
    assert one.leading[0] is other.leading[0]
    assert one.system is other.system
    assert len(one.items) == len(other.items) == 1
