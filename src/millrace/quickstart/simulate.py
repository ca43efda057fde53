"""The shop's days, one after the other, all customers at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import gamma

import numpy as np
import pyarrow as pa

from millrace.core.clock import epoch_us
from millrace.quickstart.behaviour import CATEGORIES, REGIONS, Behaviour
from millrace.quickstart.shop import Shop, ShopPlan

_DAY = timedelta(days=1)
_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_OPENS_H, _OPEN_H = 7, 15
_SATURDAY = 5
_TRAITS = 1_000_000  # a random stream beside those of the days
_REGION_SHARES = (0.3, 0.2, 0.25, 0.25)
_NARROW_SHARE = 0.35
_NARROW_LOYALTY = 0.7
_LEAST_CENTS = 50
_MONEY = pa.decimal128(18, 2)
_INSTANT = pa.timestamp("us", "UTC")

_SALES = pa.schema(
    [
        pa.field("transaction_id", pa.int64(), nullable=False),
        pa.field("customer_id", pa.int64(), nullable=False),
        pa.field("transaction_date", _INSTANT, nullable=False),
        pa.field("amount", _MONEY, nullable=False),
        pa.field("product_category", pa.string(), nullable=False),
    ]
)
_PEOPLE = pa.schema(
    [
        pa.field("customer_id", pa.int64(), nullable=False),
        pa.field("signup_date", _INSTANT, nullable=False),
        pa.field("region", pa.string(), nullable=False),
    ]
)


def open_shop(plan: ShopPlan | None = None) -> Shop:
    """Simulate a shop; about half a second for the default plan."""
    simulation = _Simulation(plan or ShopPlan())
    for number in range(simulation.plan.days):
        simulation.live(number)
    return simulation.shop()


@dataclass(frozen=True, slots=True)
class _Traits:
    """What a customer comes with: arrays over all customers, by sign-up. `pace` and `basket` are standard normal scores."""

    arrived: np.ndarray  # by day: how many customers have signed up by its end
    signup_day: np.ndarray
    signup_us: np.ndarray
    region: np.ndarray
    favourite: np.ndarray
    narrow: np.ndarray
    pace: np.ndarray
    basket: np.ndarray

    @classmethod
    def draw(cls, plan: ShopPlan) -> _Traits:
        draw = np.random.default_rng((plan.seed, _TRAITS))
        signups = draw.poisson(plan.signups_per_day, plan.days)
        day = np.repeat(np.arange(plan.days), signups)
        count = len(day)
        return cls(
            arrived=np.cumsum(signups),
            signup_day=day,
            signup_us=np.sort(day * _DAY_US + _time_of_day(draw, count)),
            region=draw.choice(len(REGIONS), count, p=_REGION_SHARES),
            favourite=draw.choice(len(CATEGORIES), count, p=plan.behaviour.popularity),
            narrow=draw.random(count) < _NARROW_SHARE,
            pace=draw.standard_normal(count),
            basket=draw.standard_normal(count),
        )


class _Simulation:
    """Who loses interest, who leaves, who buys what. Days count from the burn-in's first."""

    def __init__(self, plan: ShopPlan) -> None:
        self.plan, self._traits = plan, _Traits.draw(plan)
        self._there = np.empty(0, dtype=np.int64)
        self._leaving = np.zeros(len(self._traits.pace), dtype=bool)
        self._gone_day = np.full(len(self._traits.pace), -1, dtype=np.int64)
        self._last_bought = self._traits.signup_day.copy()
        self._sales: list[tuple[np.ndarray, ...]] = []

    def live(self, number: int) -> None:
        """Simulate one day. Who signs up today can buy from tomorrow on; who leaves today may have bought today."""
        draw = np.random.default_rng((self.plan.seed, number))
        day = self.plan.first_day + number * _DAY
        rules = self.plan.rules(day)
        chance = draw.random((3, len(self._there)))
        self._lose_interest(number, rules, chance[0])
        buyers = self._there[chance[1] < self._buying(number, rules, weekend=day.weekday() >= _SATURDAY)]
        if number >= self.plan.burn_in_days:
            self._sales.append(self._purchases(number, rules, buyers, draw))
        self._last_bought[buyers] = number
        self._say_goodbye(number, rules, chance[2])

    def shop(self) -> Shop:
        """What happened, as tables."""
        kept = (self._gone_day < 0) | (self._gone_day >= self.plan.burn_in_days)
        ids = np.cumsum(kept)  # from 1, in order of sign-up
        who, when, cents, category = (np.concatenate(part) for part in zip(*self._sales, strict=True))
        origin = epoch_us(self.plan.first_day)
        sales = [
            pa.array(np.arange(1, len(who) + 1)),
            pa.array(ids[who]),
            pa.array(when + origin).cast(_INSTANT),
            _money(cents),
            pa.array(np.asarray(CATEGORIES, dtype=object)[category]),
        ]
        people = [
            pa.array(ids[kept]),
            pa.array(self._traits.signup_us[kept] + origin).cast(_INSTANT),
            pa.array(np.asarray(REGIONS, dtype=object)[self._traits.region[kept]]),
        ]
        days = self._gone_day[kept]
        gone = pa.array((days + 1) * _DAY_US + origin, mask=days < 0).cast(_INSTANT)
        return Shop(self.plan, pa.table(sales, _SALES), pa.table(people, _PEOPLE), gone)

    def _lose_interest(self, number: int, rules: Behaviour, chance: np.ndarray) -> None:
        traits, there = self._traits, self._there
        by_region = np.array([rules.region_risk[name] for name in REGIONS])
        risk = rules.losing_interest_per_day * by_region[traits.region[there]]
        risk *= np.where(traits.narrow[there], rules.narrow_risk, 1.0)
        risk *= np.where(number - traits.signup_day[there] < rules.new_days, rules.new_risk, 1.0)
        self._leaving[there[chance < risk]] = True

    def _buying(self, number: int, rules: Behaviour, *, weekend: bool) -> np.ndarray:
        """The chance of each to buy today: a Weibull hazard with shape k and the customer's own mean gap m.

        Scale s = m / gamma(1 + 1/k), hazard k/s (passed/s)^(k-1) per day; over a day the chance is 1 - exp(-hazard).
        """
        traits, there, k = self._traits, self._there, rules.regularity
        pace = np.where(self._leaving[there], rules.farewell_pace, 1.0) * (rules.weekend if weekend else 1.0)
        mean = rules.days_between * np.exp(rules.days_between_spread * traits.pace[there]) / pace
        scale = mean / gamma(1 + 1 / k)
        passed = (number - self._last_bought[there]) / scale
        return np.asarray(1 - np.exp(-k / scale * passed ** (k - 1)))

    def _purchases(
        self, number: int, rules: Behaviour, buyers: np.ndarray, draw: np.random.Generator
    ) -> tuple[np.ndarray, ...]:
        """Who, when (microseconds since the first day), cents, category; by time."""
        traits, count = self._traits, len(buyers)
        leaving = self._leaving[buyers]
        score = rules.basket_spread * traits.basket[buyers] + rules.amount_spread * draw.standard_normal(count)
        amount = rules.basket * np.exp(score) * np.where(leaving, rules.farewell_basket, 1.0)
        narrow = np.where(traits.narrow[buyers] | leaving, _NARROW_LOYALTY, 0.0)
        loyal = draw.random(count) < rules.favourite_share + (1 - rules.favourite_share) * narrow
        other = draw.choice(len(CATEGORIES), count, p=rules.popularity)
        when = number * _DAY_US + _time_of_day(draw, count)
        cents = np.maximum(np.rint(amount * 100), _LEAST_CENTS).astype(np.int64)
        category = np.where(loyal, traits.favourite[buyers], other)
        order = np.lexsort((buyers, when))
        return buyers[order], when[order], cents[order], category[order]

    def _say_goodbye(self, number: int, rules: Behaviour, chance: np.ndarray) -> None:
        gone = self._leaving[self._there] & (chance < 1 / rules.farewell_days)
        self._gone_day[self._there[gone]] = number
        before = self._traits.arrived[number - 1] if number else 0
        self._there = np.concatenate([self._there[~gone], np.arange(before, self._traits.arrived[number])])


def _time_of_day(draw: np.random.Generator, count: int) -> np.ndarray:
    """Microseconds since midnight: busiest in the afternoon."""
    return np.asarray(((_OPENS_H + _OPEN_H * draw.beta(3, 2, count)) * _HOUR_US).astype(np.int64))


def _money(cents: np.ndarray) -> pa.Array:
    # A decimal128 is a 128-bit integer of cents: the low word, and a high word that is 0 for what is not negative.
    words = np.zeros((len(cents), 2), dtype="<i8")
    words[:, 0] = cents
    return pa.Array.from_buffers(_MONEY, len(cents), [None, pa.py_buffer(words)])
