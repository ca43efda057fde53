"""Options that code written elsewhere gives."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import InvalidInput


def names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Column names, where one may be given without a list around it."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def only_default(**options: object) -> None:
    """Refuse options that are known elsewhere and do nothing here: what is asked for is done, or said not to be."""
    for name, given in options.items():
        if given is not None:
            raise InvalidInput(f"{name} is not supported", hint=f"leave {name} out")
