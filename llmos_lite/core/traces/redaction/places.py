"""When somebody was born, and where somebody lives: only where the words around say so, or the form does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llmos_lite.core.traces.redaction.base import Found
from llmos_lite.core.traces.redaction.look import Look, Rules

BEFORE, BEHIND = 60, 100
"""Characters around the word for a street that an address may take."""

_MONTH = (
    r"(?:jan|feb|m[aä]r|apr|ma[iy]|ju[nl]|aug|sep|o[ck]t|nov|de[cz]|fév|avr|juin|juil|août|déc|ene|abr|ago|dic)"
    r"\w{0,8}\.?"
)
_DATE = re.compile(
    r"[\s\"'`*:=|(\\]{0,8}(?:(?:is|was|ist|war|est|es|on|am|le|el|the)\s{1,2}){0,2}[\"'`*]{0,2}("
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\s?\d{1,2}[-/.]\s?\d{2,4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|\.)?\s(?:of\s|de\s)?{_MONTH},?\s(?:de\s)?\d{{4}}"
    rf"|{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}})(?!\d)",
    re.IGNORECASE,
)
_STREET = re.compile(
    r"\d{1,5}[A-Za-z]?(?:-\d{1,4})?,?\s(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West|Old|Upper|Lower)\.?\s)?"
    r"(?:[A-Z][a-z']{1,20}\s|\d{1,3}(?:st|nd|rd|th)\s){1,3}"
    r"(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Boulevard|Blvd|Drive|Dr|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Close"
    r"|Crescent|Gardens|Grove|Parkway|Pkwy|Circle|Highway|Hwy)\b\.?(?:\s(?:NW|NE|SW|SE|N|S|E|W)\b)?"
    r"(?:,?\s(?:Apt|Apartment|Suite|Ste|Unit|Flat|#)\.?\s?\w{1,6})?"
    r"(?:,\s[A-Z][A-Za-z .'-]{2,30})?(?:,?\s(?:[A-Z]{2}\s\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2}))?"
)
_STRASSE = re.compile(
    r"[A-ZÄÖÜ][\wäöüß.-]{1,30}(?:\s[A-ZÄÖÜ][\wäöüß.-]{1,30})?[ -]?"
    r"(?:[Ss]tra(?:ß|ss)e|[Ss]tr\.|[Ww]eg|[Pp]latz|[Aa]llee|[Gg]asse|[Uu]fer|[Dd]amm)\s\d{1,4}\s?[a-z]?(?![\w.])"
    r"(?:,?\s{1,2}(?:D-|A-|CH-)?\d{4,5}\s[A-ZÄÖÜ][\wäöüß]{2,30})?"
)
_RUE = re.compile(
    r"\d{1,4}(?:\s(?:bis|ter))?,?\s(?:rue|avenue|boulevard|place|chemin|impasse|all[ée]e|quai)\s"
    r"(?:(?:de|du|des|la|le|l'|d'|les)\s?){0,3}[A-ZÉÈ][\w'éèêàçôî-]{1,30}(?:\s[A-ZÉÈ][\wéèêàçôî'-]{1,30}){0,3}"
    r"(?:,?\s\d{5}\s[A-ZÉ][\wéèêàç-]{2,30})?"
)
_CALLE = re.compile(
    r"(?:[Cc]alle|[Aa]venida|[Pp]laza|[Pp]aseo)\s(?:de\s|del\s|la\s|los\s){0,3}[A-ZÁÉÍÓÚ][\wáéíóúñ]{1,30}"
    r"(?:\s[A-ZÁÉÍÓÚ][\wáéíóúñ]{1,30}){0,3},?\s(?:n[ºo°.]{1,2}\s?)?\d{1,4}(?:,\s\d{5}\s[A-ZÁÉÍÓÚ][\wáéíóúñ]{2,30})?"
)
_FOUNDATION = re.compile(r"51 Franklin|Temple Place|675 Mass")
"""Stands in every copy of a licence."""


def birth(look: Look, _start: int, end: int) -> Iterator[Found]:
    """Find a date of birth behind the words that say so."""
    match = _DATE.match(look.text, end)
    if match:
        yield Found(*match.span(1), "birthdate")


def postal(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find a street with its number, and the place behind it."""
    for pattern in (_STREET, _STRASSE, _RUE, _CALLE):
        for match in pattern.finditer(look.text, max(look.until("street"), start - BEFORE), end + BEHIND):
            if match.start() <= start and match.end() >= end and not _FOUNDATION.search(match[0]):
                if look.first("street", match.start(), match.end()):
                    yield Found(*match.span(), "address")
                return


def american(look: Look, start: int, end: int) -> Iterator[Found]:
    """Find an address at its state and ZIP code."""
    code = _ZIP.match(look.text, end)
    street = _BEFORE_STATE.search(look.text, max(look.until("street"), start - 120), start) if code else None
    if code and street and look.first("street", street.start(), code.end()):
        yield Found(street.start(), code.end(), "address")


_ZIP = re.compile(r"\d{5}(?:-\d{4})?(?!\w)")
_BEFORE_STATE = re.compile(r"(?<![\w.])\d{1,6}\s[A-Z][\w.'# -]{2,60}[,\n]\s{0,2}[A-Z][A-Za-z .'-]{2,30}$")
_BORN = (
    *(
        "born on",
        "born:",
        "born ",
        "date of birth",
        "dateofbirth",
        "date_of_birth",
        "birthdate",
        "birth_date",
        "birth date",
    ),
    *("birthday", "dob", "d.o.b.", "geboren am", "geburtsdatum", "geb. am", "geb.", "né le", "née le"),
    *("date de naissance", "nacido el", "nacida el", "fecha de nacimiento", "nato il", "nata il"),
    *("data di nascita", "data de nascimento", "geboortedatum"),
)
_STREETS = (
    *(" street", " avenue", " ave", " road", " lane", " boulevard", " blvd", " drive", " court", " st,", " st."),
    *(" st\n", " rd", " terrace", " crescent", " parkway", "straße", "strasse", "str. ", "weg ", "platz ", "allee "),
    *("gasse ", " rue ", "calle ", "avenida ", "chemin ", "quai "),
)
_STATES = """
    al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny nc nd oh ok or pa
    ri sc sd tn tx ut vt va wa wv wi wy dc pr
"""
PLACES: tuple[Rules, ...] = (
    Rules(_BORN, birth),
    Rules(_STREETS, postal),
    Rules(tuple(f", {one} " for one in _STATES.split()), american),
)
