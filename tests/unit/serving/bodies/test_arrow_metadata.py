from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_body import read_arrow_stream
from millrace.serving.bodies.arrow_messages import first_message
from millrace.serving.bodies.arrow_metadata import metadata_bytes
from millrace.serving.bodies.parquet.reader import read_parquet
from tests.unit.serving.bodies.arrow_schemas import NAME, STRUCT, V4, field, message, number, pairs, schema
from tests.unit.serving.bodies.shared_flatbuffers import Table, Text

WIDE = 5000
_EXTENSION = Text(b"ARROW:extension:metadata")


def stream(table: pa.Table, version: pa.ipc.MetadataVersion = pa.ipc.MetadataVersion.V5, *, old: bool = False) -> bytes:
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(metadata_version=version, use_legacy_format=old)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _columns(value: Any) -> dict[str, list[Any]]:
    return {f"c{each}": [value] for each in range(WIDE)}


TABLES = {
    "booleans": lambda: pa.table(_columns(True)),
    "texts": lambda: pa.table(_columns("x")),
    "structs": lambda: pa.table({**_columns(1.0), **{f"s{each}": [{"x": [1.0]}] for each in range(200)}}),
    "dictionaries": lambda: pa.table({f"c{each}": pa.array(["x"]).dictionary_encode() for each in range(1000)}),
    "zones": lambda: pa.table(
        {f"c{each}": pa.array([0], pa.timestamp("us", "Asia/Kathmandu")) for each in range(1000)}
    ),
    "pandas": lambda: pa.Table.from_pandas(pa.table(_columns("x")).to_pandas()),
    "bytes in metadata": lambda: pa.table({"a": ["x"]}).replace_schema_metadata({b"\xff": b"\xfe\0\xfd"}),
    "metadata of fields": lambda: pa.table(
        [["x"]] * 1000,
        schema=pa.schema([pa.field(f"c{each}", pa.string(), metadata={"k": "v"}) for each in range(1000)]),
    ),
    "no names": lambda: pa.table([["x"], [1]], names=["", "b"]),
}


@pytest.mark.parametrize("name", TABLES)
def test_wide_tables_are_read(name: str) -> None:
    table = TABLES[name]()
    for raw in (stream(table), stream(table, pa.ipc.MetadataVersion.V4), stream(table, old=True)):
        assert len(read_arrow_stream(raw).rows) == 1
        metadata = first_message(raw)[8 if raw.startswith(b"\xff" * 4) else 4 :]
        assert metadata_bytes(metadata) < 8 * len(metadata)  # with as much to spare
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert len(read_parquet(sink.getvalue()).rows) == 1


def test_wide_tables_of_polars_are_read() -> None:
    import polars as pl

    frame = pl.DataFrame({f"c{each}": [[None, True, "x", 1.5][each % 4]] for each in range(WIDE)})
    for write, read in ((frame.write_ipc_stream, read_arrow_stream), (frame.write_parquet, read_parquet)):
        sink = io.BytesIO()
        write(sink)
        assert len(read(sink.getvalue()).rows) == 1


def test_a_parquet_file_in_many_groups_is_read() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({f"c{each}": np.zeros(20) for each in range(500)}), sink, row_group_size=1)
    assert len(read_parquet(sink.getvalue()).rows) == 20


def test_what_it_is_made_of() -> None:
    plain = metadata_bytes(_metadata(field()))
    assert metadata_bytes(_metadata(field(), field())) == 2 * plain
    assert metadata_bytes(_metadata(field(Text(b"a" * 11)))) == plain + 10
    assert metadata_bytes(_metadata(field(kind=STRUCT, type_=Table({}), children=[field()]))) == 2 * plain
    assert metadata_bytes(_metadata(field(metadata=pairs(NAME, Text(b"xyz"))))) == plain + plain // 2 + 4
    assert metadata_bytes(message(schema([]), kind=9)[8:]) == 0


def _metadata(*fields: Table) -> bytes:
    return message(schema(fields))[8:]


def test_what_cannot_be_followed_is_refused() -> None:
    good = _metadata(field(metadata=pairs(NAME, NAME)))
    for end in range(len(good) - 8):
        with pytest.raises(ValueError, match=r"fit|ends"):
            metadata_bytes(good[:end])
    deep = field()
    for _ in range(100):
        deep = field(kind=STRUCT, type_=Table({}), children=[deep])
    for columns in ([Table({0: NAME, 5: number(1, "i")})], [deep]):
        with pytest.raises(InvalidInput):
            read_arrow_stream(message(schema(columns), version=V4))


def test_brackets_of_an_extension_are_counted_and_others_are_not() -> None:
    for text, key in ((b"[" * 1000, _EXTENSION), (b"[" * 2000, Text(b"other"))):
        assert metadata_bytes(_metadata(field(metadata=pairs(key, Text(text))))) > len(text)
    for text in (b"[" * 1001, b"{" * 501 + b"[" * 501):
        with pytest.raises(ValueError, match="fit"):
            metadata_bytes(_metadata(field(metadata=pairs(_EXTENSION, Text(text)))))
