"""The same words choose the same context, made once for whoever sees the same skills, until one of them changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.assignment import TREATED, Arm
from llmos_lite.core.chat.choice import MOST_MADE, Chooser
from llmos_lite.core.chat.chosen import Choice
from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.chat.disclosure import LARGE, Disclosure
from llmos_lite.core.skills.ranking import ScoredSkill
from llmos_lite.engines.git import Author
from llmos_lite.engines.llm import ToolCall
from tests.chatting import Room, room

ASK = "How do I brew a pot of tea in the kitchen?"


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Room]:
    async with room(tmp_path) as opened:
        yield opened


def text(skill_id: str, body: str) -> str:
    return f"---\nname: {skill_id}\ndescription: Brews a pot of tea in the kitchen.\n---\n# Brewing\n\n{body}\n"


def write(chat: Room, volume: str, skill_id: str, body: str) -> None:
    chat.write_skill(volume, skill_id, text(skill_id, body))


async def choose(
    chooser: Chooser, actor: Actor, talk: str = "talk", disclosure: Disclosure = Disclosure.AUTO, limit: int = 3
) -> Choice:
    return await chooser.choose(actor, ASK, None, limit, Conversation(talk), disclosure=disclosure)


async def test_the_same_words_give_the_same_context_with_tools_of_its_own(chat: Room) -> None:
    alice = await chat.actor("alice")
    write(chat, "user:alice", "tea", "Warm the pot; see references/pots.md.")
    chooser = Chooser(chat.skills, budget_tokens=4000)
    first, again = await choose(chooser, alice), await choose(chooser, alice)
    assert again.prompt is first.prompt
    assert (again.used, again.exposures, again.commits) == (first.used, first.exposures, first.commits)
    assert first.exposures == first.considered
    assert [exposure.skill_id for exposure in again.exposures] == ["tea"]
    assert first.box is not None
    assert again.box is not None
    assert first.box is not again.box
    assert first.box.tools == again.box.tools
    said = [(await box.run(ToolCall("1", "load_skill", '{"name":"tea"}'))).content for box in (first.box, again.box)]
    assert said[0] == said[1]
    assert "whole text of tea already" in said[0]


async def test_each_disclosure_and_limit_has_its_own(chat: Room) -> None:
    alice = await chat.actor("alice")
    teas = {f"tea-{number}": f"Warm the pot number {number}." for number in range(LARGE + 1)}
    files = {f"skills/{tea}/SKILL.md": text(tea, body).encode() for tea, body in teas.items()}
    chat.volume("user:alice").store.commit(files, "Add teas", Author("alice", "alice@localhost"))
    chooser = Chooser(chat.skills, budget_tokens=4000)
    kinds = [(disclosure, limit) for disclosure in Disclosure for limit in (1, 2)] * 2
    made = [await choose(chooser, alice, disclosure=disclosure, limit=limit) for disclosure, limit in kinds]
    fresh = [
        await choose(Chooser(chat.skills, budget_tokens=4000), alice, disclosure=disclosure, limit=limit)
        for disclosure, limit in kinds
    ]
    assert [(one.system, one.used, one.exposures, one.offered) for one in made] == [
        (one.system, one.used, one.exposures, one.offered) for one in fresh
    ]
    assert len({one.system for one in made}) == len(kinds) / 2


async def test_what_changes_is_chosen_anew_and_nobody_gets_what_is_anothers(chat: Room) -> None:
    alice, bob = await chat.actor("alice"), await chat.actor("bob")
    write(chat, "user:alice", "tea", "Alice warms the pot.")
    write(chat, "system", "pot", "Everybody boils the water.")
    chooser = Chooser(chat.skills, budget_tokens=4000)
    assert "Alice warms the pot." in (await choose(chooser, alice)).system
    seen = await choose(chooser, bob)
    assert "Everybody boils" in seen.system
    assert "Alice" not in seen.system
    assert seen.commits == {"system": chat.head("system")}
    write(chat, "user:alice", "tea", "Alice cools the pot.")
    changed = await choose(chooser, alice)
    assert "Alice cools the pot." in changed.system
    assert changed.commits["user:alice"] == chat.head("user:alice")
    chat.delete_skill("user:alice", "tea")
    assert "Alice" not in (await choose(chooser, alice)).system


class Turns:
    """Hides everything from every second conversation."""

    def arms(self, actor: Actor, conversation_id: str, skills: Sequence[ScoredSkill]) -> Sequence[Arm]:
        del actor
        return [Arm(treated=False, propensity=0.5) if conversation_id == "control" else TREATED for _ in skills]


class Everybody:
    """Treats everybody, whatever it is."""

    def arms(self, actor: Actor, conversation_id: str, skills: Sequence[ScoredSkill]) -> Sequence[Arm]:
        del actor, conversation_id
        return [TREATED] * len(skills)


@pytest.mark.parametrize("budget", [100, 300, 700, 1200, 2500, 6000])
async def test_where_chance_lets_everybody_have_all_it_is_the_same(chat: Room, budget: int) -> None:
    alice = await chat.actor("alice")
    more = ("", "word " * 900, "See references/pots.md. ", "word " * 3000, "\n\nPour it. " * 300)
    files = {
        f"skills/tea-{number}/SKILL.md": text(f"tea-{number}", f"Warm {number}. {more[number * 7 % 5]}").encode()
        for number in range(LARGE + 5)
    }
    for count in (1, 4, LARGE + 5):
        some = dict(list(files.items())[:count])
        chat.volume("user:alice").store.commit({**some}, f"Add {count} teas", Author("alice", "alice@localhost"))
        plain, chance = (Chooser(chat.skills, budget_tokens=budget, assignment=one) for one in (None, Everybody()))
        for disclosure, limit in product(Disclosure, (1, 3, 8)):
            one = await choose(plain, alice, disclosure=disclosure, limit=limit)
            other = await choose(chance, alice, disclosure=disclosure, limit=limit)
            again = await choose(plain, alice, disclosure=disclosure, limit=limit)
            for made in (one, again):
                assert (made.system, made.used, made.considered) == (other.system, other.used, other.considered)
                assert (made.exposures, made.offered, made.commits) == (other.exposures, other.offered, other.commits)
                assert (made.box is None) is (other.box is None)
                if made.box is not None and other.box is not None:
                    assert made.box.tools == other.box.tools
                    assert list(made.box.held) == list(other.box.held)


async def test_chance_is_asked_each_time(chat: Room) -> None:
    alice = await chat.actor("alice")
    write(chat, "user:alice", "tea", "Warm the pot.")
    chooser = Chooser(chat.skills, budget_tokens=4000, assignment=Turns())
    for _ in range(2):
        assert "Warm the pot." in (await choose(chooser, alice, "treated")).system
        hidden = await choose(chooser, alice, "control")
        assert (hidden.system, [one.arm for one in hidden.exposures]) == ("", ["control"])


async def test_only_the_latest_are_kept(chat: Room) -> None:
    alice = await chat.actor("alice")
    write(chat, "user:alice", "tea", "Warm the pot.")
    chooser = Chooser(chat.skills, budget_tokens=4000)
    first = await choose(chooser, alice)
    for number in range(MOST_MADE):
        await chooser.choose(alice, f"{ASK} {number}", None, 3, Conversation("talk"))
    again = await choose(chooser, alice)
    assert again.system == first.system
    assert again.prompt is not first.prompt
