from __future__ import annotations

import threading

import duckdb  # noqa: TID253 - what it raises
import pytest

from millrace.core.errors import InvalidState
from millrace.core.interruption import interruptions, is_interruption

IN_A_CALL = duckdb.InvalidInputException(
    "Invalid Input Error: counting the rows of the object registered as 'nothing' failed: KeyboardInterrupt: "
)
IN_A_QUERY = RuntimeError("Query interrupted")


def unreadable(cause: BaseException) -> InvalidState:
    error = InvalidState("the files can't be read")
    error.__cause__ = cause
    return error


def while_it_went_up() -> Exception:
    try:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError("the server is gone") from None
    except OSError as error:
        return error


INTERRUPTED = [IN_A_CALL, IN_A_QUERY, unreadable(IN_A_CALL), while_it_went_up(), unreadable(while_it_went_up())]
OTHERS = [
    unreadable(OSError("no such file")),
    RuntimeError("Query interrupted by a rule"),
    ValueError(str(IN_A_CALL)),
    duckdb.BinderException('Binder Error: there is no column "KeyboardInterrupt"'),
]


@pytest.mark.parametrize("error", INTERRUPTED, ids=str)
def test_what_ctrl_c_became_is_ctrl_c_again(error: Exception) -> None:
    with pytest.raises(KeyboardInterrupt) as raised, interruptions():
        raise error
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, interruptions():
        raise error
    assert raised.value is error


def test_errors_in_a_circle_are_looked_at_once() -> None:
    one, other = ValueError("a"), ValueError("b")
    one.__cause__, other.__cause__ = other, one
    assert not is_interruption(one)


def test_no_text_of_a_caller_interrupts_a_server() -> None:
    """Its threads are never interrupted: there the words can only be somebody's own, as in a query of the error they want."""
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.extend(map(is_interruption, (IN_A_CALL, IN_A_QUERY))))
    thread.start()
    thread.join()
    assert told == [False, False]
