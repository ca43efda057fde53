"""The drain process: what the workers captured goes into the lake, every few seconds and whenever control asks.

A home in virtual time is drained only when it is told to (`POST /api/millrace/capture/drain`), so that the inference
tables change at moments of the home's own time, and a replay gives the same commits.

It is the one process of a server that needs Arrow and Delta for this, and it is there only while there is something to drain: a
worker that has captured something knocks, and where nothing is left for a while it ends.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from millrace.api import channel, lifeline, logs
from millrace.api.attendance import Attendance
from millrace.api.channel import Message
from millrace.api.options import ChildOptions
from millrace.api.workers import Workers
from millrace.core.errors import InvalidState
from millrace.core.principal import system
from millrace.serving.capture.lag import is_waiting
from millrace.serving.types import DrainResult
from millrace.workspace import Workspace, open_workspace

# One commit a table each time: seldom enough to keep the tables' logs short, often enough for a person who looks.
EVERY_S = 10.0
_IDLE_S = 30.0
# As long as the supervisor waits for it.
_GRACE_S = 5.0
# A worker that is busy may take that long, which is less than the minute that clients wait for a drain; who only looks comes again.
_SEAL_S, _QUICK_S = 45.0, 5.0
# A drain holds thousands of records at once, and none of them is in a cycle: to look through them again and again takes a tenth of its time.
_COLLECT = (100_000, 50, 100)
# Who asks goes first: nobody waits for the drain.
_NICE = 10
_log = logging.getLogger(__name__)


class Drains:
    """Drains a home. One drain at a time."""

    def __init__(self, workspace: Workspace, workers: Workers, *, by_itself: bool = True) -> None:
        self._workspace, self._workers, self._by_itself = workspace, workers, by_itself
        self._draining = threading.Lock()
        self.attendance = Attendance(lambda: not self._is_waiting(), _IDLE_S)

    async def handle(self, message: Message) -> Message:
        """Answer control: what was moved."""
        if message["do"] != "drain":
            raise InvalidState(f"the drain does not know the command '{message['do']}'")
        with self.attendance.asked():
            return await asyncio.to_thread(self.drain)

    def look(self) -> None:
        """Drain where there is something to be drained unasked. What fails is logged and tried again the next time."""
        try:
            if self._is_waiting():
                self.drain(_QUICK_S)
        except InvalidState as error:
            _log.warning("%s; it is tried again in %s seconds", error.message, EVERY_S)
        except Exception:  # noqa: BLE001 - the boundary of the loop: the segments stay where they are, nothing is lost
            _log.exception("a drain failed; it is tried again in %s seconds", EVERY_S)

    def drain(self, within_s: float = _SEAL_S) -> dict[str, object]:
        """Move everything that is captured now; how much that was. A worker has so long to hand over its part.

        Raises:
            InvalidState: a worker did not seal its part, so that is missing; the rest was moved.
        """
        unsealed = self._workers.seal(within_s)  # before it is our turn: nobody waits for another's stalled worker
        with self._draining, self.attendance.asked():
            from millrace.serving.capture.drain import drain

            result = drain(self._workspace.lake, self._workspace.capture_root)
            if result.segments or result.held:
                _give_back()
            if unsealed:
                raise _incomplete(unsealed, result)
            return asdict(result)

    def _is_waiting(self) -> bool:
        return self._by_itself and is_waiting(self._workspace.capture_root)


def _incomplete(unsealed: Sequence[str], moved: DrainResult) -> InvalidState:
    names = ", ".join(unsealed)
    return InvalidState(
        f"not all was drained: {names} did not hand over what it captured; {moved.requests} requests of others were moved",
        hint="drain again when it answers, or end its process: the server replaces it, and what it captured is drained then",
    )


def _give_back() -> None:
    """Give the memory of a drain back to the system: Arrow's pool is the system's own, whose release trims all of it."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


class _NoPandas(MetaPathFinder):
    """pyarrow imports pandas where it finds it. Nothing here has a use for it, and it takes 26 MB."""

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("the drain does without pandas", name=fullname)
        return None


async def main(options: ChildOptions) -> None:
    """Drain until SIGTERM or the end of the lifeline, and once more then; or until there is nothing to drain."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    # Only now: one that is started when the server ends already is to drain what was captured last.
    lifeline.hold(options.lifeline_fd, grace_s=_GRACE_S)
    workspace = open_workspace(options.home, principal=system("drain"))
    workers = Workers(Path(options.sockets), options.workers)
    drains = Drains(workspace, workers, by_itself=not workspace.clock.is_virtual)
    try:
        with options.listener as door:
            await attend(drains, door, stop)
        await asyncio.to_thread(drains.look)
    finally:
        workspace.close()


async def attend(drains: Drains, door: socket.socket, stop: asyncio.Event) -> None:
    """Drain until told to stop, or until nobody needs it. Who comes then waits for the next process."""
    while True:
        server = await channel.listen(door.dup(), drains.handle)
        try:
            await _drain_again_and_again(drains, stop)
        finally:
            server.close()
        if stop.is_set() or await drains.attendance.is_over_behind_closed_doors():
            return


async def _drain_again_and_again(drains: Drains, stop: asyncio.Event) -> None:
    while not stop.is_set():
        await asyncio.to_thread(drains.look)
        if await drains.attendance.is_over() or await _told(stop, EVERY_S):
            return


async def _told(stop: asyncio.Event, patience_s: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), patience_s)
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    logs.configure("drain")
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    sys.meta_path.insert(0, _NoPandas())
    gc.set_threshold(*_COLLECT)
    asyncio.run(main(ChildOptions.read()))
