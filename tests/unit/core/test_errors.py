from __future__ import annotations

import inspect

import pytest

from millrace.core import errors
from millrace.core.errors import Conflict, InvalidInput, LawBroken, MillraceError, NotFound, UsageError, first_line

_TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MillraceError)]


def test_the_text_is_the_fact_then_the_hint_on_its_own_line() -> None:
    assert str(NotFound("table a does not exist", hint="make it first")) == (
        "table a does not exist\n  hint: make it first"
    )
    assert str(Conflict("port 5000 is in use")) == "port 5000 is in use"


def test_facts_are_for_programs() -> None:
    error = NotFound("table a does not exist", hint="make it first", table="a", version=3)
    assert (error.message, error.hint, error.facts) == (
        "table a does not exist",
        "make it first",
        {"table": "a", "version": 3},
    )


@pytest.mark.parametrize("kind", _TREE)
def test_every_error_is_caught_as_one_and_has_its_codes(kind: type[MillraceError]) -> None:
    with pytest.raises(MillraceError):
        raise kind("it can't be done")
    assert kind.exit_code in {1, 2, 3, 70}
    assert kind.error_code == kind.error_code.upper()


def test_the_first_line_is_what_is_said_without_the_trace_under_it() -> None:
    assert first_line(ValueError("\n  bad format\nStack trace:\n  [bt] (0)")) == "bad format"
    assert first_line(ValueError()) == "ValueError"


def test_exit_codes_tell_usage_and_bugs_from_expected_failures() -> None:
    assert InvalidInput.exit_code == 1
    assert UsageError.exit_code == 2
    assert LawBroken.exit_code == 70
