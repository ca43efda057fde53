"""Reading the body of a REST request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from millrace.core.errors import InvalidInput


async def json_object(request: Request) -> Mapping[str, Any]:
    """The body as a JSON object. Raises InvalidInput where it is none."""
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        raise InvalidInput("the body is not JSON", hint="send a JSON object") from error
    if not isinstance(body, dict):
        raise InvalidInput("the body is not a JSON object", hint="send a JSON object")
    return body
