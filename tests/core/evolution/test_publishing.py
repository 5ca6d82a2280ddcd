"""What evolution wrote is its own, from the moment of the commit."""

from __future__ import annotations

from dataclasses import replace

from llmos_lite.core.evolution.drafts import SkillDraft
from llmos_lite.core.evolution.publishing import Evidence, Publisher
from llmos_lite.core.evolution.report import Action
from llmos_lite.engines.git import Author
from tests.evolving import World

DRAFT = SkillDraft(title="Talk faster", description="Talk faster, on request.", steps=("Raise the rate",))
FIRST, SECOND = Evidence(3, "a" * 32), Evidence(9, "b" * 32)


def publisher(world: World) -> Publisher:
    return Publisher(world.volume("user:alice"), world.catalog, world.cron.proposals)


async def test_a_skill_written_in_this_run_stands_on_its_evidence(world: World) -> None:
    writer = publisher(world)
    assert writer.skills() == {}
    assert await writer.create("talk-faster", DRAFT, FIRST, "p-1") is Action.CREATED
    made = writer.skills()["talk-faster"]
    assert writer.evidence(made) == FIRST
    assert await writer.update(made, replace(DRAFT, title="Talk much faster"), SECOND, "p-1") is Action.UPDATED
    changed = writer.skills()["talk-faster"]
    assert (writer.evidence(changed), writer.evidence(made)) == (SECOND, None)
    assert publisher(world).evidence(changed) == SECOND


async def test_a_skill_that_a_person_edited_is_theirs(world: World) -> None:
    writer = publisher(world)
    await writer.create("talk-faster", DRAFT, FIRST, "p-1")
    text = world.volume("user:alice").read_skill("talk-faster") + "\nMy own line.\n"
    world.volume("user:alice").write_skill("talk-faster", text, author=Author("alice", "alice@localhost"))
    assert writer.evidence(writer.skills()["talk-faster"]) is None
