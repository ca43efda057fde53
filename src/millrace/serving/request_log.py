"""Which request a log line is about: set while it is answered, read by whatever formats the log."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

CURRENT: Final[ContextVar[tuple[str, str] | None]] = ContextVar("millrace_request", default=None)
"""(request id, endpoint) of the request that is being answered; None outside of one."""
