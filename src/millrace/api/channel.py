"""Commands between the processes of a server: one JSON line there, one JSON line back, over a private unix socket."""

from __future__ import annotations

import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.api.doors import BACKLOG
from millrace.core.errors import InvalidState, MillraceError

if TYPE_CHECKING:
    import asyncio

Message = Mapping[str, object]
Handler = Callable[[Message], Awaitable[Message]]

_LONGEST_LINE = 64 * 1024 * 1024
_log = logging.getLogger(__name__)


class Unanswered(InvalidState):
    """Nobody answered: the process is gone, not there yet, or too slow. What it did is not known."""


class Gone(Unanswered):
    """Nobody answered, since the process is gone or not there yet."""


class Absent(Gone):
    """Nobody is there, so nobody was asked."""


def ask(path: Path, message: Message, timeout_s: float) -> dict[str, object]:
    """Send a command and wait for its answer.

    Raises:
        Absent: nobody listens.
        Gone: the other side died.
        Unanswered: the answer did not come in time.
        InvalidState: the other side refused; its message and hint are kept.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(path))
            with suppress(BrokenPipeError):  # who was sent away before he could ask was told why
                connection.sendall(json.dumps(message).encode() + b"\n")
            with connection.makefile("rb") as reader:
                line = reader.readline()
    except OSError as error:
        raise _kind(error)(
            f"{path.stem} does not answer: {error.strerror or error}", hint="look at the logs in the home"
        ) from error
    if not line:
        raise Gone(f"{path.stem} stopped while it was asked", hint="look at the logs in the home")
    answer: dict[str, object] = json.loads(line)
    if "error" in answer:
        raise InvalidState(str(answer["error"]), hint=str(answer.get("hint", "")))
    return answer


def _kind(error: OSError) -> type[Unanswered]:
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return Absent
    return Gone if isinstance(error, ConnectionError) else Unanswered


async def listen(at: Path | socket.socket, handler: Handler) -> asyncio.Server:
    """Take commands at a path (a file that is there is replaced), or at a listening socket, until the returned server is closed."""
    import asyncio  # who only asks does without

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            if line:
                writer.write(json.dumps(await _answer(handler, json.loads(line))).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            _log.warning("a command was cut short", exc_info=True)
        finally:
            writer.close()

    if isinstance(at, Path):
        at.unlink(missing_ok=True)  # noqa: ASYNC240 - once, before anything is served
        return await asyncio.start_unix_server(serve, at, limit=_LONGEST_LINE)
    if sys.version_info >= (3, 13):  # the socket's file is not ours to remove
        return await asyncio.start_unix_server(
            serve, sock=at, limit=_LONGEST_LINE, backlog=BACKLOG, cleanup_socket=False
        )
    return await asyncio.start_unix_server(serve, sock=at, limit=_LONGEST_LINE, backlog=BACKLOG)


async def _answer(handler: Handler, message: Message) -> Message:
    try:
        return await handler(message)
    except MillraceError as error:
        return {"error": error.message, "hint": error.hint}
    except Exception as error:  # noqa: BLE001 - the boundary of the command loop: the asker gets the kind, the log the trace
        _log.exception("the command %r failed", message.get("do"))
        # The text is foreign: it may have paths and SQL, and what is asked here ends in answers to callers.
        return {"error": f"{type(error).__name__}; the server's log has more", "hint": ""}
