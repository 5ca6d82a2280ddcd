"""Redaction: what was found in an event becomes typed slots, `<email:1>`, and is counted.

The same value has the same number wherever it stands in one event, the goal first, so that a digest, which keeps the
goal alone, says the same. Numbers begin anew in the next event: to keep them longer the values would have to be kept.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from llmos_lite.core.traces.redaction.base import CATEGORIES, SECRET, Finder, Found, KeepAll, Redactor, counted
from llmos_lite.core.traces.redaction.seen import MOST_TEXTS, Seen
from llmos_lite.core.traces.trace import GOAL_LENGTH, Event, Feedback, Trace
from llmos_lite.errors import Invalid

log = logging.getLogger("llmos.redaction")

ROUNDS = 3
"""What is left between two slots may look like something else; a text is looked at again until nothing is found."""
UNCHECKED = "unchecked"
"""Counts the finders of other packages that failed."""
LEAST_KNOWN, MOST_KNOWN = 7, 2000
CUT_GOALS = (GOAL_LENGTH, 2 * GOAL_LENGTH)
"""Lengths that chats and imports cut a goal to."""
_LAST_WORD = re.compile(r"\S{1,400}$")
_SLOT = re.compile(r"<([a-z]+(?:-[a-z]+)*):(\d{1,9})>")
_KIND = re.compile(r"[a-z]{1,24}(?:-[a-z]{1,24}){0,2}")
_NUMBER = re.compile(r"-?\d+")


class Redaction:
    """Takes secrets and personal data out of events.

    Args:
        categories: some of `secrets` and `personal`.
        finders: those of other packages, by name.
        remembered: long texts that are known again when they come again.
    """

    def __init__(
        self,
        categories: Sequence[str] = CATEGORIES,
        finders: Mapping[str, Finder] | None = None,
        *,
        remembered: int = MOST_TEXTS,
    ) -> None:
        self._categories, self._others, self._remembered = tuple(categories), dict(finders or {}), remembered

    @cached_property
    def _finder(self) -> Finder:
        from llmos_lite.core.traces.redaction.finder import TextFinder  # noqa: PLC0415 - 40 ms that no start has to wait for

        return Seen(TextFinder(self._categories).find, self._remembered)

    def redact(self, event: Event) -> Event:
        """Return the event as it may be kept; ids, names of tools, and what is not text stay as they are."""
        if event.trace is not None:
            trace = _without_cut(event.trace)
            said = self._texts(_texts_of(trace))
            new = trace if said is None else _with_texts(trace, said)
            return event if new is event.trace else msgspec.structs.replace(event, trace=new)
        if event.feedback is not None:
            said = self._texts((event.feedback.note, event.feedback.kept))
            return event if said is None else msgspec.structs.replace(event, feedback=_commented(event.feedback, said))
        said = self._texts((event.reason,)) if event.reason else None
        return event if said is None else msgspec.structs.replace(event, reason=said.texts[event.reason])

    def text(self, text: str) -> str:
        """Return a text as it may be kept."""
        said = self._texts((text,))
        return text if said is None else said.texts[text]

    def _texts(self, texts: Iterable[str]) -> _Said | None:
        """Redact the texts of one event; None when nothing was found in them."""
        originals = [text for text in dict.fromkeys(texts) if text]
        slots, now = _Slots(originals), {text: text for text in originals}
        for _ in range(ROUNDS):
            found = {text: self._find(text, slots) for text in dict.fromkeys(now.values())}
            if not any(found.values()):
                break
            known = _Known(found)
            done = {text: slots.fill(text, known.add(text, some)) for text, some in found.items()}
            now = {text: done[left] for text, left in now.items()}
        return _Said(now, slots.counts) if slots.counts else None

    def _find(self, text: str, slots: _Slots) -> list[Found]:
        found = list(self._finder.find(text))
        for name, finder in self._others.items():
            try:
                found = _joined(found, _checked(finder.find(text), text))
            except Exception as error:  # noqa: BLE001 - whatever it is, the traces of others must not wait for it
                slots.fail(name, error)
        return found


class _Said(msgspec.Struct, frozen=True):
    """What became of texts, and how many values of each kind were taken out."""

    texts: dict[str, str]
    counts: dict[str, int]


class _Slots:
    """The numbers of values, by kind; those that a text holds already are not given again."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.counts: dict[str, int] = {}
        self._given: dict[tuple[str, str], int] = {}
        self._last: dict[str, int] = {}
        self._failed: set[str] = set()
        for text in texts:
            for kind, number in _SLOT.findall(text) if "<" in text else ():
                self._last[kind] = max(self._last.get(kind, 0), int(number))

    def fail(self, name: str, error: Exception) -> None:
        """Count a finder that failed; its message could hold the text, and is not told."""
        if name not in self._failed:
            self._failed.add(name)
            self.counts[UNCHECKED] = len(self._failed)
            log.error(
                "the plug-in %s failed (%s); what it looks for may be left in a trace", name, type(error).__name__
            )

    def slot(self, kind: str, value: str) -> str:
        """Return the slot of a value."""
        key = kind, _same(kind, value)
        if key not in self._given:
            self._given[key] = self._last[kind] = self._last.get(kind, 0) + 1
            self.counts[kind] = self.counts.get(kind, 0) + 1
        return f"<{kind}:{self._given[key]}>"

    def fill(self, text: str, found: Sequence[Found]) -> str:
        """Return a text with slots; one that is JSON stays JSON."""
        if not found:
            return text
        filled = "".join(self._parts(text, found, quote=False))
        if text.lstrip()[:1] in ("{", "[") and any(_NUMBER.fullmatch(text, one.start, one.end) for one in found):
            quoted = "".join(self._parts(text, found, quote=True))
            if not _is_json(filled) and _is_json(quoted):
                return quoted
        return filled

    def _parts(self, text: str, found: Sequence[Found], *, quote: bool) -> Iterator[str]:
        end = 0
        for one in found:
            yield text[end : one.start]
            slot = self.slot(one.kind, text[one.start : one.end])
            yield f'"{slot}"' if quote and _is_bare(text, one) else slot
            end = one.end
        yield text[end:]


class _Known:
    """Values that were found in one place of an event, and are looked for in all others, where nothing says so."""

    def __init__(self, found: Mapping[str, Sequence[Found]]) -> None:
        import ahocorasick_rs  # noqa: PLC0415 - as above

        values = {text[one.start : one.end]: one.kind for text, some in found.items() for one in some}
        known = [(value, kind) for value, kind in values.items() if _is_known_again(value, kind)]
        self._kinds = dict(known[:MOST_KNOWN])
        self._values = list(self._kinds)
        self._automaton = ahocorasick_rs.AhoCorasick(self._values, ahocorasick_rs.MatchKind.LeftmostLongest)

    def add(self, text: str, found: list[Found]) -> list[Found]:
        """Return what was found in a text with the values that are known from elsewhere."""
        if not self._values:
            return found
        again = [
            Found(start, end, self._kinds[self._values[index]])
            for index, start, end in self._automaton.find_matches_as_indexes(text)
            if not (_inside(text, start) or _inside(text, end))
        ]
        return _joined(found, again)


def _is_known_again(value: str, kind: str) -> bool:
    if len(value) < LEAST_KNOWN or kind in ("ip", "birthdate") or not value.isprintable():
        return False
    return kind != SECRET or not value.isalpha()


def _inside(text: str, at: int) -> bool:
    """Tell whether a place lies inside a word."""
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


def _same(kind: str, value: str) -> str:
    """Return what two ways to write one value have in common."""
    if kind in ("phone", "card", "iban", "id"):
        return "".join(filter(str.isalnum, value)).upper()
    return value if kind == SECRET else " ".join(value.lower().split())


def _joined(found: list[Found], more: Iterable[Found]) -> list[Found]:
    """Return all of `found`, and of `more` what does not overlap, in order."""
    fresh, place = sorted(more), 0
    joined: list[Found] = []
    for one in found:
        while place < len(fresh) and fresh[place].start < one.start:
            if fresh[place].end <= one.start and (not joined or fresh[place].start >= joined[-1].end):
                joined.append(fresh[place])
            place += 1
        joined.append(one)
    for one in fresh[place:]:
        if not joined or one.start >= joined[-1].end:
            joined.append(one)
    return joined


def _checked(found: Iterable[Found], text: str) -> list[Found]:
    """Return what another package found.

    Raises:
        ValueError: it is not in the text, or of no kind.
    """
    checked = [Found(*one) for one in found]
    for one in checked:
        if not (0 <= one.start < one.end <= len(text) and _KIND.fullmatch(one.kind)):
            raise ValueError(f"{one} is no place in a text of {len(text)} characters with a kind")
    return [one for one in checked if not _SLOT.fullmatch(text, one.start, one.end)]


def _is_bare(text: str, one: Found) -> bool:
    before, after = text[: one.start].rstrip()[-1:], text[one.end :].lstrip()[:1]
    return before in (":", "[", ",") and after in (",", "]", "}") and bool(_NUMBER.fullmatch(text, one.start, one.end))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _asked(trace: Trace) -> str:
    """Return the goal that a chat gives its trace."""
    return trace.messages[0].content.strip()[:GOAL_LENGTH] if trace.messages else ""


def _without_cut(trace: Trace) -> Trace:
    """Return a trace whose goal, when it was cut off, does not end in half a word: that may be half a key."""
    if len(trace.goal) not in CUT_GOALS or trace.goal == _asked(trace):
        return trace
    goal = _LAST_WORD.sub("\u2026", trace.goal)
    return trace if goal == trace.goal else msgspec.structs.replace(trace, goal=goal)


def _texts_of(trace: Trace) -> Iterator[str]:
    if trace.goal != _asked(trace):
        yield trace.goal
    for message in trace.messages:
        yield message.content
    for call in trace.tool_calls:
        yield call.arguments
        yield call.result
    yield trace.error


def _with_texts(trace: Trace, said: _Said) -> Trace:
    new, replace = said.texts, msgspec.structs.replace
    redacted = replace(
        trace,
        goal=new.get(trace.goal, trace.goal),
        messages=tuple(replace(message, content=new.get(message.content, "")) for message in trace.messages),
        tool_calls=tuple(
            replace(call, arguments=new.get(call.arguments, ""), result=new.get(call.result, ""))
            for call in trace.tool_calls
        ),
        error=new.get(trace.error, ""),
        redacted=counted(trace.redacted, said.counts),
    )
    return replace(redacted, goal=_asked(redacted)) if trace.goal == _asked(trace) else redacted


def _commented(feedback: Feedback, said: _Said) -> Feedback:
    note, kept = said.texts.get(feedback.note, ""), said.texts.get(feedback.kept, "")
    return msgspec.structs.replace(feedback, note=note, kept=kept, redacted=counted(feedback.redacted, said.counts))


def redactor_of(setting: str, loaded: Mapping[str, object]) -> Redactor:
    """Return the redactor that a setting asks for.

    Args:
        setting: `on`, `off`, or some of `secrets` and `personal`, with commas.
        loaded: what installed packages add, by name; not used when it is off.

    Raises:
        Invalid: `settings.invalid`, or `plugin.redactor`.
    """
    if setting == "off":
        return KeepAll()
    categories = CATEGORIES if setting == "on" else tuple(part.strip() for part in setting.split(","))
    if unknown := sorted({*categories} - {*CATEGORIES}):
        raise Invalid(
            "settings.invalid",
            f"LLMOS_REDACT={setting!r} names {unknown[0]!r}, which is nothing that can be redacted.",
            hint="Set LLMOS_REDACT to on, off, secrets, personal, or both with a comma.",
        )
    return Redaction(categories, finders_from(loaded))


def finders_from(loaded: Mapping[str, object]) -> dict[str, Finder]:
    """Return the finders that installed packages add, by name.

    Raises:
        Invalid: `plugin.redactor`, when one of them is none.
    """
    finders: dict[str, Finder] = {}
    for name, plugin in loaded.items():
        finder = plugin() if isinstance(plugin, type) else plugin
        if not isinstance(finder, Finder):
            raise Invalid(
                "plugin.redactor", f"The plug-in {name!r} is no redactor: it has no find.", hint="Mend or uninstall it."
            )
        finders[name] = finder
    return finders
