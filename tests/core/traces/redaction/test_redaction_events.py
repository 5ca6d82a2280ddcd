"""What becomes of an event: typed slots, the same one for the same value, counted; nothing else changes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_secrets import Planter
from trace_instance import trace

from llmos_lite.core.traces.digest import digest_of
from llmos_lite.core.traces.lines import decode_event, encode_event
from llmos_lite.core.traces.redaction import Finder, Found, KeepAll, Redaction, redactor_of
from llmos_lite.core.traces.trace import (
    GOAL_LENGTH,
    SCHEMA,
    Event,
    Feedback,
    Message,
    Share,
    ToolCall,
    Trace,
    trace_event,
)
from llmos_lite.errors import Invalid

REDACTION = Redaction()
PIECES = [planted.text for planted in list(Planter(3).all())[::7]]
ODD = (
    "<email:1>",
    "<secret:7>",
    "<",
    ":1>",
    "\ud800",
    "\u200b",
    "İ",
    "@",
    "password=",
    "://a:",
    "\\u0040",
    '"',
    "\\",
    "\n",
)
TEXTS = st.lists(
    st.one_of(st.sampled_from(PIECES), st.sampled_from(ODD), st.text(max_size=12)), min_size=1, max_size=6
).map("".join)


def redacted(**given: object) -> Trace:
    event = REDACTION.redact(trace_event(trace(1, **given)))
    assert event.trace is not None
    return event.trace


def test_the_same_value_has_the_same_slot_wherever_it_stands() -> None:
    goal = "Write to jane@corp.de and joe@corp.de, my password is Tiger#4711"
    result = redacted(
        goal=goal,
        messages=(Message("user", goal), Message("assistant", "Done: Jane@Corp.de; Tiger#4711 is weak.", name="bot")),
        tool_calls=(
            ToolCall("mail", '{"to": "joe@corp.de", "api_key": "aB3dE5gH7jK9mN1p"}', "sent to eve@corp.de", id="c"),
        ),
        error="SMTP: joe@corp.de refused",
    )
    assert result.goal == "Write to <email:1> and <email:2>, my password is <secret:1>"
    assert result.messages[0].content == result.goal
    assert result.messages[1] == Message("assistant", "Done: <email:1>; <secret:1> is weak.", name="bot")
    [call] = result.tool_calls
    assert call == ToolCall("mail", '{"to": "<email:2>", "api_key": "<secret:2>"}', "sent to <email:3>", id="c")
    assert result.error == "SMTP: <email:2> refused"
    assert result.redacted == {"email": 3, "secret": 2}


def test_two_ways_to_write_a_number_are_one_value() -> None:
    text = "card 4111 1111 1111 1111 or 4111111111111111, IBAN DE89 3704 0044 0532 0130 00 or DE89370400440532013000"
    assert REDACTION.text(text) == "card <card:1> or <card:1>, IBAN <iban:1> or <iban:1>"


def test_what_is_not_text_stays_and_an_event_without_anything_is_the_same_object() -> None:
    plain = trace_event(trace(1))
    assert REDACTION.redact(plain) is plain
    hidden = trace_event(trace(1, goal="jane@corp.de", model="joe@corp.de", team="sre", share=Share.FULL))
    result = REDACTION.redact(hidden)
    assert result.trace
    assert hidden.trace
    back = msgspec.structs.replace(result.trace, goal="jane@corp.de", redacted={})
    assert msgspec.structs.replace(result, trace=back) == hidden
    assert KeepAll().redact(hidden) is hidden


def test_slots_of_the_text_itself_are_not_given_again() -> None:
    result = redacted(goal="<email:1> is not jane@corp.de", messages=(Message("user", "<email:4> nor joe@corp.de"),))
    assert (result.goal, result.messages[0].content) == ("<email:1> is not <email:5>", "<email:4> nor <email:6>")
    assert result.redacted == {"email": 2}


def test_a_digest_says_the_same_as_the_trace() -> None:
    one = trace(
        1, goal="Tell jane@corp.de", messages=(Message("user", "cc joe@corp.de"),), team="sre", share=Share.DIGEST
    )
    shared = digest_of(one)
    assert shared
    whole, digest = (REDACTION.redact(trace_event(some)).trace for some in (one, shared))
    assert whole
    assert digest
    assert digest.goal == whole.goal == "Tell <email:1>"
    assert (digest.redacted, whole.redacted) == ({"email": 1}, {"email": 2})


def test_a_goal_that_is_cut_off_shows_no_half_of_a_key() -> None:
    key = Planter(1).draw("ghp_{A36}")
    said = "x " * (GOAL_LENGTH // 2 - 10) + key + " end"
    goal = said[:GOAL_LENGTH]
    assert key[:20] in goal
    whole = redacted(goal=goal, messages=(Message("user", said),))
    assert whole.goal == whole.messages[0].content == said.replace(key, "<secret:1>")
    assert whole.redacted == {"secret": 1}
    alone = redacted(goal=goal, messages=())
    assert alone.goal == goal.rpartition(" ")[0] + " \u2026"
    assert REDACTION.redact(trace_event(alone)).trace == alone


def test_feedback_and_reasons_are_redacted() -> None:
    base = {"v": SCHEMA, "id": "1", "trace_id": "2", "at": 3, "volume": "user:alice"}
    feedback = Feedback(rating="up", note="ask jane@corp.de", kept="Dear jane@corp.de")
    event = REDACTION.redact(Event(kind="feedback", feedback=feedback, **base))  # type: ignore[arg-type]  # as above
    assert event.feedback == Feedback("up", "ask <email:1>", "Dear <email:1>", {"email": 1})
    event = REDACTION.redact(Event(kind="tombstone", reason="jane@corp.de asked", **base))  # type: ignore[arg-type]
    assert event.reason == "<email:1> asked"
    silent = Event(kind="outcome", **base)  # type: ignore[arg-type]
    assert REDACTION.redact(silent) is silent


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"phone": 14155550187, "n": 3}', {"phone": "<phone:1>", "n": 3}),
        ('["4111111111111111", 4111111111111111]', ["<card:1>", "<card:1>"]),
        ('{"note": "call: 14155550187, or"}', {"note": "call: <phone:1>, or"}),
        ('{"a": "\\nbob@corp.de\\n", "b": "x\\"y\\u0040"}', {"a": "\n<email:1>\n", "b": 'x"y@'}),
        ('{"url": "postgres:\\/\\/app:Kx82jdLq@db\\/x"}', {"url": "postgres://app:<secret:1>@db/x"}),
        ('{"text": "{\\"password\\": \\"Kx82jdLq\\"}"}', {"text": '{"password": "<secret:1>"}'}),
    ],
)
def test_arguments_in_json_stay_json(before: str, after: object) -> None:
    json.loads(before)
    result = redacted(tool_calls=(ToolCall("t", before),))
    assert json.loads(result.tool_calls[0].arguments) == after


def test_keys_of_json_stay() -> None:
    planter = Planter(4)
    secrets = {f"{name}_{number}": planter.draw("{A40}") for number, name in enumerate(("token", "api_key", "secret"))}
    result = redacted(tool_calls=(ToolCall("t", json.dumps(secrets, indent=2)),))
    assert json.loads(result.tool_calls[0].arguments) == {name: f"<secret:{n}>" for n, name in enumerate(secrets, 1)}


@given(st.lists(TEXTS, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_redacting_again_changes_nothing_and_gives_the_same(texts: list[str]) -> None:
    goal, *rest = texts
    given = trace(1, goal=goal, messages=tuple(Message("user", text) for text in rest))
    event = encode_event(trace_event(given))[0]
    once = REDACTION.redact(event)
    assert REDACTION.redact(event) == once
    assert REDACTION.redact(once) == once
    assert decode_event(encode_event(once)[1]) == once
    assert Redaction().redact(event) == once


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_places_lie_in_the_text_apart_and_in_order(text: str) -> None:
    finder = REDACTION._finder
    end = 0
    for one in finder.find(text):
        assert end <= one.start < one.end <= len(text)
        end = one.end


class Names:
    """Finds two names; stumbles where it is told to."""

    def find(self, text: str) -> Iterable[Found]:
        if "stumble" in text:
            raise RuntimeError("over a stone")
        if "nowhere" in text:
            yield Found(5, 5000, "name")
        for name in ("Jane", "Joe"):
            place = text.find(name)
            if place >= 0:
                yield Found(place, place + len(name), "name")


def test_finders_of_other_packages_add_to_what_is_found() -> None:
    redaction = Redaction(finders={"names": Names()})
    assert redaction.text("Joe writes to Jane at jane@corp.de") == "<name:1> writes to <name:2> at <email:1>"
    assert redaction.text("Jane@corp.de") == "<email:1>"
    assert isinstance(Names(), Finder)


@pytest.mark.parametrize("word", ["stumble", "nowhere"])
def test_a_finder_that_fails_stops_nobody_and_is_told(word: str, caplog: pytest.LogCaptureFixture) -> None:
    redaction = Redaction(finders={"names": Names()})
    with caplog.at_level(logging.ERROR, "llmos.redaction"):
        event = redaction.redact(trace_event(trace(1, goal=f"Jane {word}, jane@corp.de", messages=())))
    assert event.trace
    assert event.trace.goal == f"Jane {word}, <email:1>"
    assert event.trace.redacted == {"email": 1, "unchecked": 1}
    assert "names" in caplog.text


def test_a_setting_chooses_the_redactor() -> None:
    text = "password=Kx82jdLq jane@corp.de"
    event = trace_event(trace(1, goal=text, messages=()))
    for setting, goal in {
        "on": "password=<secret:1> <email:1>",
        "off": text,
        "secrets": "password=<secret:1> jane@corp.de",
        "personal": "password=Kx82jdLq <email:1>",
        "secrets, personal": "password=<secret:1> <email:1>",
    }.items():
        result = redactor_of(setting, {}).redact(event)
        assert result.trace
        assert result.trace.goal == goal, setting
    with pytest.raises(Invalid, match="nonsense"):
        redactor_of("nonsense", {})


def test_a_plug_in_is_a_class_or_an_object() -> None:
    event = trace_event(trace(1, goal="Jane", messages=()))
    for plugin in (Names, Names()):
        result = redactor_of("on", {"names": plugin}).redact(event)
        assert result.trace
        assert result.trace.goal == "<name:1>"
        assert redactor_of("off", {"names": plugin}).redact(event) is event
    with pytest.raises(Invalid) as caught:
        redactor_of("on", {"names": object()})
    assert caught.value.code == "plugin.redactor"
