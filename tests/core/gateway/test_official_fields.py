"""Every field that the official libraries let a program send is read, a hint that changes no answer, or named.

A new version of a library brings fields that nobody has thought of. These are named by themselves; a person who looks
at this test decides whether one of them should be translated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, get_args

import pytest
from anthropic.types import ContentBlockParam, ToolUnionParam
from anthropic.types.beta.message_create_params import MessageCreateParamsBase as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsBase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionContentPartParam
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses import ResponseInputContentParam, ResponseInputItemParam, ToolParam
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter
from typing_extensions import get_type_hints, is_typeddict

from llmos_lite.core.gateway.translation import chat, messages, responses
from llmos_lite.core.gateway.translation.translator import AnswerTranslation, translate_request
from llmos_lite.engines.upstream import Wire
from llmos_lite.errors import Invalid
from tests.official import made

HI = [{"role": "user", "content": "hi"}]
SAID: dict[Wire, dict[str, Any]] = {
    Wire.CHAT: {"messages": HI},
    Wire.MESSAGES: {"messages": HI, "max_tokens": 9},
    Wire.RESPONSES: {"input": HI},
}
OTHER = {Wire.CHAT: Wire.MESSAGES, Wire.MESSAGES: Wire.CHAT, Wire.RESPONSES: Wire.CHAT}
FIELDS: dict[Wire, frozenset[str]] = {
    Wire.CHAT: frozenset(get_type_hints(CompletionCreateParamsBase)),
    Wire.MESSAGES: frozenset(get_type_hints(MessageCreateParamsBase)) | frozenset(get_type_hints(BetaParams)),
    Wire.RESPONSES: frozenset(get_type_hints(ResponseCreateParamsBase)),
}
KNOWN = {Wire.CHAT: chat.KNOWN, Wire.MESSAGES: messages.KNOWN, Wire.RESPONSES: responses.KNOWN}
NAMED = {
    Wire.CHAT: "frequency_penalty logit_bias logprobs moderation presence_penalty seed top_logprobs verbosity "
    "web_search_options",
    Wire.MESSAGES: "compaction context_management fallbacks inference_geo speed user_profile_id workspace_id",
    Wire.RESPONSES: "access_programs background context_management max_tool_calls moderation top_logprobs truncation",
}
"""What a client is told of; whatever else the libraries know is read, or a hint."""


def left_out(client: Wire, **fields: object) -> list[str]:
    body = {"model": "m", **SAID[client], **fields}
    return list(translate_request(json.dumps(body).encode(), client, OTHER[client]).left_out)


@pytest.mark.parametrize("client", list(Wire))
def test_every_setting_is_read_or_a_hint_or_named(client: Wire) -> None:
    assert " ".join(sorted(FIELDS[client] - KNOWN[client])) == NAMED[client]
    for name in NAMED[client].split():
        assert left_out(client, **{name: "x"}) == [name]
    assert left_out(client, of_next_year={"a": 1}) == ["of_next_year"]


@pytest.mark.parametrize(
    ("client", "fields"),
    [
        (Wire.CHAT, {"verbosity": "medium", "moderation": None, "store": True, "seed": None, "audio": {}}),
        (Wire.MESSAGES, {"speed": "standard", "inference_geo": None, "fallbacks": [], "service_tier": "auto"}),
        (Wire.MESSAGES, {"output_config": {"task_budget": None}, "thinking": {"type": "adaptive"}, "betas": ["b"]}),
        (
            Wire.RESPONSES,
            {"truncation": "disabled", "text": {"verbosity": "medium"}, "reasoning": {"mode": "standard"}},
        ),
        (Wire.RESPONSES, {"reasoning": None, "text": None, "prompt_cache_key": "k", "include": ["x"], "store": False}),
    ],
)
def test_what_would_be_so_without_it_is_not_named(client: Wire, fields: dict[str, object]) -> None:
    assert left_out(client, **fields) == []


EXAMPLED = {"name": "f", "input_schema": {"type": "object"}, "input_examples": [{"a": 1}]}
CITED = {"type": "document", "source": {"type": "text", "data": "x"}, "citations": {"enabled": True}}


@pytest.mark.parametrize(
    ("client", "fields", "name"),
    [
        (Wire.RESPONSES, {"text": {"verbosity": "low"}}, "verbosity"),
        (Wire.RESPONSES, {"reasoning": {"mode": "pro"}}, "mode"),
        (Wire.MESSAGES, {"output_config": {"task_budget": {"type": "tokens", "total": 9}}}, "task_budget"),
        (Wire.MESSAGES, {"thinking": {"type": "between_tools"}}, "between_tools"),
        (Wire.MESSAGES, {"tools": [EXAMPLED]}, "input_examples"),
        (Wire.MESSAGES, {"messages": [{"role": "user", "content": [CITED]}]}, "citations"),
        (Wire.MESSAGES, {"tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}]}, "strict"),
        (Wire.CHAT, {"messages": [{"role": "user", "name": "ana", "content": "hi"}]}, "name"),
        (Wire.CHAT, {"tools": [{"type": "function", "function": {"name": "f", "strict": True}}]}, "strict"),
    ],
)
def test_settings_inside_of_others_are_named(client: Wire, fields: dict[str, object], name: str) -> None:
    assert left_out(client, **fields) == [name]


def types_in(kind: object) -> Iterator[str]:
    """The `type` of each alternative."""
    if is_typeddict(kind):
        yield from words_in(get_type_hints(kind).get("type", object))
    for one in get_args(kind):
        yield from types_in(one)


def words_in(kind: object) -> Iterator[str]:
    for one in get_args(kind):
        yield from [one] if isinstance(one, str) else words_in(one)


PARTS = [
    (Wire.CHAT, ChatCompletionContentPartParam),
    (Wire.RESPONSES, ResponseInputContentParam),
    (Wire.MESSAGES, ContentBlockParam),
]


@pytest.mark.parametrize(("client", "kinds"), PARTS, ids=["chat", "responses", "messages"])
def test_every_part_of_what_a_person_says_is_read_refused_or_named(client: Wire, kinds: object) -> None:
    read = {"text", "input_text", "image_url", "input_image", "image", "document", "search_result", "file"}
    for kind in set(types_in(kinds)) - read - {"input_file", "tool_use", "tool_result"}:
        said = {"role": "user", "content": [{"type": kind}, {"type": "text", "text": "hi"}]}
        try:
            assert left_out(client, **{"input" if client is Wire.RESPONSES else "messages": [said]})[:1] == [kind]
        except Invalid:
            assert kind in {"input_audio", "container_upload"}


TOOLS = [(Wire.RESPONSES, ToolParam), (Wire.MESSAGES, ToolUnionParam)]


@pytest.mark.parametrize(("client", "kinds"), TOOLS, ids=["responses", "messages"])
def test_every_tool_is_offered_or_named(client: Wire, kinds: object) -> None:
    found = set()
    for kind in set(types_in(kinds)) - {"namespace"}:
        body = {"model": "m", **SAID[client], "tools": [{"type": kind, "name": "t"}]}
        made = translate_request(json.dumps(body).encode(), client, OTHER[client])
        assert [*made.left_out, *(["offered"] if made.tools else [])] in ([kind], ["offered"])
        found |= {kind} if made.tools else set()
    ours = {"function", "custom", "local_shell", "bash_20250124", "memory_20250818"}
    assert {kind for kind in found if not kind.startswith("text_editor_")} == ours & set(types_in(kinds))


CALLED = {"function_call", "custom_tool_call", "local_shell_call", "tool_search_call"}


def test_every_item_of_a_conversation_is_read_refused_named_or_what_only_the_models_server_knows() -> None:
    kinds = set(types_in(ResponseInputItemParam)) - {"message"}
    for kind in kinds:
        items = [{"type": "message", "role": "user", "content": "hi"}, {"type": kind, "name": "f", "call_id": "c"}]
        body = json.dumps({"model": "m", "input": items}).encode()
        try:
            made = translate_request(body, Wire.RESPONSES, Wire.CHAT)
        except Invalid:
            assert kind in {"item_reference", "compaction", "compaction_trigger"}
            continue
        more = json.loads(made.body)["messages"][1:]
        is_read = kind in CALLED | {f"{call}_output" for call in CALLED} | {"tool_search_output"}
        assert bool(more) is is_read, kind
        is_silent = is_read or kind in responses._SILENT or kind.endswith("_call")
        assert made.left_out == ([] if is_silent else [kind])


def test_claude_code_finds_tools_by_a_tool_of_its_own() -> None:
    """Those that are not loaded yet are offered to other models at once, so that a name is all that has to be said."""
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "ToolSearch", "input": {}}]}
    found = [{"type": "tool_reference", "tool_name": "send"}, {"type": "tool_reference", "tool_name": "mail"}]
    given = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": found}]}
    tools = [{"name": "send", "input_schema": {"type": "object"}, "defer_loading": True}]
    body = {"model": "m", "messages": [*HI, call, given], "tools": tools}
    made = json.loads(translate_request(json.dumps(body).encode(), Wire.MESSAGES, Wire.CHAT).body)
    assert made["messages"][-1]["content"] == "Found: send.\nFound: mail."
    assert [tool["function"]["name"] for tool in made["tools"]] == ["send"]


@pytest.mark.parametrize("detail", ["low", "high", "original", "auto", None])
def test_how_closely_to_look_is_kept_between_openais_two(detail: str | None) -> None:
    url = "https://x.example/p.png"
    said = {"role": "user", "content": [{"type": "input_image", "image_url": url, "detail": detail}]}
    raw = json.dumps({"model": "m", "input": [said]}).encode()
    [part] = json.loads(translate_request(raw, Wire.RESPONSES, Wire.CHAT).body)["messages"][0]["content"]
    kept = {"low": "low", "high": "high", "original": "high"}.get(detail or "")
    expected = {"url": url} | ({"detail": kept} if kept else {})
    assert part == {"type": "image_url", "image_url": expected}
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": [part]}]}).encode()
    [back] = json.loads(translate_request(raw, Wire.CHAT, Wire.RESPONSES).body)["input"][0]["content"]
    assert back == {"type": "input_image", "image_url": url, "detail": expected.get("detail", "auto")}


@pytest.mark.parametrize("client", [Wire.CHAT, Wire.RESPONSES])
def test_the_new_name_of_a_user_is_read(client: Wire) -> None:
    body = {"model": "m", **SAID[client], "safety_identifier": "u-1"}
    made = json.loads(translate_request(json.dumps(body).encode(), client, Wire.MESSAGES).body)
    assert made["metadata"] == {"user_id": "u-1"}


def test_a_conversation_may_change_its_settings() -> None:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    updates = [
        {"type": "configuration_update", "reasoning": {"effort": "high"}},
        {"type": "configuration_update", "reasoning": {"effort": "low"}, "text": {"format": form}},
        {"type": "configuration_update", "text": None},
    ]
    body = {
        "model": "m",
        "input": [*HI, *updates],
        "reasoning": {"effort": "max"},
        "text": {"format": {"type": "text"}},
    }
    made = json.loads(translate_request(json.dumps(body).encode(), Wire.RESPONSES, Wire.CHAT).body)
    assert made["reasoning_effort"] == "low"
    assert made["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_the_old_place_of_anthropics_schema_is_read() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    body = {"model": "m", **SAID[Wire.MESSAGES], "output_format": form}
    made = json.loads(translate_request(json.dumps(body).encode(), Wire.MESSAGES, Wire.CHAT).body)
    assert made["response_format"]["json_schema"]["schema"] == {"type": "object"}


USAGE: dict[Wire, dict[str, Any]] = {
    Wire.CHAT: {"prompt_tokens": 9, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 5}},
    Wire.RESPONSES: {"input_tokens": 9, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 5}},
    Wire.MESSAGES: {"input_tokens": 9, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 5}},
}
ANSWERS: dict[Wire, dict[str, Any]] = {
    Wire.CHAT: {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]},
    Wire.RESPONSES: {"status": "completed", "output": []},
    Wire.MESSAGES: {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"},
}


@pytest.mark.parametrize("server", list(Wire))
def test_tokens_of_thoughts_are_told(server: Wire) -> None:
    body = json.dumps({"id": "i", "model": "m", **ANSWERS[server], "usage": USAGE[server]}).encode()
    for client in set(Wire) - {server}:
        usage = json.loads(AnswerTranslation(server, client).whole(body))["usage"]
        assert USAGE[client].items() <= usage.items()


@pytest.mark.parametrize(("most", "chat_most", "response_most"), [(0, 1, 16), (1, 1, 16), (99, 99, 99)])
def test_an_answer_is_no_shorter_than_a_server_takes(most: int, chat_most: int, response_most: int) -> None:
    """Claude Code asks for one token to see whether it may ask, and who wants to fill a cache for none."""
    body = json.dumps({"model": "m", "messages": HI, "max_tokens": most}).encode()
    assert json.loads(translate_request(body, Wire.MESSAGES, Wire.CHAT).body)["max_tokens"] == chat_most
    assert json.loads(translate_request(body, Wire.MESSAGES, Wire.RESPONSES).body)["max_output_tokens"] == response_most


REFUSAL = {
    "stop_reason": "refusal",
    "stop_details": {"type": "refusal", "category": "cyber", "explanation": "Not this."},
}


@pytest.mark.parametrize(("text", "shown"), [("", "Not this."), ("I began", "I began")])
def test_a_model_of_anthropic_that_says_nothing_says_why(text: str, shown: str) -> None:
    content = [{"type": "text", "text": text}] if text else []
    whole = json.dumps({"id": "i", "model": "m", "content": content, **REFUSAL}).encode()
    [choice] = json.loads(AnswerTranslation(Wire.MESSAGES, Wire.CHAT).whole(whole))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (shown, "content_filter")
    events = [{"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}] if text else []
    events.append({"type": "message_delta", "delta": REFUSAL})
    stream = AnswerTranslation(Wire.MESSAGES, Wire.CHAT)
    said = b"".join(stream.feed(b"data: %b\n\n" % json.dumps(event).encode()) for event in events)
    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in said.splitlines() if line]
    assert "".join(delta.get("content", "") for delta in deltas) == shown


REQUESTS: dict[Wire, Any] = {
    Wire.CHAT: CompletionCreateParamsBase,
    Wire.RESPONSES: ResponseCreateParamsBase,
    Wire.MESSAGES: MessageCreateParamsBase,
}
ADAPTERS: dict[Wire, TypeAdapter[Any]] = {wire: TypeAdapter(kind) for wire, kind in REQUESTS.items()}
LEADS_NOWHERE = ("conversation", "prompt", "previous_response_id", "container", "functions", "modalities", "n")
REFUSED = (*LEADS_NOWHERE, "stop", "stop_sequences", "tool_choice")


def went_through(value: object) -> None:
    """Look at everything that is looked at late."""
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, str | bytes) and isinstance(value, Iterable):
        for one in value:
            went_through(one)


@pytest.mark.parametrize("client", list(Wire))
@given(luck=st.randoms())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_the_libraries_send_is_what_the_servers_library_sends(client: Wire, luck: Random) -> None:
    body = made(REQUESTS[client], luck)
    assert isinstance(body, dict)
    body = {name: one for name, one in body.items() if name not in REFUSED} | {"model": "m"}
    if client is Wire.RESPONSES:
        body["input"] = [*(body["input"] if isinstance(body.get("input"), list) else ()), *HI]
    else:
        body["messages"] = [*body["messages"], *HI]
    raw, refusals = json.dumps(body).encode(), list[Invalid]()
    for server in set(Wire) - {client}:
        try:
            sent = translate_request(raw, client, server).body
        except Invalid as refused:
            refusals.append(refused)
        else:
            went_through(ADAPTERS[server].validate_python(json.loads(sent)))
    assert all(one.hint for one in refusals)
