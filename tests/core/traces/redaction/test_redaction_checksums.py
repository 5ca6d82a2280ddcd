"""Checksums hold for published examples, and for no neighbour of them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_lite.core.traces.redaction import checksums
from llmos_lite.core.traces.redaction.plain import plain

EXAMPLES: list[tuple[Callable[[str], bool], str]] = [
    (checksums.card, "4539148803436467"),
    (checksums.card, "378282246310005"),
    (checksums.card, "6011111111111117"),
    (checksums.card, "3530111333300000"),
    (checksums.card, "30569309025904"),
    (checksums.card, "2223003122003222"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "GB29NWBK60161331926819"),
    (checksums.iban, "FR1420041010050500013M02606"),
    (checksums.iban, "NL91ABNA0417164300"),
    (checksums.iban, "MT84MALT011000012345MTLCAST001S"),
    (checksums.steuer_id, "86095742719"),
    (checksums.steuer_id, "47036892816"),
    (checksums.dni, "12345678Z"),
    (checksums.dni, "X1234567L"),
    (checksums.nir, "255081416802538"),
    (checksums.codice_fiscale, "RSSMRA85T10A562S"),
    (checksums.ahv, "7569217076985"),
    (checksums.cpf, "52998224725"),
    (checksums.bsn, "111222333"),
    (checksums.aadhaar, "499118665246"),
    (checksums.resident_id, "11010519491231002X"),
]


@pytest.mark.parametrize(("check", "number"), EXAMPLES)
def test_an_example_is_one_and_a_wrong_last_digit_is_none(check: Callable[[str], bool], number: str) -> None:
    assert check(number)
    at = max(place for place, letter in enumerate(number) if letter.isdigit())
    others = [number[:at] + str((int(number[at]) + step) % 10) + number[at + 1 :] for step in range(1, 10)]
    assert not any(map(check, others))


@pytest.mark.parametrize("check", sorted({check for check, _ in EXAMPLES}, key=repr))
def test_zeros_and_the_wrong_length_are_none(check: Callable[[str], bool]) -> None:
    lengths = (18,) if check is checksums.resident_id else (1, 8, 11, 12, 17)
    assert not any(check("0" * length) for length in lengths if not (check is checksums.bsn and length == 9))


@given(st.text(st.sampled_from("ab@\u200b\uff20\u2019\\/u0040&quot;&lt; é\u00ad"), max_size=40))
def test_a_text_without_disguise_leads_back_to_where_everything_stood(text: str) -> None:
    shown = plain(text)
    assert shown.place(0) in range(len(text) + 1)
    assert shown.place(len(shown.text)) == len(text)
    places = [shown.place(index) for index in range(len(shown.text) + 1)]
    assert places == sorted(set(places))
    for index, letter in enumerate(shown.text):
        if letter.isalnum() and letter in "abé":
            assert re.sub("[^abé]", "", text[places[index] : places[index + 1]]) in {letter, ""}


def test_disguises_are_seen_through() -> None:
    assert plain("ja\u200bne\uff20corp\u2019s").text == "jane@corp's"
    assert plain('{"a": "\\u0040 \\/ \\n"}').text == '{"a": "@ / \\n"}'
    assert plain("&lt;a&gt; &#64; &amp;").text == "<a> @ &"
    assert plain("plain").text == "plain"
