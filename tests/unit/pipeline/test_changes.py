from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.names import TableName
from millrace.lake.types import TableVersion, Version
from millrace.pipeline.changes import EVER, changed_from
from millrace.pipeline.source import Source
from millrace.workspace import Workspace
from tests.unit.pipeline.shop import DAY, PURCHASES, SOURCE, START, Purchase, purchases

US = timedelta(microseconds=1)
FAR = START + 1000 * DAY
ROWS: list[Purchase] = [(1, START, 1.0), (2, START + 2 * DAY, 2.0), (3, START + 4 * DAY, 3.0)]


@pytest.fixture
def table(workspace: Workspace) -> Workspace:
    workspace.lake.ensure(PURCHASES, purchases([]).schema)
    workspace.lake.append(PURCHASES, purchases(ROWS))
    return workspace


def changed(
    workspace: Workspace, old: int | None = 1, source: Source = SOURCE, until: datetime = FAR
) -> datetime | None:
    return changed_from(workspace, source, old, workspace.lake.pin(source.name), until)


def put(workspace: Workspace, rows: Sequence[Purchase]) -> None:
    workspace.lake.overwrite(PURCHASES, purchases(rows))


def test_nothing_was_read_or_nothing_came(table: Workspace) -> None:
    assert changed(table, old=None) == EVER
    assert changed(table) is None
    table.lake.append(PURCHASES, purchases([]))
    assert changed(table) is None


def test_added_rows_count_from_the_first_of_them(table: Workspace) -> None:
    table.lake.append(PURCHASES, purchases([(1, START + 3 * DAY, 1.0), (9, START + 9 * DAY, 1.0)]))
    assert changed(table) == START + 3 * DAY
    assert changed(table, until=START + 3 * DAY) == START + 3 * DAY
    assert changed(table, until=START + 3 * DAY - US) is None
    # Twice the time of one that was there.
    table.lake.append(PURCHASES, purchases([(1, START, 1.0)]))
    assert changed(table) == START


def test_a_delay_counts_from_when_the_row_can_be_seen(table: Workspace) -> None:
    table.lake.append(PURCHASES, purchases([(1, START + 3 * DAY, 1.0)]))
    late = replace(SOURCE, available_after=2 * DAY)
    assert changed(table, source=late) == START + 5 * DAY
    assert changed(table, source=late, until=START + 5 * DAY - US) is None


@pytest.mark.parametrize(
    ("rows", "first"),
    [
        (ROWS[:2], START + 4 * DAY),
        ([(1, START, 1.0), (2, START + 2 * DAY, 2.5), (3, START + 4 * DAY, 3.5)], START + 2 * DAY),
        ([(1, START, 1.0), (2, START + DAY, 2.0), (3, START + 4 * DAY, 3.0)], START + DAY),
        ([*ROWS, ROWS[1]], START + 2 * DAY),
        (ROWS[::-1], None),
    ],
)
def test_altered_and_removed_rows_count_from_the_first_of_them(
    table: Workspace, rows: list[Purchase], first: datetime | None
) -> None:
    put(table, rows)
    assert changed(table) == first


def test_compaction_and_new_columns_without_values_change_nothing(table: Workspace) -> None:
    table.lake.append(PURCHASES, purchases([(7, START + 9 * DAY, 1.0)]))
    from deltalake import DeltaTable

    DeltaTable(table.lake.entry(PURCHASES).location).optimize.compact()
    assert changed(table, old=2) is None
    more = purchases([(7, START + 10 * DAY, 1.0)]).append_column("note", pa.array(["new"]))
    table.lake.merge(PURCHASES, more, ["customer_id", "at"])
    assert changed(table, old=3) == START + 10 * DAY


def test_rows_that_cannot_be_compared_change_everything(table: Workspace) -> None:
    text = purchases(ROWS).set_column(2, "amount", pa.array(["1", "2", "3"]))
    table.lake.overwrite(PURCHASES, text)
    assert changed(table) == EVER
    assert changed(table, source=Source(PURCHASES, history="none")) == EVER
    # The table was dropped and made anew.
    assert changed(table, old=99) == EVER


def test_an_older_version_is_compared_the_other_way_round(table: Workspace) -> None:
    table.lake.append(PURCHASES, purchases([(1, START + 3 * DAY, 1.0)]))
    pinned = TableVersion(TableName.parse(PURCHASES), Version(1))
    assert changed_from(table, SOURCE, 2, pinned, FAR) == START + 3 * DAY


def test_a_date_counts_from_its_end(workspace: Workspace) -> None:
    def days(*given: date) -> pa.Table:
        return pa.table({"k": pa.array([1] * len(given), pa.int64()), "day": pa.array(given, pa.date32())})

    source = Source("bronze.days", event_time="day")
    workspace.lake.ensure("bronze.days", days().schema)
    workspace.lake.append("bronze.days", days(date(2025, 3, 3)))
    workspace.lake.append("bronze.days", days(date(2025, 3, 5)))
    assert changed(workspace, source=source) == datetime(2025, 3, 6, tzinfo=UTC)
    workspace.lake.delete("bronze.days", "day = '2025-03-05'")
    assert changed(workspace, old=2, source=source) == datetime(2025, 3, 6, tzinfo=UTC)


def test_an_end_counts_from_itself(workspace: Workspace) -> None:
    stamp = pa.timestamp("us", "UTC")
    schema = pa.schema([("k", pa.int64()), ("region", pa.string()), ("since", stamp), ("until", stamp)])
    source = Source("bronze.people", event_time="since", history="scd2", valid_to="until")

    def put_people(*rows: tuple[Any, ...]) -> None:
        found = [dict(zip(schema.names, row, strict=True)) for row in rows]
        workspace.lake.ensure("bronze.people", schema)
        workspace.lake.overwrite("bronze.people", pa.Table.from_pylist(found, schema))

    put_people((1, "north", START, None))
    put_people((1, "north", START, START + 5 * DAY), (1, "south", START + 5 * DAY, None))
    assert changed(workspace, source=source) == START + 5 * DAY
    put_people((1, "north", START, START + 3 * DAY), (1, "south", START + 5 * DAY, None))
    assert changed(workspace, old=2, source=source) == START + 3 * DAY
    put_people((1, "east", START, START + 3 * DAY), (1, "south", START + 5 * DAY, None))
    assert changed(workspace, old=3, source=source) == START


def test_a_row_of_the_epoch_itself_counts(table: Workspace) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    put(table, [(1, epoch, 1.0)])
    put(table, [(1, epoch, 2.0)])
    assert changed(table, old=2) == epoch
