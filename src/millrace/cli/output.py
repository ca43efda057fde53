"""Printing: text for people, or one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from millrace.core.clock import iso, utc

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 220  # into a file or a pipe nothing is folded
_WHOLE = 10**15  # beyond it a float is no longer a count

_UNITS = (
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
    (timedelta(seconds=1), "s"),
)


def print_json(data: object) -> None:
    """One line of JSON on standard output. Times are ISO, decimals are text, so that nothing is rounded."""
    sys.stdout.write(json.dumps(data, default=_plain) + "\n")
    sys.stdout.flush()


def console() -> Console:
    """Where text for people goes."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table with one line per row."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    console().print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values, a line each."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        console().print(f"{name:<{width}}  {shown(value)}", markup=False, soft_wrap=True)


def say(text: str) -> None:
    """One line for people."""
    console().print(text, markup=False, soft_wrap=True)


def shown(value: object) -> str:
    """A value as a person reads it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{utc(value):%Y-%m-%d %H:%M:%S}"
        case float():
            return f"{value:,.0f}" if value.is_integer() and abs(value) < _WHOLE else f"{value:.4g}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def duration(span: timedelta) -> str:
    """A span in its two largest units, as in `1 d 12 h`."""
    parts, left = [], abs(span)
    for unit, name in _UNITS:
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count} {name}")
    return ("-" if span < timedelta(0) else "") + (" ".join(parts[:2]) or "0 s")


def size(count: int) -> str:
    """Bytes as a person reads them."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:  # noqa: PLR2004 - decimal units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _plain(value: object) -> object:
    match value:
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
        case Decimal():
            return str(value)
        case bytes():
            return value.hex()
        case _:
            return str(value)
