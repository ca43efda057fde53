"""Reading the body of a REST request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request

from millrace.core.errors import InvalidInput

_MOST_BYTES = 16 << 20


async def json_object(request: Request, most_bytes: int = _MOST_BYTES) -> Mapping[str, Any]:
    """The body as a JSON object. Raises InvalidInput where it is none, or longer or deeper than it may be."""
    try:
        body = orjson.loads(await short_body(request, most_bytes))
        orjson.dumps(body)  # objects in each other, deeper than it or anybody would write them again
    except orjson.JSONDecodeError as error:
        raise InvalidInput("the body is not JSON", hint="send a JSON object") from error
    except orjson.JSONEncodeError as error:
        raise InvalidInput("the body has too many objects in each other", hint="send a JSON object") from error
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
