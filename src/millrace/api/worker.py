"""A worker: answers the hot route itself and hands the rest to control. Holds the models of all endpoints."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from millrace.api import asgi_server, channel, databricks_config, lifeline
from millrace.api.attendance import Attendance
from millrace.api.auth import Credentials, home_token
from millrace.api.callers import Callers, follow
from millrace.api.guard import Guard
from millrace.api.hanging import end_when_hung
from millrace.api.health import PATHS, Health
from millrace.api.knocks import Knocks
from millrace.api.lane_protocol import LaneProtocol, Way
from millrace.api.logs import AccessLog
from millrace.api.memory import Leftovers, keep_for_the_next
from millrace.api.options import ChildOptions
from millrace.api.renewal import REST_S, Renewal, begin_anew
from millrace.api.runtime import control_socket, worker_channel
from millrace.api.wire import from_wire
from millrace.api.workers import Workers
from millrace.core.clock import SystemClock
from millrace.core.errors import InvalidState, NotFound
from millrace.core.principal import current_user
from millrace.serving.bodies.parquet.reader import READER
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.models.processes.environments import Environments
from millrace.serving.port import EndpointReader
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Endpoint, EndpointName, LoadPlan
from millrace.workspace.serving_home import open_serving_home

if TYPE_CHECKING:
    from millrace.api.channel import Message
    from millrace.api.proxy import ControlProxy

_log = logging.getLogger(__name__)
_SELDOM_S = 60.0
# The requests of one turn are in memory until all of them are answered. To look for cycles among them every turn, and now and then in
# all that is loaded, takes a worker of a hundred connections a tenth of its time, in pauses of up to 50 ms.
_COLLECT = (10_000, 20, 100)


class WorkerApp:
    """The ASGI application of a worker: health, the hot route, and the way to control."""

    def __init__(self, hot: HotApp, health: Health, control: Path, instance: str) -> None:
        self._hot, self._answers_health = hot, health
        self._control = control
        self._live = JSONResponse({"status": "ok", "instance": instance})
        self._health = PlainTextResponse("OK")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._hot.handles(scope):
            await self._hot(scope, receive, send)
        elif scope["path"] == "/health/live":
            await self._live(scope, receive, send)
        elif scope["path"] == "/health":
            await self._health(scope, receive, send)
        elif scope["path"] in PATHS:
            await self._answers_health(scope, receive, send)
        elif scope["path"] == databricks_config.PATH:
            await databricks_config.answer(scope, receive, send)
        else:
            await self._proxy(scope, receive, send)

    @cached_property
    def _proxy(self) -> ControlProxy:
        # Made for the first request that needs it: a worker that only answers the hot route has no HTTP client.
        from millrace.api.proxy import ControlProxy

        return ControlProxy(self._control)


class Commands:
    """What control may ask of a worker. Changes are taken one at a time, after the stored endpoints are loaded."""

    def __init__(
        self, hot: HotApp, capture: CaptureLog, store: EndpointReader, attendance: Attendance, restarts: int = 0
    ) -> None:
        self._hot, self._capture, self._store, self._restarts = hot, capture, store, restarts
        self._attendance = attendance
        self._changing = asyncio.Lock()
        self.loaded = asyncio.Event()

    async def start(self) -> None:
        """Load what the store says, one endpoint after the other: one that can't be loaded leaves the others alone.

        Models that need a process of their own are left to `mend`: the others are served meanwhile.
        """
        async with self._changing:
            await asyncio.to_thread(self._serve_stored)
            self.loaded.set()

    async def mend(self, again_s: float = 5.0) -> None:
        """Load what waits, at once and ever more seldom again: an online store may come up after its workers."""
        pause = again_s
        async with self._changing:  # which `start` holds until it has seen what waits
            pass
        while True:
            try:
                await self._serve_waiting()
            except Exception:  # noqa: BLE001 - the boundary of the loop: the database may be away, and comes back
                _log.exception("what waits can't be loaded; it is tried again")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _SELDOM_S) if self._hot.waiting() else again_s

    async def rest(self, look_s: float = 5.0) -> None:
        """Let idle models leave memory, and what requests left over: the process that reads Parquet, too."""
        leftovers = Leftovers()
        while True:
            await asyncio.sleep(look_s)
            if self._hot.rest():
                gc.collect()
            await asyncio.to_thread(READER.rest)
            await asyncio.to_thread(leftovers.look)

    async def _serve_waiting(self) -> None:
        if not self._hot.waiting():
            return
        for endpoint in await asyncio.to_thread(self._store.list):
            async with self._changing:  # for each anew: commands need not wait for all of them
                if endpoint.name in self._hot.waiting():
                    await asyncio.to_thread(self._serve, endpoint)

    async def handle(self, message: Message) -> Message:
        """Answer one command."""
        what = message["do"]
        if what == "status":
            return {
                "pid": os.getpid(),
                "ready": self.loaded.is_set(),
                "served": dict(self._hot.served()),
                "waiting": dict(self._hot.waiting()),
                "paths": self._hot.paths(),
                "asleep": self._hot.asleep(),
                "capture": asdict(self._capture.state),
            }
        if what == "metrics":
            return {"restarts": self._restarts, "dropped": self._capture.state.dropped, **self._hot.counts()}
        if what == "seal":
            await asyncio.to_thread(self._capture.seal)
            return {}
        with self._attendance.asked():
            async with self._changing:
                return await asyncio.to_thread(self._change, str(what), message)

    def _change(self, what: str, message: Message) -> Message:
        if what == "load":
            document = message["endpoint"]
            assert isinstance(document, dict)  # noqa: S101 - both ends are ours
            endpoint = from_wire(document)
            return {"paths": dict(self._hot.load(endpoint, self._known(endpoint.name)))}
        name, generation = str(message["name"]), int(str(message.get("generation", 0)))
        if what == "activate":
            self._activate(name, generation)
        elif what == "discard":
            self._hot.discard(name, generation)
        elif what == "remove":
            self._hot.remove(name)
        else:
            raise InvalidState(f"a worker does not know the command '{what}'")
        return {}

    def _known(self, name: EndpointName) -> Sequence[LoadPlan]:
        """What the endpoint serves or did before: who goes back to that is not refused, whichever worker this is."""
        try:
            stored = self._store.get(name)
        except NotFound:
            return ()
        return stored.plans if stored.previous is None else (*stored.plans, *stored.previous.plans)

    def _activate(self, name: str, generation: int) -> None:
        if self._hot.served().get(name) == generation:
            return
        try:
            self._hot.activate(name, generation)
        except InvalidState:
            # This worker started between "load" and "activate" and knows only what the store said then.
            try:
                self._hot.serve([self._store.get(EndpointName(name))])
            except NotFound:
                self._hot.remove(name)

    def _serve_stored(self) -> None:
        for endpoint in self._store.list():
            if not self._hot.postpone(endpoint):
                self._serve(endpoint)

    def _serve(self, endpoint: Endpoint) -> None:
        before = self._hot.waiting().get(endpoint.name)
        try:
            self._hot.serve([endpoint])
        except Exception:  # noqa: BLE001 - the boundary of an endpoint: whatever its model raises, the others go on
            if self._hot.waiting().get(endpoint.name) != before:  # said once; requests are told what is wrong
                _log.exception("endpoint %s can't be served by this worker", endpoint.name)
        else:
            if before is not None:
                _log.warning("endpoint %s had to wait, and is served now", endpoint.name)


def _note_end(task: asyncio.Task[None]) -> None:
    """Say that a task has ended which never should."""
    if not task.cancelled():
        name = getattr(task.get_coro(), "__qualname__", "")
        _log.error("%s has ended; it is missing until the next start", name, exc_info=task.exception())


async def _serve(options: ChildOptions, hot: HotApp, guard: Guard, attendance: Attendance, *, logged: bool) -> bool:
    """Answer requests; see `asgi_server.serve`."""
    return await asgi_server.serve(
        AccessLog(guard) if logged else guard,
        listener=options.listener,
        certificate=options.tls_certificate,
        key=options.tls_key,
        # The short way writes no line for each request.
        connection=None if logged else partial(LaneProtocol, Way(hot.lane, guard)),
        attendance=attendance,
    )


async def main(options: ChildOptions) -> bool:
    """Serve until SIGTERM or the end of the lifeline; or until it is time to begin anew, and whether it is."""
    lifeline.hold(options.lifeline_fd)
    home, sockets = Path(options.home), Path(options.sockets)
    opened = open_serving_home(home)
    credentials = Credentials.of(home_token(home))
    callers = Callers(credentials, str(current_user()), SystemClock())
    callers.know(opened.tokens.list())
    capture = CaptureLog(
        opened.capture_root,
        f"worker-{options.slot}-{os.getpid()}",
        opened.clock,
        durability=opened.settings.capture_durability,
        quota_bytes=opened.settings.capture_quota_bytes,
    )
    environments, proofs = Environments.of(home), opened.proofs_root
    hot = HotApp(opened.clock, opened.online, capture, environments=environments, proofs=proofs)
    renewal = Renewal(hot)
    attendance = Attendance(renewal.is_due, REST_S)
    commands = Commands(hot, capture, opened.endpoints, attendance, options.restarts)
    # Listening before reading the store: an activation that this reading misses is then sent to us.
    server = await channel.listen(worker_channel(sockets, options.slot), commands.handle)
    knocks = Knocks(sockets, hot, opened)
    work = (commands.mend(), commands.rest(), follow(callers, opened.tokens), knocks.run(commands.loaded))
    beside = [asyncio.create_task(each) for each in (*work, end_when_hung(hot))]
    for task in beside:
        task.add_done_callback(_note_end)
    try:
        await commands.start()
        knocks.begin()
        renewal.begin()
        health, control = Health(Workers(sockets, options.workers), opened.endpoints), control_socket(sockets)
        guard = Guard(WorkerApp(hot, health, control, options.instance), credentials, callers, options.hosts)
        leaves = await _serve(options, hot, guard, attendance, logged=opened.settings.access_log)
        if leaves:
            renewal.leave()
        return leaves
    finally:
        for task in beside:
            task.cancel()
        server.close()
        capture.close()
        knocks.tell_drain()
        opened.close()


if __name__ == "__main__":
    gc.set_threshold(*_COLLECT)
    keep_for_the_next()
    given = ChildOptions.read()
    if asgi_server.run(f"worker-{given.slot}", main(given)):
        begin_anew()
