"""Being the one who executes: the lease, renewed in the background, and what is to be done when it is lost."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable

from millrace.core.processes import is_alive
from millrace.jobs.engine.fence import host
from millrace.jobs.port import EXECUTOR, Leases

# The lease's length, how often it is renewed, and after how long without a renewal nothing of ours runs any more.
LEASE_S = 30.0
_RENEW_S = 5.0
FUSE_S = 20.0
_log = logging.getLogger(__name__)


class HeldLease:
    """The executor's lease, from `take` to `release`.

    Attributes:
        holder: who we are, new for each.
        lost: set when it may be another's.
    """

    def __init__(self, leases: Leases) -> None:
        self.holder = f"{host()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.lost = threading.Event()
        self._leases = leases
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, renewed: Callable[[], None]) -> bool:
        """Take the lease where nobody has it, or who had it is gone; False where another has it. `renewed` is called each time that it is ours anew."""
        if not self._leases.acquire(EXECUTOR, self.holder, LEASE_S) and not self._take_from_dead():
            return False
        self._thread = threading.Thread(target=self._renew, args=(renewed,), name="jobs-lease", daemon=True)
        self._thread.start()
        return True

    def release(self) -> None:
        """Give it back, where it is ours."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._leases.release(EXECUTOR, self.holder)

    def _take_from_dead(self) -> bool:
        other = self._leases.holder(EXECUTOR) or ""
        where, _, rest = other.partition(":")
        pid = rest.partition(":")[0]
        if where != host() or not pid.isdecimal() or is_alive(int(pid)):
            return False
        self._leases.release(EXECUTOR, other)
        return self._leases.acquire(EXECUTOR, self.holder, LEASE_S)

    def _renew(self, renewed: Callable[[], None]) -> None:
        good_until = time.monotonic() + FUSE_S
        while not self._stop.wait(_RENEW_S):
            began = time.monotonic()
            try:
                if not self._leases.acquire(EXECUTOR, self.holder, LEASE_S):
                    break
            except Exception:  # noqa: BLE001 - the boundary of a background loop: a database that is busy now may answer before the lease ends
                _log.warning("the lease of the jobs could not be renewed", exc_info=True)
                if time.monotonic() > good_until:
                    break
            else:
                if (
                    time.monotonic() - began < _RENEW_S
                ):  # a keeper counts from when it hears, the lease from when it was asked for
                    good_until = began + FUSE_S
                    renewed()
        if not self._stop.is_set():
            self.lost.set()
