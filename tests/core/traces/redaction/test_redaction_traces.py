"""From the journal to Git, rows, readers, archives and back: what was redacted is nowhere, and is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asgi_client import Client
from trace_instance import ALICE, BOB, SRE, Instance, trace

from llmos_lite.bootstrap import Services, open_services
from llmos_lite.core.traces.redaction import Redaction
from llmos_lite.core.traces.segments import list_segments
from llmos_lite.core.traces.trace import Feedback, Message, Share, ToolCall
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import PLATFORM, VolumeRef

MAIL, KEY = "jane.roe@corp.de", "ghp_aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
ONE = trace(
    1,
    goal=f"Tell {MAIL}",
    messages=(Message("user", f"Tell {MAIL}, the token is {KEY}"), Message("assistant", f"Told {MAIL}")),
    tool_calls=(ToolCall("mail", f'{{"to": "{MAIL}"}}', f"token {KEY}"),),
    team="sre",
    share=Share.FULL,
)


@pytest.fixture
async def instance(tmp_path: Path) -> AsyncIterator[Instance]:
    async with Instance.opened(tmp_path, Redaction()) as instance:
        yield instance


def in_git(instance: Instance, ref: VolumeRef) -> str:
    store = instance.volumes.open(PLATFORM, ref).traces
    segments = [blob for head in store.branches().values() for _, blob in list_segments(store, head)]
    return "".join(store.blob(blob).decode() for blob in segments)


def in_rows(instance: Instance) -> bytes:
    return b"".join(path.read_bytes() for path in instance.data.glob("rows.db*"))


async def test_nothing_that_was_redacted_is_in_git_rows_or_answers(instance: Instance) -> None:
    await instance.log.record(ONE)
    for place in ("in the journal", "in Git"):
        view = await instance.log.get(ALICE, ONE.id)
        assert view.trace.messages[0].content == "Tell <email:1>, the token is <secret:1>", place
        assert view.trace.tool_calls == (ToolCall("mail", '{"to": "<email:1>"}', "token <secret:1>"),)
        assert view.trace.redacted == {"email": 1, "secret": 1}
        assert (await instance.log.page(ALICE)).items[0].goal == "Tell <email:1>"
        assert (await instance.log.page(ALICE, text="jane.roe")).total == 0
        assert (await instance.log.page(BOB, volume=SRE)).items[0].goal == "Tell <email:1>"
        await instance.log.fold()
    for said in (MAIL, KEY, "jane.roe"):
        assert said not in in_git(instance, ALICE.volume) + in_git(instance, SRE)
        assert said.encode() not in in_rows(instance)
    assert in_git(instance, ALICE.volume).count('"redacted":{"email":1,"secret":1}') == 1


async def test_the_model_sees_what_was_said_for_as_long_as_it_is_in_memory(instance: Instance) -> None:
    await instance.log.record(ONE)
    await instance.log.fold()
    [turn] = await instance.log.conversation(ALICE, ONE.conversation)
    assert turn.messages == ONE.messages
    instance.log._recent.forget([ONE.id])
    [turn] = await instance.log.conversation(ALICE, ONE.conversation)
    assert turn.messages[0].content == "Tell <email:1>, the token is <secret:1>"


async def test_what_people_say_of_an_answer_is_redacted_and_counted(instance: Instance) -> None:
    await instance.log.record(ONE)
    for _ in range(2):
        view = await instance.log.feedback(
            ALICE, ONE.id, Feedback(rating="up", note=f"ask {MAIL}", kept=f"Dear {MAIL}")
        )
        assert (view.feedback[-1].note, view.feedback[-1].kept) == ("ask <email:1>", "Dear <email:1>")
        await instance.log.fold()
    assert (await instance.log.get(ALICE, ONE.id)).trace.redacted == {"email": 3, "secret": 1}
    assert MAIL not in in_git(instance, ALICE.volume)


async def test_imports_are_redacted_and_reindex_keeps_the_counts(instance: Instance) -> None:
    imported = trace(2, "bob", goal=f"Ask {MAIL}", source="import:desk")
    assert (await instance.log.store_many(BOB.volume, [imported])).stored == 1
    assert MAIL not in in_git(instance, BOB.volume)
    await instance.log.reindex()
    view = await instance.log.get(BOB, imported.id)
    assert (view.trace.goal, view.trace.redacted) == ("Ask <email:1>", {"email": 1})
    assert (await instance.log.store_many(BOB.volume, [imported])).duplicates == 1


async def test_a_server_redacts_unless_it_is_told_not_to(tmp_path: Path) -> None:
    for setting, said in (("on", "Tell <email:1>"), ("off", f"Tell {MAIL}")):
        settings = Settings(data=tmp_path / setting, llm_provider="offline", redact=setting)
        async with open_services(settings, serve=False) as services:
            assert await _told(services) == said


async def _told(services: Services) -> str:
    from llmos_lite.api.app import create_app  # noqa: PLC0415 - the others need none

    key = (services.settings.data / "admin.key").read_text().strip()
    client = Client(create_app(services), {"Authorization": f"Bearer {key}"})
    chat = await client.post("/chat", {"message": f"Tell {MAIL}"})
    await services.traces.fold()
    answer = (await client.get(f"/traces/{chat.json()['trace_id']}")).json()
    assert answer["redacted"] == ({"email": 1} if services.settings.redact == "on" else {})
    return str(answer["goal"])
