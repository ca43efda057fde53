"""Arrow streams, Arrow files and Parquet, read into one batch. pyarrow is imported with the first such request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_messages import unpacked_bytes
from millrace.serving.bodies.arrow_rows import ArrowRows, is_plain, value_bytes, value_width
from millrace.serving.bodies.body import PLAIN, Body, Envelope, TooLarge

if TYPE_CHECKING:
    import pyarrow as pa

    # Batches of plain columns, and the names of the other columns.
    _Read: TypeAlias = tuple[list[pa.RecordBatch], list[str]]

_MAGIC = b"ARROW1\0\0"
_STREAM, _FILE, _PARQUET = "an Arrow stream", "an Arrow file", "a Parquet file"


def read_arrow_stream(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read an Arrow IPC stream.

    Raises:
        InvalidInput: not such a stream, a column named twice, or no rows.
        TooLarge: what it holds is over the limit once it is unpacked.
    """
    return _body(_STREAM, lambda: _stream(raw, envelope.most_bytes), envelope)


def read_arrow_file(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read an Arrow IPC file, which is a stream between two marks. Raises as `read_arrow_stream`."""
    if not raw.startswith(_MAGIC):
        raise InvalidInput(f"the body is not {_FILE}", hint="send the stream with its own content type")
    return _body(_FILE, lambda: _stream(raw[len(_MAGIC) :], envelope.most_bytes), envelope)


def read_parquet(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read a Parquet file. Raises as `read_arrow_stream`."""
    return _body(_PARQUET, lambda: _parquet(raw, envelope.most_bytes), envelope)


def _body(what: str, read: Callable[[], _Read], envelope: Envelope) -> Body:
    import pyarrow as pa

    try:
        batches, unread = read()
        size = sum(value_bytes(batch) for batch in batches)
        if size > envelope.most_bytes:
            raise TooLarge
        rows = ArrowRows(_joined(batches), unread)
    # pyarrow's errors are of many kinds, and of Python's own: all of them are about the body.
    except (pa.ArrowException, ValueError, KeyError, OSError, OverflowError, TypeError):
        raise InvalidInput(
            f"the body is not {what} that can be read", hint="write it with Arrow's own writer"
        ) from None
    names = [*rows.batch.schema.names, *unread]
    if len(set(names)) < len(names):
        raise InvalidInput("the body names a column twice", hint="name each column once")
    if not len(rows):
        raise InvalidInput("the body has no rows", hint="send at least one")
    return Body(rows, envelope.client_request_id, envelope.predict_proba)


def _stream(raw: bytes, most_bytes: int) -> _Read:
    import pyarrow as pa

    if unpacked_bytes(raw) > most_bytes:
        raise TooLarge
    with pa.ipc.open_stream(raw) as stream:
        names, types = stream.schema.names, stream.schema.types
        batches = list(stream) or [pa.RecordBatch.from_pylist([], stream.schema)]
    plain = [place for place, kind in enumerate(types) if is_plain(kind)]
    if len(plain) < len(names):
        batches = [batch.select(plain) for batch in batches]
    for batch in batches:
        batch.validate(full=True)  # offsets that point elsewhere would be followed
    return batches, [name for place, name in enumerate(names) if place not in plain]


def _parquet(raw: bytes, most_bytes: int) -> _Read:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    buffer = pa.py_buffer(raw)
    file = ParquetFile(pa.BufferReader(buffer))
    facts, schema = file.metadata, file.schema_arrow
    plain = [name for name, kind in zip(schema.names, schema.types, strict=True) if is_plain(kind)]
    packed = sum(facts.row_group(number).total_byte_size for number in range(facts.num_row_groups))
    values = facts.num_rows * sum(value_width(schema.field(name).type) for name in plain)
    if max(packed, values) > most_bytes:
        raise TooLarge
    # As dictionaries: a text that is sent once and stands in a million rows stays one text.
    texts = [name for name in plain if pa.types.is_string(schema.field(name).type)]
    if texts:
        file = ParquetFile(pa.BufferReader(buffer), read_dictionary=texts, metadata=facts)
    table = file.read(columns=plain, use_threads=False)
    return table.to_batches() or [pa.RecordBatch.from_pylist([], table.schema)], [
        name for name in schema.names if name not in plain
    ]


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()[0]
