"""What each dialect reads of a request, and that nothing but skills is added to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.chat.prompt import Prompt
from llmos_lite.core.gateway.asked import Asked, Placed, Raw, encode, joined, settled, written
from llmos_lite.core.gateway.chains import links
from llmos_lite.core.gateway.chat_dialect import ChatDialect
from llmos_lite.core.gateway.dialect import Dialect
from llmos_lite.core.gateway.messages_dialect import MessagesDialect
from llmos_lite.core.gateway.responses_dialect import ResponsesDialect
from llmos_lite.errors import Invalid

CHAT, MESSAGES, RESPONSES = ChatDialect(), MessagesDialect(), ResponsesDialect()
DIALECTS: list[Dialect] = [CHAT, MESSAGES, RESPONSES]
NAMES = ["chat", "messages", "responses"]
TEXT = 'Skills:\n"quoted" \\ é \u2028'

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.sampled_from(["text", "input_text", "image", "tool_result"]), "text": st.text()})
    | st.dictionaries(st.text(max_size=8), JSON, max_size=3),
    max_size=3,
)
ITEM = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]), "content": st.text() | PARTS},
    optional={"tool_calls": JSON, "cache_control": JSON, "type": st.sampled_from(["message", "reasoning"])},
)
CONVERSATION = st.lists(ITEM, min_size=1, max_size=5)


def body(dialect: Dialect, items: list[Any], **more: object) -> bytes:
    key = "input" if dialect is RESPONSES else "messages"
    return json.dumps({"model": "m", key: items, **more}).encode()


def injected(dialect: Dialect, asked: Asked, head: str, later: tuple[Placed, ...] = ()) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dialect.with_skills(asked, asked.fields, Prompt((head,) if head else ()), later))
    return found


def texts(value: object) -> Iterator[str]:
    """Every text of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@given(raw=JSON | st.dictionaries(st.sampled_from(["messages", "input", "system", "model", "stream", "tools"]), JSON))
def test_whatever_comes_is_read_or_refused(dialect: Dialect, raw: object) -> None:
    try:
        asked = dialect.read(json.dumps(raw).encode())
    except Invalid:
        return
    dialect.said(asked.items)
    assert len(links(asked.items, stable=dialect.stable)) == len(asked.items)


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
@given(items=CONVERSATION, more=st.dictionaries(st.text(alphabet="xyz", min_size=1, max_size=4), JSON, max_size=4))
def test_everything_but_the_place_of_skills_stays_as_it_was(
    dialect: Dialect, items: list[Any], more: dict[str, Any]
) -> None:
    raw = body(dialect, items, **more)
    asked = dialect.read(raw)
    before, after = json.loads(raw), injected(dialect, asked, TEXT)
    assert {key: after[key] for key in more} == more
    key = "input" if dialect is RESPONSES else "messages"
    conversation = len(asked.items)
    assert after[key][len(after[key]) - conversation :] == before[key][asked.lead :]
    assert any(TEXT in text for text in texts(after))


@pytest.mark.parametrize(
    ("first", "system"),
    [
        ({"role": "system", "content": "Own."}, "Own."),
        ({"role": "developer", "content": [{"type": "text", "text": "Own."}, "more"]}, "Own.\nmore"),
        ({"role": "system", "content": 7}, ""),
        ({"role": "system", "content": "Own.", "tool_call_id": 7}, ""),
    ],
)
def test_chat_knows_what_leads_however_odd_it_is(first: object, system: str) -> None:
    user = {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "hi"}, "there"]}
    asked = CHAT.read(body(CHAT, [first, user]))
    assert (asked.system, asked.lead, len(asked.items)) == (system, 1, 1)
    assert [said.text for said in CHAT.said(asked.items)] == ["[image_url]\nhi\nthere"]
    assert [(said.role, said.text) for said in CHAT.said(list(map(Raw, asked.leading)))] == [("system", system)]


@pytest.mark.parametrize(
    ("more", "most"),
    [
        ({}, 0),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_completion_tokens": None, "max_tokens": 5}, 5),
        ({"max_completion_tokens": "7"}, 0),
    ],
)
def test_chat_bounds_its_answer_by_either_name(more: dict[str, object], most: int) -> None:
    assert CHAT.read(body(CHAT, [{"role": "user", "content": "hi"}], **more)).most_tokens == most


@pytest.mark.parametrize(
    ("content", "expected"),
    [("Be brief.", f"Be brief.\n\n{TEXT}"), ("", TEXT), (None, TEXT), ([], TEXT)],
)
def test_chat_appends_to_the_system_prompt(content: object, expected: str) -> None:
    asked = CHAT.read(body(CHAT, [{"role": "system", "content": content}, {"role": "user", "content": "hi"}]))
    assert injected(CHAT, asked, TEXT)["messages"] == [
        {"role": "system", "content": expected},
        {"role": "user", "content": "hi"},
    ]


def test_chat_appends_a_part_to_a_system_prompt_of_parts() -> None:
    own = {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    asked = CHAT.read(body(CHAT, [{"role": "developer", "content": [own]}, {"role": "user", "content": "hi"}]))
    first = injected(CHAT, asked, TEXT)["messages"][0]
    assert first == {"role": "developer", "content": [own, {"type": "text", "text": TEXT}]}


def test_chat_puts_what_comes_later_before_its_message() -> None:
    items = [{"role": role, "content": role} for role in ("system", "user", "assistant", "user")]
    asked = CHAT.read(body(CHAT, items))
    after = injected(CHAT, asked, "", (Placed(2, "later"),))["messages"]
    assert after == [*items[:3], {"role": "system", "content": "later"}, items[3]]


def test_messages_gets_a_last_block_and_a_cache_mark_when_the_client_uses_them() -> None:
    marked = {"type": "text", "text": "Own.", "cache_control": {"type": "ephemeral"}}
    user = {"role": "user", "content": "hi"}
    for system, expected in (
        (None, [{"type": "text", "text": TEXT}]),
        ("Own.", [{"type": "text", "text": "Own."}, {"type": "text", "text": TEXT}]),
        ([marked], [marked, {"type": "text", "text": TEXT, "cache_control": {"type": "ephemeral"}}]),
        ([marked] * 4, [*[marked] * 4, {"type": "text", "text": TEXT}]),
    ):
        more = {} if system is None else {"system": system}
        assert injected(MESSAGES, MESSAGES.read(body(MESSAGES, [user], **more)), TEXT)["system"] == expected


def test_messages_puts_what_comes_later_after_results_and_before_words() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    words = {"type": "text", "text": "go on"}
    asked = MESSAGES.read(body(MESSAGES, [{"role": "user", "content": [result, words]}]))
    [after] = injected(MESSAGES, asked, "", (Placed(0, "later"),))["messages"]
    assert after["content"] == [result, {"type": "text", "text": "later"}, words]


def test_a_marked_and_an_unmarked_message_have_one_link() -> None:
    part = {"text": "hi", "type": "text"}
    marked = json.dumps({"role": "user", "content": [part | {"cache_control": {"type": "ephemeral"}}]})
    plain = json.dumps({"role": "user", "content": [part]})
    asked = [MESSAGES.read(f'{{"messages":[{item}]}}'.encode()) for item in (marked, plain)]
    one, two = ([MESSAGES.stable(item) for item in each.items] for each in asked)
    assert one == two


@given(text=st.text(), data=st.data())
def test_only_marks_are_taken_out_of_a_message(text: str, data: st.DataObject) -> None:
    mark = {
        "cache_control": data.draw(st.sampled_from([None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}]))
    }
    said = f'{text}, "cache_control": {{"type":"ephemeral"}}'
    more, unmarked = {"type": "text", "text": text}, {"type": "text", "text": said}
    block = data.draw(st.sampled_from([{"type": "text", "text": said, **mark}, {**mark, "type": "text", "text": said}]))
    for dialect in (MESSAGES, CHAT):
        [marked] = dialect.read(body(dialect, [{"role": "user", "content": [more, block]}])).items
        [plain] = dialect.read(body(dialect, [{"role": "user", "content": [more, unmarked]}])).items
        assert dialect.stable(marked) == dialect.stable(plain)
        [alone] = dialect.read(body(dialect, [{"role": "user", "content": [block]}])).items
        [words] = dialect.read(body(dialect, [{"role": "user", "content": said}])).items
        assert dialect.stable(alone) == dialect.stable(words)
        assert json.loads(dialect.stable(words))["content"] == said


@given(st.dictionaries(st.text(max_size=8), JSON | st.lists(JSON, max_size=3), max_size=4))
def test_an_object_is_written_as_an_encoder_writes_it(value: dict[str, Any]) -> None:
    parts = {
        name: [encode(one) for one in field] if isinstance(field, list) else Raw(encode(field))
        for name, field in value.items()
    }
    assert written(parts) == encode(value)
    assert all(bytes(joined(part)) == encode(value[name]) for name, part in parts.items() if isinstance(part, list))


@pytest.mark.parametrize("text", ["", "hi", 'say "type" }] {"text":"', "x" * 500, "x" * 300 + '"}]}'])
@pytest.mark.parametrize("gap", ["", " ", "\n  ", " " * 30])
@pytest.mark.parametrize("last", ["text", "type"])
def test_a_text_and_one_block_of_it_have_one_link(text: str, gap: str, last: str) -> None:
    said, kind = f'"text":{gap}{json.dumps(text)}', f'"type":{gap}"text"'
    block = f",{gap}".join((kind, said) if last == "text" else (said, kind))
    for before, after in (('"role":"user",', ""), ("", ',"role":"user"')):
        blocks = f'{{{before}"content":[{gap}{{{gap}{block}{gap}}}{gap}]{after}}}'
        plain = f'{{{before}"content":{json.dumps(text)}{after}}}'
        assert settled(Raw(blocks.encode())) == settled(Raw(plain.encode()))


def test_responses_use_instructions_or_a_message_of_the_developer() -> None:
    user = {"type": "message", "role": "user", "content": "hi"}
    developer = {"type": "message", "role": "developer", "content": "Own."}
    assert injected(RESPONSES, RESPONSES.read(body(RESPONSES, [user])), TEXT)["instructions"] == TEXT
    own = RESPONSES.read(body(RESPONSES, [user], instructions="Own."))
    assert injected(RESPONSES, own, TEXT)["instructions"] == f"Own.\n\n{TEXT}"
    after = injected(RESPONSES, RESPONSES.read(body(RESPONSES, [developer, user])), TEXT)["input"]
    assert after[0] == developer
    assert after[1]["content"] == [{"type": "input_text", "text": TEXT}]
    assert after[2] == user


def test_responses_take_a_text_for_a_message() -> None:
    asked = RESPONSES.read(b'{"model":"m","input":"hi"}')
    assert [said.text for said in RESPONSES.said(asked.items)] == ["hi"]
    assert injected(RESPONSES, asked, TEXT) == {"model": "m", "input": "hi", "instructions": TEXT}
    [added, text] = injected(RESPONSES, asked, "", (Placed(0, TEXT),))["input"]
    assert (added["role"], text["content"]) == ("developer", "hi")


def test_a_message_says_who_speaks_and_what_a_call_gave() -> None:
    use = {"type": "tool_use", "id": "t1", "name": "ls", "input": {"a": 1}}
    failed = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "no"}], "is_error": True}
    asked = MESSAGES.read(
        body(
            MESSAGES,
            [{"role": "assistant", "content": [use]}, {"role": "user", "content": [failed, {"type": "image"}]}],
        )
    )
    call, result, words = MESSAGES.said(asked.items)
    assert (call.role, call.text) == ("assistant", "")
    assert (result.role, result.text, result.call_id) == ("tool", "no", "t1")
    assert (words.role, words.text) == ("user", "[image]")


@pytest.mark.parametrize("dialect", DIALECTS, ids=NAMES)
def test_a_message_that_is_none_goes_on_as_it_came(dialect: Dialect) -> None:
    asked = dialect.read(body(dialect, ["x", 1, None]))
    for place in range(3):
        found = injected(dialect, asked, "", (Placed(place, TEXT),))
        kept = found["input" if dialect is RESPONSES else "messages"]
        assert [one for one in kept if not isinstance(one, dict)] == ["x", 1, None]


@pytest.mark.parametrize("elsewhere", ["prompt", "conversation", "previous_response_id"])
def test_a_request_without_input_goes_on_from_what_the_provider_keeps(elsewhere: str) -> None:
    sent = {"model": "m", elsewhere: "kept"}
    asked = RESPONSES.read(json.dumps(sent).encode())
    assert not asked.items
    assert injected(RESPONSES, asked, "") == sent
    assert injected(RESPONSES, asked, "skills") == sent | {"instructions": "skills"}
