"""What is read without pyarrow is read as pyarrow reads it, and what pyarrow would not read isn't."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_body import _body, _stream, read_arrow_file, read_arrow_stream
from millrace.serving.bodies.arrow_numbers import read_numbers
from millrace.serving.bodies.body import Body, Envelope, TooLarge

LIMIT = Envelope(most_bytes=100_000)
WHOLE = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
NAMED = st.characters(codec="utf-8", exclude_characters="\0")
KINDS = [*WHOLE, pa.float32(), pa.float64()]


def written(make: Callable[..., Any], data: pa.Table | pa.RecordBatch, **options: Any) -> bytes:
    sink = io.BytesIO()
    with make(sink, data.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write(data)
    return sink.getvalue()


def stream(data: pa.Table | pa.RecordBatch, **options: Any) -> bytes:
    return written(pa.ipc.new_stream, data, **options)


def file(data: pa.Table | pa.RecordBatch, **options: Any) -> bytes:
    return written(pa.ipc.new_file, data, **options)


def by_pyarrow(raw: bytes, envelope: Envelope = LIMIT) -> Body:
    return _body("a stream", lambda: _stream(raw, envelope.most_bytes), envelope)


def outcome(read: Callable[[bytes, Envelope], Body], raw: bytes) -> object:
    """All that can be seen of a body, or which kind of error it is."""
    try:
        return _seen(read(raw, LIMIT))
    except (InvalidInput, TooLarge) as error:
        return type(error)


def _seen(body: Body) -> str:
    rows = body.rows
    records = rows.records(None)
    names = list(records[0])
    with np.errstate(invalid="ignore"):  # pyarrow's way to widen odd NaNs
        matrices = [rows.matrix(asked) for asked in (names, tuple(names), names[::-1], names[:1], [], [*names, "?"])]
    assert all(each is None or each.flags.c_contiguous for each in matrices)
    seen = [None if each is None else (each.dtype, each.shape, each.tolist()) for each in matrices]
    return repr((len(rows), records, rows.first(), seen))


def is_read(raw: bytes, start: int = 0) -> bool:
    return read_numbers(raw, start, LIMIT.most_bytes) is not None


def _values(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width)
    facts = np.iinfo(kind.to_pandas_dtype())
    return st.integers(int(facts.min), int(facts.max)) | st.sampled_from([int(facts.min), int(facts.max)])


@st.composite
def batches(draw: st.DrawFn) -> pa.RecordBatch:
    rows, skipped = draw(st.integers(1, 20)), draw(st.integers(0, 9))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6) | st.just([pa.float64()] * 4))
    names = draw(st.lists(st.text(NAMED, max_size=5), min_size=len(kinds), max_size=len(kinds), unique=True))
    gaps = draw(st.sampled_from([st.nothing(), st.none()]))
    size = rows + skipped
    columns = [pa.array(draw(st.lists(gaps | _values(kind), min_size=size, max_size=size)), kind) for kind in kinds]
    metadata = draw(st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3))
    fields = [pa.field(name, kind, nullable=draw(st.booleans())) for name, kind in zip(names, kinds, strict=True)]
    schema = pa.schema(fields, metadata=metadata)
    return pa.record_batch(columns, schema=schema).slice(skipped)


def _examples(usual: int) -> int:
    nightly = settings.get_profile("nightly").max_examples
    return nightly if settings().max_examples == nightly else usual


@settings(max_examples=_examples(100), deadline=None)
@given(batches())
def test_what_is_read_is_what_pyarrow_reads(batch: pa.RecordBatch) -> None:
    raw, as_file = stream(batch), file(batch)
    for each in (raw, raw[:-8]):  # a stream may well end without its mark
        assert is_read(each)
        assert outcome(read_arrow_stream, each) == outcome(by_pyarrow, raw)
    assert is_read(as_file, start=8)
    assert outcome(read_arrow_file, as_file) == outcome(by_pyarrow, raw)


def _bodies() -> list[bytes]:
    whole = {"a": pa.array([1, None, 2**62 + 1], pa.int64()), "b": pa.array([1, 2, 255], pa.uint8())}
    mixed = pa.table({**whole, "c": [0.5, None, None], "f": pa.array([0.1, 1.0, None], pa.float32())})
    even = pa.table({name: [1.0, float("nan"), -3.0] for name in "abc"})
    tables = [mixed, even, mixed.replace_schema_metadata({"k": "v", "": "w"}), pa.table({"a": np.arange(9)})]
    return [*map(stream, tables), stream(pa.table({"a": [True]})), stream(even, compression="lz4")]


BODIES = _bodies()
_ODD = [0, 1, 2, 3, 4, 5, 7, 8, 16, 64, 127, 128, 255, 256, 1 << 15, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
_WIDER = [*_ODD, 1 << 32, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 8, 1 << 63]


def _spoil(draw: st.DrawFn, raw: bytearray) -> None:
    how = draw(st.sampled_from(["flip", "put", "put", "put", "add", "add", "move", "cut", "drop", "double"]))
    at = draw(st.integers(0, max(0, len(raw) - 1)))
    width = draw(st.sampled_from([1, 2, 4, 8]))
    here = at - at % width
    kept = raw[here : here + width]
    if how == "flip" and raw:
        raw[at] ^= 1 << draw(st.integers(0, 7))
    elif how == "put" and len(kept) == width:
        kept[:] = (draw(st.sampled_from(_WIDER)) % (1 << 8 * width)).to_bytes(width, "little")
    elif how == "add" and len(kept) == width:
        value = int.from_bytes(kept, "little") + draw(st.sampled_from([-8, -4, -2, -1, 1, 2, 4, 8]))
        kept[:] = (value % (1 << 8 * width)).to_bytes(width, "little")
    elif how == "move" and len(kept) == width:
        other = draw(st.integers(0, len(raw) // width - 1)) * width
        kept[:] = raw[other : other + width]
    elif how == "cut":
        del raw[at:]
    elif how == "drop":
        del raw[here : here + width]
    elif how == "double":
        raw[here:here] = kept
    if how in ("put", "add", "move"):
        raw[here : here + width] = kept


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    raw = bytearray(draw(st.sampled_from(BODIES)))
    for _ in range(draw(st.integers(1, 3))):
        _spoil(draw, raw)
    return bytes(raw)


@settings(max_examples=_examples(500), deadline=None)
@given(spoiled())
def test_a_spoiled_body_has_the_same_outcome(raw: bytes) -> None:
    assert outcome(read_arrow_stream, raw) == outcome(by_pyarrow, raw)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_each_number_of_the_metadata_is_looked_at(width: int) -> None:
    for good in BODIES[:2]:
        for at in range(0, len(good) - width + 1, width):
            for value in (0, 1, 4, 255, (1 << 8 * width - 1) - 1, (1 << 8 * width) - 8):
                raw = good[:at] + value.to_bytes(width, "little") + good[at + width :]
                assert outcome(read_arrow_stream, raw) == outcome(by_pyarrow, raw), (at, value)


NUMBERS = pa.table({"a": [1.0, 2.0], "b": [3, 4]})


@pytest.mark.parametrize(
    "raw",
    [
        stream(NUMBERS, compression="zstd"),
        stream(NUMBERS, metadata_version=pa.ipc.MetadataVersion.V4),
        stream(NUMBERS, use_legacy_format=True),
        stream(pa.concat_tables([NUMBERS, NUMBERS])),
        stream(NUMBERS.slice(0, 0)),
        stream(pa.table({})),
        stream(NUMBERS)[:-8] + bytes(4),
        stream(NUMBERS)[:-12],
        stream(pa.table([[1.0], [2.0]], names=["a", "a"])),
        stream(NUMBERS.append_column("c", pa.array(["x", "y"]))),
        stream(NUMBERS.append_column("c", pa.array([True, False]))),
        stream(NUMBERS.append_column("c", pa.array([0.5, 1.5], pa.float16()))),
        stream(NUMBERS.append_column("c", pa.array([1, 2]).dictionary_encode())),
        stream(NUMBERS.append_column("c", pa.array([1, 2], pa.timestamp("us")))),
        stream(NUMBERS.append_column("c", pa.array([[1.0], [2.0]]))),
        stream(NUMBERS.append_column("c", pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1], pa.int8())))),
        stream(pa.table({f"column {number}": [1.0] for number in range(2000)})),
        b"",
        bytes(64),
        b"\xff" * 64,
    ],
)
def test_what_is_left_to_pyarrow(raw: bytes) -> None:
    assert not is_read(raw)
    assert outcome(read_arrow_stream, raw) == outcome(by_pyarrow, raw)


def test_what_other_writers_write_is_read() -> None:
    import polars as pl
    from pandas import DataFrame

    sink, columns = io.BytesIO(), {"a": [1.0, None], "b": [3, 4]}
    pl.DataFrame(columns).write_ipc_stream(sink, compression="uncompressed")
    for raw in (sink.getvalue(), stream(pa.Table.from_pandas(DataFrame(columns)))):
        assert is_read(raw)
        assert outcome(read_arrow_stream, raw) == outcome(by_pyarrow, raw)


def test_columns_that_are_the_same_bytes_count_each_for_itself() -> None:
    count, rows = 40, 1024
    raw = stream(pa.table({f"c{number}": np.zeros(rows) for number in range(count)}))
    size = struct.pack("<q", count * rows * 8)
    head = raw[: len(raw) - 8 - count * rows * 8].replace(size, struct.pack("<q", rows * 8))
    first = struct.pack("<4q", 0, 0, 0, rows * 8)  # of the buffers
    at = head.index(first)
    small = head[:at] + first * count + head[at + len(first) * count :] + bytes(rows * 8)
    assert read_numbers(small, 0, 8 * count * rows) is not None
    assert len(small) < LIMIT.most_bytes < 8 * count * rows
    with pytest.raises(TooLarge):
        read_arrow_stream(small, LIMIT)


def test_numbers_are_read_without_pyarrow() -> None:
    program = (
        "import json, sys; import millrace.api.worker\n"
        "from millrace.serving.bodies.dialects import dialect_of; from millrace.serving.bodies.body import PLAIN\n"
        "from millrace.serving.inputs import InputReader\n"
        "body = dialect_of(b'application/vnd.apache.arrow.stream').read(sys.stdin.buffer.read(), PLAIN)\n"
        "inputs = InputReader([('b', 'long'), ('a', 'double')]).read(body.rows)\n"
        "print(json.dumps([inputs.numbers.tolist(), body.rows.records(None), 'pyarrow' in sys.modules]))\n"
    )
    raw = stream(pa.table({"a": [0.5, None], "b": [3, 4]}))
    done = subprocess.run([sys.executable, "-c", program], input=raw, capture_output=True, check=True)
    matrix, records, imported = json.loads(done.stdout)
    assert str(matrix) == "[[3.0, 0.5], [4.0, nan]]"
    assert records == [{"a": 0.5, "b": 3}, {"a": None, "b": 4}]
    assert not imported
