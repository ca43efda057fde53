"""What has the processes start that are there on demand: a worker sees that there is something for them to do, and knocks at their doors.

Each worker looks for itself. To knock where somebody is already does nothing. A process stays as long as there is a reason to knock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millrace.api.doors import knock
from millrace.api.readiness import disagreed
from millrace.api.runtime import control_socket, drain_channel, scheduler_door
from millrace.serving.capture.lag import is_waiting
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import EndpointName
from millrace.workspace.serving_home import ServingHome

_EVERY_S = 1.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the database said when it was read last.

    Attributes:
        generations: of the endpoints that should be served.
        is_changing: whether an update was left in its middle, or a canary goes on by itself.
        has_work: whether jobs need the scheduler.
    """

    generations: Mapping[EndpointName, int] = field(default_factory=dict)
    is_changing: bool = False
    has_work: bool = False


class Knocks:
    """A worker's looks.

    Args:
        sockets: folder of the doors.
        hot: what the worker serves.
        home: where captured requests wait for the drain, and the database. In virtual time nothing is drained and no canary goes on by itself.
    """

    def __init__(self, sockets: Path, hot: HotApp, home: ServingHome) -> None:
        self._control, self._drain, self._scheduler = (
            door(sockets) for door in (control_socket, drain_channel, scheduler_door)
        )
        self._hot, self._home = hot, home
        self._seen: int | None = None
        self._stored = _Stored()
        self._disagreed: set[str] = set()

    async def run(self, loaded: asyncio.Event, every_s: float = _EVERY_S) -> None:
        """Look every second, until cancelled; whether the right endpoints are served only when those that are stored are loaded."""
        is_told = False
        while True:
            await asyncio.sleep(every_s)
            try:
                await asyncio.to_thread(self.look, loaded=loaded.is_set())
                is_told = False
            except Exception:  # noqa: BLE001 - the boundary of the loop: the database may be away, and comes back
                if not is_told:  # once an outage is enough: it may last for hours
                    _log.exception(
                        "what there is to do for the server's other processes is not known; it is looked again"
                    )
                is_told = True

    def look(self, *, loaded: bool) -> None:
        """Knock where there is something to do."""
        self.tell_drain()
        changes = self._home.changes()
        if changes != self._seen:  # to read all documents each time would be dear
            self._stored = self._read()
            self._seen = changes
        if self._stored.has_work:
            knock(self._scheduler)
        if loaded and (self._stored.is_changing or self._lastingly_disagreed()):
            knock(self._control)

    def tell_drain(self) -> None:
        """Knock at the drain's door where something was captured."""
        if not self._home.clock.is_virtual and is_waiting(self._home.capture_root):
            knock(self._drain)

    def begin(self) -> None:
        """Knock at control's door where something waits to be loaded: an environment may have to be made for it."""
        if self._hot.waiting():
            knock(self._control)

    def _read(self) -> _Stored:
        endpoints, by_itself = self._home.endpoints.list(), not self._home.clock.is_virtual
        return _Stored(
            generations={each.name: each.generation for each in endpoints if each.state.ready},
            is_changing=any(
                each.state.config_update == "IN_PROGRESS" or (by_itself and each.canary and each.canary.is_running)
                for each in endpoints
            ),
            has_work=self._home.has_job_work(),
        )

    def _lastingly_disagreed(self) -> bool:
        """Whether this worker serves what it should not. An update that switches at this moment is no disagreement."""
        wrong = disagreed(self._hot.served(), self._hot.waiting(), self._stored.generations)
        lasting, self._disagreed = wrong & self._disagreed, wrong
        return bool(lasting)
