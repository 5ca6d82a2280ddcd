"""Numbers that name a person or an account: cards, bank accounts, identities. Checksums keep other numbers out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from llmos_lite.core.traces.redaction import checksums
from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.look import Look, Rules, starts_here
from llmos_lite.core.traces.redaction.machines import ip4
from llmos_lite.core.traces.redaction.phones import DATE, abroad, phone

LEAST_DIGITS = 7
"""Digits of a number that names something, a British insurance number aside, which has one less and letters."""
USUAL = (14, 15, 16)
"""Digits of most cards; a number of another length that nothing divides needs a word in front."""
SHORT_WORD, FEWEST = 6, 5

_DIGITS = "0123456789"
_RUN = re.compile(r"\d(?:[\d .()/\-]{5,60}|\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z])")
"""Where numbers begin that are long enough, and the middle of an Italian tax code."""
_PLAIN_RUN = re.compile(_RUN.pattern.replace(r"[\d ", "[0-9 ").replace(r"\d", "[0-9]"))
"""The same in a text of ASCII, where it takes half the time: a range is quicker than what Unicode calls a digit."""
_GROUP = re.compile(r"(?<!\d)\d")
_DIGIT = re.compile(r"\d")
_CARD = re.compile(
    r"\d{12,19}(?!\d)|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{3})?(?!\d)|\d{4}([ -])\d{6}\2\d{4,5}(?!\d)"
)
_CARD_WORD = re.compile(r"card|karte|tarjeta|carte|visa|maestro|\bpan\b", re.IGNORECASE)
_IBAN_BACK = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}(?:\d{2}[ -]?[A-Za-z0-9 -]{0,10})?$")
_IBAN = re.compile(r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
_NINO = re.compile(r"\d\d ?\d\d ?\d\d ?[A-D](?!\w)")
_NINO_BACK = re.compile(r"(?<![A-Za-z0-9])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?$")
_FISCAL_BACK = re.compile(r"(?<![A-Za-z0-9])[A-Z]{6}$")
_DNI = re.compile(r"\d{7,8}-?[A-Z](?!\w)")


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _any(_text: str) -> bool:
    return True


_IDENTITIES: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (re.compile(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])"), _any),
    (
        re.compile(r"[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?\d\d ?\d{3} ?\d{3} ?\d\d(?!\w)"),
        lambda text: checksums.nir(_digits(text)),
    ),
    (re.compile(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d\d(?!\w)"), lambda text: checksums.ahv(_digits(text))),
    (re.compile(r"\d{3}\.\d{3}\.\d{3}-\d\d(?!\w)"), lambda text: checksums.cpf(_digits(text))),
    (
        re.compile(r"[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)"),
        checksums.resident_id,
    ),
    (re.compile(r"\d{2} \d{3} \d{3} \d{3}(?!\w)"), lambda text: checksums.steuer_id(_digits(text))),
    (_DNI, lambda text: checksums.dni(text.replace("-", ""))),
)
WORDS: tuple[str, ...] = (
    *("ssn", "social security", "social insurance", "steuer-id", "steuerid", "steuer-identifikationsnummer"),
    *("steueridentifikationsnummer", "steuernummer", "tax id", "tax number", "taxpayer id", "tax_id", "itin", "bsn"),
    *("burgerservicenummer", "pesel", "personnummer", "cpf", "aadhaar", "aadhar", "pan number", "pan card", "dni"),
    *(" nie", "nif ", "nif:", "codice fiscale", "passport", "reisepass", "pasaporte", "passeport", "passaporto"),
    *("ausweis", "id card", "id number", "national id", "national_id", "identity card", "identity number"),
    *("national insurance", "nino", "driver's license", "drivers license", "driver license", "driving licence"),
    *("driving license", "driver_license", "license number", "licence number", "führerschein", "medicare"),
    *("nhs number", "sozialversicherungsnummer", "sécurité sociale", "curp", "ahv", "sin number"),
    *("krankenversicherungsnummer", "insurance number", "versichertennummer", "personalausweis", "patient id"),
    *("medical record", "身份证"),
)
_IDENTITY = re.compile(
    r"(?i:[\w']{0,14}[\"'`\\)\]]{0,3}"
    r"(?:[ _-](?:card|no|nr|number|num|id|nummer|code|is|numéro|número|de|identité|social|security|insurance)\b\.?)"
    r"{0,4}"
    r"[\"'`\\)*]{0,4}\s{0,2}(?:(?:is|ist|est|es|lautet|was|=|:|#|->|,)\s{0,3}){0,3}[\"'`\\(*#]{0,4})"
    r"([A-Z]{0,4}[- ]?\d(?:[ \-./]?[\dA-Z]){4,20})(?![\w])"
)


def numbers(look: Look) -> Iterator[Found]:
    """Find what begins with digits."""
    text, done = look.text, 0
    for run in _runs(text):
        start, said = run.start(), run[0]
        if said[2].isalpha():
            yield from _fiscal(text, start)
            continue
        enough = len(_DIGIT.findall(said)) >= LEAST_DIGITS - 1
        if not enough and said.count(".") < 3:  # of an IP address
            continue
        for group in _GROUP.finditer(text, max(start, done), run.end()):
            at = group.start()
            if at >= done and (found := _one(text, at, enough=enough and _is_long(text, at))):
                done = found.end
                yield found


def _runs(text: str) -> Iterable[re.Match[str]]:
    if not text.isascii():
        return _RUN.finditer(text)
    return _PLAIN_RUN.finditer(text) if any(map(text.__contains__, _DIGITS)) else ()


def _is_long(text: str, at: int) -> bool:
    """Tell whether enough digits follow; single ones that blanks divide are none of these numbers."""
    digits = len(_DIGIT.findall(text, at, at + 12))
    return digits >= LEAST_DIGITS - text[max(0, at - 2) : at].strip().isalpha() or text[at - 1 : at] == "+"


def _one(text: str, at: int, *, enough: bool) -> Found | None:
    if enough and (found := _first(text, at, (_iban, _insurance, abroad))):
        return found
    before = text[at - 1] if at else " "
    if before.isalnum() or before in "._" or (before == "-" and text[at - 2 : at - 1].isalnum()):
        return _nie(text, at) if before in "XYZ" else None
    if "." in text[at + 1 : at + 4] and (found := ip4(text, at)):
        return found
    return _first(text, at, (_card, _identity_number, phone)) if enough else None


def _first(text: str, at: int, detectors: tuple[Callable[[str, int], Found | None], ...]) -> Found | None:
    return next((found for detect in detectors if (found := detect(text, at))), None)


def _card(text: str, at: int) -> Found | None:
    match = _CARD.match(text, at)
    if match is None or not checksums.card(_digits(match[0])) or _goes_on(text, match.end()):
        return None
    plain = match[0].isdigit() and len(match[0]) not in USUAL
    return None if plain and not _CARD_WORD.search(text, max(0, at - 40), at) else Found(*match.span(), "card")


def _goes_on(text: str, end: int) -> bool:
    """Tell whether a number goes on: as an identifier, behind a point or dash, or as a product."""
    after = text[end : end + 2]
    if after.strip().startswith("*"):
        return True
    return bool(after) and (after[0].isalnum() or after[0] == "_" or (after[0] in ".-" and after[1:].isdigit()))


def _iban(text: str, at: int) -> Found | None:
    back = _IBAN_BACK.search(text, max(0, at - 16), at)
    match = _IBAN.match(text, back.start()) if back else None
    if match is None:
        return None
    length = checksums.IBAN_LENGTHS.get(match[0][:2].upper(), 0)
    taken, end = "", match.start()
    while len(taken) < length and end < match.end():
        taken += text[end] if text[end].isalnum() else ""
        end += 1
    if checksums.iban(taken.upper()) and not text[end : end + 1].isalnum():
        return Found(match.start(), end, "iban")
    return None


def _insurance(text: str, at: int) -> Found | None:
    """Return the British national insurance number that has its digits at a place."""
    back = _NINO_BACK.search(text, max(0, at - 4), at)
    match = _NINO.match(text, at) if back else None
    return Found(back.start(), match.end(), "id") if back and match else None


def _nie(text: str, at: int) -> Found | None:
    match = _DNI.match(text, at)
    if match is None or text[max(0, at - 2) : at - 1].isalnum():
        return None
    return Found(at - 1, match.end(), "id") if checksums.dni(text[at - 1] + match[0].replace("-", "")) else None


def _fiscal(text: str, at: int) -> Iterator[Found]:
    back = _FISCAL_BACK.search(text, max(0, at - 7), at)
    if back and checksums.codice_fiscale(text[back.start() : at + 10]) and not text[at + 10 : at + 11].isalnum():
        yield Found(back.start(), at + 10, "id")


def _identity_number(text: str, at: int) -> Found | None:
    for pattern, check in _IDENTITIES:
        match = pattern.match(text, at)
        if match and check(match[0]):
            return Found(*match.span(), "id")
    return None


def identity(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find the number behind the word for a paper that names a person."""
    if not starts_here(look.text, start) or (end - start < SHORT_WORD and look.text[end : end + 1].isalpha()):
        return
    match = _IDENTITY.match(look.text, end)
    if match and len(_DIGIT.findall(match[1])) >= FEWEST and not DATE.match(match[1]):
        yield Found(*match.span(1), "id")


NUMBERS: tuple[Rules, ...] = (Rules(WORDS, identity),)
