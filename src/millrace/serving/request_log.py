"""Which request a log line is about: set while it is answered, read by whatever formats the log."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final, TypeAlias

Name: TypeAlias = tuple[str, str]
"""Request id, endpoint."""
CURRENT: Final[ContextVar[Name | None]] = ContextVar("millrace_request", default=None)
"""The request that is being answered; None outside of one."""
