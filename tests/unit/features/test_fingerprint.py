from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from millrace.features.fingerprint import fingerprint

AT = datetime(2025, 3, 1, tzinfo=UTC)
ROWS = pa.table(
    {
        "k": pa.array([1, None, 3], pa.int64()),
        "x": pa.array([0.1, math.nan, None]),
        "b": pa.array([True, None, False]),
        "s": pa.array(["ab", None, ""]),
        "m": pa.array([Decimal("1.10"), None, Decimal("-2.00")], pa.decimal128(18, 2)),
        "d": pa.array([date(2025, 3, 1), None, date(1969, 1, 1)]),
        "t": pa.array([AT, None, AT.replace(year=1960)], pa.timestamp("us", "UTC")),
        "r": pa.array([b"\x00", None, b""]),
        "l": pa.array([[1.0], None, []]),
        "n": pa.nulls(3),
    }
)
SAME = fingerprint(ROWS)


def test_it_is_a_sha_256_and_the_same_in_another_process() -> None:
    code = "import pyarrow as pa; from millrace.features.fingerprint import fingerprint; print(fingerprint(pa.table({'a': [1, None], 's': ['x', 'y']})))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == fingerprint(pa.table({"a": [1, None], "s": ["x", "y"]}))
    assert len(SAME) == 64


def test_how_it_lies_in_memory_does_not_count() -> None:
    assert fingerprint(pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])) == SAME
    assert fingerprint(pa.concat_tables([ROWS, ROWS]).slice(3)) == SAME
    encoded = ROWS.set_column(3, "s", ROWS.column("s").dictionary_encode())
    assert fingerprint(encoded) == SAME
    assert fingerprint(ROWS.set_column(3, "s", ROWS.column("s").cast(pa.large_string()))) == SAME
    assert fingerprint(ROWS.replace_schema_metadata({"a": "b"})) == SAME


def test_what_lies_under_a_null_does_not_count() -> None:
    one, two = (
        pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([5, junk]).tobytes())])
        for junk in (0, 77)
    )
    assert fingerprint(pa.table({"a": one})) == fingerprint(pa.table({"a": two}))


@pytest.mark.parametrize("name", [name for name in ROWS.column_names if name != "n"])
def test_each_value_counts(name: str) -> None:
    place = ROWS.column_names.index(name)
    for order in ([2, 1, 0], [0, 0, 2]):
        changed = ROWS.set_column(place, name, ROWS.column(name).take(order))
        assert fingerprint(changed) != SAME


def test_names_types_order_and_emptiness_count() -> None:
    assert fingerprint(ROWS.rename_columns([*ROWS.column_names[:-1], "z"])) != SAME
    assert fingerprint(ROWS.set_column(0, "k", ROWS.column("k").cast(pa.int32()))) != SAME
    assert fingerprint(ROWS.select(list(reversed(ROWS.column_names)))) != SAME
    assert fingerprint(ROWS.slice(0, 0)) != SAME
    assert fingerprint(pa.table({"s": ["ab", "c"]})) != fingerprint(pa.table({"s": ["a", "bc"]}))
    assert fingerprint(pa.table({"x": [0.0]})) != fingerprint(pa.table({"x": [-0.0]}))
    assert fingerprint(pa.table({"x": pa.array([0], pa.int64())})) != fingerprint(
        pa.table({"x": pa.array([None], pa.int64())})
    )


@pytest.mark.slow
def test_text_that_is_more_than_one_chunk_can_hold() -> None:
    one = pa.array(["x" * (1 << 20)])
    huge = pa.table({"s": pa.chunked_array([one] * 2050)})  # all of them the same megabyte in memory
    assert len(fingerprint(huge)) == 64
