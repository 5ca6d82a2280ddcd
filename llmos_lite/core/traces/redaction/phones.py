"""Telephone numbers: of a country, of a form that only telephones have, or behind a word that says so."""

from __future__ import annotations

import re

from llmos_lite.core.traces.redaction.base import Found

SHORTEST = 10
"""Digits of a number of another country that nothing divides."""

_MORE = r"(?: ?(?:x|ext\.?|app\.?) ?\d{1,6})?"
"""The extension of a number."""
_WORLD = re.compile(rf"([1-9](?:[ .\-/()]{{0,3}}\d){{7,14}}){_MORE}(?![\w%]|[.,]\d)")
_AMERICAN = re.compile(
    r"(?:1[ .-])?([2-9]\d{2})(?:\) ?|([-. ]))\d{3}(?(2)(?:\2|(?<= \d\d\d)-)|[-. ])\d{4}"
    rf"{_MORE}(?![\w-]|[.,]\d)"
)
_NATIONAL = re.compile(
    r"0(?:[1-9](?:[ .-]\d{2}){4}"  # France
    r"|7\d{3} ?\d{3} ?\d{3}|20\)? \d{4} \d{4}|1\d1\)? \d{3} \d{4}|1\d{3}\)? \d{6}"  # Britain
    r"|\d{2,4} ?/ ?\d[\d -]{3,10}\d|1[567]\d{1,2}[ -]\d{3}[ ]?\d{4,5}"  # Germany
    r"|4\d\d \d{3} \d{3}|\d{1,3}-\d{4}-\d{4}"  # Australia, Japan
    r"|(?:8|[1-9]\d{1,2})[- ]\d{3} \d\d \d\d|[1-9]\d-\d\d \d\d \d\d"  # Sweden and Switzerland
    r")(?![\w-]|[.,]\d)|[1-9]\d\) 9?\d{4}-\d{4}(?![\w-])"  # Brazil
)
_PAIR_BEFORE = re.compile(r"(?:^|[\s<\[])[0-9a-fA-F]{2}\s$")
_PAIR_BEHIND = re.compile(r"\s[0-9a-fA-F]{2}(?:\s|$|[>\]])")
_ANY = re.compile(rf"\d(?:[ .\-/()]{{0,2}}\d){{6,13}}{_MORE}(?![\w%]|[.,]\d)")
_WORD = re.compile(
    r"(?:\b(?:tele?)?phone|\btel\b|telefon|telefono|teléfono|téléphone|\bcall(?:ing)?\b|\bmobile|\bmobil|móvil|\bcell\b"
    r"|\bfax|\bhandy|\bring\b|\btext me|\breach |whatsapp|\bsms\b|rufnummer|\bmy number|\bhis number|\bher number"
    r"|nummer|numéro|número|portable|手机|手機|携帯|\bruf mich|erreich\w*|anrufen|llámame|appelle\w*|\bdial|\bphones?\b"
    r"|電話|电话|телефон)[^\n\d]{0,28}\(?$",
    re.IGNORECASE,
)
DATE = re.compile(
    r"(?:19|20)\d\d[-./ ]?(?:0[1-9]|1[0-2])[-./ ]?(?:0[1-9]|[12]\d|3[01])(?!\d)|\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d"
)


def abroad(text: str, at: int) -> Found | None:
    """Return the number that begins with `+` or `00` and the code of a country."""
    plus = next((len(sign) for sign in ("%2B", "(+", "+(", "+") if text.endswith(sign, 0, at)), 0)
    zeros = 0 if plus or not text.startswith("00", at) else 2
    match = _WORLD.match(text, at + zeros) if plus or zeros else None
    begin = at - plus
    if match is None or (begin and (text[begin - 1].isalnum() or text[begin - 1] in "+)_")) or DATE.match(match[0]):
        return None
    if zeros and ("(" in match[0] or text[begin - 1 : begin] in tuple(".-/")):  # a number of a journal, as an example
        return None
    if match[1].replace(".", "", 1).isdigit() and len(match[1]) < SHORTEST + zeros:
        return None
    return Found(begin, match.end(), "phone")


def _is_dump(text: str, begin: int, end: int) -> bool:
    """Tell whether pairs of digits go on before or behind: the bytes of a dump."""
    return _PAIR_BEFORE.search(text, max(0, begin - 4), begin) is not None or _PAIR_BEHIND.match(text, end) is not None


def phone(text: str, at: int) -> Found | None:
    """Return the number that begins at a place, without the code of a country."""
    begin = at - (text[at - 1 : at] == "(")
    american = _AMERICAN.match(text, at)
    if american and american[2] != " " and (american[2] or begin < at):
        return Found(begin, american.end(), "phone")
    national = _NATIONAL.match(text, at) if text[at - 1 : at] != "/" else None
    if national and not DATE.match(national[0]) and not _is_dump(text, begin, national.end()):
        return Found(begin, national.end(), "phone")
    said = _ANY.match(text, at)
    if said is None or said[0].count(".") > 2 or DATE.match(said[0]) or not _WORD.search(text, max(0, at - 44), at):
        return None
    return Found(begin, said.end(), "phone")
