"""The error of a channel."""

from __future__ import annotations

from millrace.core.errors import MillraceError


class NotDelivered(MillraceError):
    """A channel did not take a notification."""

    error_code = "TEMPORARILY_UNAVAILABLE"
