"""Which row of a table answers each request: the newest of its key that could be seen at its time.

The requests are sorted once, by key and time. A stored row can answer the first request of its key that is not before
it, and those after that one until a newer row comes. So the table is read once, in any order, and for each request only
the newest row is kept of those that lie between it and the request before. What is still empty then is filled from
the request before, within the key. Memory goes with the requests, not with the table.
"""

from __future__ import annotations

import threading
from datetime import timedelta

import numpy as np

from millrace.features.identity import MICROSECOND

_NEVER = np.iinfo(np.int64).min
_BITS = 63


class Questions:
    """Requests that can have an answer, sorted by key and time. Several tables can be searched for the same ones.

    Args:
        codes: int32 per request, the key's number, -1 for one that matches nothing.
        asked_us: int64 per request, microseconds.
        known: per request, whether it has a time.
        keys: how many different keys there are.

    Attributes:
        total: how many requests, with those that can't have an answer.
        rows: their numbers in the request, sorted.
        codes: their keys' numbers.
        asked_us: their times.
        starts: for each key the place of its first one, and where the last key ends.
        sortable: key and time as one number, ascending.
        first_us: the earliest time.
        last_us: the latest.
    """

    def __init__(self, codes: np.ndarray, asked_us: np.ndarray, known: np.ndarray, keys: int) -> None:
        self.total = len(codes)
        rows = np.flatnonzero(known & (codes >= 0))
        codes, asked_us = codes[rows], asked_us[rows]
        self.first_us, self.last_us = (int(asked_us.min()), int(asked_us.max())) if len(codes) else (0, -1)
        self._instants = _instants(asked_us, keys, self.first_us, self.last_us)
        self._span = self.last_us - self.first_us + 1 if self._instants is None else len(self._instants)
        sortable = self.place(codes, asked_us)
        order = np.argsort(sortable)
        self.sortable, self.rows = sortable[order], rows[order]
        self.codes, self.asked_us = codes[order], asked_us[order]
        self.starts = np.searchsorted(self.codes, np.arange(keys + 1))

    def __len__(self) -> int:
        """How many requests can have an answer at all."""
        return len(self.rows)

    def place(self, codes: np.ndarray, us: np.ndarray) -> np.ndarray:
        """Key and time as one number, which is a request's own where they are equal. No time is outside of theirs."""
        times = us - self.first_us if self._instants is None else np.searchsorted(self._instants, us)
        numbers: np.ndarray = codes * np.int64(self._span)
        numbers += times
        return numbers


class Newest:
    """The answers from one table, as far as it was read. Thread-safe."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._seen_us = np.full(len(questions), _NEVER)
        self._row = np.full(len(questions), -1)
        self._twice = np.zeros(len(questions), np.bool_)
        self._lock = threading.Lock()

    def add(self, codes: np.ndarray, seen_us: np.ndarray, rows: np.ndarray) -> None:
        """Take stored rows into account: the keys' numbers (0 or more), when each can be seen, and the rows' own numbers."""
        asked = self._questions
        early = seen_us <= asked.last_us
        if not early.all():
            codes, seen_us, rows = codes[early], seen_us[early], rows[early]
        sortable = asked.place(codes, np.maximum(seen_us, asked.first_us))
        order = np.argsort(sortable)  # looking up in order is several times faster
        ordered = sortable[order]
        places = np.searchsorted(asked.sortable, ordered)
        latest = _latest(places, ordered)
        places, order = places[latest], order[latest]
        reached = places < asked.starts[codes[order] + 1]  # else all requests of this key are before it
        places, order = places[reached], order[reached]
        seen_us, rows = seen_us[order], rows[order]
        with self._lock:
            self._keep(places, seen_us, rows)

    def _keep(self, places: np.ndarray, seen_us: np.ndarray, rows: np.ndarray) -> None:
        before = self._seen_us[places]
        np.maximum.at(self._seen_us, places, seen_us)
        newest = seen_us == self._seen_us[places]
        places, rows = places[newest], rows[newest]
        # A row as new as one from an earlier part, or as another one of this part, is the same row twice.
        again = (seen_us[newest] == before[newest]) & (self._row[places] >= 0)
        self._twice[places] = again
        self._row[places] = rows
        self._twice[places[self._row[places] != rows]] = True

    def rows(self, lookback: timedelta | None) -> np.ndarray:
        """Per request the number of the row that answers it, int64; -1 for none."""
        asked = self._questions
        filled = np.maximum.accumulate(np.where(self._row >= 0, np.arange(len(asked)), -1))
        found = filled >= asked.starts[asked.codes]
        if lookback is not None:
            # All rows of a key older than the newest are older still: the window may be checked now.
            age = asked.asked_us.view(np.uint64) - self._seen_us[filled].view(np.uint64)
            found &= age <= np.uint64(min(lookback // MICROSECOND, np.iinfo(np.uint64).max))
        answers = np.full(asked.total, -1)
        answers[asked.rows[found]] = self._row[filled[found]]
        return answers

    @property
    def twice(self) -> int:
        """How many requests' newest row shares key and time with another one."""
        return int(self._twice.sum())


def _latest(places: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Where a row is the last of its place, or sorts as equal to it: the others of the place are older."""
    if not len(places):
        return np.zeros(0, np.int64)
    ends = np.flatnonzero(np.append(places[1:] != places[:-1], True))
    last = np.repeat(ordered[ends], np.diff(ends, prepend=-1))
    return np.flatnonzero(ordered == last)


def _instants(asked_us: np.ndarray, keys: int, first_us: int, last_us: int) -> np.ndarray | None:
    """The different times, where keys and microseconds together don't fit one number; their ranks always do."""
    return None if max(keys, 1) * (last_us - first_us + 1) < 1 << _BITS else np.unique(asked_us)
