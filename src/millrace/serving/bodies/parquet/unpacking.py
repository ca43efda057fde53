"""A Parquet file as an Arrow stream. What hostile bytes make pyarrow take is bounded by where this runs: see `process`."""

from __future__ import annotations

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from millrace.serving.bodies.arrow_body import check_whole
from millrace.serving.bodies.arrow_rows import are_machine_numbers, is_plain, is_text, value_width
from millrace.serving.bodies.body import TooLarge, unreadable

_WHAT = "a Parquet file"
_LEAST_WIDTH = 8  # bytes of any value here: short ones are widened on the way to a model
_UNREAD = pa.struct([])


def as_arrow_stream(raw: bytes, most_bytes: int) -> bytes:
    """The plain columns in one batch, texts as dictionaries. The others are objects without anything in them.

    Raises:
        InvalidInput: not such a file, a column named twice, or no rows.
        TooLarge: what it holds is over the limit, or takes more memory than there is.
    """
    try:
        return _written(_read(raw, most_bytes))
    except MemoryError:
        raise TooLarge from None
    # pyarrow's errors are of many kinds, and of Python's own: all of them are about the body.
    except (pa.ArrowException, ValueError, KeyError, OSError, OverflowError, TypeError):
        raise unreadable(_WHAT) from None


def _read(raw: bytes, most_bytes: int) -> pa.RecordBatch:
    buffer = pa.py_buffer(raw)
    file = ParquetFile(pa.BufferReader(buffer), pre_buffer=False)
    schema, facts = file.schema_arrow, file.metadata
    check_whole(schema.names, facts.num_rows)
    places = _plain_columns(file)
    # As dictionaries: a text that is sent once and stands in a million rows stays one text.
    texts = [name for name in places if is_text(schema.field(name).type)]
    if texts:
        source = pa.BufferReader(buffer)
        file = ParquetFile(source, pre_buffer=False, read_dictionary=texts, metadata=facts)
    table = file.reader.read_all(column_indices=list(places.values()), use_threads=False)
    width = sum(max(_LEAST_WIDTH, value_width(kind)) for kind in table.schema.types)
    if table.num_rows * max(_LEAST_WIDTH, width) > most_bytes:
        raise TooLarge
    return _with_others(_one_batch(table), schema.names)


def _plain_columns(file: ParquetFile) -> dict[str, int]:
    """Where the columns are that are read. Not by their names: `a.b` may also be what is called `b` in a group `a`."""
    columns = [file.schema.column(place) for place in range(len(file.schema))]
    single = {each.name: place for place, each in enumerate(columns) if each.path == each.name}
    return {each.name: single[each.name] for each in file.schema_arrow if is_plain(each.type)}


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    (batch,) = table.unify_dictionaries().combine_chunks().to_batches()
    if not are_machine_numbers(table.schema):
        batch.validate(full=True)  # text may be no text
    return batch


def _with_others(batch: pa.RecordBatch, names: list[str]) -> pa.RecordBatch:
    """Without metadata, which readers would have to look at, and with those columns that are not read."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    others = pa.nulls(batch.num_rows, _UNREAD)
    arrays = [columns.get(name, others) for name in names]
    return pa.record_batch(arrays, names=names)


def _written(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())
