"""JupyterLab's process: it ends when the one that started it does, however that ended."""

from __future__ import annotations

import os
import signal
import sys
import threading

_GRACE_S = 5.0


def main() -> None:
    """`python -m millrace.notebooks.lab_child DESCRIPTOR OPTION...`: the descriptor is the reading end of a pipe of the parent's."""
    descriptor = int(sys.argv[1])
    threading.Thread(target=_watch, args=(descriptor,), name="lifeline", daemon=True).start()
    from jupyterlab.labapp import LabApp

    LabApp.launch_instance(sys.argv[2:])


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    main()
