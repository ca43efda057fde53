"""What a table's rows say of being filled in after their time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

import millrace as mr
from millrace.pipeline.audit.history import judge_histories
from millrace.pipeline.audit.rules import find_rules
from millrace.pipeline.audit.times import Times
from millrace.workspace import open_workspace
from tests.unit.pipeline.shop import declared

T0, DAY = datetime(2025, 3, 3, tzinfo=UTC), timedelta(days=1)
ORDERS = mr.Source("bronze.orders", event_time="at", available_after=DAY)


@mr.feature_table("ml.features.orders", keys=["customer_id"], every=7 * DAY)
def orders(_as_of: Any, tx: Any = ORDERS) -> Any:
    return tx


def test_a_known_row_with_a_later_time_may_have_been_filled_in(tmp_path: Path) -> None:
    stamp = pa.timestamp("us", "UTC")
    schema = pa.schema(
        [
            ("customer_id", pa.int64()),
            ("at", stamp),
            ("ordered", pa.date32()),
            ("delivered", stamp),
            ("paid", pa.date32()),
        ]
    )
    rows = [
        (1, T0, date(2025, 3, 3), T0 + 9 * DAY, None),
        (2, T0 + 5 * DAY, date(2025, 3, 8), None, date(2025, 4, 1)),
    ]
    workspace = open_workspace(tmp_path / "home")
    try:
        table = pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)
        workspace.lake.create("bronze.orders", schema, rows=table)
        workspace.lake.create("bronze.purchases", schema.remove(4).remove(3).remove(2))
        pipeline = declared(features=[orders])

        def columns(cut: datetime) -> list[str | None]:
            found = judge_histories(
                workspace, pipeline, find_rules(workspace.lake, pipeline), Times([cut], [cut - DAY], [])
            )
            return [one.column for one in found if "hold later times" in one.fact]

        assert columns(T0 + DAY - timedelta(microseconds=1)) == []  # no row is known yet
        assert columns(T0 + DAY) == ["delivered"]
        assert columns(T0 + 10 * DAY) == ["paid"]
        assert columns(T0 + 60 * DAY) == []
    finally:
        workspace.close()
