"""A text as the patterns read it: the same letters without disguise, and the way back to the places they came from.

Zero-width characters go; full-width forms, typographic quotes and dashes become the plain ones; escapes of JSON and
HTML (of `@`, `/` and quotation marks, as an example) become what they say. Whoever hides a key from a reader of
patterns by them does so from nobody else.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
)
_WIDER = "\uff01-\uff5e\ud800-\udfff\u0130"
_ANY = re.compile(f"[{_UNSEEN}{_WIDER}]")
_ENTITIES = {
    "&quot;": '"',
    "&#34;": '"',
    "&#39;": "'",
    "&apos;": "'",
    "&amp;": "&",
    "&lt;": "<",
    "&gt;": ">",
    "&#x3C;": "<",
    "&#x3E;": ">",
    "&#x22;": '"',
    "&#64;": "@",
    "&#x40;": "@",
}
_CLOSED = re.compile(rf"[{_UNSEEN}]+|\\/|\\u00[2-7][0-9a-fA-F]|" + "|".join(_ENTITIES))
_MARKS = ("\\/", "\\u00", "&quot;", "&#", "&amp;", "&lt;", "&gt;", "&apos;")
"""Nothing is opened in a text without these, and none of them is in one without a backslash or an ampersand."""
_ALIKE = (
    ("'", "\u2018\u2019\u201a"),
    ('"', "\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d"),
    ("-", "\u2010\u2011\u2012\u2013\u2014\u2212"),
    (" ", "\u00a0\u2007\u2009\u202f\u3000"),
    ("\n", "\u2028\u2029"),
    (",", "\u3001"),
    (".", "\u3002"),
)
_SAME = {mark: same for same, marks in _ALIKE for mark in marks}
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_WIDE |= dict.fromkeys(range(0xD800, 0xE000), ord("?"))
_WIDE[0x130] = ord("I")  # the one letter whose small form has two characters


class Plain(NamedTuple):
    """A text without disguise; `cuts` holds (place in it, characters left out before that place), in order."""

    text: str
    cuts: tuple[tuple[int, int], ...] = ()

    def place(self, index: int) -> int:
        """Return where the character at `index` stands in the text as it was."""
        if not self.cuts:
            return index
        at = bisect_right(self.cuts, (index, 1 << 62))
        return index + (self.cuts[at - 1][1] if at else 0)


def plain(text: str) -> Plain:
    """Return a text without disguise."""
    shown = text
    cuts: tuple[tuple[int, int], ...] = ()
    if not text.isascii() and _ANY.search(text):
        shown = text.translate(_WIDE)
    if shown is not text or (("\\" in text or "&" in text) and any(mark in text for mark in _MARKS)):
        shown, cuts = _open(shown)
    if not shown.isascii():
        for mark, same in _SAME.items():
            if mark in shown:
                shown = shown.replace(mark, same)
    return Plain(shown, cuts)


def _open(text: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a text without invisible characters and with escapes said plainly, and what was cut where."""
    parts: list[str] = []
    cuts: list[tuple[int, int]] = []
    end = gone = 0
    for match in _CLOSED.finditer(text):
        said = _said(match[0])
        parts += text[end : match.start()], said
        end = match.end()
        gone += len(match[0]) - len(said)
        cuts.append((match.end() - gone, gone))
    return "".join([*parts, text[end:]]), tuple(cuts)


def _said(closed: str) -> str:
    if closed.startswith("\\u"):
        said = chr(int(f"0x{closed[2:]}", 16))
        return said if said.isprintable() else "?"
    return _ENTITIES.get(closed, "/" if closed == "\\/" else "")
