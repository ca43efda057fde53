"""Parquet files that name their columns, or say of their pages, what no writer would."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.serving.bodies import thrift_bytes as th

Fields = Mapping[int, th.Value]
# Fields of a schema's element: the stored type, and what the values are called.
FLOAT: Fields = {1: th.i32(4), 3: th.i32(0)}
BYTES: Fields = {1: th.i32(6), 3: th.i32(0)}
TEXT: Fields = {**BYTES, 6: th.i32(0)}
DECIMAL: Fields = {6: th.i32(5), 7: th.i32(2), 8: th.i32(10)}
NULL: Fields = {10: th.struct({11: th.struct({})})}
PLAIN, RUNS, DELTA_LENGTHS, DELTA_BYTES, CODES = 0, 3, 6, 7, 8
_LONG, _ROWS = 200_000, 2000


def fixed(length: int) -> Fields:
    return {1: th.i32(7), 2: th.i32(length), 3: th.i32(0)}


def written(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", store_schema=False, write_statistics=False, **options)
    return sink.getvalue()


def long_values(stored: Fields, called: Fields) -> bytes:
    """2000 values of 200 KB, each the same."""
    kind = pa.binary(_LONG) if 2 in stored else pa.binary()
    schema = pa.schema([pa.field("a", kind, nullable=False)])
    raw = written(pa.table([pa.array([bytes(_LONG)] * _ROWS, kind)], schema=schema))
    end = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    old, new = (th.struct({**stored, 4: th.binary(b"a"), **more})[1] for more in ({}, called))
    assert raw.count(old, end) == 1
    return raw[:end] + th.framed((12, raw[end:-8].replace(old, new)))[4:]


def long_bytes_in(group: str, beside: str) -> bytes:
    """A group whose column "b" has 2000 values of 200 KB, and numbers."""
    rows = pa.array([{"b": bytes(_LONG)}] * _ROWS, pa.struct([("b", pa.binary())]))
    return written(pa.Table.from_arrays([rows, pa.array([1.0] * _ROWS)], names=[group, beside]))


def data_page(content: bytes, values: int, encoding: int) -> bytes:
    numbers = (values, encoding, RUNS, RUNS)
    return _page(content, {1: th.i32(0)}, {5: th.struct({at: th.i32(each) for at, each in enumerate(numbers, 1)})})


def dictionary_page(content: bytes, values: int) -> bytes:
    return _page(content, {1: th.i32(2)}, {7: th.struct({1: th.i32(values), 2: th.i32(PLAIN)})})


def _page(content: bytes, kind: Fields, facts: Fields) -> bytes:
    packed: bytes = pa.compress(content, codec="zstd", asbytes=True)
    return th.struct({**kind, 2: th.i32(len(content)), 3: th.i32(len(packed)), **facts})[1] + packed


def paged(
    column: Fields,
    pages: Sequence[bytes],
    *,
    columns: int = 1,
    size: int | None = None,
    more: Fields | None = None,
    values: int = 2,
) -> bytes:
    """Columns of so many values each that all have the same pages, the last one with the values unless told what has them."""
    names = [th.binary(b"c%d" % each) for each in range(columns)]
    content = b"".join(pages)
    told = {1: column[1], 2: th.items([th.i32(0)]), 4: th.i32(6), 5: th.i64(values), 6: th.i64(len(content))}
    places = {7: th.i64(len(content) if size is None else size), 9: th.i64(4 + len(content) - len(pages[-1]))}
    if len(pages) > 1:
        places[11] = th.i64(4)
    chunks = [
        th.struct({2: th.i64(0), 3: th.struct(_sorted({**told, 3: th.items([each]), **places}))}) for each in names
    ]
    elements = [th.element(b"all", columns), *[th.struct(_sorted({**column, 4: each})) for each in names]]
    group = th.struct({1: th.items(chunks), 2: th.i64(0), 3: th.i64(values)})
    file = {1: th.i32(2), 2: th.items(elements), 3: th.i64(values), 4: th.items([group]), **(more or {})}
    return b"PAR1" + content + th.framed(th.struct(file))[4:]


def _sorted(fields: Fields) -> Fields:
    return dict(sorted(fields.items()))
