"""Secrets that only their name gives away: `password = …`, `"client_secret": "…"`, `--token …`, "my PIN is …".

A word of `words.py` calls. Then the rest of the name, what joins it to the value, and the value are read one after the
other, each by a bounded pattern. Only the value is taken out, so that code stays readable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from llmos_lite.core.traces.redaction.base import SECRET, Found
from llmos_lite.core.traces.redaction.look import Look, Rules
from llmos_lite.core.traces.redaction.placeholders import is_code, is_file, is_placeholder
from llmos_lite.core.traces.redaction.values import classes, is_password, is_phrase, is_random, is_strong, is_weak
from llmos_lite.core.traces.redaction.words import PASSWORDS, PINS, SECRETS, holds_no_secret, opens_no_door

STRONG_CLASSES, ALL_CLASSES = 3, 4
SHORT_WORD = 6
"""Shorter words than this are a part of many others: `compass`, `monkey`."""
LINE, NEAR = 80, 90

_NAME_BACK = re.compile(r"[\w.\-]{0,40}(?: [A-Za-z]{1,20}(?![A-Za-z]))?")
_REST = re.compile(r"[A-Za-z0-9_.\-\u00c0-\u024f\u0400-\u04ff]{0,40}")
_IS = r"is|was|are|war|ist|lautet|sind|est|es|son|è|é|to|auf|as|als|now|jetzt|=|:|-|--|should be|will be|was set to"
_JOIN = re.compile(
    # the end of the name: quotes, brackets, a remark, a type
    r"[\\\"'`\])*}]{0,8}(?:\s{0,2}\([^()\n]{0,40}\))?"
    r"(?:\s{0,2}:\s{0,2}"
    r"(?:str|String|string|&(?:'static )?str|bytes|text|Optional\[str\]|str \| None|SecretStr|any)\b)?"
    r"(?:"
    r"(?P<sure>\s{0,20}(?::=|=>|={1,3}|->|:|\+=|\?=|!=|<-|\|\||\u2192)(?:\*{1,2}(?=[\s`]))?(?:\s{0,3}[>|][+-]\s{0,20})?[\s>|]{0,20}"
    r"|\s?>(?=[^<>\s])|\s?(?:是|为|為|は|は、|는|은|이)[:\s]{0,4}"
    r"|(?:\s\w{1,20}=[\\\"']{1,3}[^\"'\n]{0,40}[\"']){0,4},?\s{0,12}[\\\"']{0,4}\bvalue[\\\"']{0,4}\s{0,4}[:=]\s{0,4}(?=[\\\"'\w])"
    r"|\s{1,3}\|\s{1,3})"
    r"|(?P<call>\s{0,3}[,(]\s{0,10}(?:\w{1,30}\(|new \w{1,30}\()?(?=[\\\"'`bfrub]))"
    rf"|(?P<is>\s{{0,4}}(?:\s(?:{_IS})){{1,3}}"
    r"(?:\s(?:now|set to|still|just|:|the following|this|going to be)){0,2}[:\s]{1,10}[*_]{0,2})"
    r"|(?P<far>(?:[ ,/'(][^\s.;:=\"`,/'(]{1,24}){1,8}?\)?"
    r"(?:(?:\s(?:is|ist|lautet|est|es|è|to|was|auf))?\s{0,2}[:=]|\s(?:is|ist|lautet|est|es|è|to|was|auf)(?=\s))[\s*_>-]{1,8})"
    r"|(?P<gap>[ \t]{1,8})"
    r")"
)
_QUOTED = re.compile(
    r"[brfuBRFU@$]{0,2}(?P<q>\\{0,3}(?:\"{3}|[\"'`]))(?P<v>(?:(?!(?P=q))(?:\\.|[^\n\\])){1,2000})(?P=q)"
)
_LONGEST = 400
_BARE = re.compile(rf"[^\s\"'`<>]{{1,{_LONGEST}}}")
_MORE = re.compile(r"[^\s\"'`<>]{0,8000}")
_ENVIRONMENT = re.compile(r"(?:^|[\s;&|]|export |ENV |-e |--env[ =]|set |setx |\\n)[\"']?[A-Z][A-Z0-9_]{0,60}$")
_OPTION = re.compile(r"(?:^|[\s\"'`(\[])--?[\w-]{0,40}$")
_TAKES = re.compile(
    r"(?:\b(?:ENV|ARG|requirepass|CONFIG SET)\s\S{0,70}|\b(?:USER|ROLE)\s[^\n]{1,60}"
    r"|\b(?:machine|login|account)\s\S{1,60}\s(?:\w{1,10}\s\S{1,60}\s){0,3})$"
)
_ALWAYS = ("identified by", "requirepass", "masterauth", "convertto-securestring")
_USER_BEFORE = re.compile(
    r"(?:user(?:name)?|login|account|e-?mail|benutzer|konto|usuario|utilisateur|nutzer)[\s:=\"']{1,4}\S{1,40}[\s,;/&]{1,4}"
    r"(?:and |und |with |mit |y |et )?$",
    re.IGNORECASE,
)
_AS = re.compile(
    r"[`\"'*.,]{0,3}\s(?:as|for|als|como|comme)\s(?:(?:the|your|my|its|a|das|mein|dein|la|le|tu|mi)\s)?(?:\w{2,14}\s){0,2}$"
    r"|[`\"'*]{0,3}\s(?:is|ist|est|es|was|war)\s(?:the|your|my|our|his|her|das|mein|unser|la|le|mi|mon)\s(?:\w{2,14}\s){0,2}$"
)
_AS_VALUE = re.compile(r"(?:^|\s)[`\"'*]{0,3}([^\s`\"]{6,100})$")
_CUT = re.compile(r"\||[&;,](?=\s|$|[\w.\"'-]{1,30}\s?[=:])")
_CUT_SENTENCE = re.compile(r"[;,|)(\]}{\[]|&(?=\s|$|[\w.-]{1,30}=)")
_CUT_ENVIRONMENT = re.compile(r";\w{1,30}=|&\w{1,30}=")
_CUT_ESCAPE = re.compile(r"\\[nrt]|\\\"")
_BLANK = re.compile(r"[ \t.,;!]{0,8}(?:\n|$)")
_FILE = re.compile(r"/[a-z][\w.-]{0,40}/|//")
_END = ".,:;?)]}\\*_~|&"
_PHRASE = re.compile(r"[a-z]{3,12}(?: [a-z]{2,12}){3,9}(?=[.!\"'\n]|$)")
_TYPED = re.compile(r"[A-Za-z]{4,20}[-_.]?\d{3,8}[!?#*]?")
_BASE32 = re.compile(r"[A-Z2-7]{16,64}")
_LOOSE = re.compile(r"(?<![\w/+.\-])[\w+/~.\-]{20,300}={0,2}")
_REACH = re.compile(r"[^\n]*(?:[:=]\s*\n\s*[^\n]*)?")
_OTHER = re.compile(
    r"address|wallet|mint|public|hash|sha\d|checksum|digest|commit|\bids?\b|file|\burl\b|http", re.IGNORECASE
)
_NO_TOKEN = re.compile(r"^[0-9a-f]{32,128}$|^sha\d{1,3}-|^[0-9a-f-]{36}$")
_PIN = re.compile(
    r"(?:[\s\w\"'`*]{0,24}?(?:\bis\b|\bist\b|\blautet\b|\best\b|\bes\b|:|=|\bnumber\b|#)|[\"'\s]{0,3})[\s\"'`*:=]{1,6}"
    r"(\d{3,8}|\d{3}[ -]\d{3})(?![\w.%-]|,\d)"
)
_OF_CARDS = ("cvv", "cvc", "cvv2", "security code", "sicherheitscode", "prüfziffer")


class _Said(NamedTuple):
    """The name in front of a value, what joins them, and the value."""

    name: str
    word: str
    rest: str
    join: re.Match[str]
    start: int
    end: int
    text: str
    quoted: bool
    firm: bool
    """The place leaves no doubt: a variable of the environment, an option of a command."""


def password(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find what stands behind a word for a password."""
    if _is_part(look, start, end):
        return
    said = _said(look, start, end)
    if said is not None and _is_password(look, start, said):
        yield _found(look, said)
    elif said is None or said.join["gap"]:
        yield from _before(look, start)


def _found(look: Look, said: _Said) -> Found:
    more = _MORE.match(look.text, said.end) if len(said.text) == _LONGEST and not said.quoted else None
    return Found(said.start, more.end() if more else said.end, SECRET)


def _is_password(look: Look, start: int, said: _Said) -> bool:
    join, text = said.join, said.text
    if join["call"]:
        return said.quoted and is_strong(text, least=8)
    if join["gap"]:
        return _is_argument(look, start, said)
    if (said.word == "passphrase" or (said.firm and said.quoted)) and is_phrase(text):
        return True
    if join["is"] or join["far"] or said.word == "clave":
        return _is_told(said)
    return is_password(text, quoted=said.quoted, firm=said.firm or said.quoted)


def _is_told(said: _Said) -> bool:
    """Tell whether a value that a sentence gives is a password: "the password for the server is …"."""
    join, text = said.join, said.text
    if said.word == "pass" and (join["far"] or " to " in join[0]):
        return False
    if is_strong(text, least=6 if join["far"] else 5):
        return True
    return bool(join["is"]) and (is_weak(text) or (said.quoted and _is_quoted_word(text)))


def _is_argument(look: Look, start: int, said: _Said) -> bool:
    """Tell whether what follows after a blank is a password."""
    if said.word == "identified by":
        return look.text[said.start - 1] in "\"'" and is_password(said.text, quoted=True, firm=True)
    if _takes_argument(look, start):
        return is_password(said.text, quoted=True, firm=True)
    known = _USER_BEFORE.search(look.text, max(0, start - LINE), start) is not None
    return is_strong(said.text) and "=" not in said.text and (known or classes(said.text) >= STRONG_CLASSES)


def _is_quoted_word(text: str) -> bool:
    return text.isalpha() and len(text) >= SHORT_WORD and not is_placeholder(text)


def secret(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find what stands behind a word for a key or token; it has to look drawn at random."""
    start += look.text[start] in " \"'-"
    said = _said(look, start, end)
    if said is None and (end >= len(look.text) or _is_part(look, start, end) or _is_other(*_named(look, start, end))):
        return
    if said is not None:
        if _is_other(said.name, said.rest):
            return
        if _is_secret(look, start, said):
            yield _found(look, said)
            return
    yield from _near(look, start, end)


def _is_other(name: str, rest: str) -> bool:
    return holds_no_secret(rest) or opens_no_door(name)


def _is_secret(look: Look, start: int, said: _Said) -> bool:
    join, text = said.join, said.text
    if join["gap"] and not _takes_argument(look, start):
        return is_random(text, least=20) and said.word not in ("_key", "_auth", "auth") and not _FILE.search(text)
    wide = bool(join["sure"] or join["gap"])
    return is_random(text, least=12 if wide else 16) or (wide and _is_typed(said))


def _is_typed(said: _Said) -> bool:
    """Tell whether a short value is a secret that somebody made up: `JWT_SECRET=S3cr3t!`, or is one of base32."""
    text = said.text
    if any(map(str.isspace, text)) or said.word in ("token", "key", "_key", "credential", "creds", "session_id"):
        return False
    base32 = _BASE32.fullmatch(text) and len(set(text)) >= 8
    if "secret" in said.word and (base32 or _TYPED.fullmatch(text)):
        return not is_placeholder(text)
    long = said.quoted or len(text) >= 8  # as many as most rules for passwords ask for
    return (
        long
        and any(map(str.isdigit, text))
        and classes(text, "!@#$%^&*+?~") >= STRONG_CLASSES
        and is_strong(text, least=8)
    )


def _near(look: Look, start: int, at: int) -> Iterator[Found]:
    """Find a random text on the same line, or on the one after a colon: "here is our API key for staging: …"."""
    text = look.text
    if look.low.startswith(("_key", "sig", "_auth", "auth"), start):
        return
    line = _REACH.match(text[at : at + NEAR])
    for match in _LOOSE.finditer(text, at, at + (line.end() if line else 0)):
        whole = _LOOSE.match(text, match.start())
        said = (whole or match)[0]
        if _OTHER.search(text, at, match.start()):
            return
        if (
            not said.endswith("...")
            and not text.startswith("\u2026", match.start() + len(said))
            and _is_token(said.rstrip(_END))
        ):
            yield Found(match.start(), match.start() + len(said.rstrip(_END)), SECRET)
            return


def _is_token(said: str) -> bool:
    mixed = all(any(map(test, said)) for test in (str.islower, str.isupper, str.isdigit))
    return mixed and not _NO_TOKEN.search(said) and not is_file(said) and said[0] != "/" and is_random(said, least=20)


def _before(look: Look, start: int) -> Iterator[Found]:
    """Find what stands before the word: "use X as the password"."""
    joined = _AS.search(look.text, max(0, start - 40), start)
    match = _AS_VALUE.search(look.text, max(0, joined.start() - 101), joined.start()) if joined else None
    if match and is_strong(match[1]):
        yield Found(*match.span(1), SECRET)


def _named(look: Look, start: int, end: int) -> tuple[str, str]:
    """Return what stands before and after a word in the name that it is a part of."""
    before = _NAME_BACK.match(look.text[max(0, start - 60) : start][::-1])
    after = _REST.match(look.text, end)
    return before[0][::-1] if before else "", (after[0] if after else "").rstrip(".-")


def _is_part(look: Look, start: int, end: int) -> bool:
    """Tell whether a short word is only a part of another one: `tokenize`, `monkey`, `compass`."""
    text, low = look.text, look.low
    if end - start >= SHORT_WORD:
        return False
    before = text[start - 1] if start else " "
    if text[start].islower() and before.isalpha() and before.isascii():
        return True
    goes_on = end < len(text) and low[end].isalpha() and not (text[end].isupper() and text[end - 1].islower())
    return (
        goes_on and low[start:end] in ("pass", "token", "pwd", "mdp", "pw", "psk") and low[start : end + 1] != "tokens"
    )


def _said(look: Look, start: int, end: int) -> _Said | None:
    """Read on behind a word; None when no value follows."""
    text = look.text
    if _is_part(look, start, end):
        return None
    name, rest = _named(look, start, end)
    join = _JOIN.match(text, end + len(rest))
    if join is None or holds_no_secret(rest) or name.endswith("no-") or ("->" in join[0] and ")" in join[0]):
        return None
    if join[0].lstrip().startswith(">") and not _opens_tag(text, start):
        return None
    firm = text.endswith("--", 0, start - len(name)) or name.startswith("--")
    environment = _ENVIRONMENT.search(text, max(0, start - LINE), end + len(rest)) is not None
    value = _value(text, join, environment=environment)
    if value is None:
        return None
    begin, stop, quoted = value
    word = look.low[start:end].strip(" \"'-.\n")
    return _Said(name, word, rest, join, begin, stop, text[begin:stop], quoted, firm or environment)


def _opens_tag(text: str, start: int) -> bool:
    return text.rfind("<", max(0, start - LINE), start) > text.rfind(">", max(0, start - LINE), start)


def _takes_argument(look: Look, start: int) -> bool:
    """Tell whether a value follows after a blank: `--password X`, `ENV PASSWORD X`, in netrc, in SQL."""
    line = look.text[max(0, start - LINE) : start].rpartition("\n")[2]
    return bool(_OPTION.search(line) or _TAKES.search(line)) or look.low.startswith(_ALWAYS, start)


def _value(text: str, join: re.Match[str], *, environment: bool) -> tuple[int, int, bool] | None:
    at = join.end()
    quoted = _QUOTED.match(text, at)
    if quoted:
        return *quoted.span("v"), True
    phrase = _PHRASE.match(text, at) if not join["gap"] else None
    if phrase:
        return *phrase.span(), False
    bare = _BARE.match(text, at)
    if (
        bare is None
        or (bare[0][0] in "([{" and classes(bare[0]) < ALL_CLASSES)
        or _FILE.match(bare[0])
        or "..." in bare[0]
        or "\u2026" in bare[0]
    ):
        return None
    said = _cut(bare[0], environment=environment, sure=join["sure"] is not None)
    end = at + len(said)
    if not said or is_code(text[at : end + 1]) or ("\n" in join[0] and not _BLANK.match(text, end, end + 10)):
        return None
    return at, end, False


def _cut(said: str, *, environment: bool, sure: bool) -> str:
    """Return a value without what stands behind it: the next pair, a bracket, the end of a sentence."""
    if environment:
        cut = _CUT_ENVIRONMENT.search(said)
    elif sure:
        cut = _CUT.search(said, 1)
    else:
        cut = _CUT_SENTENCE.search(said, 1)
        cut = None if cut and _is_symbol(said, cut.start()) else cut
    said = said[: cut.start()] if cut else said
    return _CUT_ESCAPE.split(said, maxsplit=1)[0].rstrip(_END)


def _is_symbol(said: str, at: int) -> bool:
    """Tell whether a mark belongs to a password: something goes on behind it, and other marks stand there, too."""
    return said[at] in ",|" and said[at + 1 : at + 2].isalnum() and any(c in "!#%^$*" for c in said)


def pin(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find a PIN, a one-time code, or the three digits of a card."""
    text = look.text
    before, after = text[start - 1 : start] if start else " ", text[end : end + 1]
    if before.isalnum() or before in "_-." or after.isalnum() or (after and after in "_-.[("):
        return
    match = _PIN.match(text, end)
    if match and (len(match[1]) > 3 or look.low[start:end] in _OF_CARDS):
        yield Found(*match.span(1), SECRET)


ASSIGNED: tuple[Rules, ...] = (Rules(PASSWORDS, password), Rules(SECRETS, secret), Rules(PINS, pin))
