"""Executing cells one after another, so that it can be stopped at any time and what there is is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from millrace.core.errors import InvalidState, first_line
from millrace.notebooks.context import REPLY_KEY
from millrace.notebooks.libraries import import_client
from millrace.notebooks.port import CellProgress

Stop = Literal["timeout", "cancelled", "interrupted"]
_GRACE_S = 15.0  # for a cell to end that was interrupted
_START_S = 120


@dataclass(slots=True)
class Told:
    """What the kernel has said beside outputs."""

    exit_value: str | None = None
    task_values: Mapping[str, object] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    line: int | None = None

    def take(self, part: Mapping[str, Any]) -> None:
        """What came with a reply."""
        self.exit_value = part.get("exit", self.exit_value)
        self.task_values = part.get("task_values", self.task_values)
        self.unread = part.get("unread", self.unread)
        self.line = part.get("line")


@dataclass(slots=True)
class Ended:
    """How it ended: at the end, at an exit, or in a cell.

    Attributes:
        cells: how many cells of code ran.
        cell: the number of the cell in which it ended badly; None where it did not.
        error: name and text of what that cell raised; a stop's kind.
    """

    told: Told
    cells: int = 0
    cell: int | None = None
    error: tuple[str, str] = ("", "")
    stop: Stop | None = None
    died: bool = False


class Execution:
    """One notebook in one kernel.

    Args:
        node: nbformat's notebook; outputs are put into it.
        manager: a kernel manager that has started nothing.
        titles: of the cells, by position.
        timeout_s: for all cells together; None: any time.
        keep: called after each cell, and at the end, whatever comes.
    """

    def __init__(
        self,
        node: Any,
        manager: Any,
        *,
        titles: list[str],
        timeout_s: float | None,
        keep: Callable[[], None],
        progress: CellProgress,
    ) -> None:
        self._client = import_client()(
            node, km=manager, timeout=None, coalesce_streams=True, startup_timeout=_START_S, iopub_timeout=30
        )
        self._node, self._manager, self._titles = node, manager, titles
        self._keep, self._progress, self._timeout_s = keep, progress, timeout_s
        self._stop: Stop | None = None
        self._stopped: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = Ended(Told())

    def stop(self, why: Stop) -> None:
        """Ask for the end, from any thread: the running cell is interrupted, and ended by force where it does not heed that."""
        self._stop = self._stop or why
        loop, stopped = self._loop, self._stopped
        if loop is not None and stopped is not None and loop.is_running():
            loop.call_soon_threadsafe(stopped.set)

    def run(self, *, cwd: str, env: Mapping[str, str], log: Any) -> Ended:
        """Execute; in a thread that has no event loop.

        Raises:
            InvalidState: the kernel did not start, or the notebook can't be kept.
        """
        return asyncio.run(self._run(cwd=cwd, env=dict(env), log=log))

    async def _run(self, *, cwd: str, env: dict[str, str], log: Any) -> Ended:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        if self._stop:
            self._stopped.set()
        try:
            await self._start(cwd=cwd, env=env, log=log)
            deadline = None if self._timeout_s is None else time.monotonic() + self._timeout_s
            for position, cell in enumerate(self._node.cells):
                if not await self._cell(position, cell, deadline):
                    break
            return self._ended
        finally:
            self._keep()
            await self._shut_down()

    async def _start(self, *, cwd: str, env: dict[str, str], log: Any) -> None:
        try:
            await self._client.async_start_new_kernel(cwd=cwd, env=env, stdout=log, stderr=log)
            await self._client.async_start_new_kernel_client()
        except (RuntimeError, TimeoutError, OSError) as error:
            raise InvalidState(
                f"the notebook's kernel did not start: {first_line(error)}",
                hint="what it said is in the .log beside the executed notebook",
            ) from error

    async def _cell(self, position: int, cell: Any, deadline: float | None) -> bool:
        """Whether to go on after it."""
        if cell.cell_type != "code" or not cell.source.strip():
            return True
        number, total, title = position + 1, len(self._node.cells), self._titles[position]
        self._progress.begins(number, total, title)
        begun = time.monotonic()
        went = await self._execute(position, cell, deadline)
        self._ended.cells += 1
        self._keep()
        self._progress.ends(number, total, title, time.monotonic() - begun, failed=self._ended.cell is not None)
        return went

    async def _execute(self, position: int, cell: Any, deadline: float | None) -> bool:
        from nbclient.exceptions import CellExecutionError, DeadKernelError

        self._client.on_cell_executed = self._take
        running = asyncio.ensure_future(self._client.async_execute_cell(cell, position))
        why = await self._wait(running, deadline)
        ended = self._ended
        try:
            if why is not None:
                ended.cell, ended.stop = position + 1, why
                if not running.done():
                    running.cancel()
                    return False
            await running
        except CellExecutionError as error:
            if ended.told.exit_value is not None and error.ename == "NotebookExit":
                return False
            ended.cell, ended.error = position + 1, (error.ename, error.evalue)
        except DeadKernelError:
            ended.cell, ended.died = position + 1, True
        return ended.cell is None

    async def _wait(self, running: asyncio.Future[Any], deadline: float | None) -> Stop | None:
        """Wait for a cell; the reason where it had to be interrupted."""
        stopped = asyncio.ensure_future(self._stopped.wait())  # type: ignore[union-attr]
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        try:
            await asyncio.wait({running, stopped}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return None
            why = self._stop or "timeout"
            await self._manager.interrupt_kernel()
            await asyncio.wait({running}, timeout=_GRACE_S)
            return why
        finally:
            stopped.cancel()

    def _take(self, *, execute_reply: Mapping[str, Any], **_: Any) -> None:
        self._ended.told.take(execute_reply["content"].get(REPLY_KEY, {}))

    async def _shut_down(self) -> None:
        client = self._client
        if client.km is not None and client.km.has_kernel:
            now = self._ended.cell is not None and self._ended.stop is not None
            client.shutdown_kernel = "immediate" if now else "graceful"
            await client._async_cleanup_kernel()  # noqa: SLF001 - what its own `execute` ends with
