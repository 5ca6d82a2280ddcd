"""Models that load skills, at `POST /chat`: both dialects, as JSON and as events, and models that try anything."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmos_lite.api.chat import ChatEndpoint
from llmos_lite.api.errors import Message
from llmos_lite.api.middleware import Edge
from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import TREATED, Arm
from llmos_lite.core.chat.disclosure import LARGE, MORE, Disclosure
from llmos_lite.core.chat.service import ChatService
from llmos_lite.core.chat.tools import ToolBounds
from llmos_lite.core.limits import Limits
from llmos_lite.core.skills.format import Skill
from llmos_lite.core.skills.manager import SkillsManager
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.core.traces.trace import Ended, Trace
from llmos_lite.engines.database import Database
from llmos_lite.engines.git import Author
from llmos_lite.engines.llm import ChatRequest, LanguageModel, Piece
from llmos_lite.engines.llm_anthropic import AnthropicModel
from llmos_lite.engines.llm_openai import OpenAIModel
from llmos_lite.errors import UpstreamFailed
from llmos_lite.records.schema import prepare
from llmos_lite.records.usage import UsageRows
from tests.api.test_chat import Client, Parts
from tests.chatting import Room, room
from tests.limiting import Counter
from tests.upstream import WORD, Seen, Upstream, running

CATALOG = Disclosure.CATALOG
KINDS = (OpenAIModel, AnthropicModel)
both = pytest.mark.parametrize("kind", KINDS)
Kind = type[OpenAIModel] | type[AnthropicModel]

REVIEW = """---
name: code-review
description: Review a pull request for security problems & <other> trouble
---
# Code review
1. Read the diff.
2. See references/limits.md and `scripts/check.py`.
</skill_content>
"""
LIMITS = "No function above ten lines.\n</skill_resource>\n"
OTHER = """---
name: {0}
description: Use it for the {0} of a pull request
---
# {0}
Do the {0}.
"""
ASK = "review the pull request for security problems"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with running() as server:
        yield server


@pytest.fixture
async def opened(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Room]:
    async with room(tmp_path, upstream.url) as found:
        files = {
            "SKILL.md": REVIEW.encode(),
            "references/limits.md": LIMITS.encode(),
            "scripts/check.py": b"print('ok')\n",
            "assets/logo.png": b"\x89PNG\xff\x00",
        }
        write(found, "user:alice", {f"skills/code-review/{name}": data for name, data in files.items()})
        for name in ("summary", "deployment"):
            found.write_skill("user:alice", name, OTHER.format(name))
        yield found


def write(opened: Room, volume: str, files: dict[str, bytes]) -> None:
    changes: dict[str, bytes | None] = {**files}
    opened.volume(volume).store.commit(changes, "Add skills", Author("alice", "alice@localhost"))


def client(opened: Room, service: ChatService) -> Client:
    found = Client(opened)
    found.app = Edge(ChatEndpoint(Parts(opened.accounts, service)), max_body=4 << 20, max_import=1)
    return found


def load(name: str, **more: str) -> tuple[str, str]:
    return "load_skill", json.dumps({"name": name, **more})


async def trace_of(opened: Room, trace_id: str) -> Trace:
    return await opened.trace(await opened.actor("alice"), trace_id)


def model(kind: Kind, opened: Room, name: str = "ask") -> LanguageModel:
    return kind(opened.url, model=name)


def names(seen: Seen) -> list[str]:
    return list(seen.tools["load_skill"]["properties"]["name"]["enum"])


@both
@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_loads_a_skill_and_answers(kind: Kind, stream: bool, opened: Room, upstream: Upstream) -> None:  # noqa: FBT001 - a case
    upstream.script = [[load("code-review")]]
    service = opened.service(model(kind, opened), disclosure=CATALOG)
    reply = await client(opened, service).post({"message": ASK, "stream": stream})
    assert reply.status == 200
    events = reply.events() if stream else []
    body = events[-1][1] if stream else reply.json()

    first, second = upstream.chats
    assert names(first) == ["code-review", "deployment", "summary"]
    assert "Review a pull request for security problems &amp; &lt;other&gt; trouble" in first.system
    assert "Read the diff" not in first.system
    [result] = second.results
    assert result.startswith('<skill_content name="code-review"')
    assert "1. Read the diff." in result
    assert "<file>references/limits.md</file>" in result
    assert result.count("</skill_content>") == 1
    assert second.system == first.system
    assert second.body["tools"] == first.body["tools"]

    assert body["response"] == WORD * 3
    assert body["usage"] == {"input_tokens": 20, "output_tokens": 6}
    [use] = body["skills_used"]
    assert (use["skill_id"], use["volume"]) == ("code-review", "user:alice")
    assert use["version"] == opened.version("user:alice", "code-review")
    if stream:
        assert events[0][1]["skills_used"] == []
        [tool] = [data for name, data in events if name == "tool"]
        assert (tool["name"], json.loads(tool["arguments"]), tool["is_error"]) == (
            "load_skill",
            {"name": "code-review"},
            False,
        )
        assert "".join(data["text"] for name, data in events if name == "delta") == body["response"]

    trace = await trace_of(opened, body["trace_id"])
    [call] = trace.tool_calls
    assert (call.name, call.is_error) == ("load_skill", False)
    assert call.result == f"user:alice/code-review {use['version'][:12]}"
    assert [(used.skill_id, used.version) for used in trace.skills_used] == [("code-review", use["version"])]
    [exposure] = trace.exposures
    assert (exposure.skill_id, exposure.arm, exposure.propensity) == ("code-review", "treatment", 1.0)
    assert (trace.tokens_in, trace.tokens_out, trace.ended) == (20, 6, Ended.COMPLETE)
    assert [message.content for message in trace.messages] == [ASK, WORD * 3]


@both
async def test_what_is_said_before_and_after_a_tool_is_one_answer(kind: Kind, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary")]]
    service = opened.service(model(kind, opened, "ask-say"), disclosure=CATALOG)
    reply = await client(opened, service).post({"message": ASK, "stream": True})
    events = reply.events()
    assert events[-1][1]["response"] == "One moment. \n\n" + WORD * 3
    assert "".join(data["text"] for name, data in events if name == "delta") == events[-1][1]["response"]
    assert [name for name, _ in events if name != "delta"] == ["start", "tool", "done"]


@both
async def test_calls_of_one_round_are_answered_together(kind: Kind, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary"), load("nowhere"), ("search_skills", '{"query": "deployment"}'), ("rm", "{}")]]
    for number in range(30):  # more than a catalog lists, so that there is something to search
        opened.write_skill("system", f"extra-{number}", OTHER.format(f"extra-{number}"))
    service = opened.service(model(kind, opened), disclosure=CATALOG)
    body = (await client(opened, service).post({"message": ASK})).json()
    summary, nowhere, found, rm = upstream.chats[1].results
    assert "Do the summary." in summary
    assert "no skill 'nowhere'" in nowhere
    assert "<name>\ndeployment\n</name>" in found
    assert "no tool 'rm'" in rm
    trace = await trace_of(opened, body["trace_id"])
    assert [(call.name, call.is_error) for call in trace.tool_calls] == [
        ("load_skill", False),
        ("load_skill", True),
        ("search_skills", False),
        ("rm", True),
    ]
    assert [use["skill_id"] for use in body["skills_used"]] == ["summary"]


async def test_what_a_search_finds_can_be_loaded_then(opened: Room, upstream: Upstream) -> None:
    for number in range(30):
        opened.write_skill("system", f"extra-{number}", OTHER.format(f"extra-{number}"))
    opened.write_skill("system", "zebra", "---\nname: zebra\ndescription: Feed a zebra\n---\nHay.\n")
    upstream.script = [[("search_skills", '{"query": "zebra"}')], [load("zebra")]]
    service = opened.service("ask", disclosure=CATALOG)
    body = (await client(opened, service).post({"message": ASK})).json()
    first, second, third = upstream.chats
    assert "zebra" not in names(first)
    assert "zebra" in names(second)
    assert "Hay." in third.results[-1]
    assert [use["skill_id"] for use in body["skills_used"]] == ["zebra"]


@both
async def test_files_of_a_folder_are_read_one_by_one(kind: Kind, opened: Room, upstream: Upstream) -> None:
    upstream.script = [
        [load("code-review", path="references/limits.md"), load("code-review", path="./scripts/check.py")],
        [load("code-review", path="SKILL.md")],
    ]
    body = (await client(opened, opened.service(model(kind, opened))).post({"message": ASK})).json()
    limits, script = upstream.chats[1].results
    assert limits.startswith('<skill_resource skill="code-review" path="references/limits.md">\nNo function')
    assert limits.count("</skill_resource>") == 1
    assert "print('ok')" in script
    assert "already" in upstream.chats[2].results[-1]
    assert [use["skill_id"] for use in body["skills_used"]].count("code-review") == 1


@pytest.mark.parametrize(
    "path",
    [
        "../summary/SKILL.md",
        "../../metadata.json",
        "/etc/passwd",
        "references/../../summary/SKILL.md",
        "references",
        "..",
        ".git/config",
        "references/limits.md\0",
        "C:\\boot.ini",
        "assets/logo.png",
        "x" * 5000,
    ],
)
async def test_no_path_leads_out_of_a_folder(path: str, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("code-review", path=path)]]
    body = (await client(opened, opened.service("ask", disclosure=CATALOG)).post({"message": ASK})).json()
    [result] = upstream.chats[1].results
    assert "has no file" in result or "no text" in result
    assert len(result) < 500
    [call] = (await trace_of(opened, body["trace_id"])).tool_calls
    assert call.is_error


@pytest.mark.parametrize(
    "arguments",
    ["", "no json", "[]", "null", '{"name": 7}', "{}", '{"name": "code-review"', '{"name": "' + "x" * (1 << 20) + '"}'],
)
async def test_arguments_may_be_anything(arguments: str, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[("load_skill", arguments)], [("load_skill\n" * 50, "{}")]]
    reply = await client(opened, opened.service("ask-o65536", disclosure=CATALOG)).post({"message": ASK})
    assert (reply.status, reply.json()["response"]) == (200, WORD * 3)
    for seen in upstream.chats[1:]:
        for message in seen.body["messages"]:
            for call in message.get("tool_calls", ()):
                assert isinstance(json.loads(call["function"]["arguments"]), dict)
                assert len(call["function"]["name"]) <= 64
                assert "\n" not in call["function"]["name"]
    trace = await trace_of(opened, reply.json()["trace_id"])
    assert [call.is_error for call in trace.tool_calls] == [True, True]
    assert all(len(call.arguments) <= 2000 and len(call.name) <= 64 for call in trace.tool_calls)


async def test_what_somebody_else_may_read_looks_as_if_it_were_not_there(opened: Room, upstream: Upstream) -> None:
    await opened.join("bob", "sre")
    opened.write_skill("team:sre", "secret-plan", OTHER.format("secret-plan"))
    opened.write_skill("user:bob", "diary", OTHER.format("diary"))
    upstream.script = [
        [load("secret-plan"), load("diary"), load("team:sre/secret-plan"), ("search_skills", '{"query": "diary"}')]
    ]
    reply = await client(opened, opened.service("ask", disclosure=CATALOG)).post({"message": ASK})
    secret, diary, _, search = upstream.chats[1].results
    assert secret.replace("secret-plan", "diary") == diary
    assert "diary" not in search
    assert "secret-plan" not in upstream.chats[0].system + json.dumps(upstream.chats[0].body["tools"])
    assert reply.json()["skills_used"] == []


class Wary:
    """Holds reviews back, as soon as nobody stands for anything any more."""

    stands, version = frozenset({"all"}), ""

    def codes(self, skill: Skill) -> tuple[str, ...]:
        self.version = skill.version if skill.skill_id == "code-review" else self.version
        return ("test.review",) if skill.skill_id == "code-review" else ()

    def all_codes(self, skills: Sequence[Skill]) -> list[tuple[str, ...]]:
        return [self.codes(skill) for skill in skills]

    def signed(self, volumes: Iterable[str]) -> frozenset[str]:
        return frozenset(self.version for _ in volumes if self.stands)

    def withholds(self, skill: Skill, among: Iterable[str] = ()) -> bool:
        return bool(self.codes(skill)) and skill.version not in self.signed(among)


async def test_what_is_withheld_is_hidden_as_well_also_in_a_conversation_that_listed_it(
    opened: Room, upstream: Upstream
) -> None:
    for number in range(30):
        opened.write_skill("system", f"extra-{number}", OTHER.format(f"extra-{number}"))
    watch = Wary()
    opened.skills = SkillsManager(opened.volumes, watch=watch)
    upstream.script = [[], [load("code-review"), ("search_skills", json.dumps({"query": ASK}))]]
    found = client(opened, opened.service("ask", disclosure=CATALOG))
    first = (await found.post({"message": ASK})).json()
    assert "code-review" in names(upstream.chats[0])
    watch.stands = frozenset()
    await found.post({"message": ASK, "conversation_id": first["conversation_id"]})
    second, third = upstream.chats[1:]
    assert "code-review" not in second.system + json.dumps(second.body["tools"])
    assert "no skill 'code-review'" in third.results[0]
    assert "code-review" not in third.results[1]


class Control:
    """Chance hides one skill from the conversation."""

    def __init__(self, hidden: str) -> None:
        self.hidden = hidden

    def arms(self, actor: Actor, conversation_id: str, skills: Sequence[ScoredSkill]) -> Sequence[Arm]:
        del actor, conversation_id
        return [
            Arm(treated=False, propensity=0.2) if scored.skill.skill_id == self.hidden else TREATED for scored in skills
        ]


@pytest.mark.parametrize("disclosure", [Disclosure.AUTO, Disclosure.CATALOG])
async def test_a_control_is_hidden_from_catalog_search_and_load_alike(
    disclosure: Disclosure, opened: Room, upstream: Upstream
) -> None:
    large(opened)
    upstream.script = [[load("code-review"), ("search_skills", json.dumps({"query": ASK}))], [load("code-review")]]
    service = opened.service("ask", assignment=Control("code-review"), disclosure=disclosure)
    body = (await client(opened, service).post({"message": ASK})).json()
    first, second, third = upstream.chats
    assert "code-review" not in first.system + json.dumps(first.body.get("tools", ""))
    assert "no skill 'code-review'" in second.results[0]
    assert "code-review" not in second.results[1]
    assert "no skill 'code-review'" in third.results[2]
    assert "code-review" not in [use["skill_id"] for use in body["skills_used"]]
    trace = await trace_of(opened, body["trace_id"])
    [exposure] = [one for one in trace.exposures if one.skill_id == "code-review"]
    assert (exposure.arm, exposure.propensity) == ("control", 0.2)
    assert exposure.version == opened.version("user:alice", "code-review")


async def test_a_control_is_remembered_when_nothing_else_is_listed(opened: Room, upstream: Upstream) -> None:
    for name in ("summary", "deployment"):
        opened.delete_skill("user:alice", name)
    service = opened.service("ask", assignment=Control("code-review"), disclosure=CATALOG)
    body = (await client(opened, service).post({"message": ASK})).json()
    assert "tools" not in upstream.chats[0].body
    assert upstream.chats[0].system == ""
    [exposure] = (await trace_of(opened, body["trace_id"])).exposures
    assert (exposure.skill_id, exposure.arm) == ("code-review", "control")


@both
async def test_a_model_that_never_stops_calling_is_stopped(kind: Kind, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary")]]
    bounds = ToolBounds(rounds=3)
    service = opened.service(model(kind, opened, "loop"), disclosure=CATALOG, bounds=bounds)
    body = (await client(opened, service).post({"message": ASK})).json()
    assert body["response"] == WORD * 3
    assert [seen.may_call for seen in upstream.chats] == [True, True, True, False]
    assert len((await trace_of(opened, body["trace_id"])).tool_calls) == 3


async def test_a_model_that_calls_even_then_is_a_failure_that_says_so(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary")]]
    bounds = ToolBounds(rounds=2)
    service = opened.service("loop-stubborn", disclosure=CATALOG, bounds=bounds)
    reply = await client(opened, service).post({"message": ASK})
    assert (reply.status, reply.json()["code"]) == (502, "model.no_answer")
    assert len(upstream.chats) == 3
    trace = await trace_of(opened, reply.json()["trace_id"])
    assert (trace.ended, len(trace.tool_calls)) == (Ended.ERROR, 2)


async def test_when_time_is_up_the_model_is_asked_for_its_answer(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary")]]
    service = opened.service("loop", disclosure=CATALOG, bounds=ToolBounds(seconds=0.0))
    body = (await client(opened, service).post({"message": ASK})).json()
    assert body["response"] == WORD * 3
    assert [seen.may_call for seen in upstream.chats] == [True, False]


async def test_what_tools_read_has_a_budget(opened: Room, upstream: Upstream) -> None:
    opened.write_skill("user:alice", "long", OTHER.format("long") + "A paragraph of text.\n\n" * 2000)
    upstream.script = [[load("long")], [load("summary")]]
    service = opened.service("ask", disclosure=CATALOG, tool_tokens=500)
    body = (await client(opened, service).post({"message": ASK})).json()
    assert len(upstream.chats[1].results[0]) < 2200
    assert "[Cut to fit the context" in upstream.chats[1].results[0]
    assert "no room" in upstream.chats[2].results[1]
    assert [use["skill_id"] for use in body["skills_used"]] == ["long"]


@pytest.mark.parametrize("when", ["between", "in the answer"])
async def test_a_client_that_goes_away_ends_the_round(when: str, opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary")]]
    name = "ask-c500-i20-say" if when == "between" else "ask-c500-i20"
    found, gone = client(opened, opened.service(name, disclosure=CATALOG)), asyncio.Event()
    left = [{"type": "http.request", "body": json.dumps({"message": ASK, "stream": True}).encode()}]

    async def receive() -> Message:
        if left:
            return left.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if (b"event: tool" if when == "between" else b"lorem") in message.get("body", b""):
            gone.set()

    async with asyncio.timeout(10):
        await found.app(found.scope(), receive, send)
    if when == "in the answer":
        await upstream.until(aborted=1)
    [trace] = await opened.all_traces(await opened.actor("alice"))
    assert trace.ended is Ended.ABORTED
    assert [call.name for call in trace.tool_calls] == ["load_skill"]
    assert [use.skill_id for use in trace.skills_used] == ["summary"]


# -- when there is a catalog at all -----------------------------------------------------------------------------------


async def test_a_few_short_skills_go_in_whole_and_bring_no_tools(opened: Room, upstream: Upstream) -> None:
    opened.delete_skill("user:alice", "code-review")
    await client(opened, opened.service("ask")).post({"message": "the summary of a pull request"})
    [seen] = upstream.chats
    assert "Do the summary." in seen.system
    assert "tools" not in seen.body
    assert "tool_choice" not in seen.body


async def test_a_skill_with_files_brings_the_tool_that_reads_them(opened: Room, upstream: Upstream) -> None:
    await client(opened, opened.service("plain")).post({"message": ASK})
    [seen] = upstream.chats
    assert "1. Read the diff." in seen.system
    assert "<available_skills>" not in seen.system
    assert "code-review" in names(seen)


async def test_a_skill_that_would_be_cut_is_listed_instead(opened: Room, upstream: Upstream) -> None:
    text = OTHER.format("summary") + "A paragraph of text.\n\n" * 2000
    opened.write_skill("user:alice", "summary", text)
    upstream.script = [[load("summary")]]
    service = opened.service("ask")
    body = (await client(opened, service).post({"message": "the summary of a pull request"})).json()
    first, second = upstream.chats
    assert "[Cut to fit" not in first.system
    assert "<name>\nsummary\n</name>" in first.system
    assert "[Cut to fit" not in second.results[0]
    assert "summary" in [use["skill_id"] for use in body["skills_used"]]


def large(opened: Room) -> None:
    chance = random.Random(7)  # noqa: S311 - the same skills every time
    files: dict[str, bytes] = {}
    for number in range(LARGE + 10):
        words = " ".join("".join(chance.choices("abcdefghij", k=6)) for _ in range(60))
        text = f"---\nname: pull-{number}\ndescription: Review a pull request for security\n---\n# Problems\n{words}\n"
        files[f"skills/pull-{number}/SKILL.md"] = text.encode()
    write(opened, "user:alice", files)


async def test_a_large_library_lists_what_fits_too_and_the_list_only_grows(opened: Room, upstream: Upstream) -> None:
    large(opened)
    service = opened.service("ask")
    found = client(opened, service)
    first = (await found.post({"message": ASK})).json()
    listed = names(upstream.chats[0])
    assert upstream.chats[0].system.count("<skill>") == MORE
    assert len(first["skills_used"]) == 3
    assert not {use["skill_id"] for use in first["skills_used"]} & set(listed[:MORE])
    trace = await trace_of(opened, first["trace_id"])
    assert [key.rpartition("/")[2] for key in trace.offered] == listed[:MORE]
    assert len(trace.exposures) == 3  # nothing was left to chance, so the list is no exposure

    talk = {"conversation_id": first["conversation_id"]}
    second = (await found.post({"message": f"{ASK}: code review, deployment, summary of a pull request"} | talk)).json()
    catalogs = [seen.system.partition("</available_skills>")[0] for seen in upstream.chats]
    assert catalogs[1].startswith(catalogs[0])
    again = await trace_of(opened, second["trace_id"])
    assert again.offered
    assert not set(again.offered) & set(trace.offered)

    third = (await found.post({"message": "zyxwv utsrq"} | talk)).json()
    assert upstream.chats[2].system.startswith(catalogs[1])
    assert (await trace_of(opened, third["trace_id"])).offered == ()


async def test_a_skill_that_was_loaded_stays_in_the_conversation(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("deployment")]]
    service = opened.service("ask", disclosure=CATALOG)
    first = (await client(opened, service).post({"message": ASK})).json()
    later = opened.service("ask")  # as after a restart, and with the usual disclosure
    body = {"message": "zyxwv utsrq", "conversation_id": first["conversation_id"]}
    second = (await client(opened, later).post(body)).json()
    assert "Do the deployment." in upstream.chats[2].system
    assert [use["skill_id"] for use in second["skills_used"]] == ["deployment"]
    said = [message["content"] for message in upstream.chats[2].body["messages"]]
    assert said[1:] == [ASK, WORD * 3, "zyxwv utsrq"]


@pytest.mark.parametrize("wanted", ["bodies", "catalog", "auto"])
async def test_a_request_may_say_what_it_wants(wanted: str, opened: Room, upstream: Upstream) -> None:
    await client(opened, opened.service("ask")).post({"message": ASK, "disclosure": wanted})
    [seen] = upstream.chats
    assert ("Read the diff" in seen.system) == (wanted != "catalog")
    assert ("tools" in seen.body) == (wanted != "bodies")


async def test_no_skills_means_no_tools(opened: Room, upstream: Upstream) -> None:
    await client(opened, opened.service("ask", disclosure=CATALOG)).post({"message": ASK, "max_skills": 0})
    assert "tools" not in upstream.chats[0].body


@both
async def test_a_model_that_takes_no_tools_gets_texts_at_once_and_from_then_on(
    kind: Kind, opened: Room, upstream: Upstream
) -> None:
    service = opened.service(model(kind, opened, "notools"), disclosure=CATALOG)
    found = client(opened, service)
    first, second = [(await found.post({"message": ASK})).json() for _ in range(2)]
    assert [bool(seen.body.get("tools")) for seen in upstream.chats] == [True, False, False]
    assert "1. Read the diff." in upstream.chats[1].system
    assert first["response"] == second["response"] == WORD * 3
    assert "code-review" in [use["skill_id"] for use in first["skills_used"]]
    trace = await trace_of(opened, first["trace_id"])
    assert (trace.skills_used, trace.offered) == ((await trace_of(opened, second["trace_id"])).skills_used, ())


@dataclass
class Fickle(OpenAIModel):
    """A model that refuses tools once it has called one."""

    url: str

    def __post_init__(self) -> None:
        super().__init__(self.url, model="ask")
        self.asked = 0

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.asked += 1
        if self.asked > 1:
            raise UpstreamFailed("model.no_tools", "No more.")
        async with aclosing(super().stream(request)) as pieces:
            async for piece in pieces:
                yield piece


async def test_a_refusal_in_the_middle_is_a_failure(opened: Room, upstream: Upstream) -> None:
    upstream.script = [[load("summary")]]
    reply = await client(opened, opened.service(Fickle(opened.url), disclosure=CATALOG)).post({"message": ASK})
    assert (reply.status, reply.json()["code"]) == (502, "model.no_tools")


async def test_a_long_conversation_with_tools_stores_only_what_is_new(opened: Room, upstream: Upstream) -> None:
    large(opened)
    upstream.script = [[load("summary")]] * 40
    service = opened.service("ask-c200")
    found, talk, texts = client(opened, service), {}, 0
    for number in range(20):
        body = (await found.post({"message": f"{ASK} in part {number}"} | talk)).json()
        talk = {"conversation_id": body["conversation_id"]}
        texts += len(body["response"])
    traces = await opened.all_traces(await opened.actor("alice"))
    calls = sum(len(call.arguments) + len(call.result) for trace in traces for call in trace.tool_calls)
    offered = sum(len(key) for trace in traces for key in trace.offered)
    said = sum(len(message.content) for trace in traces for message in trace.messages)
    assert calls + offered < 0.3 * said
    assert said < 1.1 * (texts + 20 * len(ASK) + 400)


@asynccontextmanager
async def limited(folder: Path, **defaults: int) -> AsyncIterator[Limits]:
    database = Database(f"sqlite+aiosqlite:///{folder}/usage.db")
    await prepare(database)
    yield Counter(UsageRows(database), folder, database).limits(**defaults)
    await database.close()


async def test_every_round_is_counted(opened: Room, upstream: Upstream, tmp_path: Path) -> None:
    upstream.script = [[load("summary")]]
    alice = await opened.actor("alice")
    async with limited(tmp_path, user_tokens=100_000, answer=99) as limits:
        service = opened.service("ask", disclosure=CATALOG, limits=limits)
        body = (await client(opened, service).post({"message": ASK})).json()
        used, _ = await limits.usage(alice)
        assert (used.requests, used.tokens_in, used.tokens_out) == (2, 20, 6)
        [account] = await limits._ledger.accounts(["user:alice"])
        assert account.tokens == 0
    assert body["usage"] == {"input_tokens": 20, "output_tokens": 6}
    assert [seen.body["max_tokens"] for seen in upstream.chats] == [99, 99]


async def test_what_nobody_counts_is_in_the_trace_as_it_is_in_the_budget(
    opened: Room, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.script = [[load("summary")]]
    async with limited(tmp_path) as limits:
        service = opened.service("ask-nousage", disclosure=CATALOG, limits=limits)
        body = (await client(opened, service).post({"message": ASK})).json()
        used, _ = await limits.usage(await opened.actor("alice"))
    trace = await trace_of(opened, body["trace_id"])
    assert (trace.tokens_in, trace.tokens_out, trace.tokens_estimated) == (used.tokens_in, used.tokens_out, True)
    assert used.requests == 2
    assert used.tokens_out > len(WORD * 3) // 4  # the call, too
    assert body["usage"] == {"input_tokens": 0, "output_tokens": 0}  # what the provider counts


async def test_a_budget_that_ends_between_rounds_ends_the_chat_and_keeps_its_trace(
    opened: Room, upstream: Upstream, tmp_path: Path
) -> None:
    opened.write_skill("user:alice", "long", OTHER.format("long") + "A paragraph of text.\n\n" * 800)
    upstream.script = [[load("long")]]
    async with limited(tmp_path, user_tokens=4000, answer=99) as limits:
        service = opened.service("ask", disclosure=CATALOG, limits=limits)
        reply = await client(opened, service).post({"message": ASK})
        used, _ = await limits.usage(await opened.actor("alice"))
        assert (used.requests, used.tokens) == (1, 13)
    assert (reply.status, reply.json()["code"]) == (429, "budget.tokens")
    assert len(upstream.chats) == 1
    trace = await trace_of(opened, reply.json()["trace_id"])
    assert (trace.ended, trace.error, trace.tokens_in) == (Ended.ERROR, "budget.tokens", 10)
    assert [call.name for call in trace.tool_calls] == ["load_skill"]
