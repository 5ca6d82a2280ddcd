"""What real clients do that the gateway has to know; their requests are made up after the shape of the real ones."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from llmos_lite.api.gateway import LARGE_REQUEST
from tests.gating import PATHS, PHOTOS, REVIEW, WIRES, Gate, gate, request, system_of
from tests.upstream import WORD, Upstream

MARKED = {"cache_control": {"type": "ephemeral"}}
REMINDER = {"type": "text", "text": "<system-reminder>\nToday is Monday.\n</system-reminder>\n"}
AGENTS = {"role": "system", "content": "Agents that may be called: one that explores."}
TOOL = {"name": "Read", "description": "Read a file", "input_schema": {"type": "object"}}
CODE = [{"type": "text", "text": "x-billing: 1"}, {"type": "text", "text": "You are a coding agent.", **MARKED}]
TITLE = {
    "claude code": (
        {
            "system": [
                *CODE[:1],
                {"type": "text", "text": "Generate a short title (3-7 words) for this coding session."},
            ]
        },
        [f"<session>\n{PHOTOS}\n</session>\n\nWrite the title in the language of the user."],
    ),
    "claude code, in other words": (
        {
            "system": [*CODE[:1], {"type": "text", "text": "Call this coding session something, as short as can be."}],
            "output_config": {
                "format": {"type": "json_schema", "schema": {"properties": {"title": {"type": "string"}}}}
            },
        },
        [f"<session>\n{PHOTOS}\n</session>\n\nWrite it in the language of the user."],
    ),
    "opencode": (
        {"system": "You are a title generator. You output ONLY a thread title."},
        ["Generate a title for this conversation:\n", {"role": "user", "content": f'"{PHOTOS}"'}],
    ),
}


def words(text: str, **more: object) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text, **more}]}


def answer() -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": WORD * 3}]}


@pytest.mark.parametrize("wire", ["chat", "messages"])
async def test_a_cache_mark_moves_on_and_the_conversation_stays_the_same(here: Gate, wire: str) -> None:
    """Claude Code: the newest words are a marked block, and a plain text as soon as they are not the newest."""
    opening = {"role": "user", "content": [REMINDER, {"type": "text", "text": PHOTOS}]}
    first = {"role": "user", "content": [REMINDER, {"type": "text", "text": PHOTOS, **MARKED}]}
    await here.ask(wire, first)
    await here.ask(wire, opening, answer(), words(REVIEW, **MARKED))
    second = here.seen.body["messages"]
    await here.ask(wire, opening, answer(), {"role": "user", "content": REVIEW}, answer(), words("thanks", **MARKED))
    one, two, three = await here.traces()
    assert (two.parent, three.parent) == (one.id, two.id)
    assert [message.content for message in three.messages] == ["thanks", WORD * 3]
    assert [use.skill_id for use in three.skills_used] == [use.skill_id for use in two.skills_used]
    assert "code-review" in json.dumps(second) and "code-review" in json.dumps(here.seen.body["messages"])  # noqa: PT018


async def test_skills_come_before_the_words_also_when_the_client_puts_something_after_them(here: Gate) -> None:
    """Claude Code ends with messages of the system."""
    await here.ask("chat", PHOTOS, AGENTS)
    await here.ask("chat", PHOTOS, AGENTS, answer(), words(REVIEW), AGENTS)
    roles = [one["role"] for one in here.seen.body["messages"]]
    assert roles == ["system", "user", "system", "assistant", "system", "user", "system"]
    assert "code-review" in here.seen.body["messages"][4]["content"]


@pytest.mark.parametrize("client", TITLE)
async def test_a_title_is_no_goal_and_gets_no_skill(fresh_copy: Path, upstream: Upstream, client: str) -> None:
    more, said = TITLE[client]
    wire = "chat" if client == "opencode" else "messages"
    lead = [] if wire == "messages" else [{"role": "system", "content": more["system"]}]
    body = {"tools": [], **more} if wire == "messages" else {}
    async with gate(fresh_copy, upstream, llm_provider="anthropic" if wire == "messages" else "openai") as here:
        await here.ask(wire, *lead, *said, **body)
        trace = await here.trace()
    assert "skill_content" not in json.dumps(here.seen.body)
    assert (trace.goal, trace.source) == ("", f"gateway:{wire}:side")


@pytest.mark.parametrize("wire", WIRES)
async def test_the_words_of_another_session_that_failed_are_no_retry(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS, model="e500", headers={"session-id": "first"})
    await here.ask(wire, PHOTOS, headers={"session-id": "second"})
    await here.ask(wire, PHOTOS, model="e500", headers={"session-id": "third"})
    await here.ask(wire, PHOTOS, headers={"session-id": "third"})
    one, two, three, four = await here.traces()
    assert [trace.conversation for trace in (one, two, three, four)] == ["first", "second", "third", "third"]
    assert (two.retry_of, four.retry_of) == ("", three.id)
    assert two.messages[0].content == PHOTOS


@pytest.mark.parametrize("wire", WIRES)
async def test_examples_of_answers_make_no_retry_of_the_same_question(here: Gate, wire: str) -> None:
    """aider and Qwen Code begin each conversation with turns that nobody took."""
    for more in ([], [], ["Done.", REVIEW]):
        await here.ask(wire, "Which day is it?", "Monday.", PHOTOS, *more)
    one, two, three = await here.traces()
    assert (two.retry_of, two.parent, two.messages[-2].content) == ("", "", PHOTOS)
    assert one.conversation != two.conversation
    assert (three.parent, three.conversation) == (two.id, two.conversation)


@pytest.mark.parametrize("wire", ["chat", "messages"])
async def test_a_session_is_no_part_of_a_conversation_that_began_with_the_same_words(here: Gate, wire: str) -> None:
    await here.ask(wire, PHOTOS)
    for more in ([], ["Done.", REVIEW]):
        await here.ask(wire, PHOTOS, AGENTS, *more, headers={"session-id": "mine"})
    _, one, two = await here.traces()
    assert (one.conversation, one.parent, one.messages[0].content) == ("mine", "", PHOTOS)
    assert (two.conversation, two.parent) == ("mine", one.id)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("result", ["Observation:\n2 files renamed", '[{"renamed": 2}]'])
async def test_what_a_tool_gave_as_a_text_goes_on_with_the_conversation(here: Gate, wire: str, result: str) -> None:
    """Agents that write code (smolagents) hand the results in as words of the person."""
    await here.ask(wire, PHOTOS)
    await here.ask(wire, PHOTOS, "rename()", result)
    await here.ask(wire, PHOTOS, "rename()", result, "Done.", REVIEW)
    one, two, three = await here.traces()
    assert (two.goal, two.parent, two.source, two.skills_used) == (PHOTOS, one.id, f"gateway:{wire}", one.skills_used)
    assert two.messages[0].content == result
    assert (three.goal, three.parent, len(three.messages)) == (REVIEW, two.id, 2)


@pytest.mark.parametrize("wire", WIRES)
async def test_what_was_wrong_with_an_answer_is_no_goal_and_chooses_nothing(here: Gate, wire: str) -> None:
    """instructor, pydantic-ai, smolagents and aider ask again in the person's name."""
    said = f"Validation Error found:\n{REVIEW}\nRecall the function correctly, fix the errors"
    await here.ask(wire, PHOTOS)
    await here.ask(wire, PHOTOS, "Done.", said)
    one, two = await here.traces()
    assert (two.goal, two.parent, two.skills_used) == (PHOTOS, one.id, one.skills_used)


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_skills_never_part_a_call_from_its_result(here: Gate, wire: str) -> None:
    function = {"name": "read", "arguments": "{}"}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    result: dict[str, Any] = {"role": "tool", "tool_call_id": "c", "content": "x = 1"}
    if wire == "responses":
        call = {"type": "function_call", "call_id": "c", **function}
        result = {"type": "function_call_output", "call_id": "c", "output": "x = 1"}
    opening = {"role": "user", "content": PHOTOS}
    await here.ask(wire, opening)
    await here.ask(wire, opening, call, result, headers={"X-LLMOS-Skills": "charts"})
    items = here.seen.body["input" if wire == "responses" else "messages"]
    at = next(
        place for place, item in enumerate(items) if item.get("tool_calls") or item.get("type") == call.get("type", 0)
    )
    assert (items[at + 1].get("tool_call_id") or items[at + 1].get("call_id")) == "c"
    assert "charts" in json.dumps(items[at + 2])


async def test_codex_reads_why_its_stream_broke_off(here: Gate) -> None:
    """It looks at `response.failed` alone; everybody else at `error`."""
    answer = await here.ask("responses", PHOTOS, model="cut-c8", stream=True)
    error, failed = [json.loads(line[6:]) for line in answer.body.decode().splitlines() if line[:6] == "data: "][-2:]
    assert (error["type"], error["code"]) == ("error", "model.cut")
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["message"] == error["message"]


# Bodies


@pytest.mark.parametrize("wire", WIRES)
async def test_a_packed_request_is_read_and_passes_unpacked(here: Gate, wire: str) -> None:
    raw = json.dumps({"model": "plain", **request(wire, PHOTOS)}).encode()
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = await here.client.request("POST", PATHS[wire], content=gzip.compress(raw), headers=headers)
    assert answer.status == 200, answer.body
    assert "content-encoding" not in here.seen.headers
    assert "<skill_content" in system_of(here.seen)


UNREADABLE = {
    "unknown": ("zstd", b"(\xb5/\xfd", 400, "request.encoding"),
    "not packed": ("gzip", b"{}", 400, "request.encoding"),
    "cut": ("gzip", gzip.compress(b"{}", mtime=0)[:-4], 400, "request.encoding"),
    "bomb": ("gzip", gzip.compress(b" " * (LARGE_REQUEST + 1), 1, mtime=0), 413, "request.too_large"),
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("case", UNREADABLE)
async def test_what_cannot_be_unpacked_is_refused(here: Gate, wire: str, case: str) -> None:
    encoding, content, status, code = UNREADABLE[case]
    headers = {"content-type": "application/json", "content-encoding": encoding}
    answer = await here.client.request("POST", PATHS[wire], content=content, headers=headers)
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("wire", WIRES)
async def test_pictures_may_be_large(here: Gate, wire: str) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * (6 << 20)}}
    answer = await here.ask(wire, {"role": "user", "content": [{"type": "text", "text": PHOTOS}, picture]})
    assert answer.status == 200, answer.body
    assert (await here.trace()).goal.startswith(PHOTOS)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request_that_is_too_large_is_refused_in_the_clients_words(here: Gate, wire: str) -> None:
    headers = {"content-length": str(LARGE_REQUEST + 1), "expect": "100-continue"}
    answer = await here.client.request("POST", PATHS[wire], content=b"{}", headers=headers)
    assert answer.status == 413
    assert answer.json().get("type") == ("error" if wire == "messages" else None)
    assert answer.json()["error"]["message"]


PATCH = "*** Begin Patch\n*** Add File: a.txt\n+hi\n*** End Patch\n"
APPLY = {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": {"type": "text"}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "messages"])
async def test_codex_edits_files_with_a_server_that_knows_only_functions(
    fresh_copy: Path, tmp_path: Path, upstream: Upstream, dialect: str, *, stream: bool
) -> None:
    """Its patches are free text, and its newest tools come in groups."""
    upstream.script = [[("apply_patch", json.dumps({"input": PATCH}))]]
    kind = "anthropic" if dialect == "messages" else "openai"
    providers = tmp_path / "providers.toml"
    providers.write_text(
        f'[providers.local]\nkind="{kind}"\nurl="{upstream.url}"\nmodels=["*"]\ndialects=["{dialect}"]\n'
    )
    tools = [APPLY, {"type": "web_search"}]
    async with gate(fresh_copy, upstream, providers=providers) as here:
        answer = await here.ask("responses", PHOTOS, model="ask-o5", stream=stream, tools=tools)
        assert (answer.status, answer.headers["x-llmos-left-out"]) == (200, "web_search")
        events = [json.loads(line[6:]) for line in answer.body.splitlines() if line.startswith(b"data: ")]
        response = events[-1]["response"] if stream else answer.json()
        call = next(item for item in response["output"] if item["type"] == "custom_tool_call")
        result = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "Done!"}
        await here.ask("responses", PHOTOS, call, result, model="ask-o5", stream=stream, tools=tools)
        one, two = await here.traces()
    assert (call["name"], call["input"]) == ("apply_patch", PATCH)
    assert here.seen.path.endswith("/messages" if dialect == "messages" else "/chat/completions")
    assert here.seen.results == ["Done!"]
    assert list(here.seen.tools) == ["apply_patch"]
    assert [(called.name, json.loads(called.arguments)) for called in one.tool_calls] == [
        ("apply_patch", {"input": PATCH})
    ]
    assert (two.parent, two.messages[0].content) == (one.id, "Done!")


async def test_what_only_anthropic_runs_is_left_out_before_another_server_and_named(
    fresh_copy: Path, upstream: Upstream
) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    shell = {"type": "bash_20250124", "name": "bash"}
    async with gate(fresh_copy, upstream) as here:
        answer = await here.ask(
            "messages", PHOTOS, tools=[search, shell, {"name": "own", "input_schema": {"type": "object"}}]
        )
        assert (answer.status, answer.headers["x-llmos-left-out"]) == (200, "web_search_20250305")
        assert list(here.seen.tools) == ["bash", "own"]
        alone = await here.ask("messages", PHOTOS, tools=[search])
        assert (alone.status, "tools" in here.seen.body) == (200, False)
        refused = await here.ask("messages", PHOTOS, tools=[search], tool_choice={"type": "tool", "name": "web_search"})
    assert refused.status == 400
    assert "'web_search', which the model's server cannot be given" in refused.json()["error"]["message"]


async def test_tools_of_anthropic_that_the_client_runs_say_what_they_take_to_another_server(
    fresh_copy: Path, upstream: Upstream
) -> None:
    tools = [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9000},
        {"type": "text_editor_20250124", "name": "str_replace_editor"},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "computer_20251124", "name": "computer", "display_width_px": 1024, "display_height_px": 768},
        {"type": "computer_toolset_20260801"},
    ]
    async with gate(fresh_copy, upstream) as here:
        answer = await here.ask("messages", PHOTOS, tools=tools)
        sent = {tool["function"]["name"]: tool["function"] for tool in here.seen.body["tools"]}
    assert answer.headers["x-llmos-left-out"] == "computer_toolset_20260801"
    takes = {name: set(tool["parameters"]["properties"]) for name, tool in sent.items()}
    assert takes["bash"] == {"command", "restart"}
    assert takes["str_replace_based_edit_tool"] - takes["str_replace_editor"] == {"insert_text"}
    commands = {name: tool["parameters"]["properties"].get("command", {}).get("enum") for name, tool in sent.items()}
    assert ("undo_edit" in commands["str_replace_editor"], "rename" in commands["memory"]) == (True, True)
    assert "undo_edit" not in commands["str_replace_based_edit_tool"]
    assert "1024 x 768" in sent["computer"]["description"]
    assert all(tool["description"] for tool in sent.values())


@pytest.mark.parametrize("stream", [False, True])
async def test_a_server_that_turns_out_to_know_only_chat_is_spoken_to_in_chat(
    fresh_copy: Path, upstream: Upstream, *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream) as here:
        before = len(upstream.chats)
        answers = [await here.ask("responses", PHOTOS, model="onlychat", stream=stream) for _ in range(2)]
        asked = [seen.path.rpartition("/v1/")[2] for seen in upstream.chats[before:]]
        traces = (await here.client.get("/traces")).json()["items"]
    assert [answer.status for answer in answers] == [200, 200]
    assert all(WORD.encode() in answer.body for answer in answers)
    assert asked == ["responses", "chat/completions", "chat/completions"]
    assert [trace["ended"] for trace in traces] == ["complete", "complete"]


async def test_a_model_that_no_api_of_a_server_has_is_refused_in_the_clients_dialect(
    fresh_copy: Path, upstream: Upstream
) -> None:
    async with gate(fresh_copy, upstream) as here:
        for _ in range(2):
            answer = await here.ask("responses", PHOTOS, model="e404")
            assert (answer.status, "no, and your key was" in answer.json()["error"]["message"]) == (404, True)


async def test_what_a_request_names_and_is_not_there_is_refused_and_not_left_out(
    fresh_copy: Path, upstream: Upstream
) -> None:
    async with gate(fresh_copy, upstream) as here:
        before = len(upstream.chats)
        for _ in range(2):
            answer = await here.ask("responses", PHOTOS, model="e404-nofile")
            assert (answer.status, answer.json()["error"]["message"]) == (404, "No such File object")
        asked = [seen.path.rpartition("/v1/")[2] for seen in upstream.chats[before:]]
    assert asked == ["responses", "responses"]


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/messages", "/responses", "/v1/v1/chat/completions"])
async def test_a_client_with_a_wrong_base_url_is_told_the_right_one_in_its_words(
    fresh_copy: Path, upstream: Upstream, path: str
) -> None:
    async with gate(fresh_copy, upstream) as here:
        answer = await here.client.post(path, {"model": "plain", "messages": []})
    said = answer.json()["error"]["message"]
    assert answer.status == 404
    assert f"{path!r}; '/v1/{path.replace('/v1', '').lstrip('/')}' is meant" in said
    assert "ends in /v1" in said


@pytest.mark.parametrize(
    "path", ["/v1/images/generations", "/v1/models/plain", "/v1/chat/completions/chat/completions"]
)
async def test_what_the_gateway_does_not_have_is_refused_in_the_clients_words(
    fresh_copy: Path, upstream: Upstream, path: str
) -> None:
    async with gate(fresh_copy, upstream) as here:
        openai = (await here.client.post(path, {})).json()["error"]
        anthropic = (await here.client.post(path, {}, headers={"anthropic-version": "2023-06-01"})).json()
    assert openai["message"].startswith(f"There is nothing at {path!r}. ")
    assert "only the base URL of OpenAI's clients ends in /v1" in openai["message"]
    assert (openai["code"], anthropic["type"]) == ("route.unknown", "error")
    assert anthropic["error"]["message"] == openai["message"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/chat/completions/", "; '/v1/chat/completions' is meant. Take the further slash away."),
        ("/v1//messages", "; '/v1/messages' is meant. Take the further slash away."),
        ("/v1/completions", ". Send a conversation to /v1/chat/completions."),
        ("/v1/metrics", ". Metrics are not taken: set OTEL_METRICS_EXPORTER to none. Traces and logs are."),
        ("/v1", ". docs/gateway.md names what there is; only the base URL of OpenAI's clients ends in /v1."),
    ],
)
async def test_a_client_that_is_wrong_by_little_is_told_what_it_meant(
    fresh_copy: Path, upstream: Upstream, path: str, said: str
) -> None:
    async with gate(fresh_copy, upstream) as here:
        answer = await here.client.post(path, {"model": "plain", "messages": []})
    assert (answer.status, answer.json()["error"]["message"]) == (404, f"There is nothing at {path!r}{said}")


@pytest.mark.parametrize(
    ("wire", "body", "said"),
    [
        ("chat/completions", b"{", "The body of the request is not a JSON object: Input data was truncated. Send"),
        ("chat/completions", b"[]", "The body of the request is not a JSON object: Expected `object`, got `array`."),
        ("chat/completions", b'{"prompt":"hi"}', "The request has no list of `messages`. Send the conversation"),
        ("messages", b'{"messages":"hi"}', "The request has no list of `messages`. Send the conversation"),
        ("messages", b'{"messages":[]}', "The `messages` of the request are empty. Send at least one."),
        ("responses", b'{"messages":[]}', "The request has no `input`. Send a text there, or a list."),
        ("responses", b'{"input":5}', "The request has no list of `input`. Send the conversation"),
    ],
)
async def test_a_body_that_cannot_be_meant_names_what_is_missing(
    fresh_copy: Path, upstream: Upstream, wire: str, body: bytes, said: str
) -> None:
    async with gate(fresh_copy, upstream) as here:
        answer = await here.client.post(f"/v1/{wire}", content=body)
    assert answer.status == 400
    assert answer.json()["error"]["message"].startswith(said)


async def test_a_web_search_that_is_demanded_of_another_server_is_refused(fresh_copy: Path, upstream: Upstream) -> None:
    search = {"type": "web_search"}
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        answer = await here.ask("responses", PHOTOS, tools=[search], tool_choice=search)
    assert answer.status == 400
    assert "web_search" in answer.json()["error"]["message"]


async def test_a_command_that_the_client_ran_itself_is_no_goal(here: Gate) -> None:
    """Claude Code hands in what was typed before, and what came of it, with the person's next words."""
    ran = [
        "<local-command-caveat>The command below was run here.</local-command-caveat>",
        "<command-name>/compact</command-name>\n<command-args></command-args>",
        "<local-command-stdout>Compacted</local-command-stdout>",
    ]
    blocks = [{"type": "text", "text": text} for text in [*ran, PHOTOS]]
    await here.ask("messages", {"role": "user", "content": blocks})
    blocks = [{"type": "text", "text": text} for text in ["<command-name>/review</command-name>", REVIEW]]
    await here.ask("messages", {"role": "user", "content": blocks})
    assert [trace.goal for trace in await here.traces()] == [PHOTOS, f"/review\n{REVIEW}"]


async def test_a_shell_command_of_the_person_is_a_turn_without_a_goal_of_its_own(here: Gate) -> None:
    """Claude Code: what was typed after `!`, and its output; the model may go on with calls of tools."""
    shell = {
        "role": "user",
        "content": [
            {"type": "text", "text": "<bash-input>ls</bash-input>"},
            {"type": "text", "text": "<bash-stdout>a.jpg</bash-stdout><bash-stderr></bash-stderr>"},
        ],
    }
    await here.ask("messages", PHOTOS)
    await here.ask("messages", PHOTOS, answer(), shell)
    await here.ask("messages", PHOTOS, answer(), shell, answer(), "thanks")
    one, two, three = await here.traces()
    assert (two.parent, three.parent) == (one.id, two.id)
    assert (two.goal, two.source) == (PHOTOS, "gateway:messages")
    assert [message.content for message in three.messages] == ["thanks", WORD * 3]


async def test_a_header_in_a_system_prompt_is_no_part_of_it(fresh_copy: Path, upstream: Upstream) -> None:
    """Claude Code begins its system prompt with a header for Anthropic, which changes with the first words."""
    prompt = "You are a coding agent. " * 60
    one, two = (
        [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version=1.{at};"},
            {"type": "text", "text": prompt, **MARKED},
        ]
        for at in (1, 2)
    )
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", "hello", system=one)
        assert here.seen.body["system"][:2] == one
        await here.ask("messages", "good evening", system=two)
        first, second = await here.traces()
    assert (first.messages[0].content, first.system_in, second.system_in) == (prompt, "", first.id)


async def test_a_header_for_anthropic_reaches_no_other_server(here: Gate) -> None:
    header = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1.1;"}
    await here.ask("messages", "hello", system=[header, {"type": "text", "text": "You are a coding agent."}])
    assert here.seen.path.endswith("/chat/completions")
    assert system_of(here.seen) == json.dumps(["", ["You are a coding agent.", ""]])


@pytest.mark.parametrize("blocks", [True, False])
async def test_what_follows_on_a_header_in_the_same_text_is_a_system_prompt(here: Gate, *, blocks: bool) -> None:
    text = "x-anthropic-billing-header: cc_version=1.1;\n\nYou are a coding agent."
    await here.ask("messages", "hello", system=[{"type": "text", "text": text}] if blocks else text)
    assert system_of(here.seen) == json.dumps(["", ["You are a coding agent.", ""]])
    assert (await here.trace()).messages[0].content == "You are a coding agent."


BEGINS = {"thread": {"type": "create"}}
GOES_ON = {"thread": {"type": "continue", "previous_message_id": "msg_1"}}


@pytest.mark.parametrize("disclosure", ["auto", "catalog"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_thread_that_anthropic_keeps_goes_on(
    fresh_copy: Path, upstream: Upstream, disclosure: str, *, stream: bool
) -> None:
    """Anthropic's tool runner sends results of tools alone; the server has the rest, our skills too.

    Claude Code says its system prompt again, which must be that of the thread.
    """
    steer = {"headers": {"X-LLMOS-Disclosure": disclosure}, "stream": stream}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "14 °C"}]}
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", PHOTOS, tools=[TOOL], system="Be brief.", **BEGINS, **steer)
        begun = here.seen.body["system"]
        assert "python-scripts" in json.dumps(begun)
        assert [tool["name"] for tool in here.seen.body["tools"]] == ["Read"]
        await here.ask("messages", result, **GOES_ON, **steer)
        assert here.seen.body == {
            "model": "plain",
            **({"stream": True} if stream else {}),
            "messages": [result],
            "max_tokens": 100,
            **GOES_ON,
        }
        await here.ask("messages", REVIEW, **GOES_ON, **steer)
        assert "system" not in here.seen.body
        assert "code-review" in json.dumps(here.seen.body["messages"])
        one, two, three = await here.traces()
        await here.ask("messages", result, tools=[TOOL], system="Be brief.", **GOES_ON, **steer)
        assert here.seen.body["system"] == begun
    assert (two.parent, two.conversation, two.goal) == (one.id, one.conversation, PHOTOS)
    assert [message.content for message in two.messages] == ["14 °C", WORD * 3]
    assert two.skills_used == one.skills_used
    assert (three.conversation, three.goal) == (one.conversation, REVIEW)


async def test_the_system_prompt_of_a_thread_stays_whatever_the_client_marks(
    fresh_copy: Path, upstream: Upstream
) -> None:
    system = [{"type": "text", "text": "You are a coding agent.", **MARKED}]
    begin = {"role": "user", "content": [{"type": "text", "text": one, **MARKED} for one in ("a", "b", PHOTOS)]}
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", begin, system=system, **BEGINS)
        begun = here.seen.body["system"]
        assert "python-scripts" in json.dumps(begun)
        await here.ask("messages", words("thanks", **MARKED), system=system, **GOES_ON)
        assert here.seen.body["system"] == begun


@pytest.mark.parametrize("named", ["conv_1", {"id": "conv_1"}])
async def test_requests_that_name_one_conversation_are_one(here: Gate, named: object) -> None:
    """The provider puts the items of the conversation before these, and asks anew for instructions."""
    developer = {"role": "developer", "content": "Be brief."}
    asked = {"role": "user", "content": PHOTOS}
    await here.ask("responses", developer, asked, conversation=named, prompt_cache_key="of-all")
    begun = here.seen.body["instructions"]
    assert "python-scripts" in begun
    assert [item["role"] for item in here.seen.body["input"]] == ["developer", "user"]
    await here.ask("responses", REVIEW, conversation=named, stream=True)
    assert here.seen.body["instructions"] == begun
    assert "code-review" in json.dumps(here.seen.body["input"])
    await here.ask("responses", "thanks", conversation={"id": "conv_1"})
    assert "code-review" not in json.dumps(here.seen.body)
    await here.ask("responses", "thanks", conversation="conv_2")
    await here.ask("responses", "thanks", conversation=None)
    one, two, three, four, five = await here.traces()
    assert {one.conversation, two.conversation, three.conversation} == {"conv_1"}
    assert (two.parent, three.parent, four.parent, five.parent) == (one.id, two.id, "", "")
    assert (four.conversation, five.conversation == "conv_1") == ("conv_2", False)
    assert [message.content for message in two.messages] == [REVIEW, WORD * 3]
    assert [use.skill_id for use in three.skills_used][:2] == ["python-scripts", "code-review"]
    assert three.skills_used == two.skills_used
    assert three.goal == "thanks"


async def test_another_try_in_a_named_conversation_is_told_apart(here: Gate) -> None:
    for model, said in (("e400", PHOTOS), ("plain", PHOTOS), ("e400", REVIEW), ("plain", REVIEW)):
        await here.ask("responses", said, model=model, conversation="conv_1")
    failed, one, again, two = await here.traces()
    assert (one.retry_of, one.parent) == (failed.id, "")
    assert (again.parent, again.retry_of) == (one.id, "")
    assert (two.parent, two.retry_of) == (one.id, again.id)


async def test_a_named_conversation_of_somebody_else_is_another(here: Gate) -> None:
    await here.ask("responses", PHOTOS, conversation="conv_1")
    await here.ask("responses", "thanks", conversation="conv_1", headers={"X-LLMOS-User": "bob"})
    assert "instructions" not in here.seen.body


@pytest.mark.parametrize("wire", ["messages", "responses"])
async def test_what_goes_on_elsewhere_begins_no_other_conversation(here: Gate, wire: str) -> None:
    """The same words may begin a conversation of which the client sends all, as most do."""
    begins, goes_on = {"messages": (BEGINS, GOES_ON), "responses": ({}, {"previous_response_id": "resp_1"})}[wire]
    await here.ask(wire, "go on")
    await here.ask(wire, PHOTOS, **begins)
    await here.ask(wire, "go on", **goes_on)
    await here.ask(wire, "go on", "lorem lorem lorem ", "and then?")
    assert "python-scripts" not in json.dumps(here.seen.body)
    one, two, three, four = await here.traces()
    assert (three.conversation, four.conversation) == (two.conversation, one.conversation)
    assert (three.parent, four.parent) == (two.id, one.id)


@pytest.mark.parametrize("wire", ["messages", "responses"])
async def test_another_try_in_a_conversation_that_is_kept_is_told_apart(here: Gate, wire: str) -> None:
    begins, goes_on = {"messages": (BEGINS, GOES_ON), "responses": ({}, {"previous_response_id": "resp_1"})}[wire]
    await here.ask(wire, PHOTOS, **begins)
    for model in ("e400", "plain", "plain"):
        await here.ask(wire, REVIEW, model=model, **goes_on)
    one, two, three, four = await here.traces()
    assert (two.parent, two.retry_of) == (one.id, "")
    assert (three.parent, three.retry_of, three.conversation) == (one.id, two.id, one.conversation)
    assert (four.parent, four.retry_of) == (three.id, "")


async def test_a_thread_that_nobody_knows_here_gets_its_skills_before_the_words(
    fresh_copy: Path, upstream: Upstream
) -> None:
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", PHOTOS, **GOES_ON)
        assert "system" not in here.seen.body
        [message] = here.seen.body["messages"]
        trace = await here.trace()
    assert "python-scripts" in message["content"][0]["text"]
    assert message["content"][1]["text"] == PHOTOS
    assert [use.skill_id for use in trace.skills_used] == ["python-scripts"]


async def test_a_thread_that_is_null_is_none(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", PHOTOS, thread=None, headers={"X-LLMOS-Disclosure": "catalog"})
        assert "load_skill" in here.seen.tools


async def test_a_thread_that_pauses_goes_on_without_a_word(fresh_copy: Path, upstream: Upstream) -> None:
    async with gate(fresh_copy, upstream, llm_provider="anthropic") as here:
        await here.ask("messages", PHOTOS, **BEGINS)
        answer = await here.ask("messages", **GOES_ON, headers={"X-LLMOS-Skills": "charts"})
        assert (answer.status, here.seen.body["messages"]) == (200, [])
        one, two = await here.traces()
    assert (two.parent, two.goal) == (one.id, PHOTOS)


async def test_a_server_of_another_dialect_keeps_no_thread(here: Gate) -> None:
    """Anthropic's library sends the whole conversation when it reads this."""
    await here.ask("messages", PHOTOS, **BEGINS)
    assert here.seen.path.endswith("/chat/completions")
    answer = await here.ask("messages", "thanks", **GOES_ON)
    assert (answer.status, answer.json()["error"]["details"]) == (404, {"error_code": "thread_not_found"})


CODES_EFFORT = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_claude_codes_effort_reaches_a_model_of_another_dialect_as_far_as_it_takes_it(
    fresh_copy: Path, upstream: Upstream, *, stream: bool
) -> None:
    async with gate(fresh_copy, upstream) as here:
        for model, efforts, left_out in (
            ("plain", ["xhigh"], None),
            ("threewords", ["xhigh", "high"], None),
            ("thoughtless", ["xhigh", "high", ""], "effort"),
        ):
            for said, expected in ((PHOTOS, efforts), (f"{PHOTOS}!", efforts[-1:])):
                before = len(upstream.chats)
                answer = await here.ask("messages", said, model=model, stream=stream, **CODES_EFFORT)
                assert (answer.status, answer.headers.get("x-llmos-left-out")) == (200, left_out)
                assert [seen.effort for seen in upstream.chats[before:]] == expected
        traces = await here.traces()
    assert [trace.ended for trace in traces] == ["complete"] * 6


async def test_a_refusal_of_how_hard_to_think_passes_where_client_and_server_speak_the_same(
    here: Gate, upstream: Upstream
) -> None:
    answer = await here.ask("chat", PHOTOS, model="thoughtless", reasoning_effort="high")
    assert (answer.status, len(upstream.chats)) == (400, 1)
    assert "does not support thinking" in answer.json()["error"]["message"]


async def test_claude_code_reads_a_pdf_where_the_server_takes_it_and_goes_on_where_not(
    fresh_copy: Path, upstream: Upstream
) -> None:
    data = b64encode(b"%PDF-1.7 pages").decode()
    block = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}}
    call = {"type": "tool_use", "id": "c", "name": "Read", "input": {"path": "a.pdf"}}
    given = {"type": "tool_result", "tool_use_id": "c", "content": "PDF read: a.pdf"}
    talk = [PHOTOS, {"role": "assistant", "content": [call]}, {"role": "user", "content": [given, block]}]
    async with gate(fresh_copy, upstream) as here:
        taken = await here.ask("messages", *talk, model="plain")
        assert taken.status == 200
        file = {"filename": "document.pdf", "file_data": f"data:application/pdf;base64,{data}"}
        assert here.seen.body["messages"][-1]["content"] == [{"type": "file", "file": file}]
        before = len(upstream.chats)
        refused = await here.ask("messages", *talk, model="nofiles", stream=True)
        assert (refused.status, len(upstream.chats) - before) == (200, 2)
        assert "cannot be shown" in here.seen.body["messages"][-1]["content"]
        assert refused.headers["x-llmos-left-out"] == "files"
        asked = await here.ask("messages", {"role": "user", "content": [block]}, model="nofiles")
        assert (asked.status, asked.json()["error"]["message"]) == (400, "invalid message format")
