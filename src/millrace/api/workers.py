"""All workers of a server, as control and the drain speak to them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, cast

from millrace.api.channel import Absent, Gone, Message, Unanswered, ask
from millrace.api.runtime import worker_channel
from millrace.api.wire import to_wire
from millrace.core.errors import InvalidState
from millrace.serving.types import Endpoint

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_QUICK_S = 5.0
_LOAD_S = 300.0
_REPLACED_S = 30.0  # how long a worker that died may take to be there again


class Workers:
    """Asks every worker the same thing at once. Thread-safe."""

    def __init__(self, sockets: Path, count: int) -> None:
        self._paths = [worker_channel(sockets, slot) for slot in range(count)]

    def load(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Have every worker load a candidate; the predict path of each entity and why, as the first worker says.

        Raises:
            InvalidState: a worker can't load it, or is not there and is not replaced in time. Others may have it: discard it.
        """
        message = {"do": "load", "endpoint": to_wire(endpoint)}
        return cast("Mapping[str, str]", self._each(lambda path: _patiently(path, message))[0]["paths"])

    def discard(self, name: str, generation: int) -> None:
        """Have every worker drop a generation that won't be activated."""
        self._tell({"do": "discard", "name": name, "generation": generation})

    def activate(self, name: str, generation: int) -> None:
        """Have every worker route to a generation; one that is not there reads the store when it starts."""
        self._tell({"do": "activate", "name": name, "generation": generation}, timeout_s=_LOAD_S)

    def remove(self, name: str) -> None:
        """Have every worker stop serving an endpoint."""
        self._tell({"do": "remove", "name": name})

    def seal(self, within_s: float) -> Sequence[str]:
        """Have every worker close its open capture segment, so that a drain takes it; the names of those that are there and did not.

        What a dead one left open needs nobody: a drain recovers it.
        """
        return [name for name in self._each(lambda path: _unsealed(path, within_s)) if name is not None]

    def status(self) -> list[dict[str, object]]:
        """What each worker says of itself, by slot: pid, ready, served, waiting, paths; `ready` is False for one that does not answer."""
        return self._tell({"do": "status"})

    def metrics(self) -> list[dict[str, object]]:
        """What each worker has counted since it started, by slot; empty for one that does not answer."""
        return [{} if "ready" in counted else counted for counted in self._tell({"do": "metrics"})]

    def _tell(self, message: Message, timeout_s: float = _QUICK_S) -> list[dict[str, object]]:
        def one(path: Path) -> dict[str, object]:
            try:
                return ask(path, message, timeout_s)
            except Unanswered:
                return {"ready": False}
            except InvalidState as error:
                _log.warning("%s refused %r: %s", path.stem, message["do"], error.message)
                return {"ready": False}

        return self._each(one)

    def _each(self, action: Callable[[Path], _T]) -> list[_T]:
        with ThreadPoolExecutor(max(1, len(self._paths))) as pool:
            return list(pool.map(action, self._paths))


def _unsealed(path: Path, within_s: float) -> str | None:
    """Have a worker seal what it captured; its name where it is there and did not."""
    try:
        ask(path, {"do": "seal"}, within_s)
    except Gone:
        return None
    except InvalidState as error:
        _log.warning("%s did not seal its capture: %s", path.stem, error.message)
        return path.stem
    return None


def _patiently(path: Path, message: Message) -> dict[str, object]:
    """Ask a worker that may be about to be replaced, or to begin anew."""
    deadline = time.monotonic() + _REPLACED_S
    while True:
        try:
            ask(path, {"do": "status"}, _QUICK_S)
        except Unanswered as error:
            unasked: Unanswered = error
        else:
            try:
                return ask(path, message, _LOAD_S)
            except Absent as error:  # it left between the two questions
                unasked = error
        if time.monotonic() > deadline:
            raise unasked
        threading.Event().wait(0.1)
