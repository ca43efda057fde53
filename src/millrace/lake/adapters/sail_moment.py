"""What `current_date` and its kin mean in feature code that Sail runs.

Sail runs Python functions in its own process, which is ours, and these are pickled by name. So registering them once
is enough: they read the moment that is set here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

from millrace.core.clock import SystemClock, utc
from millrace.core.errors import InvalidState

_turn = threading.RLock()
_moments: list[datetime] = []


@contextmanager
def moment(now: datetime) -> Iterator[None]:
    """Let the functions below mean `now`. Other threads wait for their turn.

    Raises:
        InvalidState: this thread has set a moment already.
    """
    with _turn:
        if _moments:
            raise InvalidState(
                "feature code at one time was started inside feature code at another", hint="run them in turn"
            )
        _moments.append(utc(now))
        try:
            yield
        finally:
            _moments.clear()


def current_timestamp() -> datetime:
    """The moment, aware; the machine's time where none is set."""
    return _moments[0] if _moments else SystemClock().now()


def localtimestamp() -> datetime:
    """The moment in UTC without a zone."""
    return current_timestamp().astimezone(UTC).replace(tzinfo=None)


def current_date() -> date:
    """The moment's day in UTC."""
    return current_timestamp().date()


FUNCTIONS = (
    ("current_date", current_date, "date"),
    ("curdate", current_date, "date"),
    ("current_timestamp", current_timestamp, "timestamp"),
    ("now", current_timestamp, "timestamp"),
    ("localtimestamp", localtimestamp, "timestamp_ntz"),
)
