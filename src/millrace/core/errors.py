"""The one tree of errors: what can't be done, stated as a fact with a hint that names the fix."""

from __future__ import annotations

from typing import ClassVar


class MillraceError(Exception):
    """Something that can't be done.

    Args:
        message: the fact, one sentence.
        hint: what to do about it; printed on a line of its own. Empty where there is nothing to say.
        facts: the values behind the message, for programs (`error.facts["table"]`).
    """

    exit_code: ClassVar[int] = 1
    error_code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, hint: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    def __str__(self) -> str:
        """The message and, on its own line, the hint."""
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class InvalidInput(MillraceError):
    """What was given is wrong: a missing column, a wrong type, a broken row, an unknown option value."""

    error_code = "INVALID_PARAMETER_VALUE"


class UsageError(InvalidInput):
    """The command line itself is wrong."""

    exit_code = 2


class NotFound(MillraceError):
    """A named thing (table, model, endpoint, run) does not exist."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(MillraceError):
    """A thing of that name exists."""

    error_code = "RESOURCE_ALREADY_EXISTS"


class Conflict(MillraceError):
    """Somebody else is changing the same thing, or holds it: a lease, a port, a commit."""

    error_code = "ABORTED"


class InvalidState(MillraceError):
    """The thing exists but is not in a state that allows this (no previous version, endpoint not ready)."""

    error_code = "INVALID_STATE"


class PermissionDenied(MillraceError):
    """The caller may not do this, or did not say who it is."""

    error_code = "PERMISSION_DENIED"


class NotApproved(MillraceError):
    """Somebody has to approve first, and nobody has."""

    exit_code = 3
    error_code = "PERMISSION_DENIED"


class NewerHome(MillraceError):
    """The home was written by a newer millrace than this one."""

    error_code = "INVALID_STATE"


class LawBroken(MillraceError):
    """A promise of ours did not hold (a row law, a checksum). A bug: reported, never ignored."""

    exit_code = 70


def first_line(error: BaseException) -> str:
    """What an error says, without what stands under it: libraries in C put the trace of their stack there. Its kind where it is mute."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
