"""The error family is what its tree says, and every error becomes a problem document."""

from __future__ import annotations

import errno
import inspect
import re

import pytest

from llmos_lite import errors
from llmos_lite.api.errors import MethodNotAllowed
from llmos_lite.errors import LlmosError, RateLimited, StorageFailed, TooLarge, storage_error

FAMILY = [
    value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, LlmosError) and value.__doc__
]


def test_the_tree_in_the_docstring_is_the_family() -> None:
    drawn = dict(re.findall(r"[-'] *(\w+) +(\d{3} +\d)", errors.__doc__ or ""))
    real = {kind.__name__: f"{kind.status}     {kind.exit_code}" for kind in FAMILY if kind is not LlmosError}
    assert {name: line.split() for name, line in drawn.items()} == {name: line.split() for name, line in real.items()}


@pytest.mark.parametrize("kind", FAMILY)
def test_every_kind_is_a_problem_document(kind: type[LlmosError]) -> None:
    problem = kind("noun.case", "It went wrong.", hint="Do this.", limit=3).problem()
    assert problem == {
        "type": "urn:llmos:error:noun.case",
        "title": kind.__name__,
        "status": kind.status,
        "code": "noun.case",
        "detail": "It went wrong.",
        "hint": "Do this.",
        "limit": 3,
    }


def test_exit_codes_tell_the_kinds_apart_and_are_never_success() -> None:
    assert {kind.exit_code for kind in FAMILY} == set(range(1, 10))
    assert all(400 <= kind.status < 600 for kind in FAMILY)


def test_a_detail_never_overwrites_what_the_problem_document_fixes() -> None:
    error = RateLimited("rate.limited", "Too fast.", retry_after=3, status=200, type="x")
    assert (error.problem()["status"], error.problem()["type"]) == (429, "urn:llmos:error:rate.limited")
    assert error.problem()["retry_after"] == 3
    assert error.detail["status"] == 200


def test_an_empty_hint_is_left_out_and_the_text_is_the_message() -> None:
    error = TooLarge("body.too_large", "The body is too large.")
    assert "hint" not in error.problem()
    assert str(error) == "The body is too large."


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "storage.full"),
        (errno.EDQUOT, "storage.full"),
        (errno.EROFS, "storage.readonly"),
        (errno.EACCES, "storage.readonly"),
        (errno.EIO, "storage.failed"),
    ],
)
def test_what_the_disk_says_becomes_a_sentence(number: int, code: str) -> None:
    error = storage_error(OSError(number, "said the system"), "store the trace")
    assert isinstance(error, StorageFailed)
    assert error.code == code
    assert error.message.startswith("Could not store the trace: ")
    assert error.hint


def test_a_fresh_error_says_the_same_and_holds_nothing() -> None:
    with pytest.raises(MethodNotAllowed) as caught:
        raise MethodNotAllowed("POST", {"GET"}) from ValueError("before")
    error, fresh = caught.value, caught.value.fresh()
    assert (type(fresh), fresh.problem(), str(fresh)) == (type(error), error.problem(), str(error))
    assert (fresh.__traceback__, fresh.__cause__, fresh.__context__) == (None, None, None)
    fresh.detail["more"] = "x"
    assert "more" not in error.detail
