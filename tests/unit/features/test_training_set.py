from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.features.augment import augment, augment_pinned
from millrace.features.port import AsOfJoin
from millrace.features.spec import from_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.training_set import TrainingSet, build_training_set
from millrace.features.types import FeatureLookup
from millrace.lake.lake import Lake
from millrace.lake.types import TableVersion, Version

STAMP = pa.timestamp("us", "UTC")
MONEY = pa.decimal128(18, 2)
NAME = "ml.features.customers"
LATE = datetime(2025, 6, 1, tzinfo=UTC)


def at(day: int) -> datetime:
    return datetime(2025, 1, day, tzinfo=UTC)


def customers(*rows: tuple[Any, ...]) -> pa.Table:
    ids, times, spend, ratio, region = zip(*rows, strict=True)
    return pa.table(
        {
            "customer_id": pa.array(ids, pa.int64()),
            "ts": pa.array(times, STAMP),
            "spend": pa.array(spend, MONEY),
            "ratio": pa.array(ratio, pa.float32()),
            "region": pa.array(region, pa.string()),
        }
    )


@pytest.fixture
def shop(lake: Lake, clock: ManualClock) -> Lake:
    first = customers((1, at(1), Decimal("10.50"), 0.5, "EU"), (2, at(2), None, None, None))
    create_feature_table(lake, NAME, first.schema, primary_keys="customer_id", timeseries_column="ts")
    write_feature_rows(lake, NAME, first)
    create_feature_table(
        lake, "ml.features.regions", pa.schema({"region": pa.string(), "tax": pa.int32()}), primary_keys=["region"]
    )
    write_feature_rows(lake, "ml.features.regions", pa.table({"region": ["EU"], "tax": pa.array([19], pa.int32())}))
    clock.set(at(20))
    write_feature_rows(lake, NAME, customers((1, at(10), Decimal("99.00"), 0.9, "US")))
    return lake


def labels() -> pa.Table:
    return pa.table(
        {
            "customer": pa.array([2, 1, 1, None, 7], pa.int32()),
            "label_time": pa.array([at(5), at(5), at(12), at(5), None], STAMP),
            "channel": ["web", "shop", "web", "web", "web"],
            "churned": [0, 1, 0, 1, 0],
        }
    )


def lookup(**changes: Any) -> FeatureLookup:
    return FeatureLookup(
        **({"table_name": NAME, "lookup_key": "customer", "timestamp_lookup_key": "label_time"} | changes)
    )


def build(
    shop: Lake, join: AsOfJoin, *lookups: FeatureLookup, requests: pa.Table | None = None, **changes: Any
) -> TrainingSet:
    asked = labels() if requests is None else requests
    given: dict[str, Any] = {"label": "churned", "exclude": ("customer", "label_time"), "as_of": LATE} | changes
    return build_training_set(shop, join, asked, lookups or (lookup(),), given.pop("label"), **given)


def test_rows_and_their_order_stay_and_features_come_on_the_right(shop: Lake, join: AsOfJoin) -> None:
    made = build(shop, join)
    assert made.table.select(labels().column_names).equals(labels())
    assert made.table.column_names == [*labels().column_names, "spend", "ratio", "region"]
    assert made.table.column("spend").to_pylist() == [None, Decimal("10.50"), Decimal("99.00"), None, None]
    assert made.table.column("region").to_pylist() == [None, "EU", "US", None, None]
    assert made.spec.inputs == ("channel", "spend", "ratio", "region")
    assert made.spec.request_columns == ("channel",)
    frame = made.features()
    assert frame["spend"].tolist()[1:3] == [10.5, 99.0]
    assert frame["region"].tolist() == [None, "EU", "US", None, None]
    assert made.visible().column_names == ["channel", "churned", "spend", "ratio", "region"]


def test_the_record_says_what_was_read(shop: Lake, join: AsOfJoin) -> None:
    source = TableVersion(TableName.parse("ml.labels.churn"), Version(4))
    regions = FeatureLookup("ml.features.regions", "channel")
    made = build(shop, join, lookup(feature_names=["spend"]), regions, read=[source, source], warnings=["w"])
    assert [str(table) for table in made.record.tables] == ["ml.labels.churn@4", f"{NAME}@2", "ml.features.regions@1"]
    assert (made.record.rows, made.record.as_of) == (5, LATE)
    assert made.record.warnings[0] == "w"
    assert "ml.features.regions has no timeseries column" in made.record.warnings[1]
    assert from_json(made.record.spec) == made.spec
    again = build(shop, join, lookup(feature_names=["spend"]), regions, read=[source], warnings=["w"])
    assert again.record == made.record


def test_a_set_is_made_again_after_later_writes(shop: Lake, join: AsOfJoin, clock: ManualClock) -> None:
    made = build(shop, join)
    clock.set(at(25))
    more = customers((1, at(4), Decimal("0.01"), 0.1, "XX")).append_column("late", pa.array([1]))
    write_feature_rows(shop, NAME, more)
    assert build(shop, join).record.fingerprint != made.record.fingerprint
    pinned = {table.name: table.version for table in made.record.tables}
    assert build(shop, join, versions=pinned).record == made.record
    assert build(shop, join, as_of=at(20)).record.fingerprint == made.record.fingerprint
    # The model's own lookups name their features: a later column is not among them.
    assert "late" not in augment(shop, join, made.spec, labels(), as_of=LATE).column_names


def test_at_an_earlier_time_neither_later_commits_nor_later_rows_are_seen(shop: Lake, join: AsOfJoin) -> None:
    made = build(shop, join, as_of=at(19))
    assert made.table.column("spend").to_pylist() == [None, Decimal("10.50"), Decimal("10.50"), None, None]
    assert [str(table) for table in made.record.tables] == [f"{NAME}@1"]
    with pytest.raises(NotFound, match="no version yet"):
        build(shop, join, as_of=datetime(2024, 12, 1, tzinfo=UTC))


def test_rename_defaults_and_their_types(shop: Lake, join: AsOfJoin) -> None:
    made = build(
        shop,
        join,
        lookup(rename_outputs={"spend": "total"}, default_values={"total": 0.5, "ratio": 0.1, "region": "?"}),
    )
    assert made.table.column("total").to_pylist()[0] == Decimal("0.50")
    assert made.table.column("ratio").to_pylist()[3] == pytest.approx(0.10000000149011612, abs=0)
    assert made.table.column("region").to_pylist() == ["?", "EU", "US", "?", "?"]
    (kept,) = made.spec.lookups
    assert kept.feature_names == ("spend", "ratio", "region")
    assert kept.rename_outputs == {"spend": "total"}
    assert kept.default_values == {"total": Decimal("0.50"), "ratio": 0.10000000149011612, "region": "?"}


def test_law_7_a_second_lookup_does_not_change_the_first(shop: Lake, join: AsOfJoin) -> None:
    alone = build(shop, join).table
    both = build(
        shop, join, lookup(), lookup(rename_outputs={name: f"{name}_b" for name in ("spend", "ratio", "region")})
    ).table
    assert both.select(alone.column_names).equals(alone)
    assert both.column("spend_b").equals(both.column("spend"))


def test_no_label_no_rows(shop: Lake, join: AsOfJoin) -> None:
    made = build(shop, join, requests=labels().slice(0, 0), label=None)
    assert len(made.table) == 0
    assert made.table.schema.field("spend").type == MONEY
    assert made.spec.label is None
    assert "churned" in made.spec.inputs


def test_some_of_the_rows(shop: Lake, join: AsOfJoin) -> None:
    made = build(shop, join)
    part = made.where(np.array([False, True, True, False, False]))
    assert part.table.column("churned").to_pylist() == [1, 0]
    assert part.record.rows == 2
    assert part.record.fingerprint != made.record.fingerprint
    assert part.spec == made.spec


MISUSE: list[tuple[str, dict[str, Any], str]] = [
    ("unknown table", {"table_name": "ml.features.custmers"}, "custmers.*\n.*did you mean"),
    ("not a feature table", {"table_name": "plain"}, "has no primary keys"),
    ("unknown feature", {"feature_names": ["spnd"]}, "'spnd' is not in table.*\n.*did you mean 'spend'"),
    ("a key as feature", {"feature_names": ["customer_id"]}, "'customer_id' is a key"),
    ("feature twice", {"feature_names": ["spend", "spend"]}, "asked for twice"),
    ("too many keys", {"lookup_key": ["customer", "channel"]}, "has 1 primary keys, lookup_key has 2"),
    ("missing key", {"lookup_key": "custmer"}, "no column 'custmer'.*\n.*did you mean 'customer'"),
    ("text for a number", {"lookup_key": "channel"}, "'channel' is string, but 'customer_id' of table .* is int64"),
    ("missing time", {"timestamp_lookup_key": "time"}, "no column 'time', the time of the question"),
    ("time is no time", {"timestamp_lookup_key": "churned"}, "'churned' is int64, not a time"),
    ("time without series", {"table_name": "ml.features.regions", "lookup_key": "channel"}, "has no timeseries column"),
    ("rename of nothing", {"rename_outputs": {"spnd": "x"}}, "rename_outputs names 'spnd'"),
    ("rename onto another", {"rename_outputs": {"spend": "ratio"}}, "would both be called 'ratio'"),
    ("default for nothing", {"default_values": {"spnd": 1}}, "default_values names 'spnd'.*\n.*did you mean 'spend'"),
    ("default of another type", {"default_values": {"region": 1}}, "default for 'region' does not fit its type string"),
    ("default loses digits", {"default_values": {"spend": 0.001}}, "default for 'spend' does not fit"),
    ("label among features", {"rename_outputs": {"spend": "churned"}}, "label 'churned' is among the features"),
    ("column is there", {"rename_outputs": {"spend": "channel"}}, "a column 'channel' already.*\n.*rename_outputs"),
]


@pytest.mark.parametrize(("changes", "message"), [case[1:] for case in MISUSE], ids=[case[0] for case in MISUSE])
def test_each_misuse_has_an_error_of_its_own(shop: Lake, join: AsOfJoin, changes: dict[str, Any], message: str) -> None:
    shop.create("plain", pa.schema({"a": pa.int64()}))
    with pytest.raises((InvalidInput, NotFound), match=message) as caught:
        build(shop, join, lookup(**changes))
    assert caught.value.hint


def test_other_misuse(shop: Lake, join: AsOfJoin) -> None:
    with pytest.raises(InvalidInput, match=f"'spend' comes from {NAME} and from {NAME}"):
        build(shop, join, lookup(), lookup())
    with pytest.raises(InvalidInput, match=r"label column 'chrned' is missing\n.*did you mean 'churned'"):
        build(shop, join, label="chrned")
    with pytest.raises(InvalidInput, match="label 'customer' is a lookup key"):
        build(shop, join, label="customer", exclude=())
    with pytest.raises(InvalidInput, match=r"exclude names 'chanel'.*\n.*did you mean 'channel'"):
        build(shop, join, exclude=("chanel",))
    with pytest.raises(InvalidInput, match="label 'churned' is excluded"):
        build(shop, join, exclude=("churned",))
    with pytest.raises(InvalidInput, match="negative"):
        lookup(lookback_window=timedelta(-1))


def test_scoring_adds_the_features_of_each_row_s_time(shop: Lake, join: AsOfJoin) -> None:
    spec = build(shop, join).spec
    asked = labels().drop_columns(["churned"])
    scored, tables = augment_pinned(shop, join, spec, asked, as_of=LATE)
    assert scored.select(asked.column_names).equals(asked)
    assert scored.column("spend").to_pylist() == [None, Decimal("10.50"), Decimal("99.00"), None, None]
    assert [str(table) for table in tables] == [f"{NAME}@2"]


def test_scoring_takes_what_the_request_has(shop: Lake, join: AsOfJoin) -> None:
    spec = build(shop, join, lookup(default_values={"spend": 1})).spec
    asked = labels().append_column("spend", pa.array([5.5, None, 6.5, 7.5, 8.5]))
    scored = augment(shop, join, spec, asked, as_of=LATE)
    assert scored.column_names == [*asked.column_names, "ratio", "region"]
    assert scored.column("spend").equals(asked.column("spend"))
    # With every feature given neither a key nor the table is needed.
    whole = pa.table({"channel": ["web"], "spend": [1.0], "ratio": [1.0], "region": ["EU"]})
    assert augment(shop, join, spec, whole, as_of=datetime(2020, 1, 1, tzinfo=UTC)).equals(whole)
    with pytest.raises(InvalidInput, match=r"no column 'channel', which the model takes"):
        augment(shop, join, spec, whole.drop_columns(["channel"]), as_of=LATE)
    with pytest.raises(InvalidInput, match="no column 'customer'"):
        augment(shop, join, spec, pa.table({"channel": ["web"]}), as_of=LATE)


def test_a_date_in_the_request_is_its_first_instant(shop: Lake, join: AsOfJoin) -> None:
    days = pa.table(
        {
            "customer": [1, 1],
            "label_time": [date(2025, 1, 9), date(2025, 1, 10)],
            "churned": [0, 1],
            "channel": ["a", "b"],
        }
    )
    assert build(shop, join, requests=days).table.column("spend").to_pylist() == [Decimal("10.50"), Decimal("99.00")]


def test_a_partitioned_feature_table(lake: Lake, join: AsOfJoin) -> None:
    rows = pa.table({"k": [1, 2, 3], "region": ["EU west", "a/b%20c=d", None], "v": [10, 20, 30]})
    create_feature_table(lake, "f.parts", rows.schema, primary_keys="k", partition_columns=["region"])
    write_feature_rows(lake, "f.parts", rows)
    asked = pa.table({"k": [3, 2, 1, 4]})
    made = build(lake, join, FeatureLookup("f.parts", "k"), requests=asked, label=None, exclude=())
    assert made.table.column("region").to_pylist() == [None, "a/b%20c=d", "EU west", None]
    assert made.table.column("v").to_pylist() == [30, 20, 10, None]


def test_a_table_that_changes_meanwhile_is_read_at_one_version(
    shop: Lake, join: AsOfJoin, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Lake.pin

    def pin_and_write(self: Lake, *rest: Any) -> TableVersion:
        found = plain(self, *rest)
        write_feature_rows(shop, NAME, customers((1, at(11), Decimal("1.00"), 0.1, "EU")))
        return found

    monkeypatch.setattr(Lake, "pin", pin_and_write)
    one, two = (lookup(feature_names=[name]) for name in ("spend", "ratio"))
    made = build(shop, join, one, two, as_of=at(20))
    assert [str(table) for table in made.record.tables] == [f"{NAME}@2"]


def test_a_request_with_a_column_twice_is_refused(shop: Lake, join: AsOfJoin) -> None:
    twice = labels().append_column("channel", labels().column("channel"))
    with pytest.raises(InvalidInput, match="more than one column 'channel'"):
        build(shop, join, requests=twice)
