"""Ids of requests: random per process, counted within it, in the form of a UUID."""

from __future__ import annotations

import itertools
import uuid


class RequestIds:
    """Makes ids that no other process makes: 74 random bits, then a count. Making one costs less than asking for randomness."""

    def __init__(self) -> None:
        self._prefix = str(uuid.uuid4())[:24]
        self._count = itertools.count(1)

    def next(self) -> str:
        """Another id."""
        return f"{self._prefix}{next(self._count):012x}"
