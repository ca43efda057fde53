"""What a worker counts of its requests, for metrics: plain numbers, well under a microsecond a request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

BOUNDS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0),
)
"""Upper bounds of the latency buckets, inclusive; one more bucket takes what is above."""


class Latencies:
    """How often something took how long."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.buckets[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds

    def read(self) -> dict[str, object]:
        """As JSON: how many per bucket, each for itself, and the sum of all seconds."""
        return {"buckets": list(self.buckets), "sum_s": self.sum_s}


class EntityCounts:
    """The requests that a served entity answered."""

    __slots__ = ("predict", "rows", "statuses", "whole")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.whole, self.predict = Latencies(), Latencies()
        self.rows = 0

    def read(self) -> dict[str, object]:
        """As JSON."""
        statuses = {str(status): count for status, count in self.statuses.items()}
        return {"statuses": statuses, "rows": self.rows, "whole": self.whole.read(), "predict": self.predict.read()}


class RequestCounts:
    """The requests of one worker since it started. Used by one event loop.

    What reached no served entity is counted under the empty name, and what names no endpoint that is served here under
    an endpoint of that name: callers can't make up names that are then kept.
    """

    def __init__(self) -> None:
        self._entities: dict[tuple[str, str], EntityCounts] = {}
        self._in_flight: dict[str, int] = {}

    def begin(self, endpoint: str) -> None:
        """A request is being answered."""
        self._in_flight[endpoint] = self._in_flight.get(endpoint, 0) + 1

    def end(self, endpoint: str) -> None:
        """It is not any more."""
        self._in_flight[endpoint] -= 1

    @property
    def answering(self) -> int:
        """How many requests are being answered, to all endpoints."""
        return sum(self._in_flight.values())

    def refused(self, endpoint: str, status: int) -> None:
        """A request was refused before its body was read."""
        statuses = self._of(endpoint, "").statuses
        statuses[status] = statuses.get(status, 0) + 1

    def answered(
        self, endpoint: str, entity: str, status: int, duration_s: float, *, rows: int, predict_s: float | None
    ) -> None:
        """A request was answered; `predict_s` is the model's part of it, None where no model was asked."""
        counts = self._entities.get((endpoint, entity)) or self._of(endpoint, entity)
        counts.statuses[status] = counts.statuses.get(status, 0) + 1
        counts.whole.add(duration_s)
        counts.rows += rows
        if predict_s is not None:
            counts.predict.add(predict_s)

    def read(self) -> Mapping[str, object]:
        """Everything, as JSON."""
        return {
            "entities": [
                {"endpoint": endpoint, "entity": entity, **counts.read()}
                for (endpoint, entity), counts in self._entities.items()
            ],
            "in_flight": dict(self._in_flight),
        }

    def _of(self, endpoint: str, entity: str) -> EntityCounts:
        return self._entities.setdefault((endpoint, entity), EntityCounts())
