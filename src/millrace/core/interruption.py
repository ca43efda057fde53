"""Ctrl-C stays Ctrl-C, whatever an engine makes of it on its way up."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from millrace.core.errors import first_line

# What DuckDB raises where it looked for a signal itself, as a RuntimeError, and where it was calling into Python.
_OF_A_QUERY = "Query interrupted"
_OF_A_CALL = re.compile(r"Invalid Input Error: .* failed: KeyboardInterrupt\b")


@contextmanager
def interruptions() -> Iterator[None]:
    """Raise KeyboardInterrupt for any error that an interruption became: a retry, or a word about unreadable files, is no answer to it."""
    try:
        yield
    except Exception as error:
        if is_interruption(error):
            raise KeyboardInterrupt from error
        raise


def is_interruption(error: BaseException) -> bool:
    """Whether Ctrl-C is behind an error: it was raised from one, or while one went up, as by a client that says goodbye."""
    behind, seen = [error], set[int]()
    while behind:
        each = behind.pop()
        if isinstance(each, KeyboardInterrupt) or _is_disguised(each):
            return True
        seen.add(id(each))
        behind += [more for more in (each.__cause__, each.__context__) if more is not None and id(more) not in seen]
    return False


def _is_disguised(error: BaseException) -> bool:
    # Python gives signals to the main thread alone. In others, as a server's, these words can only be a caller's own.
    if threading.current_thread() is not threading.main_thread():
        return False
    if type(error) is RuntimeError:
        return str(error) == _OF_A_QUERY
    return type(error).__module__.endswith("duckdb") and _OF_A_CALL.match(first_line(error)) is not None
