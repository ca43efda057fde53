"""What Databricks' clients ask first, without a token. A worker answers it: nobody without one starts control, or keeps it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from millrace.api.errors import error_body

PATH = "/.well-known/databricks-config"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application. The server's URL is as the caller wrote it: the guard has checked the Host."""
    if scope["method"] not in {"GET", "HEAD"}:
        content = error_body("METHOD_NOT_ALLOWED", f"{PATH} does not take {scope['method']}")
        await JSONResponse(content, 405, headers={"allow": "GET, HEAD"})(scope, receive, send)
        return
    here = f"{scope['scheme']}://{Headers(scope=scope)['host']}"
    content = {"workspace_id": "1", "cloud": "AWS", "oidc_endpoint": f"{here}/oidc"}
    await JSONResponse(content)(scope, receive, send)
