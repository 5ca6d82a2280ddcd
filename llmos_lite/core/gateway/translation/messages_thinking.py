"""How hard Anthropic's models think, and what of a request depends on it: words, tokens, the length of the answer."""

from __future__ import annotations

import itertools
import re

import msgspec

from llmos_lite.core.gateway.translation.neutral import Ask, Raw, Result

MOST_TOKENS = 8192
"""What stands for `max_tokens`, which this API demands, when the client does not say."""
_MOST_WITH_THOUGHTS = 32_000
"""The longest answer that every Claude model gives that thinks at all."""
_EFFORT = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
"""Tokens of thinking for a word of OpenAI's `reasoning_effort`; our own choice, the API takes at least 1,024."""
_ADAPTIVE = "high"
"""How hard a model of Anthropic thinks that decides about that itself, and is told nothing."""
_WORDED = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
"""What `output_config.effort` calls it."""
_CLAUDE = re.compile(r"claude-[a-z]+(?:-(\d+)(?:[-.](\d{1,2}))?(?!\d))?(?!\w)")
_OFF: dict[str, object] = {"thinking": {"type": "disabled"}}
_BUDGETED = (4, 6)
"""The last models that take a number of tokens for their thoughts; later ones refuse it, and want a word."""
HOTTEST = 1.0
"""The highest `temperature` that this API takes, and the usual one; OpenAI's goes to 2."""
_USUAL = (b"1", b"1.0")


class Thinking(msgspec.Struct):
    """What a request says of it."""

    type: str = ""
    budget_tokens: int | None = None


def effort_of(thinking: Thinking, told: str) -> str:
    """Return how hard to think, in OpenAI's words, which are Anthropic's and two more."""
    match thinking.type:
        case "disabled":
            return "none"
        case "adaptive":
            return told or _ADAPTIVE
        case "enabled" if thinking.budget_tokens and not told:
            tokens = thinking.budget_tokens
            return next((word for word, most in _EFFORT.items() if tokens <= most and word != "minimal"), "xhigh")
        case _:
            return told


def word_of(ask: Ask) -> str:
    """Return the word in which a model is told how hard to think; empty for one that takes a number of tokens."""
    return _WORDED.get(ask.effort, "") if _is_worded(ask.model) else ""


def _is_worded(model: str) -> bool:
    """Tell whether a model is told in a word how hard to think: Anthropic's of after 4.6, whichever cloud names it."""
    found = _CLAUDE.search(model)
    return found is not None and (found[1] is None or (int(found[1]), int(found[2] or 0)) > _BUDGETED)


def numbers_of(ask: Ask, thinking: dict[str, object]) -> dict[str, object]:
    """Return the settings that are numbers, none of them higher than the API takes.

    A model that thinks takes none, one after 4.6 never, and other Claude models one of the two.
    """
    if thinking not in ({}, _OFF) or _is_worded(ask.model):
        return {}
    kept: dict[str, object] = dict(ask.numbers)
    if _heat(ask) > HOTTEST:
        kept["temperature"] = HOTTEST
    if _CLAUDE.search(ask.model) and len(kept) > 1:
        del kept["temperature" if _heat(ask) == HOTTEST else "top_p"]
    return kept


def _heat(ask: Ask) -> float:
    try:
        return msgspec.json.decode(ask.numbers.get("temperature", Raw(b"1")), type=float)
    except msgspec.DecodeError:  # the server says what is wrong with it
        return HOTTEST


def thinking_of(ask: Ask) -> dict[str, object]:
    """Return how hard the model shall think, as far as there is room in the answer.

    A budget not when results come in: the API wants to see the thoughts before the calls again, which no other dialect
    carries. Models that are told in a word do not ask for that.
    """
    if ask.choice not in {"auto", "none"}:
        return {}
    if _is_worded(ask.model):
        return {"thinking": {"type": "adaptive"}} if ask.effort in _WORDED else _OFF if ask.effort == "none" else {}
    budget, most = _EFFORT.get(ask.effort, 0), most_tokens(ask)
    if most <= budget:
        budget = max(most // 2, most - MOST_TOKENS)
    newest = itertools.takewhile(lambda turn: turn.role != "assistant", reversed(ask.turns))
    calling = any(isinstance(part, Result) for turn in newest for part in turn.parts)
    if budget < min(_EFFORT.values()) or calling:
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def most_tokens(ask: Ask) -> int:
    """Return how long the answer may be, its thoughts included."""
    thoughts = _EFFORT.get(ask.effort, 0) if _CLAUDE.search(ask.model) else 0
    return ask.most_tokens or min(MOST_TOKENS + thoughts, _MOST_WITH_THOUGHTS)


def lost_of(ask: Ask) -> list[str]:
    """Return the names of what is not said of how to think: it has no room, or numbers have no place beside it."""
    thinking = thinking_of(ask)
    is_told = ask.effort in {"", "none"} or word_of(ask) or thinking
    numbers = numbers_of(ask, thinking)
    gone = [name for name, raw in ask.numbers.items() if name not in numbers and bytes(raw) not in _USUAL]
    return [*([] if is_told else ["effort"]), *gone]
