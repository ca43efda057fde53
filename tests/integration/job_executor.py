"""A process that executes a home's jobs until it is killed, or told to stop: `job_executor.py HOME PARALLEL`."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from millrace.jobs.engine.engine import Engine
from millrace.workspace import open_workspace

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    workspace = open_workspace(sys.argv[1])
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("job_program.py"))]
    Engine(workspace.jobs, workspace.home, program, parallel=int(sys.argv[2]), grace_s=1.0).run(stop)
    workspace.close()
