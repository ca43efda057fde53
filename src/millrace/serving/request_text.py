"""The text of a request, for the payload table: as it came, or, where it came in a binary format, as dataframe_split."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pyarrow as pa

from millrace.serving.records import LONGEST_TEXT, REQUEST_TOO_LONG, RESPONSE_TOO_LONG, Record

NOT_TEXT = "REQUEST_NOT_TEXT"
_OK = 200


def texts(record: Record) -> tuple[str | None, str | None, list[str]]:
    """The request's text, the response's, and the error codes that say why one of them is missing."""
    codes: list[str] = []
    request, response = _text(record.request), _text(record.response)
    if record.request is None:
        codes.append(REQUEST_TOO_LONG)
    elif record.dialect in _BINARY:
        request = _rendered(record.request, record.dialect) if record.status == _OK else None
        if request is None:
            codes.append(NOT_TEXT)
        elif len(request) > LONGEST_TEXT:
            request = None
            codes.append(REQUEST_TOO_LONG)
    if record.response is None:
        codes.append(RESPONSE_TOO_LONG)
    return request, response, codes


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", errors="replace")


def _rendered(raw: bytes, dialect: str) -> str | None:
    # Only what was answered comes here: it was within the limits of a request when it was unpacked.
    try:
        table = _BINARY[dialect](raw)
    except (pa.ArrowException, OSError):
        return None
    content = {"columns": table.column_names, "data": [list(row) for row in _rows(table)]}
    return orjson.dumps({"dataframe_split": content}, str).decode()


def _rows(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _parquet(raw: bytes) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(raw))


def _arrow_file(raw: bytes) -> pa.Table:
    with pa.ipc.open_file(raw) as reader:
        return reader.read_all()


def _arrow_stream(raw: bytes) -> pa.Table:
    with pa.ipc.open_stream(raw) as reader:
        return reader.read_all()


# By the dialects' names.
_BINARY: dict[str, Callable[[bytes], pa.Table]] = {
    "parquet": _parquet,
    "arrow_file": _arrow_file,
    "arrow_stream": _arrow_stream,
}
