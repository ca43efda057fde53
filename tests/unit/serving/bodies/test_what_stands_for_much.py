"""Bodies of few bytes that pyarrow would make hundreds of megabytes of, or end the process for."""

from __future__ import annotations

import base64
import io
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.serving.bodies import parquet_bytes as pb
from tests.unit.serving.bodies import thrift_bytes as th
from tests.unit.serving.bodies.arrow_schemas import (
    END,
    NAME,
    RECORDS,
    SIZED_LIST,
    STRUCT,
    TIMESTAMP,
    UNION,
    V4,
    field,
    message,
    number,
    old_message,
    pairs,
    records,
    schema,
)
from tests.unit.serving.bodies.shared_flatbuffers import Table, Tables, Text

LONG = Text(b"x" * 60_000)
MANY = pairs(LONG, LONG, 2000)
PLAIN = schema([field()])
MOST_GROWTH = 64 << 20
MOST_SECONDS = 2.0
# Of the process that reads Parquet, which begins with 70 MB.
MOST_BESIDE = 256 << 20
_READ = """
import json, pickle, resource, sys, time
import pyarrow
import pyarrow.parquet
from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_body import read_arrow_file, read_arrow_stream
from millrace.serving.bodies.body import TooLarge
from millrace.serving.bodies.parquet.reader import READER, read_parquet

def memory(kind, pid="self"):
    try:
        with open(f"/proc/{pid}/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(kind)), 0)
    except FileNotFoundError:
        return 0

def begin_anew(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")  # the peak

def look(read, raw):
    # What another body took would hide what this one takes.
    pyarrow.default_memory_pool().release_unused()
    begin_anew("self")
    if READER.pid and memory("VmRSS", READER.pid):
        begin_anew(READER.pid)
    before, began = memory("VmRSS"), time.process_time()
    try:
        globals()[read](raw)
        outcome = "read"
    except (InvalidInput, TooLarge) as error:
        outcome = type(error).__name__
    # Where the body has ended it, that of the largest so far.
    beside = memory("VmHWM", READER.pid) or resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return outcome, memory("VmHWM") - before, time.process_time() - began, beside

bodies = pickle.load(sys.stdin.buffer)
for name, (read, raw) in bodies.items():
    outcome, growth, seconds, beside = look(read, raw)
    if seconds > 1:  # a machine that does something else meanwhile may count that as ours
        seconds = min(seconds, look(read, raw)[2])
    print(json.dumps([name, outcome, growth, seconds, beside]), flush=True)
"""


def _nested() -> Table:
    inner = field()
    for _ in range(16):
        inner = field(kind=STRUCT, type_=Table({}), children=[inner, inner])
    return inner


def _extension(name: bytes, text: bytes) -> Tables:
    told = ((b"ARROW:extension:name", name), (b"ARROW:extension:metadata", text))
    return Tables([Table({0: Text(key), 1: Text(value)}) for key, value in told])


def _same_bytes_swapped() -> bytes:
    """Numbers with their highest byte first are turned round, each column for itself."""
    columns, rows = 2000, 20_000
    table = records(rows, columns, place=0, size=8 * rows)
    fields = [field(Text(b"%d" % each)) for each in range(columns)]
    return message(schema(fields, endianness=1)) + message(table, RECORDS, body=bytes(8 * rows)) + END


def _packed_as_of_old() -> bytes:
    rows = 20_000_000
    body = number(8 * rows, "q") + pa.compress(bytes(8 * rows), codec="zstd", asbytes=True)
    size = len(body)
    batch = records(rows, 1, place=0, size=size)
    told = pairs(Text(b"ARROW:experimental_compression"), Text(b"zstd"))
    first = message(PLAIN, version=V4)
    return first + message(batch, RECORDS, version=V4, body=body + bytes(-size % 8), metadata=told) + END


def _additions() -> bytes:
    """A dictionary that has an addition before each batch: each batch keeps its own."""
    words = [f"{each:09}" for each in range(50_000)]
    kinds = pa.schema([("a", pa.dictionary(pa.int32(), pa.string()))])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, kinds, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
        for each in range(300):
            words.append(f"more {each}")
            codes = pa.array([0], pa.int32())
            writer.write_batch(pa.record_batch([pa.DictionaryArray.from_arrays(codes, words)], schema=kinds))
    return sink.getvalue()


STREAMS: dict[str, Callable[[], bytes]] = {
    "pairs": lambda: message(schema([field()], MANY)) + END,
    "names": lambda: message(schema([field(LONG)] * 5000)) + END,
    "pairs of fields": lambda: message(schema([field(metadata=pairs(LONG, LONG, 50))] * 50)) + END,
    "zones": lambda: message(schema([field(kind=TIMESTAMP, type_=Table({0: number(2), 1: LONG}))] * 5000)) + END,
    "fields": lambda: message(schema([field()] * 1_000_000)) + END,
    "children": lambda: message(schema([_nested()], pairs(LONG, NAME))) + END,
    "unions": lambda: message(schema([field(kind=UNION, type_=Table({0: number(0)}))] * 500_000)) + END,
    "dictionaries": lambda: (
        message(
            schema([field(dictionary=Table({0: number(5, "q"), 1: Table({0: number(8, "i"), 1: b"1"})}))] * 500_000)
        )
        + END
    ),
    "texts beside the schema": lambda: message(PLAIN, metadata=MANY) + END,
    "texts beside a later message": lambda: message(PLAIN) + message(Table({}), 9, metadata=MANY) + END,
    "texts beside a batch": lambda: (
        message(PLAIN) + message(records(1, 1, place=0, size=8), RECORDS, body=bytes(8), metadata=MANY) + END
    ),
    "another schema": lambda: message(PLAIN) + message(schema([field()] * 1_000_000, MANY)) + END,
    "without marks": lambda: old_message(schema([field()], MANY)) + bytes(4),
    "brackets": lambda: (
        message(
            schema(
                [
                    field(
                        kind=SIZED_LIST,
                        type_=Table({0: number(1, "i")}),
                        children=[field()],
                        metadata=_extension(b"arrow.fixed_shape_tensor", b"[" * 1_000_000),
                    )
                ]
            )
        )
        + END
    ),
    "braces": lambda: message(schema([field(metadata=_extension(b"arrow.opaque", b'{"":' * 1_000_000))])) + END,
    "the same bytes, swapped": _same_bytes_swapped,
    "packed as of old": _packed_as_of_old,
    "additions to a dictionary": _additions,
}


def _chunks(count: int) -> th.Value:
    """A row group with so many columns, of which nothing is said."""
    chunks = th.items([th.struct({2: th.i64(0)})] * count)
    return th.struct({1: chunks, 2: th.i64(0), 3: th.i64(0)})


def _parquet_of(stream: bytes) -> bytes:
    return th.file(th.flat(1), pairs=th.items([th.pair(b"ARROW:schema", base64.b64encode(stream))]))


def _told_too_little(column: pa.Array, *numbers: int) -> bytes:
    """A file that says that it is small when it is unpacked, and one row in some places: 0 is of the file, 1 of a column."""
    sink = io.BytesIO()
    options: dict[str, Any] = {"write_statistics": False, "use_dictionary": bool(numbers), "store_schema": False}
    pq.write_table(pa.table({"c": column}), sink, compression="zstd", row_group_size=len(column), **options)
    raw = sink.getvalue()
    start = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    size = pq.ParquetFile(io.BytesIO(raw)).metadata.row_group(0).total_byte_size
    one, rows, unpacked = (th.i64(each)[1] for each in (1, len(column), size))
    parts = raw[start:].replace(unpacked, _as_long(one, unpacked)).split(rows if numbers else raw)
    between = [_as_long(one, rows) if number_ in numbers else rows for number_ in range(len(parts) - 1)]
    return raw[:start] + b"".join(part + more for part, more in zip(parts, [*between, b""], strict=True))


def _as_long(number_: bytes, other: bytes) -> bytes:
    """The same number in as many bytes as the other."""
    more = len(other) - len(number_)
    return number_[:-1] + bytes([number_[-1] | 128]) + b"\x80" * (more - 1) + b"\0"


def _one_long_text(kind: pa.DataType, **options: Any) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"c": pa.array([500_000 * "x"] * 1000, kind)})
    pq.write_table(table, sink, compression="zstd", write_statistics=False, **options)
    return sink.getvalue()


def _many_lengths(column: pb.Fields, encoding: int) -> bytes:
    """Texts whose page has their lengths first, and says that they are 200 million, all 0."""
    lengths = b"".join(map(th.varint, (1 << 30, 1, 200_000_000, 0, 0))) + bytes(64)
    return pb.paged(column, [pb.data_page(lengths, 2, encoding)])


def _many_words() -> bytes:
    """A dictionary of empty texts; two values are the first of them."""
    words = 3_900_000
    return pb.paged(pb.TEXT, [pb.dictionary_page(bytes(4 * words), words), pb.data_page(b"\1\4\0", 2, pb.CODES)])


def _after_the_end() -> bytes:
    """Columns that say that they have no pages. What an old writer is said to have written is read 100 bytes further."""
    page = pb.data_page(bytes(900_000), 2, pb.PLAIN)
    return pb.paged(pb.FLOAT, [page], columns=400, size=0, more={6: th.binary(b"parquet-mr version 1.2.8")})


FILES: dict[str, Callable[[], bytes]] = {
    "an Arrow schema": lambda: _parquet_of(STREAMS["pairs"]()),
    "an Arrow schema after a good one": lambda: th.file(
        th.flat(1),
        pairs=th.items(
            [
                # The value first, and once more: the last one counts.
                th.struct({2: th.binary(base64.b64encode(STREAMS[each]())), 1: th.binary(b"ARROW:schema")})
                for each in ("names", "pairs")
            ]
        ),
    ),
    "an Arrow schema with brackets": lambda: _parquet_of(STREAMS["braces"]()),
    "a length": lambda: th.framed(th.struct({1: th.i32(2), 2: th.head(12, 1_000_000)})),
    "a path": lambda: th.file(
        th.items([th.element(b"all", 1), th.element(LONG.content, 5000), *[th.element(b"x")] * 5000])
    ),
    "groups in groups": lambda: th.file(
        th.items([th.element(b"all", 1), *[th.element(b"x", 1)] * 100_000, th.element(b"a")])
    ),
    "chunks": lambda: th.file(th.flat(1), th.items([_chunks(900_000)])),
    "columns": lambda: th.file(th.flat(200_000)),
    "a long text": lambda: _one_long_text(pa.string()),
    "a long large text": lambda: _one_long_text(pa.large_string()),
    "a long text in views": lambda: _one_long_text(pa.string_view()),
    "texts that begin alike": lambda: _one_long_text(
        pa.large_string(), use_dictionary=False, column_encoding={"c": "DELTA_BYTE_ARRAY"}
    ),
    "rows that the file does not tell": lambda: _told_too_little(pa.array(np.zeros(20_000_000)), 0),
    "rows that the group does not tell": lambda: _told_too_little(pa.array(np.zeros(20_000_000)), 0, 2, 3),
    "pages that nothing tells of": lambda: _told_too_little(pa.array(["x" * 150_000_000])),
    "long decimals": lambda: pb.long_values(pb.fixed(200_000), pb.DECIMAL),
    "long nulls": lambda: pb.long_values(pb.fixed(200_000), pb.NULL),
    "nulls in place of texts": lambda: pb.written(pa.table({"c": pa.array([None] * 15_000_000, pa.string())})),
    "lengths of texts": lambda: _many_lengths(pb.TEXT, pb.DELTA_LENGTHS),
    "lengths that texts share": lambda: _many_lengths(pb.TEXT, pb.DELTA_BYTES),
    "lengths that decimals share": lambda: _many_lengths({**pb.fixed(5), **pb.DECIMAL}, pb.DELTA_BYTES),
    "pages after the end": _after_the_end,
    "columns named twice": lambda: pb.long_bytes_in("a", beside="a"),
    "decimals of any length": lambda: pb.long_values(pb.BYTES, pb.DECIMAL),
    "nulls of any length": lambda: pb.long_values(pb.BYTES, pb.NULL),
}


# What may be read, since the long values, or the many, are not there in the end.
PARTS: dict[str, Callable[[], bytes]] = {
    "words that nobody uses": _many_words,
    "a name that is a path too": lambda: pb.long_bytes_in("a", beside="a.b"),
    "a name that is a path too, of no name": lambda: pb.long_bytes_in("", beside=".b"),
}


@cache
def _outcomes() -> dict[str, tuple[str, int, float, int]]:
    bodies = {f"stream: {name}": ("read_arrow_stream", make()) for name, make in STREAMS.items()}
    bodies["file: pairs"] = ("read_arrow_file", b"ARROW1\0\0" + STREAMS["pairs"]())
    bodies |= {f"parquet: {name}": ("read_parquet", make()) for name, make in (FILES | PARTS).items()}
    done = subprocess.run([sys.executable, "-c", _READ], input=pickle.dumps(bodies), capture_output=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (outcome, growth, seconds, beside) for name, outcome, growth, seconds, beside in lines}


@pytest.mark.parametrize(
    "name",
    [*[f"stream: {each}" for each in STREAMS], "file: pairs", *[f"parquet: {each}" for each in FILES]],
)
def test_few_bytes_take_little(name: str) -> None:
    assert _outcome(name) in ("TooLarge", "InvalidInput")


@pytest.mark.parametrize("name", PARTS)
def test_what_is_not_needed_takes_nothing(name: str) -> None:
    assert _outcome(f"parquet: {name}") == "read"


def _outcome(name: str) -> str:
    outcomes = _outcomes()
    assert name in outcomes, "the process ended"
    outcome, growth, seconds, beside = outcomes[name]
    assert growth < MOST_GROWTH
    assert beside < MOST_BESIDE
    assert seconds < MOST_SECONDS
    return outcome
