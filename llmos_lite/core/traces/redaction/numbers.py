"""Numbers that name a person or an account: cards, bank accounts, telephones, identities. Checksums keep others out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from llmos_lite.core.traces.redaction import checksums
from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.look import Look, Rules, starts_here
from llmos_lite.core.traces.redaction.people import ip4

LEAST_DIGITS = 7
_SHORTEST = 10
"""Digits of a number abroad that nothing divides."""
_RUN = re.compile(r"\d(?:[\d .()/\-]{5,60}|\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z])")
"""Where numbers begin that are long enough, and the middle of an Italian tax code."""
_GROUP = re.compile(r"(?<!\d)\d")
_DIGIT = re.compile(r"\d")
_CARD = re.compile(
    r"\d{13,19}(?!\d)|\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{3})?(?!\d)|\d{4}([ -])\d{6}\2\d{4,5}(?!\d)"
)
_USUAL = (14, 15, 16)
_CARD_WORD = re.compile(r"card|karte|tarjeta|carte|visa|maestro|\bpan\b", re.IGNORECASE)
_IBAN_BACK = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}(?:\d{2}[ -]?[A-Za-z0-9 -]{0,10})?$")
_IBAN = re.compile(r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
_WORLD = re.compile(r"[1-9](?:[ .\-/()]{0,3}\d){7,14}(?![\w%]|[.,]\d)")
_AMERICAN = re.compile(
    r"(?:1[ .-])?([2-9]\d{2})(?:\) ?|([-. ]))[2-9]\d{2}(?(2)(?:\2|(?<= \d\d\d)-)|[-. ])\d{4}(?![\w-]|[.,]\d)"
)
_NATIONAL = re.compile(
    r"0(?:[1-9](?:[ .-]\d{2}){4}|7\d{3} ?\d{3} ?\d{3}|20\)? \d{4} \d{4}|1\d1\)? \d{3} \d{4}|1\d{3}\)? \d{6}|\d{2,4} ?/ ?\d[\d -]{3,10}\d|1[567]\d{1,2}[ -]\d{3}[ ]?\d{4,5}"
    r"|4\d\d \d{3} \d{3}|\d{1,3}[- ]\d{2,3} \d\d \d\d|\d{1,3}-\d{4}-\d{4})(?![\w-]|[.,]\d)|[1-9]\d\) 9?\d{4}-\d{4}(?![\w-])"
)
_ANY_PHONE = re.compile(r"\d(?:[ .\-/()]{0,2}\d){6,13}(?![\w%]|[.,]\d)")
_PHONE_WORD = re.compile(
    r"(?:\b(?:tele?)?phone|\btel\b|telefon|telefono|teléfono|téléphone|\bcall(?:ing)?\b|\bmobile|\bmobil|móvil|\bcell\b|\bfax|\bhandy|\bring\b|\btext me|\breach |whatsapp|\bsms\b|rufnummer|"
    r"\bmy number|\bhis number|\bher number|nummer|numéro|número|portable|手机|手機|携帯|\bruf mich|erreich\w*|anrufen|llámame|appelle\w*|\bdial|\bphones?\b|電話|电话|телефон)[^\n\d]{0,28}\(?$",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ]?(?:0[1-9]|1[0-2])[-./ ]?(?:0[1-9]|[12]\d|3[01])(?!\d)|\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d"
)
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")
_NIR = re.compile(r"[12] ?\d\d ?(?:0[1-9]|1[0-2]|[2-9]\d) ?\d\d ?\d{3} ?\d{3} ?\d\d(?!\w)")
_AHV = re.compile(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d\d(?!\w)")
_CPF = re.compile(r"\d{3}\.\d{3}\.\d{3}-\d\d(?!\w)")
_RESIDENT = re.compile(r"[1-9]\d{5}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)")
_STEUER = re.compile(r"\d{2} \d{3} \d{3} \d{3}(?!\w)")
_DNI = re.compile(r"\d{7,8}-?[A-Z](?!\w)")
_NINO = re.compile(r"\d\d ?\d\d ?\d\d ?[A-D](?!\w)")
_NINO_BACK = re.compile(r"(?<![A-Za-z0-9])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?$")
_FISCAL_BACK = re.compile(r"(?<![A-Za-z0-9])[A-Z]{6}$")

_WORDS = (
    "ssn", "social security", "social insurance", "steuer-id", "steuerid", "steuer-identifikationsnummer", "steueridentifikationsnummer", "steuernummer", "tax id", "tax number", "taxpayer id", "tax_id", "itin", "bsn",
    "burgerservicenummer", "pesel", "personnummer", "cpf", "aadhaar", "aadhar", "pan number", "pan card", "dni", " nie", "nif ", "nif:", "codice fiscale", "passport", "reisepass",
    "pasaporte", "passeport", "passaporto", "ausweis", "id card", "id number", "national id", "national_id", "identity card", "identity number", "national insurance", "nino",
    "driver's license", "driver’s license", "drivers license", "driver license", "driving licence", "driving license", "driver_license", "license number", "licence number", "führerschein", "medicare", "nhs number", "sozialversicherungsnummer", "sécurité sociale",
    "curp", "ahv", "sin number", "krankenversicherungsnummer", "insurance number", "versichertennummer", "personalausweis", "patient id", "medical record",
)  # fmt: skip
_IDENTITY = re.compile(
    r"(?i:[\w'’]{0,14}[\"'`\\)\]]{0,3}(?:[ _-](?:card|no|nr|number|num|id|nummer|code|is|numéro|número|de|identité|social|security|insurance)\b\.?){0,4}[\"'`\\)*]{0,4}\s{0,2}(?:(?:is|ist|est|es|lautet|was|=|:|#|->|,)\s{0,3}){0,3}[\"'`\\(*#]{0,4})"
    r"([A-Z]{0,4}[- ]?\d(?:[ \-./]?[\dA-Z]){4,20})(?![\w])"
)
_FEWEST = 5


def numbers(look: Look) -> Iterator[Found]:
    """Find what begins with digits."""
    text, done = look.text, 0
    for run in _RUN.finditer(text):
        start, said = run.start(), run[0]
        if said[2].isalpha():
            yield from _fiscal(text, start)
            continue
        start = max(start, done)
        enough = sum(map(str.isdigit, said)) >= LEAST_DIGITS - 1
        if not enough and said.count(".") < 3:  # noqa: PLR2004 - of an IP address
            continue
        for group in _GROUP.finditer(text, start, run.end()):
            at = group.start()
            if at < done:
                continue
            if found := _one(look, at, enough=enough and _is_long(text, at)):
                done = found.end
                yield found


def _is_long(text: str, at: int) -> bool:
    """Tell whether enough digits follow; single ones that blanks divide are none of these numbers."""
    digits = len(_DIGIT.findall(text, at, at + 12))
    return digits >= LEAST_DIGITS - text[max(0, at - 2) : at].strip().isalpha() or text[at - 1 : at] == "+"


def _one(look: Look, at: int, *, enough: bool) -> Found | None:
    text = look.text
    before = text[at - 1] if at else " "
    if enough:
        for detect in (_iban, _insurance, _phone_abroad):
            if found := detect(text, at):
                return found
    if before.isalnum() or before in "._" or (before == "-" and at > 1 and text[at - 2].isalnum()):
        return _nie(text, at) if before in "XYZ" else None
    if text[at + 1 : at + 4].count(".") and (found := next(ip4(text, at), None)):
        return found
    if enough:
        for detect in (_card, _identity_number, _phone):
            if found := detect(text, at):
                return found
    return None


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _card(text: str, at: int) -> Found | None:
    match = _CARD.match(text, at)
    if (
        match
        and match[0].isdigit()
        and len(match[0]) not in _USUAL
        and not _CARD_WORD.search(text, max(0, at - 40), at)
    ):
        return None
    if match and checksums.card(_digits(match[0])) and not _glued(text, match.end()):
        return (
            Found(*match.span(), "card")
            if text[match.end() : match.end() + 2].strip() not in ("*", "**", "*t")
            else None
        )
    return None


def _glued(text: str, end: int) -> bool:
    """Tell whether a number goes on: as an identifier, or behind a point or dash."""
    after = text[end : end + 2]
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
    if checksums.iban(taken.upper()) and not (end < len(text) and text[end].isalnum()):
        return Found(match.start(), end, "iban")
    return None


def _insurance(text: str, at: int) -> Found | None:
    """Find a British national insurance number at its digits."""
    back = _NINO_BACK.search(text, max(0, at - 4), at)
    match = _NINO.match(text, at) if back else None
    return Found(back.start(), match.end(), "id") if back and match else None


def _nie(text: str, at: int) -> Found | None:
    match = _DNI.match(text, at)
    if match is None or (at > 1 and text[at - 2].isalnum()):
        return None
    return Found(at - 1, match.end(), "id") if checksums.dni(text[at - 1] + match[0].replace("-", "")) else None


def _fiscal(text: str, at: int) -> Iterator[Found]:
    back = _FISCAL_BACK.search(text, max(0, at - 7), at)
    if back and checksums.codice_fiscale(text[back.start() : at + 10]) and not text[at + 10 : at + 11].isalnum():
        yield Found(back.start(), at + 10, "id")


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (_SSN, lambda _text: True),
    (_NIR, lambda text: checksums.nir(_digits(text))),
    (_AHV, lambda text: checksums.ahv(_digits(text))),
    (_CPF, lambda text: checksums.cpf(_digits(text))),
    (_RESIDENT, checksums.resident_id),
    (_STEUER, lambda text: checksums.steuer_id(_digits(text))),
    (_DNI, lambda text: checksums.dni(text.replace("-", ""))),
)


def _identity_number(text: str, at: int) -> Found | None:
    for pattern, check in _NUMBERS:
        match = pattern.match(text, at)
        if match and check(match[0]):
            return Found(*match.span(), "id")
    return None


def _phone_abroad(text: str, at: int) -> Found | None:
    """Find a number that begins with `+` or `00` and the code of a country."""
    plus = next((len(sign) for sign in ("%2B", "(+", "+(", "+") if text.endswith(sign, 0, at)), 0)
    begin = at - plus
    zeros = not plus and text.startswith("00", at)
    match = _WORLD.match(text, at + 2 * zeros) if plus or zeros else None
    if match is None or (begin and (text[begin - 1].isalnum() or text[begin - 1] in "+)_")) or _DATE.match(match[0]):
        return None
    if zeros and ("(" in match[0] or text[begin - 1 : begin] in tuple(".-/,(")):  # a number of a journal, as an example
        return None
    if match[0].replace(".", "", 1).isdigit() and len(match[0]) < _SHORTEST + 2 * zeros:
        return None
    return Found(begin, match.end(), "phone")


def _phone(text: str, at: int) -> Found | None:
    begin = at - (text[at - 1 : at] == "(")
    match = _AMERICAN.match(text, at)
    if match and (match[2] != " ") and (match[2] or begin < at):
        return Found(begin, match.end(), "phone")
    match = _NATIONAL.match(text, at) if text[at - 1 : at] != "/" else None
    if match and not _DATE.match(match[0]):
        return Found(begin, match.end(), "phone")
    match = _ANY_PHONE.match(text, at)
    if (
        match
        and match[0].count(".") < 3
        and _PHONE_WORD.search(text, max(0, at - 44), at)
        and not _DATE.match(match[0])
    ):
        return Found(begin, match.end(), "phone")
    return None


def identity(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find the number behind the word for a paper that names a person."""
    if not starts_here(look.text, _start) or (end - _start < 6 and look.text[end : end + 1].isalpha()):  # noqa: PLR2004
        return
    match = _IDENTITY.match(look.text, end)
    if match and sum(map(str.isdigit, match[1])) >= _FEWEST and not _DATE.match(match[1]):
        yield Found(*match.span(1), "id")


IDENTITIES: tuple[Rules, ...] = (Rules(_WORDS, identity),)
