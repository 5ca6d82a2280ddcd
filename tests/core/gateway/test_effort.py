"""How hard a model shall think, in every dialect; which words are allowed stands in the official libraries."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import pytest
from anthropic.types import OutputConfigParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from openai.types.shared import ReasoningEffort
from pydantic import TypeAdapter

from llmos_lite.core.gateway.translation import waived
from llmos_lite.core.gateway.translation.translator import translate_request
from llmos_lite.core.gateway.translation.waived import Waived, lowered, refused
from llmos_lite.engines.upstream import Wire

HI = [{"role": "user", "content": "hi"}]
FORMS: dict[Wire, Any] = {
    Wire.CHAT: CompletionCreateParamsNonStreaming,
    Wire.RESPONSES: ResponseCreateParamsNonStreaming,
    Wire.MESSAGES: MessageCreateParamsNonStreaming,
}


def words_of(kind: object) -> list[str]:
    """The words of an optional literal."""
    inner = get_args(kind)
    return [word for one in inner for word in ([one] if isinstance(one, str) else words_of(one))]


OPENAIS = words_of(ReasoningEffort)
ANTHROPICS = words_of(get_type_hints(OutputConfigParam)["effort"])


def sent(client: Wire, server: Wire, model: str = "m", **fields: object) -> dict[str, Any]:
    said = {"input": HI} if client is Wire.RESPONSES else {"messages": HI}
    made = translate_request(json.dumps({"model": model, **said, **fields}).encode(), client, server)
    body: dict[str, Any] = json.loads(made.body)
    TypeAdapter(FORMS[server]).validate_python(body)
    lost = {"temperature"} & set(fields)
    assert set(made.left_out) - lost <= {"between_tools", "effort"}
    return body


def effort_in(body: dict[str, Any]) -> str | None:
    found = body.get("reasoning_effort", body.get("reasoning", {}).get("effort"))
    return found if found is None else str(found)


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
@pytest.mark.parametrize("effort", ANTHROPICS)
def test_what_claude_code_says_of_effort_reaches_openai(server: Wire, effort: str) -> None:
    assert effort in OPENAIS
    for thinking in ({}, {"thinking": {"type": "adaptive"}}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}):
        body = sent(Wire.MESSAGES, server, output_config={"effort": effort}, **thinking)
        assert effort_in(body) == effort


@pytest.mark.parametrize("server", [Wire.CHAT, Wire.RESPONSES])
@pytest.mark.parametrize(
    ("thinking", "effort"),
    [
        ({"type": "adaptive"}, "high"),
        ({"type": "disabled"}, "none"),
        ({"type": "between_tools"}, None),
        ({"type": "enabled", "budget_tokens": 1024}, "low"),
        ({"type": "enabled", "budget_tokens": 31_999}, "xhigh"),
        ({"type": "enabled", "budget_tokens": 63_999}, "xhigh"),
        (None, None),
    ],
)
def test_how_anthropics_models_think_is_a_word_of_openai(
    server: Wire, thinking: dict[str, object] | None, effort: str | None
) -> None:
    assert effort_in(sent(Wire.MESSAGES, server, thinking=thinking)) == effort
    if thinking == {"type": "disabled"}:
        body = sent(Wire.MESSAGES, server, thinking=thinking, output_config={"effort": "high"})
        assert effort_in(body) == "none"


@pytest.mark.parametrize("client", [Wire.CHAT, Wire.RESPONSES])
@pytest.mark.parametrize("effort", OPENAIS)
def test_every_word_of_openai_reaches_anthropic(client: Wire, effort: str) -> None:
    said: dict[str, object] = {"reasoning": {"effort": effort}}
    if client is Wire.CHAT:
        said = {"reasoning_effort": effort}
    new = sent(client, Wire.MESSAGES, "claude-opus-4-8", temperature=0.5, **said)
    old = sent(client, Wire.MESSAGES, "claude-sonnet-4-5", temperature=0.5, **said)
    if effort == "none":
        assert (new["thinking"], "output_config" in new, "thinking" in old) == ({"type": "disabled"}, False, False)
        assert ("temperature" in new, old["temperature"]) == (False, 0.5)
        return
    assert new["thinking"] == {"type": "adaptive"}
    assert new["output_config"]["effort"] == {"minimal": "low"}.get(effort, effort)
    assert new["output_config"]["effort"] in ANTHROPICS
    assert 1024 <= old["thinking"]["budget_tokens"] <= old["max_tokens"] - 8192 <= 32_000 - 8192
    assert "temperature" not in new | old


@pytest.mark.parametrize(
    ("most", "budget"), [(32_000, 16_384), (20_000, 16_384), (16_384, 8192), (4000, 2000), (2000, 0)]
)
def test_thoughts_leave_room_for_an_answer(most: int, budget: int) -> None:
    body = sent(Wire.CHAT, Wire.MESSAGES, "claude-sonnet-4-5", reasoning_effort="high", max_tokens=most)
    assert (body["max_tokens"], body.get("thinking", {}).get("budget_tokens", 0)) == (most, budget)


def test_a_word_that_was_refused_gives_way_to_a_lower_one_and_then_to_none() -> None:
    assert lowered("xhigh", ()) == "xhigh"
    assert lowered("max", {"max"}) == lowered("xhigh", {"xhigh"}) == "high"
    assert lowered("max", {"max", "high"}) == lowered("low", {"low"}) == lowered("", {"low"}) == ""
    raw = json.dumps({"model": "m", "input": HI, "reasoning": {"effort": "xhigh"}}).encode()
    lower = translate_request(raw, Wire.RESPONSES, Wire.CHAT, without={"xhigh"})
    assert (json.loads(lower.body)["reasoning_effort"], lower.effort, lower.left_out) == ("high", "high", [])
    none = translate_request(raw, Wire.RESPONSES, Wire.CHAT, without={"xhigh", "high"})
    assert ("reasoning_effort" in json.loads(none.body), none.effort, none.left_out) == (False, "", ["effort"])


@pytest.mark.parametrize(
    ("status", "said", "is_about"),
    [
        (400, b'{"error":{"message":"\\"llama3.2\\" does not support thinking"}}', True),
        (400, b"Unsupported value: 'reasoning_effort' does not support 'xhigh' with this model.", True),
        (400, b'{"error":{"message":"This model does not support the effort parameter."}}', True),
        (422, b'{"detail":[{"loc":["body","reasoning_effort"],"msg":"Input should be \'low\'"}]}', True),
        (400, b'{"error":{"message":"This model\'s maximum context length is 8192 tokens."}}', False),
        (500, b'{"error":{"message":"thinking failed"}}', False),
        (401, b'{"error":{"message":"no reasoning for you"}}', False),
    ],
)
def test_a_refusal_says_what_it_is_about(status: int, said: bytes, *, is_about: bool) -> None:
    assert refused(status, said, "high") == ("high" if is_about else "")
    assert refused(status, said, "") == ""


def test_what_a_model_refused_is_known_for_an_hour_and_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    known = Waived(lambda: now)
    known.note("s", "m", {"xhigh"})
    known.note("s", "m", {"high", "made up"})
    known.note_files("s", "m", "c", 2)
    assert (known.words("s", "m"), known.files("s", "m", "c")) == ({"xhigh", "high"}, 2)
    assert known.words("other", "m") == known.words("s", "other") == set()
    assert known.files("s", "m", "other") == 0
    now = waived.AGAIN_SECONDS
    assert (known.words("s", "m"), known.files("s", "m", "c")) == (set(), 0)
    monkeypatch.setattr(waived, "MOST_KNOWN", 2)
    for model in ("a", "b", "c" * 1000):
        known.note("s", model, {"low"})
    assert (known.words("s", "b"), known.words("s", "c" * 1000), len(known._words)) == ({"low"}, set(), 2)


@pytest.mark.parametrize(
    ("said", "is_about"),
    [
        ("Not allowed: 'Please think of your reasoning'", False),
        ('{"loc":["body","messages"],"input":"Please think of your reasoning"}', False),
        ("Not allowed: 'Please think of your reasoning'. No thinking with this model.", True),
        ("Unsupported value: 'reasoning_effort' does not support 'high'.", True),
        ("Please think. " * 10_000, True),
    ],
)
def test_a_refusal_that_quotes_a_person_is_not_about_how_hard_to_think(said: str, *, is_about: bool) -> None:
    asked = b'{"messages":[{"content":"Please think of your reasoning"}],"reasoning_effort":"high"}'
    assert refused(400, said.encode(), "high", asked=asked) == ("high" if is_about else "")


@pytest.mark.parametrize(
    ("model", "fields", "kept", "lost"),
    [
        ("claude-opus-4-8", {"temperature": 0.5, "top_p": 0.9}, {}, ["temperature", "top_p"]),
        ("claude-opus-4-8", {"temperature": 1, "top_p": 1.0}, {}, []),
        ("claude-sonnet-4-5", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ["top_p"]),
        ("claude-sonnet-4-5", {"temperature": 1, "top_p": 0.9}, {"top_p": 0.9}, []),
        ("claude-sonnet-4-5", {"temperature": 0.5, "reasoning_effort": "low"}, {}, ["temperature"]),
        ("claude-sonnet-4-5", {"top_p": 0.9}, {"top_p": 0.9}, []),
        ("kimi-k3", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, []),
    ],
)
def test_numbers_that_a_model_of_anthropic_refuses_are_named(
    model: str, fields: dict[str, object], kept: dict[str, float], lost: list[str]
) -> None:
    """Those after 4.6 take no such number, others one; all of them refuse the request otherwise."""
    raw = json.dumps({"model": model, "messages": HI, **fields}).encode()
    made = translate_request(raw, Wire.CHAT, Wire.MESSAGES)
    body = json.loads(made.body)
    assert {name: body[name] for name in ("temperature", "top_p") if name in body} == kept
    assert made.left_out == lost
