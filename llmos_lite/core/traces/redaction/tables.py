"""Secrets in tables: a column says `password`, and the lines below hold one each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import SECRET, Found
from llmos_lite.core.traces.redaction.look import Look, Rules
from llmos_lite.core.traces.redaction.values import is_random, is_strong

MOST_LINES, LONGEST_LINE, MOST_COLUMNS = 200, 1000, 8
_TITLE = re.compile(r"[ \"*`]{0,3}[A-Za-zÀ-ÿ][\w /.-]{0,31}[ \"*`]{0,20}")
_RULE = re.compile(r"[\s|:+-]*")
_MARKS = " \"'`*"


def column(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find what stands below a word that is the title of a column, in Markdown, CSV or TSV."""
    text = look.text
    begin = text.rfind("\n", max(0, start - LONGEST_LINE), start) + 1
    stop = text.find("\n", end, end + LONGEST_LINE)
    if stop < 0:
        return
    between = next((mark for mark in "|\t;," if mark in text[begin:stop]), "")
    if between != "|" and text[begin : begin + 1].isspace():
        return
    titles = text[begin:stop].split(between) if between else []
    at = text[begin:start].count(between) if between else 0
    if at > MOST_COLUMNS or not look.first(f"table {at}", begin, stop):
        return
    if len(titles) < 2 or not all(map(_TITLE.fullmatch, titles[1:-1] if between == "|" else titles)):
        return
    words, title = look.low[start:end].startswith("pass"), stop
    for _ in range(MOST_LINES):
        begin, stop = stop + 1, text.find("\n", stop + 1, stop + 1 + LONGEST_LINE)
        line = text[begin : stop if stop >= 0 else begin + LONGEST_LINE]
        if not line.strip() or line.count(between) != len(titles) - 1:
            break
        if not _RULE.fullmatch(line):
            yield from _cell(line, begin, between, at, words=words)
        if stop < 0:
            break
    look.first(f"table {at}", title, begin)


def _cell(line: str, begin: int, between: str, at: int, *, words: bool) -> Iterator[Found]:
    cells = line.split(between)
    said = cells[at].strip(_MARKS)
    if is_strong(said) if words else is_random(said):
        start = begin + len(between.join(cells[:at])) + len(between) * bool(at) + cells[at].index(said)
        yield Found(start, start + len(said), SECRET)


TABLES: tuple[Rules, ...] = (
    Rules(("passw", "secret", "token", "api key", "api_key", "apikey", "access key", "kennwort", "contraseña"), column),
)
