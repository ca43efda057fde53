from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict
from millrace.core.names import TableName
from millrace.features.online.freshness import online_freshness
from millrace.features.online.publish import publish, publish_table
from millrace.features.online.rows import KeptRows
from millrace.features.port import OnlineStore
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import OnlineTable
from millrace.lake.lake import Lake

NAME = "ml.features.t"
NOW = datetime(2025, 1, 5, tzinfo=UTC)
KEYS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int8(), [-1, 2]),
    (pa.int64(), [-(2**63), 2**63 - 1]),
    (pa.string(), ["", "ä" * 500]),
    (pa.bool_(), [False, True]),
    (pa.date32(), [date(1960, 1, 1), date(2025, 1, 1)]),
    (pa.timestamp("us", "UTC"), [NOW, NOW + timedelta(microseconds=1)]),
    (pa.decimal128(18, 2), [Decimal("1.10"), Decimal("-1.10")]),
    (pa.binary(), [b"", b"\x00"]),
]


@pytest.mark.parametrize(
    ("kind", "values"), KEYS, ids=lambda value: str(value) if isinstance(value, pa.DataType) else ""
)
def test_keys_of_every_type_are_published_changed_and_removed(
    lake: Lake, online: OnlineStore, kind: pa.DataType, values: list[Any]
) -> None:
    schema = pa.schema({"k": kind, "j": kind, "v": pa.int64()})
    one, two = values

    def write(key: Any, value: int) -> None:
        write_feature_rows(lake, NAME, pa.table({"k": [key], "j": [one], "v": [value]}, schema=schema))

    def stored() -> list[list[Any]]:
        return [[row.values["v"] for row in rows] for rows in online.get(name, [(one, one), (two, one), (one, two)])]

    create_feature_table(lake, NAME, schema, primary_keys=["k", "j"])
    name = TableName.parse(NAME)
    write(one, 1)
    write(two, 2)
    publish(lake, online, NAME, as_of=NOW)
    assert stored() == [[1], [2], []]
    write(two, 3)
    done = publish_table(lake, online, NAME, as_of=NOW, mode="TRIGGERED")
    assert (done.mode, done.written, done.removed) == ("TRIGGERED", 1, 0)
    assert stored() == [[1], [3], []]
    lake.delete(NAME, "v = 1")
    done = publish_table(lake, online, NAME, as_of=NOW, mode="TRIGGERED")
    assert (done.written, done.removed, done.table.keys) == (0, 1, 1)
    assert stored() == [[], [3], []]


def test_text_is_taken_from_columns_that_hold_more_than_two_gigabytes(
    lake: Lake, online: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One chunk of plain text holds no more, and Arrow can't take rows from several."""
    seen: list[pa.Schema] = []
    plain = KeptRows.__init__

    def watched(self: KeptRows, rows: pa.Table, *rest: Any) -> None:
        seen.append(rows.schema)
        plain(self, rows, *rest)

    monkeypatch.setattr(KeptRows, "__init__", watched)
    rows = pa.table({"k": ["a", "b"], "s": ["x", None], "r": pa.array([b"\0", None])})
    create_feature_table(lake, NAME, rows.schema, primary_keys="k", rows=rows)
    publish(lake, online, NAME, as_of=NOW)
    write_feature_rows(lake, NAME, pa.table({"k": ["a"], "s": ["y"], "r": [b"z"]}))
    publish_table(lake, online, NAME, as_of=NOW, mode="TRIGGERED")
    assert [schema.types for schema in seen] == [[pa.large_string(), pa.large_string(), pa.large_binary()]] * 2
    assert [[row.values for row in kept] for kept in online.get(TableName.parse(NAME), [("a",), ("b",)])] == [
        [{"s": "y", "r": b"z"}],
        [{"s": None, "r": None}],
    ]


def test_progress_is_told(lake: Lake, online: OnlineStore) -> None:
    create_feature_table(lake, NAME, pa.schema({"k": pa.int64()}), primary_keys="k")
    write_feature_rows(lake, NAME, pa.table({"k": [*range(7)]}))
    told: list[tuple[int, int]] = []
    publish_table(lake, online, NAME, as_of=NOW, told=lambda done, total: told.append((done, total)))
    assert told == [(7, 7)]


def test_a_publish_by_somebody_else_meanwhile_is_taken_into_account(
    lake: Lake, online: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_feature_table(lake, NAME, pa.schema({"k": pa.int64(), "v": pa.int64()}), primary_keys="k")
    write_feature_rows(lake, NAME, pa.table({"k": [1], "v": [1]}))
    publish(lake, online, NAME, as_of=NOW)
    write_feature_rows(lake, NAME, pa.table({"k": [2], "v": [2]}))
    change, others = type(online).change, iter([True, False])

    def late(self: Any, base: OnlineTable, *rest: Any) -> OnlineTable:
        if next(others):
            publish(lake, online, NAME, as_of=NOW)
        return change(self, base, *rest)

    monkeypatch.setattr(type(online), "change", late)
    done = publish_table(lake, online, NAME, as_of=NOW, mode="TRIGGERED")
    assert (done.mode, done.written, done.table.keys) == ("TRIGGERED", 0, 2)

    versions = itertools.cycle([1, 2])

    def always(self: Any, base: OnlineTable, *rest: Any) -> OnlineTable:
        publish(lake, online, NAME, as_of=NOW, versions={done.table.name: next(versions)})
        return change(self, base, *rest)

    monkeypatch.setattr(type(online), "change", always)
    with pytest.raises(Conflict, match="somebody else"):
        publish_table(lake, online, NAME, as_of=NOW, mode="TRIGGERED")


def test_changes_go_back_to_an_older_version_too(lake: Lake, online: OnlineStore) -> None:
    create_feature_table(lake, NAME, pa.schema({"k": pa.int64(), "v": pa.int64()}), primary_keys="k")
    write_feature_rows(lake, NAME, pa.table({"k": [1], "v": [1]}))
    write_feature_rows(lake, NAME, pa.table({"k": [1, 2], "v": [10, 20]}))
    table = publish(lake, online, NAME, as_of=NOW)
    done = publish_table(lake, online, NAME, as_of=NOW, mode="TRIGGERED", versions={table.name: 1})
    assert (done.mode, done.written, done.removed, done.table.version) == ("TRIGGERED", 1, 1, 1)
    assert [[row.values["v"] for row in rows] for rows in online.get(table.name, [(1,), (2,)])] == [[1], []]


def test_upkeep_does_not_count_as_being_behind(lake: Lake, online: OnlineStore, clock: ManualClock) -> None:
    create_feature_table(lake, NAME, pa.schema({"k": pa.int64(), "v": pa.int64()}), primary_keys="k")
    publish(lake, online, NAME, as_of=clock.now())
    (empty,) = online_freshness(online, lake, clock)
    assert (empty.keys, empty.newest, empty.age, empty.behind) == (0, None, None, 0)
    for value in range(34):  # so many files that the lake makes them one
        write_feature_rows(lake, NAME, pa.table({"k": [value], "v": [value]}))
    (behind,) = online_freshness(online, lake, clock)
    assert (behind.behind, behind.waiting_since) == (34, clock.now())
    done = publish_table(lake, online, NAME, as_of=clock.now(), mode="TRIGGERED")
    assert (done.mode, done.written) == ("TRIGGERED", 34)
    assert [one.behind for one in online_freshness(online, lake, clock)] == [0]
