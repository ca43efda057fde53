"""How the shop's customers behave, as numbers, and how that changes on a known day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

CATEGORIES = ("groceries", "household", "clothing", "electronics", "toys", "garden", "books", "sports")
REGIONS = ("north", "east", "south", "west")


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Rules that hold for all customers on a day. A customer's own traits stretch them.

    Attributes:
        days_between: median over customers of the mean days between two purchases.
        days_between_spread: sd of its logarithm over customers.
        regularity: shape k of the Weibull gaps between purchases: 1 is pure chance, higher is more regular.
        basket: median amount of a purchase.
        basket_spread: sd of its logarithm over customers.
        amount_spread: sd of its logarithm between the purchases of one customer.
        favourite_share: how often a purchase is of the customer's favourite category.
        popularity: how the other purchases spread over `CATEGORIES`; sums to 1.
        weekend: factor on the chance of a purchase on Saturday and Sunday.
        losing_interest_per_day: chance that a customer begins to leave.
        region_risk: factor on that chance by region.
        new_risk, new_days: factor on that chance for customers who signed up less than so many days ago.
        narrow_risk: factor on that chance for customers who buy little outside their favourite category.
        farewell_days: mean days from beginning to leave until gone; shorter is more abrupt.
        farewell_pace: factor on the pace of purchases meanwhile.
        farewell_basket: factor on the amounts meanwhile.
    """

    days_between: float = 10.0
    days_between_spread: float = 0.55
    regularity: float = 1.1
    basket: float = 38.0
    basket_spread: float = 0.45
    amount_spread: float = 0.5
    favourite_share: float = 0.45
    popularity: tuple[float, ...] = (0.26, 0.18, 0.16, 0.10, 0.08, 0.07, 0.09, 0.06)
    weekend: float = 1.2
    losing_interest_per_day: float = 1 / 190
    region_risk: Mapping[str, float] = field(
        default_factory=lambda: {"north": 0.7, "east": 0.9, "south": 1.1, "west": 1.6}
    )
    new_risk: float = 1.8
    new_days: int = 60
    narrow_risk: float = 1.6
    farewell_days: float = 30.0
    farewell_pace: float = 0.35
    farewell_basket: float = 0.75


# Free delivery for large orders: people come a third as often, at steadier intervals, buy three times as much at once, and of
# more kinds. A competitor opens in the north. Who leaves now leaves without a long farewell. So three weeks of silence, after
# which every second customer used to be lost, mean less; six weeks mean more; and who bought last week may be gone all the same.
STOCKING_UP = replace(
    Behaviour(),
    days_between=28.0,
    days_between_spread=0.2,
    regularity=4.5,
    basket=115.0,
    favourite_share=0.2,
    popularity=(0.12, 0.22, 0.10, 0.22, 0.10, 0.10, 0.06, 0.08),
    region_risk={"north": 1.8, "east": 0.9, "south": 0.8, "west": 0.6},
    farewell_days=4.0,
    farewell_pace=1.0,
    farewell_basket=1.0,
)


@dataclass(frozen=True, slots=True)
class ChangeOfBehaviour:
    """From midnight UTC of `start` on, customers follow other rules."""

    start: datetime = datetime(2025, 2, 17, tzinfo=UTC)
    then: Behaviour = field(default_factory=lambda: STOCKING_UP)
