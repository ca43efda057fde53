"""The text of a request, for the payload table: as it came, or, where it came in a binary format, as dataframe_split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.arrow_body import read_arrow_file, read_arrow_stream
from millrace.serving.bodies.arrow_rows import Unread
from millrace.serving.bodies.body import PLAIN, Body, TooLarge
from millrace.serving.capture.records import LONGEST_TEXT, REQUEST_TOO_LONG, RESPONSE_TOO_LONG, Record

NOT_TEXT = "REQUEST_NOT_TEXT"
_OK = 200


def texts(record: Record) -> tuple[str | bytes | None, bytes | None, Sequence[str]]:
    """The request's text, the response's, and the error codes that say why one of them is missing; UTF-8 as it came."""
    request, response = record.request, record.response
    if request is not None and response is not None and record.dialect not in _BINARY:
        return request, response, ()
    text, code = _request_text(record)
    codes = [code, None if response is not None else RESPONSE_TOO_LONG]
    return text, response, [each for each in codes if each]


def _request_text(record: Record) -> tuple[str | bytes | None, str | None]:
    """The text, or why it is missing."""
    if record.request is None:
        return None, REQUEST_TOO_LONG
    if record.dialect not in _BINARY:
        return record.request, None
    text = _rendered(record.request, record.dialect) if record.status == _OK else None
    if text is None:
        return None, NOT_TEXT
    return (None, REQUEST_TOO_LONG) if len(text) > LONGEST_TEXT else (text, None)


def _rendered(raw: bytes, dialect: str) -> str | None:
    # Only what was answered comes here. It is read as it was for the answer: within bounds, and plain columns only.
    try:
        rows = _BINARY[dialect](raw).rows.records(None)
    except (InvalidInput, TooLarge):
        return None
    content = {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}
    return orjson.dumps({"dataframe_split": content}, _json).decode()


def _read_parquet(raw: bytes) -> Body:
    from millrace.serving.bodies.parquet.unpacking import as_arrow_stream

    return read_arrow_stream(as_arrow_stream(raw, PLAIN.most_bytes))


def _json(value: object) -> str | None:
    """Decimals as digits; what no input takes was not read."""
    return None if isinstance(value, Unread) else str(value)


# By the dialects' names.
_BINARY: dict[str, Callable[[bytes], Body]] = {
    "parquet": _read_parquet,
    "arrow_file": read_arrow_file,
    "arrow_stream": read_arrow_stream,
}
