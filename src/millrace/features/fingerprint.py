"""A table's fingerprint: the same rows, order and types give the same text, however they are stored in memory."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FORMAT = b"millrace-table-1"
_WORDS = {32: pa.int32(), 64: pa.int64()}


def fingerprint(table: pa.Table) -> str:
    """SHA-256 over names, types, nulls and values, in hexadecimal.

    Chunks, slices, dictionary encoding, bytes under nulls and NaN payloads don't count.
    """
    digest = hashlib.sha256(_FORMAT)
    digest.update(np.int64(len(table)).tobytes())
    for name in table.column_names:
        column = _decoded(table.column(name))
        text = _text_type(column.type)
        whole = None if text else column.combine_chunks()
        _add(digest, name.encode())
        _add(digest, str(text or column.type).encode())
        _add(digest, _present(column))
        if whole is None:
            _add_text(digest, column)
        else:
            for part in _values(whole):
                _add(digest, part)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: bytes | np.ndarray) -> None:
    digest.update(np.int64(part.nbytes if isinstance(part, np.ndarray) else len(part)).tobytes())
    digest.update(part.data if isinstance(part, np.ndarray) else part)


def _add_text(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    """Lengths, then contents, chunk by chunk: all of a column may be more than one chunk can hold."""
    if not len(column):
        return
    wide = [pc.fill_null(chunk.cast(pa.large_binary()), b"") for chunk in column.chunks]
    lengths = [pc.binary_length(chunk).to_numpy().astype(np.int32) for chunk in wide]
    _add(digest, np.concatenate(lengths).tobytes())
    digest.update(np.int64(sum(int(each.sum(dtype=np.int64)) for each in lengths)).tobytes())
    for chunk in wide:
        _, ends, content = chunk.buffers()
        if len(chunk) and content is not None:
            first, last = np.frombuffer(ends, np.int64)[[chunk.offset, chunk.offset + len(chunk)]]
            digest.update(content[int(first) : int(last)])


def _present(column: pa.ChunkedArray) -> np.ndarray:
    """A bit for each row, 1 where there is a value."""
    if not column.null_count:
        return np.packbits(np.ones(len(column), np.bool_))
    return np.packbits(column.is_valid().to_numpy())


def _decoded(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _text_type(kind: pa.DataType) -> pa.DataType | None:
    """What text and bytes count as, whatever their layout; None for other types."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else None


def _values(column: pa.Array) -> list[bytes | np.ndarray]:
    kind = column.type
    if pa.types.is_null(kind) or len(column) == 0:
        return []
    if pa.types.is_temporal(kind) and kind.bit_width in _WORDS:
        return _values(column.view(_WORDS[kind.bit_width]))
    if pa.types.is_decimal128(kind):
        filled = pc.fill_null(column, pa.scalar(Decimal(0), kind))
        return [filled.buffers()[1][16 * filled.offset : 16 * (filled.offset + len(filled))].to_pybytes()]
    if pa.types.is_primitive(kind):
        return [np.ascontiguousarray(_numbers(column))]
    return [repr(column.to_pylist()).encode()]


def _numbers(column: pa.Array) -> np.ndarray:
    zero = pa.scalar(0, pa.uint8()).cast(column.type)
    values: np.ndarray = (pc.fill_null(column, zero) if column.null_count else column).to_numpy(zero_copy_only=False)
    # The least value is NaN where any is: most columns need no copy.
    if values.dtype.kind == "f" and np.isnan(values.min()):
        values = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return values
