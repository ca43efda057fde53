"""A shop's raw data, made by a seeded simulation day by day; `docs/shop.md` explains it.

The same seed and days give the same rows. Each day draws from its own random stream, so that everything before a change of
behaviour is the same with and without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from millrace.core.clock import epoch_us, utc
from millrace.core.errors import InvalidInput
from millrace.quickstart.behaviour import Behaviour, ChangeOfBehaviour

_DAY = timedelta(days=1)
_TRAFFIC = 2_000_000  # a random stream beside those of the days


@dataclass(frozen=True, slots=True)
class ShopPlan:
    """What is simulated.

    Attributes:
        seed: of every random draw, 0 or more.
        start: the first day whose transactions are kept, midnight UTC.
        end: the first day that is not simulated any more.
        signups_per_day: mean number of new customers.
        burn_in_days: days simulated before `start`, so that old and new customers are in balance from the beginning.
        behaviour: the rules until the change.
        change: the rules from a day on; None: nothing ever changes.
    """

    seed: int = 7
    start: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    end: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    signups_per_day: float = 5.6
    burn_in_days: int = 1100
    behaviour: Behaviour = field(default_factory=Behaviour)
    change: ChangeOfBehaviour | None = field(default_factory=ChangeOfBehaviour)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InvalidInput(f"seed {self.seed} is negative", hint="give 0 or more")
        if self.end <= self.start:
            raise InvalidInput("the shop closes before it opens", hint="give an end after the start")

    @property
    def days(self) -> int:
        """Days that are simulated, burn-in included."""
        return self.burn_in_days + (self.end - self.start) // _DAY

    @property
    def first_day(self) -> datetime:
        """The burn-in's first day; days are counted from it."""
        return self.start - self.burn_in_days * _DAY

    def rules(self, day: datetime) -> Behaviour:
        """What holds on a day."""
        return self.change.then if self.change is not None and day >= self.change.start else self.behaviour


@dataclass(frozen=True, slots=True)
class Shop:
    """Two tables in order of arrival, to be taken as far as the time has come.

    Attributes:
        plan: what was simulated.
        sales: all transactions by time: transaction_id and customer_id (int64), transaction_date (timestamp, UTC), amount
            (decimal(18,2)), product_category (text); no nulls.
        people: all customers who were not gone when the kept time began, by sign-up: customer_id (int64), signup_date
            (timestamp, UTC), region (text); no nulls.
        gone: when each of `people` left for good, null for who is still there: the truth, which the shop itself never sees.
    """

    plan: ShopPlan
    sales: pa.Table
    people: pa.Table
    gone: pa.Array

    def transactions(self, until: datetime, after: datetime | None = None) -> pa.Table:
        """Sales with `after < transaction_date <= until`."""
        return _arrived(self.sales, "transaction_date", after, until)

    def customers(self, until: datetime, after: datetime | None = None) -> pa.Table:
        """People with `after < signup_date <= until`."""
        return _arrived(self.people, "signup_date", after, until)

    def active(self, at: datetime, window: timedelta = timedelta(days=90)) -> np.ndarray:
        """Ids of the customers who bought in `(at - window, at]`, ascending, int64."""
        return np.unique(self.transactions(at, at - window).column("customer_id").to_numpy())

    def requests(self, day: datetime, known: np.ndarray, mean: float = 110.0) -> np.ndarray:
        """Whom the shop asks the model about on a day.

        Args:
            day: any time of the day.
            known: ids that may be asked about, n int64; those in the newest snapshot.
            mean: how many questions a day has on average.

        Returns:
            Different ids in random order; the same for the same seed, day and known ids.
        """
        number = (utc(day) - self.plan.first_day) // _DAY
        draw = np.random.default_rng((self.plan.seed, _TRAFFIC, number))
        count = min(int(draw.poisson(mean)), len(known))
        return draw.permutation(np.sort(known))[:count]


def _arrived(table: pa.Table, column: str, after: datetime | None, until: datetime) -> pa.Table:
    times = table.column(column).cast(pa.int64()).to_numpy()
    start = 0 if after is None else int(np.searchsorted(times, epoch_us(after), side="right"))
    stop = int(np.searchsorted(times, epoch_us(until), side="right"))
    return table.slice(start, max(stop - start, 0))
