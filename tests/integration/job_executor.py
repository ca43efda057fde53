"""A process that executes a home's jobs until it is killed, or told to stop: `job_executor.py HOME PARALLEL`. Logs when it has let go of them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from millrace.jobs.engine.engine import Engine
from millrace.jobs.port import Leases
from millrace.workspace import open_workspace

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ToldLeases:
    """Leases of which it is told when one is given back."""

    real: Leases

    def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        return self.real.acquire(name, holder, ttl_s)

    def holder(self, name: str) -> str | None:
        return self.real.holder(name)

    def release(self, name: str, holder: str) -> None:
        self.real.release(name, holder)
        _log.info("process %s lets go of the %s of %s", os.getpid(), name, holder)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    workspace = open_workspace(sys.argv[1])
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("job_program.py"))]
    desk = replace(workspace.jobs, leases=ToldLeases(workspace.jobs.leases))
    Engine(desk, workspace.home, program, parallel=int(sys.argv[2]), grace_s=1.0).run(stop)
    workspace.close()
