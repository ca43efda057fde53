"""The home's clock: the machine's, or a virtual one that all processes of the home share."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol, cast

from millrace.core.clock import SystemClock, epoch_us, from_epoch_us

if TYPE_CHECKING:
    from millrace.database.settings import HomeSettings

_KEY = "virtual_clock_us"


class _Remembered(Protocol):
    def get(self, key: str) -> object: ...


class HomeTime:
    """Tells virtual time where the home has one, else the machine's.

    Whether a home is virtual is decided when the clock is opened; where the virtual clock stands is read each time, so
    that a move by one process is seen by all at once.
    """

    def __init__(self, settings: _Remembered) -> None:
        self._settings = settings
        self._system = SystemClock()
        self._virtual = settings.get(_KEY) is not None

    @property
    def is_virtual(self) -> bool:
        """Whether this home lives in virtual time."""
        return self._virtual

    def now(self) -> datetime:
        """The home's time, aware, UTC."""
        if not self._virtual:
            return self._system.now()
        return from_epoch_us(cast("int", self._settings.get(_KEY)))


class HomeClock(HomeTime):
    """The same, and it can be put to a time."""

    def __init__(self, settings: HomeSettings) -> None:
        super().__init__(settings)
        self._kept = settings

    def set(self, to: datetime) -> None:
        """Put the home into virtual time, at `to`. Processes that are already open in real time don't notice: set it first."""
        self._kept.set(_KEY, epoch_us(to))
        self._virtual = True
