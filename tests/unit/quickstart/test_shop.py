"""The shop's data: the same for the same seed, steady without a change, and nothing that could not be."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.quickstart.behaviour import CATEGORIES, REGIONS, ChangeOfBehaviour
from millrace.quickstart.shop import Shop, ShopPlan
from millrace.quickstart.simulate import open_shop

CHANGE = ChangeOfBehaviour()
WINDOW = timedelta(days=90)


@lru_cache(maxsize=4)
def shop_of(seed: int = 7, *, change: bool = True) -> Shop:
    return open_shop(ShopPlan(seed=seed) if change else ShopPlan(seed=seed, change=None))


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


def test_one_seed_is_one_shop_and_another_seed_another() -> None:
    again = open_shop(ShopPlan())
    assert again.sales.equals(shop_of().sales)
    assert again.people.equals(shop_of().people)
    assert again.gone.equals(shop_of().gone)
    assert not shop_of(8).sales.equals(shop_of().sales)


def test_tables_have_the_types_that_were_promised_and_no_nulls() -> None:
    instant = pa.timestamp("us", "UTC")
    assert {field.name: field.type for field in shop_of().sales.schema} == {
        "transaction_id": pa.int64(),
        "customer_id": pa.int64(),
        "transaction_date": instant,
        "amount": pa.decimal128(18, 2),
        "product_category": pa.string(),
    }
    assert {field.name: field.type for field in shop_of().people.schema} == {
        "customer_id": pa.int64(),
        "signup_date": instant,
        "region": pa.string(),
    }
    for table in (shop_of().sales, shop_of().people):
        table.validate(full=True)
        assert all(column.null_count == 0 for column in table.columns)


def test_about_five_thousand_customers_in_24_months_of_purchases() -> None:
    shop = shop_of()
    times = shop.sales.column("transaction_date").to_pylist()
    assert 4500 <= shop.people.num_rows <= 5500
    assert times[0] >= day(2024, 1, 1)
    assert day(2025, 12, 31) <= times[-1] < day(2026, 1, 1)
    assert set(shop.sales.column("product_category").to_pylist()) == set(CATEGORIES)
    assert set(shop.people.column("region").to_pylist()) == set(REGIONS)
    assert min(shop.sales.column("amount").to_pylist()) >= Decimal("0.50")


def test_rows_are_in_order_of_arrival_and_ids_rise_with_it() -> None:
    for table, key, time in (
        (shop_of().sales, "transaction_id", "transaction_date"),
        (shop_of().people, "customer_id", "signup_date"),
    ):
        times = table.column(time).cast(pa.int64()).to_numpy()
        assert (np.diff(times) >= 0).all()
        assert table.column(key).to_pylist() == list(range(1, table.num_rows + 1))


def test_nobody_buys_before_signing_up_or_after_leaving() -> None:
    shop = shop_of()
    signed_up = dict(zip(shop.people["customer_id"].to_pylist(), shop.people["signup_date"].to_pylist(), strict=True))
    gone = dict(zip(shop.people["customer_id"].to_pylist(), shop.gone.to_pylist(), strict=True))
    for customer, time in zip(
        shop.sales["customer_id"].to_pylist(), shop.sales["transaction_date"].to_pylist(), strict=True
    ):
        assert signed_up[customer] < time
        assert gone[customer] is None or time < gone[customer]


def test_only_customers_who_were_there_when_the_records_begin() -> None:
    assert all(time is None or time > day(2024, 1, 1) for time in shop_of().gone.to_pylist())


@given(cuts=st.lists(st.datetimes(datetime(2023, 6, 1), datetime(2026, 2, 1)), min_size=1, max_size=6))  # noqa: DTZ001 - made aware below
@settings(max_examples=40, deadline=None)
def test_deliveries_one_after_the_other_are_the_whole(cuts: list[datetime]) -> None:
    shop, after = shop_of(), None
    sales, people = [], []
    for until in [*sorted(cut.replace(tzinfo=UTC) for cut in cuts), day(2027, 1, 1)]:
        sales.append(shop.transactions(until, after))
        people.append(shop.customers(until, after))
        after = until
    assert pa.concat_tables(sales).equals(shop.sales)
    assert pa.concat_tables(people).equals(shop.people)


def test_a_cut_is_after_its_start_and_up_to_its_end() -> None:
    shop = shop_of()
    first, second = shop.sales.column("transaction_date").slice(1000, 2).to_pylist()
    assert shop.transactions(second, first)["transaction_date"].to_pylist()[0] > first
    assert shop.transactions(second, first)["transaction_date"].to_pylist()[-1] == second
    assert shop.transactions(first, second).num_rows == 0


def test_the_days_before_the_change_know_nothing_of_it() -> None:
    with_change, without = shop_of(), shop_of(change=False)
    eve = CHANGE.start - timedelta(microseconds=1)
    assert with_change.transactions(eve).equals(without.transactions(eve))
    columns = ["transaction_date", "amount", "product_category"]
    assert not with_change.sales.select(columns).equals(without.sales.select(columns))


def mean_basket(shop: Shop, start: datetime, end: datetime) -> float:
    rows = shop.transactions(end, start)
    amounts: list[Decimal] = rows["amount"].to_pylist()
    return float(sum(amounts)) / len(amounts)


def purchases_per_customer(shop: Shop, at: datetime) -> float:
    purchases: int = shop.transactions(at, at - WINDOW).num_rows
    return purchases / len(shop.active(at))


def lost(shop: Shop, at: datetime) -> float:
    """Share of the active customers who buy nothing in the next 90 days, in plain Python."""
    before = Counter(shop.transactions(at, at - WINDOW)["customer_id"].to_pylist())
    after = Counter(shop.transactions(at + WINDOW, at)["customer_id"].to_pylist())
    missing = [customer for customer in before if customer not in after]
    return len(missing) / len(before)


@pytest.mark.parametrize("seed", [7, 8])
def test_without_a_change_the_shop_is_the_same_all_the_time(seed: int) -> None:
    shop = shop_of(seed, change=False)
    quarters = [day(2024, 4, 1) + timedelta(days=90 * n) for n in range(7)]
    active = [len(shop.active(at)) for at in quarters]
    assert max(active) < 1.15 * min(active)
    assert max(lost(shop, at) for at in quarters[:-1]) - min(lost(shop, at) for at in quarters[:-1]) < 0.07
    assert all(0.25 < lost(shop, at) < 0.45 for at in quarters[:-1])
    paces = [purchases_per_customer(shop, at) for at in quarters]
    assert max(paces) < 1.12 * min(paces)
    baskets = [mean_basket(shop, at - WINDOW, at) for at in quarters]
    assert max(baskets) < 1.08 * min(baskets)


def test_after_the_change_people_buy_seldom_and_much() -> None:
    shop, before, after = shop_of(), CHANGE.start, CHANGE.start + timedelta(days=120)
    assert mean_basket(shop, after - WINDOW, after) > 2.3 * mean_basket(shop, before - WINDOW, before)
    assert purchases_per_customer(shop, after) < 0.6 * purchases_per_customer(shop, before)


def lost_after_silence(shop: Shop, months: list[datetime], low: int, high: int) -> float:
    """Of the customers whose last purchase was so many days ago: how many do not come back within 90 days."""
    silent = lost = 0
    for at in months:
        later = set(shop.transactions(at, at - timedelta(days=low))["customer_id"].to_pylist())
        then = set(shop.transactions(at - timedelta(days=low), at - timedelta(days=high))["customer_id"].to_pylist())
        after = set(shop.transactions(at + WINDOW, at)["customer_id"].to_pylist())
        silent += len(then - later)
        lost += len(then - later - after)
    return lost / silent


@pytest.mark.parametrize("seed", [7, 8])
def test_after_the_change_the_same_silence_means_something_else(seed: int) -> None:
    shop = shop_of(seed)
    before = [day(2024, month, 1) for month in (6, 7, 8, 9, 10)]
    after = [day(2025, month, 1) for month in (6, 7, 8, 9)]
    assert lost_after_silence(shop, before, 20, 30) > lost_after_silence(shop, after, 20, 30) + 0.1
    assert lost_after_silence(shop, before, 40, 60) < lost_after_silence(shop, after, 40, 60) - 0.05
    assert lost_after_silence(shop, before, 0, 10) < lost_after_silence(shop, after, 0, 10) - 0.03


def test_requests_are_a_repeatable_sample_of_those_who_are_known() -> None:
    shop = shop_of()
    known = shop.active(day(2025, 1, 13))
    days = [day(2025, 1, 13) + timedelta(days=n) for n in range(50)]
    asked = [shop.requests(at, known) for at in days]
    for at, ids in zip(days, asked, strict=True):
        assert len(set(ids.tolist())) == len(ids)
        assert set(ids.tolist()) <= set(known.tolist())
        assert shop.requests(at + timedelta(hours=13), known[::-1]).tolist() == ids.tolist()
    assert 100 < np.mean([len(ids) for ids in asked]) < 120
    assert asked[0].tolist() != asked[1].tolist()
    assert len(shop.requests(days[0], known[:5])) == 5


def test_a_plan_that_can_not_be_is_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        ShopPlan(seed=-1)
    with pytest.raises(InvalidInput, match="closes before"):
        ShopPlan(end=day(2023, 1, 1))
