"""Checksums of numbers that name a person or an account; each takes digits (or letters) alone.

Luhn: ISO/IEC 7812-1. Mod 97: ISO 13616 and the French NIR. Mod 11,10 and mod 11-2: ISO/IEC 7064. The others are those
that the countries' registers publish.
"""

from __future__ import annotations

CARD_LENGTHS = range(12, 20)
_COUNTRIES = (
    (15, "NO"),
    (16, "BE"),
    (18, "DK FI FK FO GL NL SD"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU MN XK"),
    (21, "CH HR LI LV"),
    (22, "BG BH CR DE GB GE IE ME RS VA"),
    (23, "AE GI IL IQ OM SO TL"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "BI DJ FR GR IT MC MR SM"),
    (28, "AL AZ BY CY DO GT HU LB NI PL SV"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU YE"),
    (31, "MT SC"),
    (32, "LC"),
    (33, "RU"),
)
IBAN_LENGTHS = {code: length for length, codes in _COUNTRIES for code in codes.split()}
_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_ODD_LETTERS = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def luhn(digits: str) -> bool:
    """Tell whether the last digit is that of Luhn."""
    return sum(_DOUBLED[int(d)] if place % 2 else int(d) for place, d in enumerate(reversed(digits))) % 10 == 0


def card(digits: str) -> bool:
    """Tell whether digits are the number of a card: of an issuer's range and length, with Luhn's digit."""
    if len(digits) not in CARD_LENGTHS or len(set(digits)) == 1:
        return False
    two, four, count = int(digits[:2]), int(digits[:4]), len(digits)
    known = (
        (digits[0] == "4" and count in {13, 16, 19})
        or (count == 16 and (51 <= two <= 55 or 2221 <= four <= 2720))
        or (count == 15 and two in {34, 37})
        or (count == 14 and (300 <= int(digits[:3]) <= 305 or two in {36, 38, 39}))
        or (count >= 16 and (four == 6011 or two in {62, 64, 65} or 3528 <= four <= 3589))
        or (count == 15 and four in {2131, 1800})
        or two in {50, 56, 57, 58, 60, 63, 67, 69}
    )
    return known and luhn(digits)


def iban(text: str) -> bool:
    """Tell whether letters and digits, capitals without blanks, are an IBAN."""
    if IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def steuer_id(digits: str) -> bool:
    """Tell whether eleven digits are a German tax identification number."""
    if len(digits) != 11 or digits[0] == "0" or max(map(digits[:10].count, digits[:10])) not in {2, 3}:
        return False
    product = 10
    for digit in digits[:10]:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def dni(text: str) -> bool:
    """Tell whether eight digits and a letter are a Spanish DNI, or a letter, seven digits and a letter an NIE."""
    digits = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:-1]
    return len(digits) == 8 and digits.isdigit() and _DNI[int(digits) % 23] == text[-1]


def nir(digits: str) -> bool:
    """Tell whether fifteen digits are a French NIR with its key."""
    return len(digits) == 15 and digits[0] in "12" and 97 - int(digits[:13]) % 97 == int(digits[13:])


def codice_fiscale(text: str) -> bool:
    """Tell whether sixteen capitals and digits are an Italian tax code."""
    if len(text) != 16:
        return False
    values = [int(c) if c.isdigit() else int(c, 36) - 10 for c in text[:15]]
    total = sum(value if place % 2 else _ODD_LETTERS[value] for place, value in enumerate(values))
    return chr(ord("A") + total % 26) == text[15]


def ahv(digits: str) -> bool:
    """Tell whether thirteen digits are a Swiss AHV number (EAN-13 of the country 756)."""
    total = sum(int(d) * (3 if place % 2 else 1) for place, d in enumerate(digits[:12]))
    return len(digits) == 13 and digits.startswith("756") and (10 - total % 10) % 10 == int(digits[12])


def cpf(digits: str) -> bool:
    """Tell whether eleven digits are a Brazilian CPF."""
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    for count in (9, 10):
        total = sum(int(d) * (count + 1 - place) for place, d in enumerate(digits[:count]))
        if total * 10 % 11 % 10 != int(digits[count]):
            return False
    return True


def bsn(digits: str) -> bool:
    """Tell whether nine digits are a Dutch BSN."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return len(digits) == len(weights) and sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11 == 0


def aadhaar(digits: str) -> bool:
    """Tell whether twelve digits are an Indian Aadhaar number (Verhoeff)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        turned = int(digit)
        for _ in range(place % 8):
            turned = _TURN[turned]
        check = _times(check, turned)
    return len(digits) == 12 and digits[0] not in "01" and check == 0


def _times(one: int, other: int) -> int:
    """Multiply in the group of a pentagon's turns (0-4) and reflections (5-9)."""
    turned = one % 5 + (other % 5 if one < 5 else -other % 5)
    return turned % 5 + 5 * ((one < 5) != (other < 5))


def resident_id(text: str) -> bool:
    """Tell whether seventeen digits and a digit or X are a Chinese resident identity number."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(d) * w for d, w in zip(text[:17], weights, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()
