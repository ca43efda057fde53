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
        column = _plain(table.column(name))
        _add(digest, name.encode())
        _add(digest, str(column.type).encode())
        _add(digest, _present(column))
        for part in _values(column):
            _add(digest, part)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, part: bytes | np.ndarray) -> None:
    digest.update(np.int64(part.nbytes if isinstance(part, np.ndarray) else len(part)).tobytes())
    digest.update(part.data if isinstance(part, np.ndarray) else part)


def _present(column: pa.Array) -> np.ndarray:
    """A bit for each row, 1 where there is a value."""
    if not column.null_count:
        return np.packbits(np.ones(len(column), np.bool_))
    return np.packbits(column.is_valid().to_numpy(zero_copy_only=False))


def _plain(column: pa.ChunkedArray) -> pa.Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    elif pa.types.is_large_binary(kind):
        column = column.cast(pa.binary())
    return column.combine_chunks()


def _values(column: pa.Array) -> list[bytes | np.ndarray]:
    kind = column.type
    if pa.types.is_null(kind) or len(column) == 0:
        return []
    if pa.types.is_temporal(kind) and kind.bit_width in _WORDS:
        return _values(column.view(_WORDS[kind.bit_width]))
    if pa.types.is_decimal128(kind):
        filled = pc.fill_null(column, pa.scalar(Decimal(0), kind))
        return [filled.buffers()[1][16 * filled.offset : 16 * (filled.offset + len(filled))].to_pybytes()]
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        filled = pc.fill_null(column.cast(pa.binary()), b"")
        return [pc.binary_length(filled).to_numpy(zero_copy_only=False).tobytes(), b"".join(filled.to_pylist())]
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
