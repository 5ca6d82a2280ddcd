"""Words: how text becomes the terms that the search counts.

A term is a folded, stemmed word that is no stop word. Scripts that are written without spaces (Chinese, Japanese,
Thai ...), and Korean, whose particles cling to the word, become pairs of characters instead. The index keeps terms as
32-bit hashes, the same in every process, so that two servers rank alike.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from zlib import crc32

import Stemmer

from llmos_lite.core.skills.kernel import IS_COMPILED

if IS_COMPILED:
    from llmos_lite.core.skills import _kernel

STOP_WORDS = frozenset(
    """a about above after again all also am an and any are as at be been before being below between both but by can
    could d did do does doing don down during each few for from further had has have having he her here hers herself
    him himself his how i if in into is it its itself just ll m may me might more most must my myself no nor not now of
    off on once only or other our ours out over own re s same shall she should so some such t than that the their
    theirs them themselves then there these they this those through to too under until up ve very was we were what
    when where which while who whom why will with would you your yours yourself yourselves please thanks thank hello
    hi hey ok okay yes""".split()  # noqa: SIM905 - a paragraph of words reads better than a list of strings
)
FOREIGN_STOP_WORDS = frozenset(
    """al como con cual cuando de del desde donde el ella ellos en entre esa ese eso esta estas este esto estos estoy
    fue hace haz hola la las le les lo los mas mi muy nada necesito nos nuestra nuestro o para pero poco por
    porque puedo que quien quiero se ser sobre su sus tambien tiene tu un una uno unos y ya yo aber alle als
    auch auf aus bei bis bist da damit dann das dass dein deine dem der des dich doch dort durch ein
    eine einem einen einer eines euch gegen haben hatte hier ich ihm ihn ihr ihre im ist ja jede kann kein
    keine konnen machen mehr mein meine mich mir muss nach nicht nichts noch nun nur oder ob ohne sehr sein
    seine sich sie sind soll um und uns unser unsere vom von vor warum weil wenn werden wie wir wird wo zu zum
    zur zwei au aux avec ce ces cette dans elle et etait eux il ils je leur lui ma mais mes moi ne notre nous ou
    oui par pas pourquoi qu quand quel quelle qui sa ses sont sur te tes toi ton tous tout une vous votre vos ao
    aos dele do ela ele em essa esse isso isto meu minha muito na nao nem numa pela pelo quem sao sem seu
    sua tem uma voce anche che chi cosa della delle degli dei gli loro mia mio nel nella non noi perche piu
    quando quello questa questo sono suo tuo voi""".split()  # noqa: SIM905 - as above
)
"""Function words of Spanish, German, French, Portuguese and Italian, without accents, but none that is an English word
or a short name (`die`, `todo`, `ci`, `mit`): where some skills are not English, they would match one another."""
LONGEST_WORD = 40
"""Longer runs are keys, digests and encoded data, never what somebody searches for."""

QUERY_CHARACTERS = REMEMBERED = 16_384
"""A longer query counts by its beginning."""
_WORD = re.compile(r"[^\W_]+")
_DENSE = "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
_DENSE += "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_DENSE_RUN = re.compile(f"[{_DENSE}]+")
_CAMEL = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]{0,40}?[a-z][A-Z][A-Za-z0-9]{0,40}")
_INNER = re.compile(r"[A-Z](?<=[a-z].)")
"""Most text has none, and looking for this is a fifteenth of the work of looking for the whole word around it."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CACHE = 1 << 15
_LATIN_END = "\u0250"
"""First character after Latin Extended-B."""
_SKIPPED = STOP_WORDS | FOREIGN_STOP_WORDS
_VOICING = {"\u3099", "\u309a"}  # they tell two Japanese syllables apart and are no accents


class _Marks(dict[int, int | None]):
    """Translation table that drops accents and vowel signs, filled as characters turn up."""

    def __missing__(self, point: int) -> int | None:
        character = chr(point)
        mark = unicodedata.category(character)[0] == "M" and character not in _VOICING
        kept = self[point] = None if mark else point
        return kept


_MARKS = _Marks()


def fold(text: str) -> str:
    """Return `text` without case, width, ligature and accent: what looks alike to a reader becomes equal."""
    if text.isascii():
        return text.lower()
    bare = unicodedata.normalize("NFKD", text).translate(_MARKS)
    return unicodedata.normalize("NFKC", bare).casefold()


_LETTERS = {point: chr(point).lower() if chr(point).isalnum() else " " for point in range(128)}


def words(text: str) -> Iterable[str]:
    """Return the words of `text`, folded, in order, stop words among them; `getUser` gives `get`, `user`, `getuser`."""
    if text.isascii() and not _INNER.search(text):
        return text.translate(_LETTERS).split()  # as below, in a third of the time
    folded = fold(_CAMEL.sub(_parts, text) if _INNER.search(text) else text)
    if folded.isascii() or not _DENSE_RUN.search(folded):
        return _WORD.findall(folded)
    return _mixed(folded)


def _mixed(folded: str) -> Iterator[str]:
    for word in _WORD.findall(folded):
        place = 0
        for run in _DENSE_RUN.finditer(word):
            if run.start() > place:
                yield word[place : run.start()]
            yield from _character_pairs(run.group())
            place = run.end()
        if place < len(word):
            yield word[place:]


def _character_pairs(run: str) -> Iterator[str]:
    return map("".join, pairwise(run)) if len(run) > 1 else iter((run,))


def _parts(identifier: re.Match[str]) -> str:
    return f"{_HUMP.sub(' ', identifier.group())} {identifier.group()}"


def is_latin(text: str) -> bool:
    """Tell whether at least half of the letters of a text are Latin; a text without letters is."""
    if text.isascii():
        return True
    letters = [character for character in text if character.isalpha()]
    return 2 * sum(character < _LATIN_END for character in letters) >= len(letters)


class Analyzer:
    """Turns text into terms, or into their hashes; safe to share between threads."""

    def __init__(self) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        self._lock = threading.Lock()
        self._words = _kernel.words() if IS_COMPILED else None
        self._known: dict[str, int] = {}
        self._older: dict[str, int] = {}
        self._last: tuple[str, list[int]] = ("", [])

    def terms(self, text: str) -> list[str]:
        """Return the terms of `text` in order, with repeats."""
        with self._lock:
            return [self._stemmer.stemWord(word) for word in words(text) if _counts(word)]

    def hashes(self, text: str) -> list[int]:
        """Return the 32-bit hashes of the terms of `text` in order, with repeats; the last answer is kept."""
        last, answer = self._last
        if last == text:
            return answer
        plain = _kernel.hashes(self._words, text, self._learn) if self._words and text.isascii() else None
        answer = self._hashes(text) if plain is None else plain
        self._last = (text, answer) if len(text) <= REMEMBERED else ("", [])
        return answer

    def _hashes(self, text: str) -> list[int]:
        """Return the same: what is done where `_kernel.c` is not there, or knows less of a text."""
        known = self._known.get
        found = [self._learn(word) if (value := known(word)) is None else value for word in words(text)]
        return [value for value in found if value]

    def _learn(self, word: str) -> int:
        """Return the hash of a word's stem, 0 for one that does not count."""
        with self._lock:
            value = self._known.get(word)
            if value is None:
                value = self._older.get(word)
            if len(self._known) >= _CACHE:
                self._older, self._known = self._known, {}
            if value is None:
                value = _hash(self._stemmer.stemWord(word)) if _counts(word) else 0
            self._known[word] = value
        return value


def _hash(stem: str) -> int:
    """Return 32 bits, never 0; CRC-32 is as fast as Python's own hash, which differs from process to process."""
    return crc32(stem.encode("utf-8", "surrogatepass")) or 1


def _counts(word: str) -> bool:
    return len(word) <= LONGEST_WORD and word not in _SKIPPED
