"""Where a home was made: its tables and models are known by their whole paths, which a moved or copied one would not be at."""

from __future__ import annotations

from millrace.core.errors import InvalidState
from millrace.core.settings import Settings

PLACE = "home"  # the home's setting that has it


def is_in_home(settings: Settings) -> bool:
    """Whether the database is the home's own; one elsewhere may be several homes'."""
    return f"{settings.home}/" in settings.database_url


def place_of(settings: Settings) -> str:
    """Where the home is now."""
    return str(settings.home.resolve())


def refuse_moved(settings: Settings, made: object) -> None:
    """Raise InvalidState for a home that was moved or copied here from where it was made."""
    here = place_of(settings)
    if is_in_home(settings) and made != here:
        raise InvalidState(
            f"the home at {here} was made at {made}, where its tables and models are",
            hint="move or mount it back there, or make a new home and import the tables",
            made=made,
        )
