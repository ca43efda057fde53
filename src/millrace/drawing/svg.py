"""Just enough SVG for plots: shapes as text, scales, axes of time and numbers. Colours are CSS classes, so that a page can be dark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from math import ceil, floor, log10

_MOST_MONTHS = 14
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Box:
    """A plot's inner rectangle, in pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Times:
    """From times to pixels across a box."""

    box: Box
    start: datetime
    end: datetime

    def __call__(self, at: datetime) -> float:
        """The x of a time, kept inside."""
        share = (at - self.start) / max(self.end - self.start, timedelta(seconds=1))
        return round(self.box.left + min(max(share, 0.0), 1.0) * self.box.width, 1)

    def months(self) -> Sequence[datetime]:
        """First days of months in it, thinned where there are many."""
        found, at = [], datetime(self.start.year, self.start.month, 1, tzinfo=UTC)
        while at <= self.end:
            if at >= self.start:
                found.append(at)
            at = (at + timedelta(days=32)).replace(day=1)
        return found[:: ceil(len(found) / _MOST_MONTHS) or 1]


@dataclass(frozen=True, slots=True)
class Numbers:
    """From numbers to pixels up a box (or across it, where `across`)."""

    box: Box
    low: float
    high: float
    across: bool = False

    @classmethod
    def around(cls, box: Box, values: Sequence[float], *, across: bool = False, zero: bool = False) -> Numbers:
        """A scale that all values fit in, with room at the ends."""
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        room = (high - low or abs(high) or 1.0) * 0.06
        return cls(box, low - (0 if zero and low == 0 else room), high + room, across)

    def __call__(self, value: float) -> float:
        """The pixel of a number, kept inside."""
        share = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        place = self.box.left + share * self.box.width if self.across else self.box.bottom - share * self.box.height
        return round(place, 1)

    def ticks(self, count: int = 5) -> Sequence[float]:
        """Round numbers in it."""
        raw = (self.high - self.low) / count
        unit = 10.0 ** floor(log10(raw))
        step = next(unit * each for each in _STEPS if unit * each >= raw)
        first = ceil(self.low / step)
        return [round(number * step, 10) for number in range(first, floor(self.high / step) + 1)]


def line(points: Sequence[tuple[float, float]], css: str) -> str:
    """A line through points."""
    return f'<polyline class="{css}" points="{" ".join(f"{x:g},{y:g}" for x, y in points)}"/>' if points else ""


def band(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], css: str) -> str:
    """What lies between two lines."""
    corners = [*upper, *reversed(lower)]
    return f'<polygon class="{css}" points="{" ".join(f"{x:g},{y:g}" for x, y in corners)}"/>' if corners else ""


def rect(x: float, y: float, width: float, height: float, css: str, *, title: str = "") -> str:
    """A rectangle, with a title that shows where the pointer rests."""
    shape = f'<rect class="{css}" x="{x:g}" y="{y:g}" width="{max(width, 0):g}" height="{height:g}" rx="2"'
    return f"{shape}><title>{escape(title)}</title></rect>" if title else f"{shape}/>"


def dot(x: float, y: float, radius: float, css: str, title: str = "") -> str:
    """A circle."""
    shape = f'<circle class="{css}" cx="{x:g}" cy="{y:g}" r="{radius:g}"'
    return f"{shape}><title>{escape(title)}</title></circle>" if title else f"{shape}/>"


def triangle(x: float, y: float, size: float, css: str, title: str = "") -> str:
    """A triangle that points up, its middle at (x, y)."""
    points = f"{x - size:g},{y + size:g} {x + size:g},{y + size:g} {x:g},{y - size:g}"
    return f'<polygon class="{css}" points="{points}"><title>{escape(title)}</title></polygon>'


def text(x: float, y: float, words: str, css: str = "t", anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text class="{css}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return f'<line class="{css}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def time_axis(times: Times) -> Iterator[str]:
    """Months below a box."""
    box = times.box
    for number, month in enumerate(times.months()):
        x = times(month)
        yield rule(x, box.top, x, box.bottom, "g")
        label = f"{month:%b %Y}" if number == 0 or month.month == 1 else f"{month:%b}"
        yield text(x, box.bottom + 16, label, "a", "middle")


def number_axis(numbers: Numbers, form: str = "{:g}") -> Iterator[str]:
    """Numbers left of a box, or below one."""
    box = numbers.box
    for value in numbers.ticks():
        place = numbers(value)
        if numbers.across:
            yield rule(place, box.top, place, box.bottom, "g")
            yield text(place, box.bottom + 16, form.format(value), "a", "middle")
        else:
            yield rule(box.left, place, box.right, place, "g")
            yield text(box.left - 8, place + 4, form.format(value), "a", "end")


def picture(width: float, height: float, parts: Sequence[str], label: str) -> str:
    """A whole plot; `label` is what it shows, for those who can't see it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" xmlns="http://www.w3.org/2000/svg">'
        + "".join(parts)
        + "</svg>"
    )
