"""A text as a rule reads it: what is hidden taken out, look-alikes as the letters that they imitate, lines joined."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cached_property

_UNSEEN = dict.fromkeys(
    (
        0x00AD,
        0x034F,
        0x061C,
        0x180E,
        0xFEFF,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
        *range(0xE0000, 0xE0080),
        *range(0xE0100, 0xE01F0),
    )
)
_LIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u04bb\u0475\u03bf\u03b1\u03bd\u03c1"
    "\u03b9\u0131\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u0406",
    "aeopcyxijsdlhvoavpiiABEKMHOPCTXI",
)
"""Letters of other scripts that look like Latin ones in most fonts."""
_BROKEN_WORD = re.compile(r"(?<=[a-z0-9])(?:''|\"\"|\\|\$@)(?=[a-z])|\$\{ifs\}|\$ifs(?:\$9)?")
_FENCE = re.compile(r"[ \t>]{0,12}(?:`{3,20}|~{3,20})")


class Shown:
    """One file as rules read it.

    Args:
        text: its text.
        markdown: whether code stands in fences; else all of it is code.
    """

    def __init__(self, text: str, *, markdown: bool) -> None:
        self.markdown = markdown
        self.low = fold(text).lower()
        if "\\" in self.low or "''" in self.low or '""' in self.low or "$ifs" in self.low or "${ifs" in self.low:
            self.low = _BROKEN_WORD.sub(_whole, self.low)

    def line(self, place: int) -> int:
        """Return the number of the line, from 1, in which a place is."""
        return bisect_right(self._starts, place)

    def in_code(self, place: int) -> bool:
        """Tell whether a place is in a program, or in a fence of Markdown."""
        return not self.markdown or self._fenced[self.line(place) - 1]

    def around(self, start: int, end: int) -> tuple[str, str]:
        """Return what stands before and after a match in its lines."""
        begin = max(self.low.rfind("\n", 0, start) + 1, start - 300)
        stop = self.low.find("\n", end)
        return self.low[begin:start], self.low[end : min(len(self.low) if stop < 0 else stop, end + 300)]

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(place + 1 for place, char in enumerate(self.low) if char in "\n\v")]

    @cached_property
    def _fenced(self) -> list[bool]:
        fenced, within = [], False
        for line in re.split("[\n\v]", self.low):
            mark = _FENCE.match(line) is not None
            fenced.append(within and not mark)
            within ^= mark
        return fenced


def fold(text: str) -> str:
    """Return a text without what cannot be seen; every line end stays where it is, a joined one becomes a vertical tab."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\v", " ")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_UNSEEN)).translate(_LIKE)
    return text.replace("\\\n", " \v")


def _whole(found: re.Match[str]) -> str:
    return " " if "ifs" in found.group() else ""
