from __future__ import annotations

import functools

import pytest

from llmos_lite.core.evolution.cron import detector_for
from llmos_lite.engines import plugins
from llmos_lite.engines.embedder import find_embedder
from llmos_lite.errors import Forbidden, Invalid, NotFound
from llmos_lite.settings import Settings
from llmos_lite.volumes.access import SYSTEM, VolumeRef
from tests.evolving import CSV, SECURITY, World, actor


async def test_a_run_is_noted_and_handed_on(world: World) -> None:
    run_id = await world.evolution.start(actor("alice"))
    assert world.queue.submitted == [("evolve", run_id)]
    run = await world.runs.get(actor("alice"), run_id)
    assert (run.state, run.request) == ("queued", {"scope": "user", "id": "alice"})
    waited = await world.evolution.run(actor("alice"), timeout=0)
    assert waited.state == "queued"


async def test_who_may_run_what(world: World) -> None:
    member = actor("alice", "sre")
    run_id = await world.evolution.start(member, "team", "sre")
    assert (await world.runs.load(run_id)).request == {"scope": "team", "id": "sre"}
    with pytest.raises(NotFound):
        await world.evolution.start(actor("bob"), "team", "sre")
    await world.evolution.start(actor("root", admin=True), "team", "sre")
    with pytest.raises(Forbidden):
        await world.evolution.start(member, "system")
    system = await world.evolution.start(actor("root", admin=True), "system")
    assert (await world.runs.load(system)).request == {"scope": "system", "id": "system"}
    for scope, team in (("team", None), ("users", None), ("", None), ("team", "../x")):
        with pytest.raises(Invalid):
            await world.evolution.start(member, scope, team)
    with pytest.raises(Forbidden):
        await world.evolution.start(type(member)("alice", scopes=frozenset()))


async def test_patterns_are_listed_for_readers_of_their_volume(world: World) -> None:
    await world.store(world.chat(goal) for goal in [*CSV, *SECURITY])
    await world.cron.run_user_evolution("alice")
    page = await world.evolution.patterns(actor("alice"), limit=1)
    assert (len(page.items), page.total) == (1, 2)
    first = page.items[0]
    assert (first.count, first.users, first.success_rate, first.volume) == (5, 1, 1.0, "user:alice")
    assert first.skill_id
    assert first.goal in CSV
    assert first.trace_ids == []
    rest = await world.evolution.patterns(actor("alice"), limit=1, cursor=page.next_cursor)
    assert [item.count for item in rest.items] == [3]
    assert rest.next_cursor is None
    one = await world.evolution.pattern(actor("alice"), first.pattern_id)
    assert len(one.trace_ids) == 5
    assert one.trace_ids == sorted(one.trace_ids)
    admins = await world.evolution.patterns(actor("root", admin=True), volume=VolumeRef.user("alice"))
    assert admins.total == 2
    assert (await world.evolution.pattern(actor("root", admin=True), first.pattern_id)).count == 5


async def test_strangers_see_no_patterns(world: World) -> None:
    await world.store(world.chat(goal) for goal in CSV)
    await world.cron.run_user_evolution("alice")
    [pattern] = (await world.evolution.patterns(actor("alice"))).items
    assert (await world.evolution.patterns(actor("bob"))).total == 0
    assert (await world.evolution.patterns(actor("bob"), volume=SYSTEM)).total == 0
    for unseen in (lambda: world.evolution.pattern(actor("bob"), pattern.pattern_id),
                   lambda: world.evolution.pattern(actor("alice"), "p-unknown"),
                   lambda: world.evolution.patterns(actor("bob"), volume=VolumeRef.user("alice"))):  # fmt: skip
        with pytest.raises(NotFound):
            await unseen()


async def test_a_team_sees_its_patterns(world: World) -> None:
    world.teams["sre"] = {"alice", "bob"}
    await world.share([world.chat(goal, user=user) for goal in CSV[:3] for user in ("alice", "bob")], "sre")
    await world.cron.run_team_evolution("sre")
    [pattern] = (await world.evolution.patterns(actor("bob", "sre"))).items
    assert (pattern.volume, pattern.users) == ("team:sre", 2)
    assert (await world.evolution.pattern(actor("bob", "sre"), pattern.pattern_id)).count == 6


class Embedder:
    def embed(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, float(len(text) % 7)] for text in texts]


def test_an_embedder_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    there: dict[str, object] = {
        "class": Embedder,
        "object": Embedder(),
        "maker": functools.partial(Embedder),
        "none": 3,
    }
    monkeypatch.setattr(plugins, "find", lambda _group, name: there[name])
    for name in ("class", "object", "maker"):
        assert find_embedder(name).embed(["a", "b"]).shape == (2, 2)
    with pytest.raises(Invalid, match="no embedder"):
        find_embedder("none")
    detector_for(Settings(), find_embedder("class"))
