"""Reading the body of a REST request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from millrace.core.errors import InvalidInput

_MOST_BYTES = 16 << 20


async def json_object(request: Request, most_bytes: int = _MOST_BYTES) -> Mapping[str, Any]:
    """The body as a JSON object. Raises InvalidInput where it is none, or longer than it may be."""
    try:
        body = json.loads(await short_body(request, most_bytes))
    except ValueError as error:
        raise InvalidInput("the body is not JSON", hint="send a JSON object") from error
    if not isinstance(body, dict):
        raise InvalidInput("the body is not a JSON object", hint="send a JSON object")
    return body


async def short_body(request: Request, most_bytes: int) -> bytes:
    """The body. Raises InvalidInput where it is longer than it may be; the rest is not read then."""
    parts, size = list[bytes](), 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise InvalidInput(f"the body is over {most_bytes} bytes", hint="send it in parts")
    return b"".join(parts)
