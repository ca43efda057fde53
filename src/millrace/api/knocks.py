"""What has control and the drain start: a worker sees that there is something for them to do, and knocks at their doors.

Each worker looks for itself. To knock where somebody is already does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from millrace.api.doors import knock
from millrace.api.readiness import disagreed
from millrace.api.runtime import control_socket, drain_channel
from millrace.serving.capture.lag import is_waiting
from millrace.serving.port import EndpointReader
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Endpoint

_EVERY_S = 2.0
_LOG = logging.getLogger(__name__)


class Knocks:
    """A worker's looks.

    Args:
        sockets: folder of the doors.
        capture_root: where captured requests wait for the drain.
        virtual: whether the home is in virtual time, where nothing is drained and no canary goes on by itself.
    """

    def __init__(
        self, sockets: Path, hot: HotApp, endpoints: EndpointReader, capture_root: Path, *, virtual: bool
    ) -> None:
        self._control, self._drain = control_socket(sockets), drain_channel(sockets)
        self._hot, self._endpoints, self._capture_root, self._virtual = hot, endpoints, capture_root, virtual
        self._disagreed: set[str] = set()

    async def run(self, loaded: asyncio.Event, every_s: float = _EVERY_S) -> None:
        """Look every few seconds, until cancelled; at the endpoints only when those that are stored are loaded."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await asyncio.to_thread(self.look, loaded=loaded.is_set())
            except Exception:  # noqa: BLE001 - the boundary of the loop: the database may be away, and comes back
                _LOG.exception("what there is for control and the drain is not known; it is looked again")

    def look(self, *, loaded: bool) -> None:
        """Knock where there is something to do."""
        if not self._virtual and is_waiting(self._capture_root):
            knock(self._drain)
        if loaded and self._is_for_control(self._endpoints.list()):
            knock(self._control)

    def begin(self) -> None:
        """Knock at control's door where something waits to be loaded: an environment may have to be made for it."""
        if self._hot.waiting():
            knock(self._control)

    def _is_for_control(self, stored: Iterable[Endpoint]) -> bool:
        """Whether an update was left in its middle, a canary is under way, or this worker serves what it should not."""
        generations = {}
        for endpoint in stored:
            under_way = endpoint.canary is not None and endpoint.canary.is_running and not self._virtual
            if under_way or endpoint.state.config_update == "IN_PROGRESS":
                return True
            if endpoint.state.ready:
                generations[endpoint.name] = endpoint.generation
        wrong = disagreed(self._hot.served(), self._hot.waiting(), generations)
        # An update that switches at this moment is no disagreement.
        lasting, self._disagreed = wrong & self._disagreed, wrong
        return bool(lasting)
