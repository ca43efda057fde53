"""One field of an expression: lists, ranges, steps and names, as the set of its values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

FIRST_YEAR, LAST_YEAR = 1970, 2099
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may hold. Ranges that end before they begin go round, but not in years."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)
    goes_round: bool = True


SECONDS = Field("seconds", 0, 59)
MINUTES = Field("minutes", 0, 59)
HOURS = Field("hours", 0, 23)
DAYS = Field("day of the month", 1, 31)
MONTH = Field("month", 1, 12, {name: at for at, name in enumerate(MONTHS, 1)})
WEEKDAY = Field("day of the week", 1, 7, {name: at for at, name in enumerate(WEEKDAYS, 1)})
YEARS = Field("year", FIRST_YEAR, LAST_YEAR, goes_round=False)

_ITEM = re.compile(r"(?:(?P<all>\*?)|(?P<first>\d{1,4}|[A-Z]+)(?:-(?P<last>\d{1,4}|[A-Z]+))?)(?:/(?P<step>\d{1,3}))?")


def values(kind: Field, text: str) -> tuple[int, ...]:
    """The values of a field, ascending.

    Raises:
        InvalidInput: a part is not a value, a range or a step of this field.
    """
    return tuple(sorted({value for item in text.split(",") for value in _item(kind, item)}))


def number(kind: Field, text: str) -> int:
    """One value: a number, or a name of the field.

    Raises:
        InvalidInput: it is neither, or out of range.
    """
    if text in kind.names:
        return kind.names[text]
    if not text.isdecimal():
        hint = did_you_mean(text[:3], kind.names) if kind.names else f"write {kind.low} to {kind.high}"
        raise InvalidInput(f"'{text}' is not a value of the field for the {kind.name}", hint=hint)
    value = int(text)
    if not kind.low <= value <= kind.high:
        raise InvalidInput(
            f"{value} is out of range for the {kind.name}", hint=f"write {_range(kind)}", field=kind.name
        )
    return value


def _item(kind: Field, item: str) -> range | list[int]:
    found = _ITEM.fullmatch(item)
    if found is None or not item:
        raise InvalidInput(f"'{item}' can't be read as {kind.name}", hint=f"write {_range(kind)}; as {_example(kind)}")
    step = _step(kind, item, found["step"])
    if found["first"] is None:
        return range(kind.low, kind.high + 1, step)
    first = number(kind, found["first"])
    if found["last"] is None:
        return range(first, kind.high + 1, step) if found["step"] else [first]
    last = number(kind, found["last"])
    if found["first"].isdecimal() != found["last"].isdecimal():
        raise InvalidInput(f"'{item}' mixes a name and a number", hint=f"write {first}-{last}")
    return _span(kind, item, first, last, step)


def _span(kind: Field, item: str, first: int, last: int, step: int) -> range | list[int]:
    if first <= last:
        return range(first, last + 1, step)
    if not kind.goes_round:
        raise InvalidInput(f"'{item}' ends before it begins", hint=f"write {last}-{first}")
    size = kind.high - kind.low + 1
    return [(value - kind.low) % size + kind.low for value in range(first, last + size + 1, step)]


def _step(kind: Field, item: str, text: str | None) -> int:
    if text is None:
        return 1
    # Quartz reads a name and drops the step behind it.
    if any(letter.isalpha() for letter in item):
        hint = re.sub(r"[A-Z]+", lambda name: str(kind.names.get(name[0], name[0])), item)
        raise InvalidInput(f"'{item}' has a step behind a name", hint=f"write {hint}")
    step, largest = int(text), kind.high if kind.goes_round else kind.high - kind.low
    if not 1 <= step <= largest:
        raise InvalidInput(f"{step} is no step for the {kind.name}", hint=f"write a step from 1 to {largest}")
    return step


def _range(kind: Field) -> str:
    if not kind.names:
        return f"{kind.low} to {kind.high}"
    names = list(kind.names)
    return f"{kind.low} to {kind.high}, or {names[0]} to {names[-1]}"


def _example(kind: Field) -> str:
    low = kind.low + 1
    return f"{low}, {low},{low + 2}, {low}-{low + 3} or {low}/2"
