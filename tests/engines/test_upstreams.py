"""Which server a request goes to, and who is asked when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.engines import upstreams
from llmos_lite.engines.upstream import Passing, Wire
from llmos_lite.engines.upstream_kinds import ServerSpec, open_server
from llmos_lite.engines.upstreams import Breaker, Policy, Route, Router, Rules, Target
from llmos_lite.errors import NotFound, Unavailable, UpstreamFailed
from tests.answering import Answering, answering, reply

QUICK = Policy(retries=1, wait=0.0)
OK, LIMITED, BROKEN = reply(b"{}"), reply(b"{}", 429, retry_after="30"), reply(b"{}", 503)


@pytest.fixture
async def one() -> AsyncIterator[Answering]:
    async with answering(OK) as server:
        yield server


@pytest.fixture
async def two() -> AsyncIterator[Answering]:
    async with answering(OK) as server:
        yield server


def router(rules: Rules, policy: Policy = QUICK, **servers: Answering) -> Router:
    made = {name: open_server(ServerSpec(name=name, url=server.url, timeout=5)) for name, server in servers.items()}
    return Router(made, rules, policy)


def passing(route: Route) -> Passing:
    return Passing(path=route.wire.path, body=route.model.encode(), headers={})


async def ask(asked: Router, model: str = "m") -> tuple[str, str, int]:
    """Ask, and return who answered, for which model, and how."""
    sent = await asked.send(model, Wire.CHAT, passing)
    async with sent.reply:
        return sent.route.upstream.name, sent.route.model, sent.reply.status


RULES = Rules(
    aliases={"fast": [Target("a", "small"), Target("b", "tiny")]},
    patterns=[("gpt-*", "a"), ("gpt-5", "b"), ("*", "b")],
)


@pytest.mark.parametrize(
    ("model", "expected"),
    [("fast", ("a", "small")), ("gpt-4", ("a", "gpt-4")), ("gpt-5", ("b", "gpt-5")), ("other", ("b", "other"))],
)
async def test_names_come_before_patterns_and_long_ones_before_short(
    one: Answering, two: Answering, model: str, expected: tuple[str, str]
) -> None:
    assert (await ask(router(RULES, a=one, b=two), model))[:2] == expected


async def test_a_server_can_be_named(one: Answering, two: Answering) -> None:
    rules = Rules(default=Target("a", "usual"))
    assert (await ask(router(rules, a=one, b=two), "b/llama3"))[:2] == ("b", "llama3")
    assert (await ask(router(rules, a=one, b=two), "meta/llama3"))[:2] == ("a", "meta/llama3")
    assert (await ask(router(rules, a=one, b=two), ""))[:2] == ("a", "usual")


async def test_a_model_that_nobody_has_is_said(one: Answering) -> None:
    with pytest.raises(NotFound, match="No provider has"):
        await ask(router(Rules(patterns=[("x", "a")]), a=one), "y")


async def test_any_number_of_names_leads_where_the_rules_say(
    one: Answering, two: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "MOST_KNOWN", 3)
    asked = router(Rules(patterns=[("b-*", "b")], default=Target("a")), a=one, b=two)
    for name in [*(f"{server}-{number}" for number in range(4) for server in "ab"), "b-" + "x" * 1000] * 2:
        assert await ask(asked, name) == (name[0], name, 200)


async def test_a_key_that_a_server_does_not_know_is_said_in_the_log(
    one: Answering, caplog: pytest.LogCaptureFixture
) -> None:
    one.answers[:] = [reply(b"{}", 401)]
    asked = router(Rules(default=Target("a")), a=one)
    await asked.send("m", Wire.CHAT, lambda route: msgspec.structs.replace(passing(route), own_key=True))
    assert not caplog.messages  # it is the client's
    assert [(await ask(asked))[2] for _ in range(2)] == [401, 401]
    assert caplog.messages == ["The model's server 'a' does not know the key that it is asked with (401)."]


async def test_a_server_that_fails_is_asked_again(one: Answering) -> None:
    one.answers[:] = [BROKEN, OK]
    assert (await ask(router(Rules(default=Target("a")), a=one)))[2] == 200
    assert len(one.asked) == 2


async def test_the_last_refusal_is_handed_on(one: Answering) -> None:
    one.answers[:] = [BROKEN]
    assert (await ask(router(Rules(default=Target("a")), a=one)))[2] == 503
    assert len(one.asked) == 2


async def test_a_request_that_is_wrong_is_not_asked_again(one: Answering) -> None:
    one.answers[:] = [reply(b"{}", 400)]
    assert (await ask(router(Rules(default=Target("a")), a=one)))[2] == 400
    assert len(one.asked) == 1


async def test_the_next_server_is_asked_when_one_fails(one: Answering, two: Answering) -> None:
    one.answers[:] = [BROKEN]
    assert await ask(router(RULES, a=one, b=two), "fast") == ("b", "tiny", 200)
    assert (len(one.asked), len(two.asked)) == (2, 1)


async def test_the_next_server_is_asked_at_once_when_one_wants_patience(one: Answering, two: Answering) -> None:
    one.answers[:] = [LIMITED]
    assert await ask(router(RULES, a=one, b=two), "fast") == ("b", "tiny", 200)
    assert len(one.asked) == 1


async def test_a_single_server_that_wants_patience_is_heard(one: Answering) -> None:
    one.answers[:] = [LIMITED]
    assert (await ask(router(Rules(default=Target("a")), a=one)))[2] == 429
    assert len(one.asked) == 1


async def test_a_server_that_hangs_up_is_asked_again_and_then_told(one: Answering) -> None:
    one.answers[:] = [b""]
    with pytest.raises(UpstreamFailed):
        await ask(router(Rules(default=Target("a")), a=one))
    assert len(one.asked) == 2


async def test_what_fails_after_the_head_is_not_asked_again(one: Answering) -> None:
    one.answers[:] = [b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]

    async def read() -> None:
        sent = await router(Rules(default=Target("a")), a=one).send("m", Wire.CHAT, passing)
        async with sent.reply as reply:
            while await reply.chunk():
                raise UpstreamFailed("model.cut", "cut")

    with pytest.raises(UpstreamFailed):
        await read()
    assert len(one.asked) == 1


async def test_a_model_that_keeps_failing_is_left_alone_and_no_other_of_its_server(one: Answering) -> None:
    one.answers[:] = [BROKEN] * 3 + [OK]
    asked = router(Rules(default=Target("a")), Policy(retries=0, failures=3, rest=60), a=one)
    for _ in range(3):
        await ask(asked, "bad")
    with pytest.raises(Unavailable) as refused:
        await ask(asked, "bad")
    assert refused.value.code == "model.resting"
    assert refused.value.detail["retry_after"] == 60
    assert "The model 'bad' of the server 'a' keeps failing, and is left alone for 60 s" in str(refused.value)
    assert refused.value.message.endswith("It answers 503.")
    assert asked.resting("a") > 0
    assert len(one.asked) == 3
    assert (await ask(asked, "good"))[2] == 200


async def test_a_server_that_does_not_answer_is_left_alone_with_all_its_models(one: Answering) -> None:
    one.answers[:] = [b""]
    asked = router(Rules(default=Target("a")), Policy(retries=0, failures=3, rest=60), a=one)
    for model in ("x", "y", "z"):
        with pytest.raises(UpstreamFailed):
            await ask(asked, model)
    with pytest.raises(Unavailable) as refused:
        await ask(asked, "w")
    assert "The model's server 'a' keeps failing, and is left alone for 60 s" in str(refused.value)
    assert refused.value.message.endswith("broke the connection.")
    assert len(one.asked) == 3


async def test_what_is_left_alone_says_why_and_what_to_do_and_the_log_where_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = Router(
        {"a": open_server(ServerSpec(name="a", url="http://127.0.0.1:1/v1"))},
        Rules(default=Target("a")),
        Policy(retries=0, failures=1, rest=60),
    )
    with pytest.raises(UpstreamFailed) as unreachable:
        await ask(asked)
    with pytest.raises(Unavailable) as resting:
        await ask(asked)
    await asked.close()
    assert resting.value.message.endswith("left alone for 60 s. The model's server 'a' cannot be reached.")
    for error in (unreachable.value, resting.value):
        assert "127.0.0.1" not in str(error.problem())
    said = "The model's server 'a' cannot be reached. It is at 127.0.0.1:1."
    assert caplog.messages == [
        f"The model's server 'a' keeps failing, and is left alone for a while. {said}",
        said,
    ]
    assert resting.value.hint == unreachable.value.hint


async def test_what_is_left_alone_from_now_on_is_not_asked_again_at_once(one: Answering) -> None:
    one.answers[:] = [BROKEN]
    asked = router(
        Rules(default=Target("a")), Policy(retries=5, wait=0.001, failures=3, rest=60, longest_rest=600), a=one
    )
    assert (await ask(asked))[2] == 503
    assert len(one.asked) == 3
    assert 59 < asked.resting("a") <= 60


async def test_another_server_is_asked_while_one_is_left_alone(one: Answering, two: Answering) -> None:
    one.answers[:] = [BROKEN]
    asked = router(RULES, Policy(retries=0, failures=2, rest=60), a=one, b=two)
    for _ in range(4):
        assert (await ask(asked, "fast"))[0] == "b"
    assert len(one.asked) == 2


def test_one_request_finds_out_whether_a_server_is_back(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    breaker = Breaker(Policy(failures=2, rest=5, longest_rest=12), lambda: now, "The model's server 'local'")
    for _ in range(2):
        breaker.note(good=False)
    assert breaker.left == 5
    now = 5.0
    assert breaker.left == 0
    breaker.ask()
    assert breaker.left == 5  # the others wait for that one
    breaker.note(good=False)
    assert breaker.left == 10
    breaker.note(good=False)
    assert breaker.left == 12
    breaker.note(good=True)
    breaker.note(good=True)
    assert breaker.left == 0
    assert [line.split(" and ")[0] for line in caplog.messages] == [
        "The model's server 'local' keeps failing,",
        "The model's server 'local' answers again.",
    ]


@given(notes=st.lists(st.booleans()))
def test_a_server_is_left_alone_only_after_failures_in_a_row(notes: list[bool]) -> None:
    breaker = Breaker(Policy(failures=3), lambda: 0.0)
    for good in notes:
        breaker.note(good=good)
    tail = next((place for place, good in enumerate(reversed(notes)) if good), len(notes))
    assert bool(breaker.left) == (tail >= 3)


async def test_a_pause_is_as_long_as_the_server_asks(one: Answering) -> None:
    one.answers[:] = [reply(b"{}", 429, retry_after="2"), OK]
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    server = open_server(ServerSpec(name="a", url=one.url))
    asked = Router({"a": server}, Rules(default=Target("a")), Policy(retries=1, longest=2.0), pause=pause)
    assert (await ask(asked))[2] == 200
    assert pauses == [2.0]
    await asked.close()


async def test_a_client_that_goes_away_stops_the_tries(one: Answering) -> None:
    one.answers[:] = [BROKEN]
    waiting = asyncio.Event()

    async def pause(seconds: float) -> None:
        waiting.set()
        await asyncio.sleep(3600 + seconds)

    server = open_server(ServerSpec(name="a", url=one.url))
    asked = Router({"a": server}, Rules(default=Target("a")), QUICK, pause=pause)
    task = asyncio.create_task(ask(asked))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(one.asked) == 1


@pytest.mark.parametrize(
    ("heads", "asked"),
    [
        ({"retry_after": "0"}, 2),
        ({"retry_after": "0.02"}, 2),
        ({"retry_after": "30"}, 1),
        ({"retry_after": "2.5"}, 1),
        ({"retry_after_ms": "20"}, 2),
        ({"retry_after_ms": "20", "retry_after": "30"}, 2),
        ({"retry_after_ms": "9000", "retry_after": "0"}, 1),
        ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 2),
        ({"retry_after": "Wed, 21 Oct 2099 07:28:00 GMT"}, 1),
        ({"retry_after": "soon"}, 2),
        ({"retry_after": "nan"}, 2),
        ({"retry_after": "-5"}, 2),
        ({"x_should_retry": "false"}, 1),
        ({"x_should_retry": "true"}, 2),
    ],
)
async def test_a_server_says_in_many_ways_when_it_may_be_asked_again(
    one: Answering, heads: dict[str, str], asked: int
) -> None:
    one.answers[:] = [reply(b"{}", 429, **heads), OK]
    found = await ask(router(Rules(default=Target("a")), Policy(retries=1, wait=0.001), a=one))
    assert (len(one.asked), found[2]) == (asked, 200 if asked > 1 else 429)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_a_refusal_does_not_show_our_key(one: Answering, status: int) -> None:
    said = b'{"error":{"message":"Key sk-secret-key, header tok-12345 is not known","type":"invalid_request_error"}}'
    one.answers[:] = [reply(said, status)]
    spec = ServerSpec(name="a", url=one.url, key="sk-secret-key", headers={"x-auth": "tok-12345", "x-team": "header"})
    asked = Router({"a": open_server(spec)}, Rules(default=Target("a")), Policy(retries=0))
    for own_key in (False, True):
        sent = await asked.send("m", Wire.CHAT, lambda route, own=own_key: _as(route, own))  # type: ignore[misc]
        body = await sent.reply.read(1000)
        await sent.reply.end()
        assert (b"sk-secret-key" in body, b"tok-12345" in body) == (own_key, own_key)
        assert b"header" in body
    await asked.close()


async def test_a_key_that_is_only_a_word_is_not_cut_out_of_refusals(one: Answering) -> None:
    said = b'{"error":{"message":"registry.ollama.ai/library/gemma does not support tools"}}'
    one.answers[:] = [reply(said, 400)]
    asked = Router({"a": open_server(ServerSpec(name="a", url=one.url, key="ollama"))}, Rules(default=Target("a")))
    sent = await asked.send("m", Wire.CHAT, passing)
    assert await sent.reply.read(1000) == said
    await sent.reply.end()
    await asked.close()


async def test_a_server_that_is_asked_in_chat_for_lack_of_an_address_does_not_show_our_key_either(
    one: Answering,
) -> None:
    one.answers[:] = [reply(b"Not Found", 404), reply(b'{"error":{"message":"Key sk-secret-key is not known"}}', 401)]
    spec = ServerSpec(name="a", url=one.url, key="sk-secret-key")
    asked = Router({"a": open_server(spec)}, Rules(default=Target("a")))
    sent = await asked.send("m", Wire.RESPONSES, passing)
    assert (sent.route.wire, await sent.reply.read(1000)) == (
        Wire.CHAT,
        b'{"error":{"message":"Key [key] is not known"}}',
    )
    await sent.reply.end()
    await asked.close()


def _as(route: Route, own_key: bool) -> Passing:  # noqa: FBT001 - of a lambda
    return msgspec.structs.replace(passing(route), own_key=own_key)


async def test_amazons_refusal_of_a_signature_does_not_show_the_token(one: Answering) -> None:
    one.answers[:] = [reply(b'{"message":"The canonical string: x-amz-security-token:session-token"}', 403)]
    spec = ServerSpec(name="a", kind="bedrock", region="r", url=one.url, key="AKID:secret-key:session-token")
    asked = Router({"a": open_server(spec)}, Rules(default=Target("a")))
    made = Passing(path="/messages", body=b'{"model":"m"}', headers={})
    sent = await asked.send("m", Wire.MESSAGES, lambda _: made)
    assert b"x-amz-security-token:[key]" in await sent.reply.read(1000)
    await sent.reply.end()
    await asked.close()
