"""Which dialect a content type stands for."""

from __future__ import annotations

from typing import Final

import orjson

from millrace.serving.bodies.body import Body, Dialect, Envelope
from millrace.serving.bodies.csv_body import read_csv
from millrace.serving.bodies.json_body import read_json, write_json
from millrace.serving.bodies.parquet.reader import read_parquet
from millrace.serving.bodies.v2_body import error_v2, read_v2, write_v2


def error_body(code: str, message: str) -> bytes:
    """An error in the shape that MLflow and Databricks clients read."""
    return orjson.dumps({"error_code": code, "message": message})


def _arrow_stream(raw: bytes, envelope: Envelope) -> Body:
    from millrace.serving.bodies.arrow_body import read_arrow_stream

    return read_arrow_stream(raw, envelope)


def _arrow_file(raw: bytes, envelope: Envelope) -> Body:
    from millrace.serving.bodies.arrow_body import read_arrow_file

    return read_arrow_file(raw, envelope)


# Most servers never get a binary body: what reads those is imported with the first.
JSON: Final = Dialect("json", read_json, write_json, error_body)
CSV: Final = Dialect("csv", read_csv, write_json, error_body)
ARROW_STREAM: Final = Dialect("arrow_stream", _arrow_stream, write_json, error_body)
ARROW_FILE: Final = Dialect("arrow_file", _arrow_file, write_json, error_body)
PARQUET: Final = Dialect("parquet", read_parquet, write_json, error_body, beside=True)
V2: Final = Dialect("open_inference", read_v2, write_v2, error_v2)

_BY_TYPE: Final = {
    b"application/json": JSON,
    b"text/csv": CSV,
    b"application/vnd.apache.parquet": PARQUET,
    b"application/vnd.apache.arrow.stream": ARROW_STREAM,
    b"application/vnd.apache.arrow.file": ARROW_FILE,
}
_UTF_8: Final = frozenset({b"utf-8", b"utf8", b"us-ascii"})
OFFERED: Final = ", ".join(kind.decode() for kind in _BY_TYPE)


def dialect_of(content_type: bytes | None) -> Dialect | None:
    """The dialect of a Content-Type header; JSON where there is none, None for a type or a charset that is not offered."""
    if content_type is None or content_type == b"application/json":
        return JSON
    kind, _, parameters = content_type.lower().partition(b";")
    _, said, charset = parameters.partition(b"charset=")
    if said and charset.partition(b";")[0].strip(b' "') not in _UTF_8:
        return None
    return _BY_TYPE.get(kind.strip())
