"""A process's log: one JSON object a line, on standard error, which the supervisor leads into `logs/`.

No line holds what a caller sent: of an error the log has its kind and where it was raised, but not its text, which may
quote a request. Our own errors' texts name columns and no values, and of an error of the system there are the system's words.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.access.types import CALLER
from millrace.core.clock import iso
from millrace.core.errors import MillraceError
from millrace.serving.request_log import CURRENT

_ACCESS: Final = logging.getLogger("millrace.access")
_REQUEST_ID: Final = b"databricks-request-id"


def configure(process: str) -> None:
    """Write this process's log as JSON: warnings and what is worse, and access lines where somebody writes such.

    Args:
        process: its name, as `worker-0`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(process))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # MLflow would write lines of its own form, and all that it does.
    os.environ["MLFLOW_CONFIGURE_LOGGING"] = "false"
    _ACCESS.setLevel(logging.INFO)
    sys.excepthook = _log_death


def keep_beside(process: str, path: Path) -> None:
    """Write a process's warnings into a file too, as JSON; on its terminal they are lines for people.

    Args:
        process: its name, as `supervisor`.
        path: the file; it is appended to.
    """
    file = logging.FileHandler(path)
    file.setFormatter(JsonLines(process))
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[logging.StreamHandler(sys.stderr), file], force=True
    )


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, process, logger, message; request_id and endpoint, error and trace where there are."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        request = CURRENT.get()
        line: dict[str, object] = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request is not None:
            line["request_id"], line["endpoint"] = request
        line |= getattr(record, "facts", {})
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            line |= _told(error)
        return json.dumps(line, default=str)


class AccessLog:
    """An ASGI application that writes a line for each request that the one behind it has answered.

    Neither query strings nor headers are in it, but for the ids of the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and write its line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, facts = time.perf_counter(), dict[str, object]()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts["status"] = message["status"]
                facts.update(
                    (("request_id", value.decode()) for name, value in message["headers"] if name == _REQUEST_ID)
                )
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            caller, client = scope.get(CALLER), scope.get("client")
            facts |= {
                "method": scope["method"],
                "path": scope["path"],
                "duration_ms": round((time.perf_counter() - started) * 1000, 3),
                "caller": caller.name if caller else None,
                "client": client[0] if client else None,
            }
            _ACCESS.info("%s %s", scope["method"], scope["path"], extra={"facts": facts})


def _told(error: BaseException) -> Mapping[str, object]:
    text = _safe_text(error)
    return {"error": type(error).__name__ + (f": {text}" if text else ""), "trace": list(_frames(error))}


def _safe_text(error: BaseException) -> str:
    """What an error says, as far as it can't be what a caller sent."""
    if isinstance(error, MillraceError):
        return str(error)
    if isinstance(error, OSError) and isinstance(error.errno, int):
        return os.strerror(error.errno)
    return ""


def _frames(error: BaseException) -> Iterator[str]:
    """Where the error was raised, the innermost last; of what it came from only the kind, before."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _frames(before)
        yield f"then, after this {type(before).__name__}:"
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"


def _log_death(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    # No request ends a process: this is of its start, and its text is what helps.
    logging.getLogger("millrace").critical("the process ends: %s", error, exc_info=error)
