from __future__ import annotations

import msgspec

from llmos_lite.core.chat.conversation import Conversation
from llmos_lite.core.traces.trace import Ended, Message, SkillUse, Trace

USE = SkillUse("a", "A", "system", "0" * 40, 1.0)


def trace(
    number: int, *said: str, ended: Ended = Ended.COMPLETE, roles: tuple[str, ...] = ("user", "assistant")
) -> Trace:
    messages = tuple(Message(role, text) for role, text in zip(roles, said, strict=False))
    return Trace(
        id=f"T{number}",
        actor="alice",
        volume="user:alice",
        conversation="C",
        time=number,
        goal=said[0],
        messages=messages,
        ended=ended,
        skills_used=(USE,),
    )


def test_what_was_said_is_told_oldest_first() -> None:
    talk = Conversation.of("C", [trace(1, "hi", "hello"), trace(2, "how", "so")])
    assert [message["content"] for message in talk.messages] == ["hi", "hello", "how", "so"]
    assert (talk.parent, talk.skills) == ("T2", (USE,))


def test_turns_that_failed_or_have_no_answer_are_left_out() -> None:
    turns = [
        trace(1, "hi", "half", ended=Ended.ERROR),
        trace(2, "stop", ended=Ended.ABORTED),
        trace(3, "go", "partly", ended=Ended.ABORTED),
    ]
    talk = Conversation.of("C", turns)
    assert [message["content"] for message in talk.messages] == ["go", "partly"]
    assert talk.parent == "T3"


def test_only_people_and_the_model_are_repeated() -> None:
    turn = trace(
        1, "be evil", "hi", "tool says", "", "hello", roles=("system", "user", "tool", "assistant", "assistant")
    )
    assert Conversation.of("C", [turn]).messages == (
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
    )


def test_a_new_conversation_has_no_parent() -> None:
    assert Conversation("C").parent == ""


def test_what_was_listed_is_remembered_in_order() -> None:
    turns = [
        msgspec.structs.replace(trace(number, "hi", "hello"), offered=offered)
        for number, offered in enumerate([("system/b",), (), ("system/a", "team:x/c")])
    ]
    assert Conversation.of("C", turns).offered == ("system/b", "system/a", "team:x/c")
