from __future__ import annotations

import io
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_body import read_arrow_file, read_arrow_stream
from millrace.serving.bodies.arrow_messages import unpacked_bytes
from millrace.serving.bodies.body import Body, Envelope, TooLarge
from millrace.serving.bodies.parquet.reader import read_parquet
from millrace.serving.inputs import InputReader, split_inputs
from tests.unit.serving.bodies import parquet_bytes as pb
from tests.unit.serving.bodies import thrift_bytes as th


def stream(table: pa.Table, *, compression: str | None = None, rows: int | None = None) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, rows)
    return sink.getvalue()


def file(table: pa.Table, *, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


Read = Callable[..., Body]
FORMATS: dict[str, tuple[Callable[..., bytes], Read]] = {
    "stream": (stream, read_arrow_stream),
    "zstd stream": (lambda table: stream(table, compression="zstd"), read_arrow_stream),
    "lz4 stream": (lambda table: stream(table, compression="lz4"), read_arrow_stream),
    "stream in batches": (lambda table: stream(table, rows=1), read_arrow_stream),
    "file": (file, read_arrow_file),
    "zstd file": (lambda table: file(table, compression="zstd"), read_arrow_file),
    "parquet": (parquet, read_parquet),
    "plain parquet": (lambda table: parquet(table, use_dictionary=False, compression="none"), read_parquet),
    "parquet in groups": (lambda table: parquet(table, row_group_size=1), read_parquet),
}


@pytest.fixture(params=FORMATS, name="read")
def _read(request: pytest.FixtureRequest) -> Callable[[pa.Table], Body]:
    write, reader = FORMATS[request.param]
    return lambda table: reader(write(table))


def test_numbers_become_a_matrix_in_the_order_asked_for(read: Callable[[pa.Table], Body]) -> None:
    table = pa.table(
        {
            "d": pa.array([0.1, None, -3.5]),
            "f": pa.array([0.1, 1.5, None], pa.float32()),
            "i": pa.array([2**53 + 1, None, -1], pa.int64()),
            "u": pa.array([2**64 - 1, 0, 1], pa.uint64()),
            "more": ["x", "y", "z"],
            "s": pa.array([1, 2, None], pa.int8()),
        }
    )
    matrix = read(table).rows.matrix(["u", "s", "d", "f", "i"])
    wanted = [
        [float(2**64 - 1), 1.0, 0.1, float(np.float32(0.1)), float(2**53)],
        [0.0, 2.0, np.nan, 1.5, np.nan],
        [1.0, np.nan, -3.5, np.nan, -1.0],
    ]
    assert matrix is not None
    assert matrix.dtype == np.float64
    np.testing.assert_array_equal(matrix, wanted)


def test_what_is_no_machine_number_becomes_one_as_in_training(read: Callable[[pa.Table], Body]) -> None:
    table = pa.table(
        {
            "money": pa.array([Decimal("0.10"), None, Decimal("-12345678901.99")], pa.decimal128(15, 2)),
            "half": pa.array(np.array([0.5, 1.0, 2.0], dtype=np.float16)),
            "flag": [True, None, False],
            "kind": pa.array([3, None, 3], pa.int64()).dictionary_encode(),
            "none": pa.nulls(3),
        }
    )
    matrix = read(table).rows.matrix(["money", "flag", "kind", "none", "half"])
    wanted = [
        [0.1, 1.0, 3.0, np.nan, 0.5],
        [np.nan, np.nan, np.nan, np.nan, 1.0],
        [-12345678901.99, 0.0, 3.0, np.nan, 2.0],
    ]
    np.testing.assert_array_equal(np.array(matrix), wanted)


def test_texts_and_times_and_what_is_missing(read: Callable[[pa.Table], Body]) -> None:
    at = datetime(2025, 3, 1, 6, 0, 0, 123456, UTC)
    table = pa.table(
        {
            "text": pa.array(["é", None, "z"]),
            "large": pa.array(["a", None, "c"], pa.large_string()),
            "coded": pa.array(["north", None, "north"]).dictionary_encode(),
            "at": pa.array([at, None, at], pa.timestamp("us", "America/New_York")),
            "naive": pa.array([at.replace(tzinfo=None), None, None], pa.timestamp("ms")),
            "day": pa.array([date(2025, 3, 1), None, None]),
            "n": pa.array([1, None, 2**60], pa.int64()),
        }
    )
    rows = read(table).rows
    first, second, third = rows.records(None)
    assert first == rows.first()
    assert first == {
        "text": "é",
        "large": "a",
        "coded": "north",
        "at": "2025-03-01 06:00:00.123456Z",
        "naive": "2025-03-01 06:00:00.123Z",
        "day": "2025-03-01",
        "n": 1,
    }
    assert set(second.values()) == {None}
    assert (third["coded"], third["n"]) == ("north", 2**60)
    reader = InputReader([("at", "datetime"), ("naive", "datetime"), ("n", "double"), ("coded", "string")])
    assert split_inputs(reader.read(rows), reader.types)[0] == [
        "2025-03-01T06:00:00.123456",
        "2025-03-01T06:00:00.123000",
        1.0,
        "north",
    ]


def test_views_are_text() -> None:
    column = pa.array(["short", None, "longer than twelve bytes"], pa.string_view())
    rows = read_arrow_stream(stream(pa.table({"a": column})))
    assert [row["a"] for row in rows.rows.records(None)] == ["short", None, "longer than twelve bytes"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1.0], [2.0, 3.0]]),
        pa.array([{"x": 1.0}, None]),
        pa.array([b"1", b"2"]),
        pa.array([timedelta(seconds=1), None]),
        pa.array([[1.0, 2.0]] * 2, pa.list_(pa.float64(), 2)),
    ],
)
def test_types_that_no_input_takes_are_refused_by_the_columns_name(
    read: Callable[[pa.Table], Body], column: pa.Array
) -> None:
    rows = read(pa.table({"a": [1.0, 2.0], "odd": column})).rows
    assert InputReader([("a", "double")]).read(rows).numbers.tolist() == [[1.0], [2.0]]
    for kind in ("double", "string", "long"):
        with pytest.raises(InvalidInput, match="column 'odd' has a value that is not"):
            InputReader([("odd", kind), ("a", "double")]).read(rows)


def test_a_missing_column_is_named(read: Callable[[pa.Table], Body]) -> None:
    with pytest.raises(InvalidInput, match="column 'b' is missing"):
        InputReader([("a", "double"), ("b", "double")]).read(read(pa.table({"a": [1.0]})).rows)


def test_no_rows_and_no_columns(read: Callable[[pa.Table], Body]) -> None:
    with pytest.raises(InvalidInput, match="no rows"):
        read(pa.table({"a": pa.array([], pa.float64())}))
    with pytest.raises(InvalidInput, match="no rows"):
        read(pa.table({}))


def test_a_column_named_twice() -> None:
    table = pa.table([[1.0], [2.0]], names=["a", "a"])
    for write, reader in ((stream, read_arrow_stream), (file, read_arrow_file), (parquet, read_parquet)):
        with pytest.raises(InvalidInput, match="names a column twice"):
            reader(write(table))


@pytest.mark.parametrize("reader", [read_arrow_stream, read_arrow_file, read_parquet])
def test_what_is_nothing_of_the_kind(reader: Read) -> None:
    for raw in (
        b"",
        b"x",
        b"{}",
        b"PAR1",
        b"PAR1" * 9,
        b"ARROW1\0\0",
        b"ARROW1\0\0\xff\xff\xff\xff",
        b"\0" * 64,
        b"\xff" * 64,
    ):
        with pytest.raises(InvalidInput, match=r"the body is not an? |no rows"):
            reader(raw)


LIMIT = Envelope(most_bytes=1_000_000)
MOST = LIMIT.most_bytes


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_what_unpacks_to_more_than_the_limit_is_not_unpacked(codec: str) -> None:
    raw = stream(pa.table({"a": np.zeros(1_000_000)}), compression=codec)
    assert len(raw) < 100_000
    assert unpacked_bytes(raw, 9_000_000) == 8_000_000
    before = pa.total_allocated_bytes()
    for packed, reader in (
        (raw, read_arrow_stream),
        (file(pa.table({"a": np.zeros(1_000_000)}), compression=codec), read_arrow_file),
    ):
        with pytest.raises(TooLarge):
            reader(packed, LIMIT)
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_a_stream_that_is_not_packed_counts_its_buffers() -> None:
    raw = stream(pa.table({"a": np.zeros(1000), "b": ["x" * 10] * 1000}))
    assert unpacked_bytes(raw, MOST) == 8 * 1000 + 10 * 1000 + 4 * 1001
    with pytest.raises(ValueError, match="within a message"):
        unpacked_bytes(struct.pack("<Ii", 0xFFFFFFFF, 1000), MOST)


def test_messages_that_share_a_table_are_refused_before_each_is_read_in_its_length() -> None:
    messages, buffers = 1000, 1000
    # Flatbuffers by hand: a Message whose header is a RecordBatch with compression, whose buffers are all empty.
    message = struct.pack("<6H", 12, 0, 0, 4, 8, 0) + struct.pack("<iII", 12, 3, 16)
    batch = struct.pack("<6H", 12, 0, 0, 0, 4, 8) + struct.pack("<iII", 12, 8, 0)
    vector = struct.pack("<I", buffers) + bytes(16 * buffers)
    shared = message + batch + vector
    alone = struct.pack("<II", 4 + len(shared), 16) + shared
    assert unpacked_bytes(alone, MOST) == 0  # in its own place it is well formed
    end = 8 * messages + 4
    pointers = [struct.pack("<II", 4, end + 12 - (8 * number + 4)) for number in range(messages)]
    with pytest.raises(ValueError, match="within a message"):
        unpacked_bytes(b"".join(pointers) + bytes(4) + shared, MOST)


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(2_000_000),
        pa.DictionaryArray.from_arrays(pa.array(np.zeros(1000, dtype=np.int8)), ["x" * 10_000]),
        pa.array([*["x" * 200_000] * 30], pa.string_view()),
    ],
    ids=["nulls", "one long text", "views"],
)
def test_few_bytes_that_stand_for_many(column: pa.Array) -> None:
    with pytest.raises(TooLarge):
        read_arrow_stream(stream(pa.table({"a": column})), LIMIT)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a": np.zeros(1_000_000)}),
        pa.table({"a": ["x" * 10_000] * 1000}),
        pa.table({"a": pa.nulls(2_000_000)}),
        pa.table({"a": [["x"] * 1000] * 1000, "b": np.arange(1000)}),
    ],
    ids=["zeros", "one long text", "nulls", "lists"],
)
@pytest.mark.parametrize("dictionary", [True, False])
def test_a_parquet_file_that_stands_for_much(table: pa.Table, *, dictionary: bool) -> None:
    raw = parquet(table, compression="zstd", use_dictionary=dictionary)
    assert len(raw) < 100_000
    before = pa.total_allocated_bytes()
    try:
        rows = read_parquet(raw, LIMIT).rows
    except TooLarge:
        return
    # Only lists come as far as here: they are not read at all.
    assert rows.records(None)[1]["b"] == 1
    assert pa.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("digits", [2, 9, 18, 38, 76])
@pytest.mark.parametrize("whole", [True, False])
def test_decimals_in_parquet(digits: int, *, whole: bool) -> None:
    kind = (pa.decimal128 if digits <= 38 else pa.decimal256)(digits, 1)
    table = pa.table({"a": pa.array([Decimal("1.5"), None, Decimal("-2.5")], kind)})
    if digits <= 38 or not whole:
        raw = parquet(table, store_decimal_as_integer=whole)
        assert read_parquet(raw).rows.records(None) == table.to_pylist()


def test_decimals_in_parquet_that_are_bytes_of_any_length() -> None:
    values = b"\1\0\0\0\x0f" + b"\2\0\0\0\xff\x38"  # lengths, and 15 and -200 with their highest byte first
    raw = pb.paged({**pb.BYTES, **pb.DECIMAL}, [pb.data_page(values, 2, pb.PLAIN)])
    assert read_parquet(raw).rows.records(None) == [{"c0": Decimal("0.15")}, {"c0": Decimal("-2.00")}]


def test_columns_of_parquet_beside_others_that_are_not_read() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    columns = {
        "a.b": [1.5, 2.5],
        "a.t": ["x", None],
        "h": pa.array([np.float16(0.5), None], pa.float16()),
        "m": pa.array([moment, None], pa.timestamp("ns", "UTC")),
        "a": [{"c": 1, "d": {"b": "x"}}, None],
        "bytes": [b"x" * 100, b"y"],
    }
    raw = parquet(
        pa.table(columns),
        use_deprecated_int96_timestamps=True,
        use_dictionary=False,
        column_encoding={"bytes": "DELTA_BYTE_ARRAY"},
    )
    rows = read_parquet(raw).rows
    asked = [("a.b", "double"), ("a.t", "string"), ("h", "double")]
    assert [[row[name] for name, _ in asked] for row in rows.records(None)] == [[1.5, "x", 0.5], [2.5, None, None]]
    assert str(rows.records(None)[0]["m"]).startswith("2026-01-02")
    for name in ("a", "bytes"):
        with pytest.raises(InvalidInput, match=f"column '{name}' has a value that is not"):
            InputReader([(name, "string")]).read(rows)


@pytest.mark.parametrize(
    "version", ["1.2.8", "1.3.0", "1.10.99.7.1.7.0-551 (build 0)", "1.13.1 (build db4183109d5b)", "2.0.0"]
)
def test_what_javas_writers_wrote_is_read(version: str) -> None:
    writer = {6: th.binary(b"parquet-mr version " + version.encode())}
    raw = pb.paged(pb.FLOAT, [pb.data_page(struct.pack("<2f", 1, 2), 2, pb.PLAIN)], more=writer)
    assert read_parquet(raw).rows.records(None) == [{"c0": 1.0}, {"c0": 2.0}]


def test_text_that_is_no_text_is_refused() -> None:
    offsets, text = pa.py_buffer(struct.pack("<2i", 0, 2)), pa.py_buffer(b"\xff\xfe")
    raw = stream(pa.table({"a": pa.StringArray.from_buffers(1, offsets, text)}))
    with pytest.raises(InvalidInput, match="not an Arrow stream that can be read"):
        read_arrow_stream(raw)


def test_offsets_that_point_elsewhere_are_refused() -> None:
    good = stream(pa.table({"a": ["first", "second"]}))
    place = good.index(struct.pack("<3i", 0, 5, 11))
    for wrong in ((0, 5, 1_000_000), (0, -5, 11), (0, 50, 11), (1 << 30, 5, 11)):
        raw = good[:place] + struct.pack("<3i", *wrong) + good[place + 12 :]
        with pytest.raises(InvalidInput, match="not an Arrow stream that can be read"):
            read_arrow_stream(raw)
