"""Conversations by what was said in them: a client sends the whole of it again with every turn, and names none.

A conversation is known by a chain of hashes over its items. The longest beginning that was seen before says which turn
the new one follows, and what of it is new. What is forgotten begins a conversation anew; see `thread_log`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from llmos_lite.core.accounts.permissions import Actor
from llmos_lite.core.chat.chosen import HeldSkill
from llmos_lite.core.chat.prompt import NOTHING, Prompt
from llmos_lite.core.gateway.asked import Placed, Raw, encode, fields_of
from llmos_lite.core.traces.trace import Exposure, SkillUse

MOST = 20_000
MOST_TEXT = 24 << 20
"""Characters that all conversations that are remembered keep; a text that many have at their head counts once."""


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation after one of its turns.

    Args:
        conversation: its id.
        trace_id: of the turn.
        parent: of the turn before; empty for the first.
        goal: what the person wants.
        goal_of: of the turn in which it was said; empty for this one.
        answered: whether the turn came to its end.
        head: skills in the system prompt.
        later: skills that came on the way.
        skills: all of them, best first as they came.
        exposures: all that were considered.
        commits: at which their volumes were read.
        system: hash of the client's system prompt that the traces hold.
        tools: whether tools of ours are in it, from its first request on.
        armed: whether the client's last request in it had tools of its own.
        offered: skills that were listed by name.
        held: what the words of this turn call for, and a scanner holds back.
        read: what the model read by them for the last answer, which the client's history does not hold.
        owed: the same as results of calls, for a provider that keeps the conversation and waits for them.
        searched: volumes of the skills that searches found, of which `read` and `owed` may say something.
        after: what the provider calls the answer that the client knows by another name; empty where it is the same.
    """

    conversation: str
    trace_id: str = ""
    parent: str = ""
    goal: str = ""
    goal_of: str = ""
    answered: bool = True
    head: Prompt = NOTHING
    later: tuple[Placed, ...] = ()
    skills: tuple[SkillUse, ...] = ()
    exposures: tuple[Exposure, ...] = ()
    commits: Mapping[str, str] = msgspec.field(default_factory=dict)
    system: str = ""
    tools: bool = False
    armed: bool = False
    offered: tuple[str, ...] = ()
    held: tuple[HeldSkill, ...] = ()
    read: tuple[str, ...] = ()
    owed: tuple[Raw, ...] = ()
    searched: tuple[str, ...] = ()
    after: str = ""

    @property
    def weight(self) -> int:
        """Return how many characters it keeps beside its head."""
        weight = 500 + len(self.goal) + 200 * (len(self.skills) + len(self.exposures))
        if not (self.later or self.read or self.owed):
            return weight
        for place in self.later:
            weight += len(place.text)
        for text in self.read:
            weight += len(text)
        for item in self.owed:
            weight += len(bytes(item))
        return weight


class Found(msgspec.Struct, frozen=True, gc=False):
    """What is known of a request's conversation.

    Args:
        thread: its last turn; None for a new one.
        seen: how many of the items stood there already.
        again: whether exactly this was asked before.
        failed: trace of the same request that failed, where the provider keeps what was said before it.
    """

    thread: Thread | None = None
    seen: int = 0
    again: bool = False
    failed: str = ""

    @property
    def begins(self) -> bool:
        """Tell whether a request says what its conversation began with here, examples of answers before it or not."""
        return self.again and self.thread is not None and not self.thread.parent

    def may_be_another(self, named: str) -> bool:
        """Tell whether a request may only read like its conversation, which has its answer, or goes by another name.

        Args:
            named: what the client calls it; empty when it does not say.
        """
        before = self.thread
        if before is None:
            return False
        return (self.again and before.answered) or bool(named and named != before.conversation)


_NEW = Found()
_WITHDRAWN = "This is not there for you any more."


class _Heads:
    """The heads of conversations: of those that are alike one is kept, as long as a conversation has it."""

    def __init__(self) -> None:
        self.size = 0
        self._kept: dict[Prompt, tuple[Prompt, int]] = {}

    def take(self, head: Prompt) -> Prompt:
        """Return the one that is kept, for one conversation more."""
        kept, holders = self._kept.get(head, (head, 0))
        self._kept[kept] = kept, holders + 1
        self.size += 0 if holders else len(kept)
        return kept

    def drop(self, head: Prompt) -> None:
        """Forget it when no other conversation has it."""
        kept, holders = self._kept.pop(head)
        if holders > 1:
            self._kept[kept] = kept, holders - 1
        else:
            self.size -= len(kept)


class Threads:
    """The conversations that went on lately; those that were quiet for longest are forgotten.

    Args:
        most: how many turns are remembered.
        most_text: characters of all.
    """

    def __init__(self, most: int = MOST, most_text: int = MOST_TEXT) -> None:
        self._most, self._most_text, self._size = most, most_text, 0
        self._heads = _Heads()
        self._kept: OrderedDict[bytes, tuple[Thread, int]] = OrderedDict()
        """Conversations, and what each weighs."""

    def find(self, links: Sequence[bytes], after: bytes = b"") -> Found:
        """Look for the longest beginning that was seen.

        Args:
            links: one for each beginning, the shortest first.
            after: key of the answer that the request goes on from; empty for none.
        """
        if after and (kept := self._kept.get(after)):
            tried = self._kept.get(links[-1]) if links else None
            return Found(kept[0], failed=tried[0].trace_id if tried and not tried[0].answered else "")
        for place in range(len(links) - 1, -1, -1):
            kept = self._kept.get(links[place])
            if kept is not None:
                self._kept.move_to_end(links[place])
                return Found(kept[0], place + 1, place + 1 == len(links))
        return _NEW

    def keep(self, key: bytes, thread: Thread) -> None:
        """Remember a turn."""
        if key in self._kept:
            self._drop(key)
        if thread.head.pieces and (head := self._heads.take(thread.head)) is not thread.head:
            thread = msgspec.structs.replace(thread, head=head)
        weight = thread.weight
        self._kept[key] = thread, weight
        self._size += weight
        while len(self._kept) > self._most or self._size + self._heads.size > self._most_text:
            self._drop(next(iter(self._kept)))

    def restore(self, kept: Iterable[tuple[bytes, Thread]]) -> None:
        """Remember turns, oldest first, that are older than all that are remembered."""
        newer, self._kept, self._size, self._heads = self._kept, OrderedDict(), 0, _Heads()
        for key, thread in (*kept, *((key, thread) for key, (thread, _) in newer.items())):
            self.keep(key, thread)

    def _drop(self, key: bytes) -> None:
        thread, weight = self._kept.pop(key)
        self._size -= weight
        if thread.head.pieces:
            self._heads.drop(thread.head)


def still_open(found: Found, actor: Actor, erased: Container[str]) -> Found:
    """Return what may still be known of a conversation: nothing of erased traces, and no skill of a team that was left.

    Args:
        found: what is known.
        actor: who goes on.
        erased: ids of the traces that are.
    """
    thread = found.thread
    if thread is None:
        return found
    if thread.trace_id in erased or thread.goal_of in erased:
        return _NEW
    if found.failed in erased:
        found = msgspec.structs.replace(found, failed="")
    if not (thread.skills or thread.exposures or thread.offered or thread.searched):
        return found
    if _is_of(thread, {str(actor.volume), "system", *map("team:".__add__, actor.teams)}):
        return found
    bare = msgspec.structs.replace(
        thread,
        head=NOTHING,
        later=(),
        read=(),
        owed=tuple(map(_withdrawn, thread.owed)),
        searched=(),
        offered=(),
        skills=(),
        exposures=(),
    )
    return msgspec.structs.replace(found, thread=bare)


def _withdrawn(result: Raw) -> Raw:
    """Return the result of a call without what it gave: the provider waits for one with its id."""
    fields = fields_of(bytes(result))
    return Raw(encode({name: fields[name] for name in ("type", "call_id") if name in fields} | {"output": _WITHDRAWN}))


def _is_of(thread: Thread, volumes: Container[str]) -> bool:
    """Tell whether all skills of a conversation, those that were only listed too, are of these volumes."""
    for use in thread.skills:
        if use.volume not in volumes:
            return False
    for exposure in thread.exposures:
        if exposure.volume not in volumes:
            return False
    for volume in thread.searched:
        if volume not in volumes:
            return False
    for key in thread.offered:  # noqa: SIM110 - a generator is a call for each
        if key.partition("/")[0] not in volumes:
            return False
    return True
