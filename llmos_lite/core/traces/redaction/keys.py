"""Private keys: whole blocks, as they stand in files, on one line of JSON, behind quotation marks, or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import SECRET, Found
from llmos_lite.core.traces.redaction.look import Look, Rules
from llmos_lite.core.traces.redaction.tokens import decoded

LONGEST_BLOCK = 32_000
"""Characters of a block; an RSA key of 16,384 bits has 13,000."""
LONGEST_END = 80
"""Characters of a line that ends one."""
LEAST_BODY = 20
"""Letters and digits of a key; less is only shown as an example, and so is one with three dots."""

_BEGIN = re.compile(r"-{4,5} ?BEGIN (?:[A-Z0-9 .]{0,40} )?PRIVATE KEY(?: BLOCK)? ?-{4,5}", re.IGNORECASE)
_END = re.compile(r"-{4,5} ?END (?:[A-Z0-9 .]{0,40} )?PRIVATE KEY(?: BLOCK)? ?-{4,5}", re.IGNORECASE)
_LINES = re.compile(
    r"(?:(?:\\{1,4}[nrt]|[\s>|#*+\"',-]){0,16}(?:[A-Za-z0-9+/=]{16,8000}|[A-Z][A-Za-z-]{2,20}: [^\n\\]{0,80})){1,500}"
)
_TAIL = re.compile(r"(?:\\{1,4}[nrt]|[\s>|#*+\"',-]){0,8}[A-Za-z0-9+/]{1,64}={0,2}(?![A-Za-z0-9+/ ])")
_BODY = re.compile(r"[A-Za-z0-9+/]{8,8000}")
_PUTTY = re.compile(
    r"Private-Lines: {0,4}\d{1,4}((?:\\{0,4}[nr]|\s){1,4}(?:[A-Za-z0-9+/=]{1,80}(?:\\{1,4}[nr]|\s){1,4}){1,300}"
    r"Private-MAC: {0,4}[0-9a-f]{8,128})"
)
_JWK = re.compile(r"\\{0,3}\"(?:d|k|p|q|dp|dq|qi)\\{0,3}\"\s{0,5}:\s{0,5}\\{0,3}\"([\w-]{16,3000})\\{0,3}\"")
_JWK_NEAR = 6000
_ENCODED = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]{40,60000}={0,2}")
_SEED = re.compile(
    r"[\s:=\"'`*\\n-]{1,12}((?:\d{1,2}[.)] ?)?[a-z]{3,8}(?:[\s,]{1,3}(?:\d{1,2}[.)] ?)?[a-z]{3,8}){11,23})"
    r"(?![\w ,]{0,2}[a-z])"
)


def block(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find a PEM, OpenSSH or PGP private key; a block without its end goes as far as its lines do."""
    text = look.text
    while start and text[start - 1] == "-":
        start -= 1
    begin = _BEGIN.match(text, start)
    if begin is None or start < look.done:
        return
    end = _block_end(look, begin.end())
    stop = end.end() if end else _stop(text, begin.end())
    body = text[begin.end() : end.start() if end else stop]
    if len("".join(_BODY.findall(body))) < LEAST_BODY:
        look.done = begin.end() + len(body)  # a block inside of it has no more
    elif "..." in body:
        look.done = begin.end() + body.rindex("...")
    else:
        look.done = stop
        yield Found(start, stop, SECRET)


def _block_end(look: Look, at: int) -> re.Match[str] | None:
    """Return the end of a block; where none was found before, it is not looked for again."""
    end = _END.search(look.text, max(at, look.until("end of a key") - LONGEST_END), at + LONGEST_BLOCK)
    if end is None:
        look.reach("end of a key", at + LONGEST_BLOCK)
    return end


def _stop(text: str, at: int) -> int:
    lines = _LINES.match(text, at, at + LONGEST_BLOCK)
    if lines is None:
        return at
    tail = _TAIL.match(text, lines.end())
    return tail.end() if tail else lines.end()


def putty(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find the private lines of a PuTTY key."""
    match = _PUTTY.match(look.text, start)
    if match:
        yield Found(*match.span(1), SECRET)


def jwk(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find the private members of a JSON Web Key."""
    if start < look.until("jwk"):
        return
    open_, close = look.text.rfind("{", max(0, start - _JWK_NEAR), start), look.text.find("}", start, start + _JWK_NEAR)
    if open_ < 0 or close < 0:
        return
    look.first("jwk", start, close)
    yield from (Found(*match.span(1), SECRET) for match in _JWK.finditer(look.text, open_, close))


def encoded(look: Look, start: int, _end: int) -> Iterator[Found]:
    """Find a private key that is base64 once more, as in a kubeconfig; certificates begin alike, and stay."""
    match = _ENCODED.match(look.text, start) if start >= look.done else None
    if match:
        look.done = match.end()
        if b"PRIVATE KEY" in decoded(match[0][:80]):
            yield Found(*match.span(), SECRET)


def seed(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the words of a wallet."""
    if not look.first("seed", end, end + 40):
        return
    match = _SEED.search(look.text, end, end + 60 + 24 * 12)
    if match and match.start() - end < 60:
        yield Found(*match.span(1), SECRET)


KEYS: tuple[Rules, ...] = (
    Rules(("--begin ", "-- begin "), block),
    Rules(("private-lines:",), putty),
    Rules(('"kty"', '"kty\\"'), jwk),
    Rules(("ls0tls1crudjti",), encoded),
    Rules(("seed phrase", "recovery phrase", "mnemonic", "seed words", "wallet phrase"), seed),
)
