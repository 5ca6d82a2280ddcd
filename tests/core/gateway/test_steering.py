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


AIDER_FAILED = "## SearchReplaceNoExactMatch: This SEARCH block failed to exactly match lines in"


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
        ("why?\n\nReply in English.\n", "why?"),
        ("why?\n\nReply in English.", "why?\n\nReply in English."),
        ("fix it\n\n\nNEVER RETURN CODE!\n", "fix it"),
        (
            "fix it\n\nPay careful attention to the scope of the user's request.\nDo what they ask, but no more.\n",
            "fix it",
        ),
        ("# Fix any errors below, if possible.\n\n## a.py:3: undefined name", ""),
        ("I ran this command:\n\npytest\n\nAnd got this output:\n\n1 failed\n", ""),
        ("I ran this command:\n\npytest\n\nWhy does it fail?", "I ran this command:\n\npytest\n\nWhy does it fail?"),
        (f"# 2 SEARCH/REPLACE blocks failed to match!\n{AIDER_FAILED} a.py\nx", ""),
        ("# Plan\nfix it", "# Plan\nfix it"),
        ("<environment_details>\nWorking directory: /x\n</environment_details>", ""),
        ("<current_datetime>2026-12-01T00:00:00Z</current_datetime>\n\nfix it", "fix it"),
        ("Validation Error found:\n1 error for T\nRecall the function correctly, fix the errors", ""),
        ("Validation Error found:\n1 error for T. Why?", "Validation Error found:\n1 error for T. Why?"),
        ("Validation feedback:\nname is missing\n\nFix the errors and try again.", ""),
        ("New task:\nfix it", "fix it"),
        (
            "New task:\nfix it\nError:\nno\nNow let's retry: take care not to repeat previous errors! Or else.\n",
            "fix it",
        ),
        ("fix it\n\nReturn the correct JSON response within a ```json codeblock. not the JSON_SCHEMA", "fix it"),
        (
            "[[ ## q ## ]]\nfix it\n\nRespond with a JSON object in the following order of fields: `a`.",
            "[[ ## q ## ]]\nfix it",
        ),
        (
            "fix it\n\nRespond with a JSON object in the following order.",
            "fix it\n\nRespond with a JSON object in the following order.",
        ),
        ("Error:\nno such tool\nNow let's retry: take care not to repeat previous errors! Or else.", ""),
        ("<task-notification>\n<task-id>a1</task-id>\n</task-notification>", ""),
        ('<subagent_notification>\n{"status": "done"}\n</subagent_notification>', ""),
        ("<user_action>\n  <context>User initiated a review task.</context>\n</user_action>", ""),
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


OF_CLIENTS = [
    "You are a title generator. You output ONLY a title.",
    "You are a title generator. You output ONLY a thread title. Nothing else.\n\n<task>\nGenerate a brief title",
    "You are a conversation title generator. Output ONLY a short title (5-8 words max) that captures the topic.",
    "You are a title generator. Create a concise title (max 50 characters) for a conversation based on its start.",
    "x-billing: 1\n\nYou are an agent.\n\nGenerate a concise title (3-7 words) for this coding session.",
    "Generate a concise, sentence-case title (3-7 words) that captures the main topic or goal of this coding session.",
    "Generate one concise plain-text title for this coding session. Return only the title.",
    "Create a short descriptive title for this conversation. Return just the title.",
    "Generate 1-3 broad tags categorizing the main themes of this chat.",
    "Generate a short kebab-case name (2-4 words) for this conversation.",
    "x-billing: 1\n\nYou are naming a coding session so that it can be found again. The title is short.",
    "Analyze if this message indicates a new topic. Answer in JSON.",
    "You are Claude Code.\nAnalyze if this message indicates a new conversation topic. If it does, extract a title.",
    "Summarize this coding conversation in under 50 characters.",
    "You are Claude Code.\n\nExtract any file paths that this command reads or modifies.",
    "Your task is to process Bash commands that an AI coding agent wants to run.",
    "You are an expert software engineer that generates concise, one-line Git commit messages based on the provided d",
    "You are an expert Git commit message generator that creates conventional commit messages based on staged changes.",
    "Act as an expert software developer who edits source code.\nNo more.",
    "*Briefly* summarize this partial conversation about programming.\nLess about older parts.",
    "You are the component that summarizes internal chat history into a given structure.\n\nKeep it short.",
    "You generate session recaps for a programming assistant CLI.\n\nFew words.",
    "Write a short summary label describing what these tool calls accomplished. It is one line.",
    "Summarize the provided coding session into a concise continuation note with next steps.",
    "You are a context summarization agent. You are given a conversation between a user and an agent.",
    "Summarize what was done in this conversation. Write like a pull request description.",
]
OF_PEOPLE = [
    "You are a title writer for a newspaper. Write headlines for the articles that people send.",
    "You are a title generator for videos about cooking. Output only a title.",
    "You are a title generator. Given a blog post, give five titles.",
    "You are a title generator. Output only a title for the post that is given.",
    "You are an expert SEO title writer. People give you a page, you answer with a title.",
    "You are a creative book title generator. You know that every chat is different.",
    "You are a copywriter. You write titles for articles about travel.",
    "Generate titles for podcast episodes from the session notes that people send.",
    "Generate a title for each chat that the customer had with support.",
    "Suggest a title for the therapy session that the person describes.",
    "Suggest a title for the session notes below.",
    "Create tags for products in our shop; this session is with the editor.",
    "Write a short poem with a title about this conversation.",
    "Write every answer as a title, then text.",
    "You are a helpful assistant.\n\nBe brief.\n\nGenerate a title for this conversation when you are asked for one.",
    "You are naming a chat application that the user is about to launch. Offer five names.",
    "You are naming a product in chat with its founder.",
    "You are naming a new chat assistant. It is for a bank.",
    "Suggest a name for the conversation starter that the person invents.",
    "Write a title for our chat show of tonight, from the list of guests.",
    "Write down the names of all people in this conversation.",
    "You are a helpful assistant. Be brief in this conversation, and answer the user's questions only.",
    "You are the helper of a shop.\n- Suggest a short name for a thing when asked in the chat.",
    "Suggest a short name for a variable when somebody asks for one in chat.",
    "You are a moderator.\nDetermine whether this message is spam. Answer yes or no.",
    "Summarize this conversation between a customer and an agent for the CRM.",
    "Summarize this therapy session for the file.",
    "Extract any file paths in the log, and tell which are missing.",
    "You help people to process bash commands safely.",
    "You are an expert software engineer. Help with git, commit messages too.",
    "You write commit messages for the diffs that people send.",
    "Act as an expert software developer.\nTake requests for changes.",
    "Summarize what was done in this meeting.",
    "Your task is to process Bash commands that the operators send, and rate their risk.",
    "",
    "generate " * 20_000,
    "you are " * 20_000,
    "you are a title generator. " * 200,
]


@pytest.mark.parametrize("prompt", OF_CLIENTS)
def test_a_system_prompt_tells_what_a_client_asks_for_itself(prompt: str) -> None:
    assert is_side_prompt(prompt)


@pytest.mark.parametrize("prompt", OF_PEOPLE)
def test_a_system_prompt_of_a_person_is_no_clients(prompt: str) -> None:
    assert not is_side_prompt(prompt)


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
