"""Libraries that send write whole URLs into their logs, with what is secret in them: not while we send."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOGGERS = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.http_proxy",
    "requests",
    "urllib3.connectionpool",
    "urllib3.util.retry",
)
_SENDING: ContextVar[bool] = ContextVar("sending", default=False)


class _Hush(logging.Filter):
    """Drops what is said while this thread sends; what others say stays."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be written."""
        del record
        return not _SENDING.get()


_HUSH = _Hush()


@contextmanager
def hushed() -> Iterator[None]:
    """While this is held, the libraries' logs say nothing of what this thread does."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_HUSH)  # once, however often
    token = _SENDING.set(True)
    try:
        yield
    finally:
        _SENDING.reset(token)
