from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.features.functions.source import define
from millrace.features.online.lookup import OnlineFeatures, OnlineLookup
from millrace.features.online.publish import publish
from millrace.features.port import OnlineStore
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import BoundFunction, FeatureLookup, FeatureSpec, MissingKeys
from millrace.lake.lake import Lake

NOW = datetime(2025, 1, 10, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
DAY = timedelta(days=1)
CUSTOMERS, SHOPS = "ml.features.customers", "ml.features.shops"
DEFAULTS = {"spend": -1.0, "region": "nowhere"}


class Counted:
    """The store, and which tables were asked for how many keys."""

    def __init__(self, online: OnlineStore) -> None:
        self.online, self.reads = online, list[tuple[str, int]]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.online, name)

    def read(self, name: TableName, codes: Sequence[bytes | None]) -> Any:
        self.reads.append((str(name), len(codes)))
        return self.online.read(name, codes)


@pytest.fixture
def counted(lake: Lake, online: OnlineStore) -> Any:
    customers = pa.schema({"id": pa.int64(), "ts": STAMP, "spend": pa.float64(), "region": pa.string()})
    create_feature_table(lake, CUSTOMERS, customers, primary_keys="id", timeseries_column="ts")
    rows = [
        {"id": 1, "ts": NOW - DAY, "spend": 1.5, "region": "EU"},
        {"id": 2, "ts": NOW - 20 * DAY, "spend": 2.5, "region": None},
        {"id": 3, "ts": NOW + DAY, "spend": 3.5, "region": "JP"},
    ]
    write_feature_rows(lake, CUSTOMERS, pa.Table.from_pylist(rows, customers))
    shops = pa.schema({"shop": pa.string(), "size": pa.int64()})
    create_feature_table(lake, SHOPS, shops, primary_keys="shop")
    write_feature_rows(lake, SHOPS, pa.table({"shop": ["x", "y"], "size": [10, 20]}, schema=shops))
    for name in (CUSTOMERS, SHOPS):
        publish(lake, online, name, as_of=NOW)
    return Counted(online)


def customer(key: str, **changes: Any) -> FeatureLookup:
    return FeatureLookup(CUSTOMERS, key, timestamp_lookup_key="at", **changes)


def spec(*lookups: FeatureLookup, inputs: tuple[str, ...], functions: tuple[BoundFunction, ...] = ()) -> FeatureSpec:
    return FeatureSpec(lookups, None, (), inputs, (), functions)


def ask(counted: Any, kept: FeatureSpec, *records: Mapping[str, object], policy: MissingKeys = "default") -> list[Any]:
    return [list(row.inputs) for row in OnlineLookup(counted, kept, policy).augment(records, NOW)]


ONE = spec(customer("customer", lookback_window=10 * DAY, default_values=DEFAULTS), inputs=("spend", "region"))
# A key that nobody knows, one that is null, one whose row is too old, one whose row is still to come.
MISSING = [{"customer": 99}, {"customer": None}, {"customer": 2}, {"customer": 3}]


@pytest.mark.parametrize("record", MISSING, ids=str)
def test_a_key_without_a_row_gets_what_the_policy_says(counted: Any, record: Mapping[str, object]) -> None:
    assert ask(counted, ONE, record) == [[-1.0, "nowhere"]]
    ((spend, region),) = ask(counted, ONE, record, policy="null")
    assert math.isnan(spend)
    assert region is None
    with pytest.raises(NotFound, match="row 1: the key in customer has no features in ml") as error:
        ask(counted, ONE, {"customer": 1}, record, policy="404")
    assert "99" not in str(error.value)


def test_served_features_follow_the_policy_too(counted: Any) -> None:
    def find(policy: MissingKeys) -> Mapping[str, object]:
        return OnlineFeatures(counted, ONE, policy).find([{"customer": 99}], NOW)[0].values

    assert find("default") == DEFAULTS
    assert find("null") == {"spend": None, "region": None}
    with pytest.raises(NotFound):
        find("404")


@pytest.mark.parametrize("policy", get_args(MissingKeys))
def test_a_null_that_is_stored_is_no_missing_key(counted: Any, policy: MissingKeys) -> None:
    old = spec(customer("customer", default_values=DEFAULTS), inputs=("spend", "region"))
    assert ask(counted, old, {"customer": 2}, policy=policy) == [[2.5, "nowhere"]]


@pytest.mark.parametrize("policy", get_args(MissingKeys))
def test_keys_only_features_only_or_both(counted: Any, policy: MissingKeys) -> None:
    """The request wins; what it carries whole is not looked up, with or without a key, known or not."""
    records: list[dict[str, object]] = [
        {"customer": 1},
        {"customer": 1, "spend": 9},
        {"customer": 1, "spend": 9, "region": None},
        {"spend": 9, "region": "US"},
        {"customer": 99, "spend": 9, "region": "US"},
    ]
    assert ask(counted, ONE, *records, policy=policy) == [
        [1.5, "EU"],
        [9.0, "EU"],
        [9.0, None],
        [9.0, "US"],
        [9.0, "US"],
    ]
    assert counted.reads == [(CUSTOMERS, 2)]
    with pytest.raises(InvalidInput, match="no column 'customer'"):
        ask(counted, ONE, {"spend": 9}, policy=policy)


def test_each_lookup_needs_its_own_key_only(counted: Any) -> None:
    both = spec(customer("customer"), FeatureLookup(SHOPS, "shop"), inputs=("spend", "region", "size"))
    assert ask(counted, both, {"customer": 1, "size": 7}) == [[1.5, "EU", 7.0]]
    assert ask(counted, both, {"shop": "y", "spend": 9, "region": "US"}) == [[9.0, "US", 20.0]]
    assert ask(counted, both, {"spend": 9, "region": "US", "size": 7}) == [[9.0, "US", 7.0]]
    assert counted.reads == [(CUSTOMERS, 1), (SHOPS, 1)]


def test_several_lookups_of_a_table_are_one_read(counted: Any) -> None:
    lookups = (
        customer("buyer", rename_outputs={"spend": "bought"}),
        FeatureLookup(SHOPS, "shop"),
        customer("payer", rename_outputs={"spend": "paid"}, lookback_window=10 * DAY),
    )
    pairs = spec(*lookups, inputs=("bought", "paid", "size"))
    records: list[dict[str, object]] = [
        {"buyer": 1, "payer": 2, "shop": "x"},
        {"buyer": 2, "paid": 0, "shop": "y"},
        {"buyer": 2, "payer": 1, "shop": "z"},
    ]
    rows = OnlineLookup(counted, pairs).augment(records, NOW)
    assert [[None if math.isnan(value) else value for value in row.inputs] for row in rows] == [  # type: ignore[arg-type]
        [1.5, None, 10.0],
        [2.5, 0.0, 20.0],
        [2.5, 1.5, None],
    ]
    # Three buyers and two payers are one question; where each came from is told in the order of the lookups.
    assert counted.reads == [(CUSTOMERS, 5), (SHOPS, 3)]
    assert [[table for table, *_ in row.sources] for row in rows] == [
        [CUSTOMERS, SHOPS, CUSTOMERS],
        [CUSTOMERS, SHOPS],
        [CUSTOMERS, SHOPS, CUSTOMERS],
    ]


def test_a_request_with_all_inputs_needs_no_key_for_what_functions_read(counted: Any) -> None:
    def doubled(spend: float) -> float:
        return 2 * spend

    function = BoundFunction(define("doubled", doubled), 1, {"spend": "spend"}, "twice", {"spend": "double"})
    kept = spec(customer("customer"), inputs=("region", "twice"), functions=(function,))
    assert ask(counted, kept, {"customer": 1}, {"region": "US", "twice": 8}) == [["EU", 3.0], ["US", 8.0]]
    assert counted.reads == [(CUSTOMERS, 1)]
    with pytest.raises(InvalidInput, match="no column 'customer'"):
        ask(counted, kept, {"region": "US"})
