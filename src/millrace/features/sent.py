"""Values as a request sends them: Python's own, or what JSON has in their place. Nothing else is converted.

Each reader raises TypeError for a value of another type and ValueError (or decimal's InvalidOperation) for a text that says none.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from millrace.core.clock import utc

_LONGEST_DECIMAL = 152  # decimal256 has 76 digits, before the point or after it


def read_text(value: object) -> str:
    """A text."""
    if isinstance(value, str):
        return value
    raise TypeError


def read_boolean(value: object) -> bool:
    """A truth value."""
    if isinstance(value, bool):
        return value
    raise TypeError


def read_date(value: object) -> date:
    """A day, or its text as 2025-03-01."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    return date.fromisoformat(read_text(value))


def read_time(value: object) -> datetime:
    """A time in UTC, or its text as 2025-03-01T06:00:00Z; without a zone it is UTC."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(read_text(value))
    return moment if moment.tzinfo is UTC else utc(moment)


def read_decimal(value: object) -> Decimal:
    """A decimal, a whole number, or digits in a text; a float's digits are not those that somebody wrote.

    Raises:
        ValueError: a text beyond what any column holds: "1e999999999" is short, and a gigabyte when it is written out.
    """
    if isinstance(value, Decimal):
        return value
    if type(value) is int:
        return Decimal(value)
    number = Decimal(read_text(value))
    if number.is_finite() and abs(number.adjusted()) > _LONGEST_DECIMAL:
        raise ValueError
    return number
