"""Arrow streams and Arrow files, read into one batch.

pyarrow is imported with the first such request that holds more than plain numbers: see `arrow_numbers`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_messages import first_message, unpacked_bytes
from millrace.serving.bodies.arrow_numbers import read_numbers
from millrace.serving.bodies.arrow_rows import (
    ArrowRows,
    are_machine_numbers,
    is_plain,
    value_bytes,
)
from millrace.serving.bodies.body import PLAIN, Body, Envelope, TooLarge, unreadable

if TYPE_CHECKING:
    import pyarrow as pa

_MAGIC = b"ARROW1\0\0"
_WIDEST = 8  # bytes of a machine number
_LONGEST_KNOWN = 64 << 10  # bytes of a schema's message
_STREAM, _FILE = "an Arrow stream", "an Arrow file"


@dataclass(frozen=True, slots=True)
class _Found:
    """What a body holds.

    Attributes:
        batches: at least one; of plain columns.
        unread: the names of the other columns.
        numbers: whether all columns are machine numbers.
    """

    batches: Sequence[pa.RecordBatch]
    unread: Sequence[str]
    numbers: bool

    def is_within(self, most_bytes: int) -> bool:
        """Whether the values are within the limit, each standing for itself: several columns may be the same bytes."""
        if self.numbers and sum(_WIDEST * each.num_rows * each.num_columns for each in self.batches) <= most_bytes:
            return True
        return sum(map(value_bytes, self.batches)) <= most_bytes

    def rows(self) -> ArrowRows:
        """All batches as one."""
        import pyarrow as pa

        if len(self.batches) == 1:
            return ArrowRows(self.batches[0], self.unread, self.numbers)
        whole = pa.Table.from_batches(self.batches).unify_dictionaries().combine_chunks()
        return ArrowRows(whole.to_batches()[0], self.unread, self.numbers)


def read_arrow_stream(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read an Arrow IPC stream.

    Raises:
        InvalidInput: not such a stream, a column named twice, or no rows.
        TooLarge: what it holds is over the limit once it is unpacked.
    """
    return _numbers(raw, 0, envelope) or _body(_STREAM, lambda: _stream(raw, envelope.most_bytes), envelope)


def read_arrow_file(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read an Arrow IPC file, which is a stream between two marks. Raises as `read_arrow_stream`."""
    if not raw.startswith(_MAGIC):
        raise InvalidInput(f"the body is not {_FILE}", hint="send the stream with its own content type")
    start = len(_MAGIC)
    return _numbers(raw, start, envelope) or _body(_FILE, lambda: _stream(raw[start:], envelope.most_bytes), envelope)


def check_whole(names: Sequence[str], rows: int) -> None:
    """Raise InvalidInput for a column named twice, or no rows."""
    if len(set(names)) < len(names):
        raise InvalidInput("the body names a column twice", hint="name each column once")
    if not rows:
        raise InvalidInput("the body has no rows", hint="send at least one")


def _numbers(raw: bytes, start: int, envelope: Envelope) -> Body | None:
    rows = read_numbers(raw, start, envelope.most_bytes)
    return None if rows is None else Body(rows, envelope.client_request_id, envelope.predict_proba)


def _body(what: str, read: Callable[[], _Found], envelope: Envelope) -> Body:
    import pyarrow as pa

    try:
        found = read()
        if not found.is_within(envelope.most_bytes):
            raise TooLarge
        rows = found.rows()
    # pyarrow's errors are of many kinds, and of Python's own: all of them are about the body.
    except (pa.ArrowException, ValueError, KeyError, OSError, OverflowError, TypeError):
        raise unreadable(what) from None
    check_whole([*rows.batch.schema.names, *rows.unread], len(rows))
    return Body(rows, envelope.client_request_id, envelope.predict_proba)


def _stream(raw: bytes, most_bytes: int) -> _Found:
    import pyarrow as pa

    unpacked_bytes(raw, most_bytes)
    with pa.ipc.open_stream(raw) as stream:
        batches = list(stream) or [pa.RecordBatch.from_pylist([], stream.schema)]
    # What is seen of a schema is seen once: a caller sends the same bytes of it again and again.
    first = first_message(raw)
    kinds = _known_kinds(first) if len(first) <= _LONGEST_KNOWN else _kinds(batches[0].schema)
    if not kinds.numbers:
        batches = [batch.select(kinds.plain) for batch in batches]
    for batch in batches:
        batch.validate(full=True)  # offsets that point elsewhere would be followed
    return _Found(batches, kinds.unread, kinds.numbers)


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The columns of a schema: the places of plain ones, the names of others, whether all are machine numbers."""

    plain: Sequence[int]
    unread: Sequence[str]
    numbers: bool


@lru_cache(maxsize=64)
def _known_kinds(message: bytes) -> _Kinds:
    import pyarrow as pa

    return _kinds(pa.ipc.read_schema(pa.py_buffer(message)))


def _kinds(schema: pa.Schema) -> _Kinds:
    plain = [place for place, kind in enumerate(schema.types) if is_plain(kind)]
    others = {*range(len(schema))}.difference(plain)
    unread = [name for place, name in enumerate(schema.names) if place in others]
    return _Kinds(plain, unread, are_machine_numbers(schema))
