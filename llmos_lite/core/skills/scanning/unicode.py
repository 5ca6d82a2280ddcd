"""What no font shows: tags, selectors and runs without width, text turned around, look-alike letters in commands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from llmos_lite.core.skills.scan import Category, Finding, Severity
from llmos_lite.core.skills.scanning.files import TextFile

_TAGS = re.compile("[\U000e0000-\U000e007f]{1,400}")
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,8}\U000e007f")
"""The flags of England, Scotland and Wales are written with tags."""
_SELECTORS = re.compile("[\U000e0100-\U000e01ef]{1,400}|[\ufe00-\ufe0f]{3,400}")
_TURNED = re.compile("[\u202a-\u202e\u2066-\u2069]")
_NO_WIDTH = re.compile("[\u200b\u200c\u200d\u2060-\u2064\ufeff\u180e\u00ad\u034f]{1,400}")
_MIXED = re.compile(r"[^\W\d_]{2,40}")
_FEW = 5
_MANY = 24
"""Single characters without width that a text of another script, or emoji, may hold in a line of code."""


def hidden(file: TextFile) -> Iterator[Finding]:
    """Yield what a text hides; nothing of it is ever excused."""
    text = file.text
    if text.isascii():
        return
    flags = {found.start() + 1 for found in _FLAG.finditer(text)}
    for found in _TAGS.finditer(text):
        if found.start() not in flags:
            yield _found(
                file,
                found.start(),
                "unicode.tags",
                f"hides {len(found.group())} tag characters: {_read(found.group())!r}",
            )
    for found in _SELECTORS.finditer(text):
        if len(found.group()) > 1 or (found.group() > "\uffff" and not _is_ideograph(text, found.start())):
            yield _found(file, found.start(), "unicode.selectors", "hides data in variation selectors")
    for found in _NO_WIDTH.finditer(text):
        if len(found.group()) >= _FEW:
            yield _found(
                file,
                found.start(),
                "unicode.no_width",
                f"has {len(found.group())} characters without width in a row",
            )
    yield from _turned(file)
    yield from _look_alikes(file)


def _turned(file: TextFile) -> Iterator[Finding]:
    text = file.text
    found = _TURNED.search(text)
    if found:
        right_to_left = any(unicodedata.bidirectional(char) in {"R", "AL"} for char in text)
        severity = Severity.MEDIUM if right_to_left and found.group() not in "\u202d\u202e" else Severity.HIGH
        yield _found(
            file,
            found.start(),
            "unicode.turned",
            "turns the direction of text, so that it reads other than it runs",
            severity,
        )


def _look_alikes(file: TextFile) -> Iterator[Finding]:
    """Find words that mix Latin letters with their look-alikes of another script."""
    seen = 0
    for found in _MIXED.finditer(file.text):
        word = found.group()
        if word.isascii() or not _is_mixed(word):
            continue
        yield _found(
            file,
            found.start(),
            "unicode.look_alike",
            f"writes {word!r} with letters of two scripts that look alike",
        )
        seen += 1
        if seen == _FEW:
            return


def _is_mixed(word: str) -> bool:
    """Tell whether a word is Latin but for one to three letters that look Latin and are not."""
    latin = sum(char.isascii() for char in word)
    like = sum(char in _LIKE for char in word)
    return latin > like > 0 and latin + like == len(word)


_LIKE = frozenset(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u04bb\u03bf\u03bd\u03c1\u0131\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425"
)


def _is_ideograph(text: str, place: int) -> bool:
    before = text[place - 1 : place]
    return bool(before) and unicodedata.east_asian_width(before) == "W"


def _read(tags: str) -> str:
    return "".join(char for char in (chr(ord(one) & 0x7F) for one in tags) if char.isprintable())[:60]


def _found(file: TextFile, place: int, code: str, says: str, severity: Severity = Severity.HIGH) -> Finding:
    return Finding(code, severity, f"It {says}.", file.lines.of(place), file=file.path, category=Category.UNICODE)
