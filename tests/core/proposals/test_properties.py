"""Whatever people do, in whatever order: approvals are of the exact blobs, and Git alone gives every row back."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.core.proposals import branches
from llmos_lite.core.proposals.events import Kind
from llmos_lite.core.proposals.log import ProposalLog
from llmos_lite.core.proposals.resolving import Resolution
from llmos_lite.errors import Conflict
from llmos_lite.records.proposals import TABLE
from llmos_lite.volumes.git_volume import author_of
from tests.proposing import ALICE, BOB, EVE, MAIN, SKILL, SRE, Room, furnished

BRANCH = "pr/alice/my-skill"
Step: TypeAlias = tuple[str, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["promote", "main", "elsewhere", "by hand", "approve", "request", "resolve", "merge", "close"]),
        st.sampled_from("XY"),
    ),
    min_size=4,
    max_size=12,
)


class Model:
    """Does the steps, and remembers who approved which blobs since when nothing else was proposed."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.count = 0
        self.approved: dict[str, str] = {}

    async def do(self, step: Step) -> None:
        what, text = step
        way: dict[str, Callable[[str], Awaitable[object]]] = {
            "promote": self.room.promote,
            "main": self.main,
            "elsewhere": self.elsewhere,
            "by hand": self.by_hand,
            "approve": lambda text: self.review(Kind.APPROVED, text),
            "request": lambda text: self.review(Kind.CHANGES_REQUESTED, text),
            "resolve": self.resolve,
            "merge": self.merge,
            "close": lambda _: self.room.proposals.close(ALICE, self.open_id()),
        }
        before = self.digest()
        with contextlib.suppress(Conflict):
            await way[what](text)
        if self.digest() != before:
            self.approved.clear()

    def open_id(self) -> str:
        found = ProposalLog(self.room.team).on(BRANCH)
        if found is None or found.state != "open":
            raise Conflict("none", "Nothing is open.")
        return found.proposal_id

    def digest(self) -> str:
        try:
            return branches.read(self.room.team.store, BRANCH).digest
        except Conflict:
            return ""

    async def main(self, text: str) -> None:
        self.room.write(SRE, f"main {text}")

    async def elsewhere(self, text: str) -> None:
        self.count += 1
        self.room.write(SRE, f"{text}{self.count}", "other")

    async def by_hand(self, text: str) -> None:
        self.open_id()
        self.room.team.write_skill("my-skill", f"{SKILL}{text} by hand", author=author_of("alice"), branch=BRANCH)

    async def review(self, kind: Kind, text: str) -> None:
        actor = BOB if text == "X" else EVE
        await self.room.proposals.review(actor, self.open_id(), kind, "Said.")
        self.approved.pop(actor.user_id, None)
        if kind is Kind.APPROVED:
            self.approved[actor.user_id] = self.digest()

    async def resolve(self, text: str) -> None:
        how = Resolution(MAIN, "theirs") if text == "X" else Resolution(MAIN, content=f"{SKILL}resolved")
        await self.room.proposals.resolve(ALICE, self.open_id(), [how])

    async def merge(self, text: str) -> None:
        proposed = self.digest()
        known, actor = set(self.approved), BOB if text == "X" else EVE
        view = await self.room.proposals.merge(actor, self.open_id())
        assert set(view.events[-1].approved_by) == known | {actor.user_id}
        assert view.events[-1].digest == proposed

    async def check(self) -> None:
        """Compare what stands now with what is remembered, and the rows with those made anew."""
        for row in await self.room.all_rows():
            view = await self.room.proposals.get(BOB, row.proposal_id)
            if view.proposal.state == "open":
                valid = {one.user_id for one in view.reviews if one.valid and one.verdict is Kind.APPROVED}
                assert valid == set(self.approved)
                assert all(one == view.digest for one in self.approved.values())
        await self.room.proposals.notice(SRE)
        before = await self.room.all_rows()
        async with self.room.rows._database.session() as session:
            await session.execute(TABLE.delete())
        assert await self.room.proposals.reindex() == len(before)
        assert await self.room.all_rows() == before


async def run(steps: list[Step], folder: Path) -> None:
    async with furnished(folder) as room:
        model = Model(room)
        for step in [("promote", "X"), *steps]:
            await model.do(step)
        await model.check()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_approvals_are_of_the_blobs_and_rows_come_back(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(steps, Path(folder)))
