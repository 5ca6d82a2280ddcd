"""What headers say to the gateway, and which of them pass on."""

from __future__ import annotations

import json

import pytest

from llmos_lite.api.auth import given_by
from llmos_lite.core.gateway.scaffolding import is_side_prompt, wants_a_title, words_of
from llmos_lite.core.gateway.steering import steering_of
from llmos_lite.errors import Invalid


def headers(**given: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]


@pytest.mark.parametrize(
    ("text", "skills"),
    [("off", ()), ("None", ()), ("", None), ("auto", None), ("a, b-c ,a", ("a", "b-c"))],
)
def test_skills_are_left_to_us_refused_or_named(text: str, skills: tuple[str, ...] | None) -> None:
    assert steering_of(headers(x_llmos_skills=text)).skills == skills


@pytest.mark.parametrize(
    "given",
    [{"x_llmos_skills": "../x"}, {"x_llmos_skills": "a," * 50 + ",".join(f"s{n}" for n in range(30))},
     {"x_llmos_record": "maybe"}, {"x_llmos_team": "a/b"}],
)  # fmt: skip
def test_what_means_nothing_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        steering_of(headers(**given))


def test_credentials_and_what_belongs_to_the_connection_stay_here() -> None:
    sent = headers(
        authorization="Bearer x", x_api_key="y", cookie="z", host="h", accept_encoding="gzip", te="trailers",
        x_forwarded_for="1.2.3.4", x_openwebui_user_id="u", x_openwebui_auth_type="j",
        anthropic_version="v", user_agent="a", x_stainless_os="o",
    )  # fmt: skip
    assert steering_of(sent).passed == {"anthropic-version": "v", "user-agent": "a", "x-stainless-os": "o"}


def test_with_our_own_key_beside_them_the_clients_credentials_pass() -> None:
    found = steering_of(headers(authorization="Bearer x", x_llmos_key="ours"))
    assert found.own_key
    assert found.passed == {"authorization": "Bearer x"}


@pytest.mark.parametrize(
    "keys", [[b""], [b" "], [b"\xa0"], [b"", b"k"], [b"k", b""], [b"Bearer "], [b"Bearer k", b"l"]]
)
def test_credentials_pass_only_where_none_of_them_is_ours(keys: list[bytes]) -> None:
    sent = [(b"authorization", b"Bearer x"), *((b"x-llmos-key", key) for key in keys)]
    ours, found = given_by({"headers": sent}).key == "x", steering_of(sent)
    assert found.own_key is not ours
    assert ("authorization" in found.passed) is not ours


def test_the_first_name_of_a_conversation_counts() -> None:
    assert steering_of(headers(session_id="b", x_claude_code_session_id="a")).conversation == "a"
    assert steering_of(headers(session_id="b", x_llmos_conversation="mine")).conversation == "mine"
    assert len(steering_of(headers(session_id="b" * 5000)).conversation) <= 128


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("plain words", "plain words"),
        ("<system-reminder>\nnot these\n</system-reminder>\nfix the bug", "fix the bug"),
        ("<environment_context>\n<cwd>/x</cwd>\n</environment_context>", ""),
        ("# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>be good</INSTRUCTIONS>", ""),
        ("<command-name>/review</command-name>\n<command-args>main.py</command-args>", "/review main.py"),
        ("<command-name>/compact</command-name>\n<local-command-stdout>Done</local-command-stdout>", ""),
        ("<bash-stdout>a.py</bash-stdout><bash-stderr></bash-stderr>", ""),
        ("fix it\n\nTo suggest changes to a file you MUST return all of it.", "fix it"),
        ("fix it\n\n# *SEARCH/REPLACE block* Rules:\n\nEvery block must", "fix it"),
        ("<task-notification>\n<task-id>a1</task-id>\n</task-notification>", ""),
        ('<subagent_notification>\n{"status": "done"}\n</subagent_notification>', ""),
        ("a < b and c > d", "a < b and c > d"),
        ("why does <div> break?", "why does <div> break?"),
        ("what is <bash-input>? Read the log.", "what is <bash-input>? Read the log."),
        ("rename <command-args> to <args>\nin all files", "rename <command-args> to <args>\nin all files"),
        ("count <command-name>/review</command-name> in it", "count  in it"),
        ("<bash-input>ls", ""),
        ("<command-message>review</command-message>\n  <command-name>/review</command-name>", "/review"),
        ("why <skill>?" * 20_000, ("why <skill>?" * 20_000)[:200_000]),
        ("<system-reminder>" * 20_000, ""),
        ("", ""),
    ],
)
def test_what_a_client_wrote_is_no_word_of_the_person(text: str, words: str) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("prompt", "side"),
    [
        ("You are a title generator. You output ONLY a title.", True),
        ("x-billing: 1\n\nYou are an agent.\n\nGenerate a concise title (3-7 words) for this coding session.", True),
        ("Analyze if this message indicates a new topic. Answer in JSON.", True),
        ("Summarize this coding conversation in under 50 characters.", True),
        ("x-billing: 1\n\nYou are naming a coding session so that it can be found again. The title is short.", True),
        ("Generate a short kebab-case name (2-4 words) for this conversation.", True),
        ("You are naming a chat application that the user is about to launch. Offer five names.", False),
        ("Write down the names of all people in this conversation.", False),
        ("You are a helpful assistant. Be brief in this conversation, and answer the user's questions only.", False),
        ("You are the helper of a shop.\n- Suggest a short name for a thing when asked in the chat.", False),
        ("Suggest a short name for a variable when somebody asks for one in chat.", False),
        ("You are a copywriter. You write titles for articles about travel.", False),
        ("Write every answer as a title, then text.", False),
        ("", False),
        ("generate " * 20_000, False),
    ],
)
def test_a_system_prompt_tells_what_a_client_asks_for_itself(prompt: str, *, side: bool) -> None:
    assert is_side_prompt(prompt) is side


@pytest.mark.parametrize(
    ("prompt", "properties", "side"),
    [
        ("Call this coding session something.", {"title": {"type": "string"}}, True),
        ("Call this article something.", {"title": {"type": "string"}}, False),
        ("You name chapters in a chat app for authors.", {"title": {"type": "string"}}, False),
        ("List what this chat decided.", {"all": {"items": {"properties": {"title": {"type": "string"}}}}}, False),
        ("Say what this conversation is about.", {"title": {"type": "string"}, "text": {"type": "string"}}, False),
        ("Say what this conversation is about.", {"title": {"type": "object", "properties": {}}}, False),
    ],
)
def test_an_answer_that_can_only_be_a_title_is_asked_by_a_client(
    prompt: str, properties: dict[str, object], *, side: bool
) -> None:
    schema = {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}
    form = json.dumps({"format": {"type": "json_schema", "schema": schema}}).encode()
    assert wants_a_title(prompt, form) is side
