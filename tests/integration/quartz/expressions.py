"""Random Quartz expressions: every form that there is, valid as far as the grammar goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class Expressions:
    """A stream of expressions from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def next(self) -> str:
        """Six or seven fields."""
        time = [self._field(0, 59, 59), self._field(0, 59, 59), self._field(0, 23, 23)]
        month = self._one_of([lambda: "*", lambda: self._field(1, 12, 12), lambda: self._names(_MONTHS)])
        if self._chance(0.5):
            day, weekday = self._day(), "?"
        else:
            day, weekday = "?", self._weekday()
        years = [self._years()] if self._chance(0.2) else []
        text = " ".join([*time, day, month, weekday, *years])
        return text.lower() if self._chance(0.1) else text

    def _day(self) -> str:
        return self._one_of(
            [
                lambda: "*",
                lambda: self._field(1, 31, 31),
                lambda: self._field(1, 31, 31),
                lambda: "L",
                lambda: "LW",
                lambda: f"L-{self._number(1, 30)}",
                lambda: f"L-{self._number(1, 27)}W",
                lambda: f"{self._number(1, 31)}W",
            ]
        )

    def _weekday(self) -> str:
        return self._one_of(
            [
                lambda: "*",
                lambda: self._field(1, 7, 7),
                lambda: self._names(_DAYS),
                lambda: "L",
                lambda: f"{self._number(1, 7)}L",
                lambda: f"{self._name(_DAYS)}L",
                lambda: f"{self._number(1, 7)}#{self._number(1, 5)}",
                lambda: f"{self._name(_DAYS)}#{self._number(1, 5)}",
            ]
        )

    def _years(self) -> str:
        first, more = self._number(1970, 2090), self._number(0, 9)
        return self._one_of(
            [
                lambda: "*",
                lambda: str(first),
                lambda: f"{first}-{first + more}",
                lambda: f"{first},{first + more}",
                lambda: f"{first}-{first + more}/2",
                lambda: f"*/{more + 1}",
            ]
        )

    def _field(self, low: int, high: int, most: int) -> str:
        return ",".join(self._item(low, high, most) for _ in range(1 if self._chance(0.7) else self._number(2, 4)))

    def _item(self, low: int, high: int, most: int) -> str:
        first, last, step = self._number(low, high), self._number(low, high), self._number(1, most)
        return self._one_of(
            [
                lambda: "*",
                lambda: f"*/{step}",
                lambda: f"/{step}",
                lambda: str(first),
                lambda: str(first),
                lambda: f"{first:02}",
                lambda: f"{first}-{last}",
                lambda: f"{first}/{step}",
                lambda: f"{first}-{last}/{step}",
            ]
        )

    def _names(self, names: Sequence[str]) -> str:
        return ",".join(
            self._name(names) + (f"-{self._name(names)}" if self._chance(0.4) else "")
            for _ in range(self._number(1, 3))
        )

    def _name(self, names: Sequence[str]) -> str:
        return names[self._number(0, len(names) - 1)]

    def _one_of(self, ways: Sequence[Callable[[], str]]) -> str:
        return ways[self._number(0, len(ways) - 1)]()

    def _number(self, low: int, high: int) -> int:
        return int(self._random.integers(low, high + 1))

    def _chance(self, of: float) -> bool:
        return bool(self._random.random() < of)
