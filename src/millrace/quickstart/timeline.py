"""When what happens: the quickstart's two years."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Timeline:
    """All times are Mondays, midnight UTC, in virtual time.

    Attributes:
        live: the day of the first training, from which on the endpoint is asked every day.
        calm_until: how long to wait for drift; without a change of behaviour the story ends here.
        end: the last day of the shop's records that the story may use.
        after: how long it goes on after a retraining.
        requests_per_day: mean number of questions a day.
    """

    live: datetime = datetime(2025, 1, 13, tzinfo=UTC)
    calm_until: datetime = datetime(2025, 5, 5, tzinfo=UTC)
    end: datetime = datetime(2025, 12, 22, tzinfo=UTC)
    after: timedelta = timedelta(days=14)
    requests_per_day: float = 30.0
