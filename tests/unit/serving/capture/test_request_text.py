from __future__ import annotations

import io
from decimal import Decimal

import pyarrow as pa

from millrace.serving.capture.request_text import _rendered


def test_columns_that_were_not_read_are_not_read_for_the_log_either() -> None:
    # A few hundred bytes that stand for two thousand million nulls.
    nulls = pa.ListArray.from_arrays(pa.array([0, 2**31 - 1], pa.int32()), pa.nulls(2**31 - 1))
    table, sink = pa.table({"a": [Decimal("1.50")], "odd": nulls, "b": ["x"]}), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert len(sink.getvalue()) < 2000
    assert _rendered(sink.getvalue(), "arrow_stream") == (
        '{"dataframe_split":{"columns":["a","b","odd"],"data":[["1.50","x",null]]}}'
    )
    assert _rendered(b"spoiled", "arrow_stream") is None
