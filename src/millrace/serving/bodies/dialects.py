"""Which dialect a content type stands for."""

from __future__ import annotations

from typing import Final

import orjson

from millrace.serving.bodies.body import Dialect
from millrace.serving.bodies.json_body import read_json


def error_body(code: str, message: str) -> bytes:
    """An error in the shape that MLflow and Databricks clients read."""
    return orjson.dumps({"error_code": code, "message": message})


JSON: Final = Dialect("json", read_json, orjson.dumps, error_body)
_BY_TYPE: Final = {b"application/json": JSON}
OFFERED: Final = ", ".join(kind.decode() for kind in _BY_TYPE)


def dialect_of(content_type: bytes | None) -> Dialect | None:
    """The dialect of a Content-Type header; JSON where there is none, None for a type that is not offered."""
    if content_type is None or content_type == b"application/json":
        return JSON
    return _BY_TYPE.get(content_type.partition(b";")[0].strip().lower())
