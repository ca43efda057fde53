"""The program of a worker: `python -m millrace.automl.workers.child FD`. It ends when its parent does."""

from __future__ import annotations

import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.automl.processes import listening
from millrace.core.errors import first_line

if TYPE_CHECKING:
    from millrace.automl.workers.fit import FitTask


def main(descriptor: int) -> None:
    """Take tasks from a socket until its other end is closed."""
    channel, tasks = listening(descriptor)
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    from millrace.automl.workers.fit import FitResult, Fitter

    _import_libraries()
    fitter: Fitter | None = None
    while True:
        task = tasks.get()
        if isinstance(task, Path):
            fitter = Fitter(pickle.loads(task.read_bytes()))  # noqa: S301 - our parent wrote it
            channel.send("ready")
            continue
        assert fitter is not None  # noqa: S101 - rows come first
        asked: FitTask = task  # type: ignore[assignment]
        try:
            with threadpool_limits(limits=1):
                result = fitter.run(asked)
        except Exception as error:  # noqa: BLE001 - the boundary of a worker: a fit may fail in any way
            what = f"{type(error).__name__}: {first_line(error)}"
            result = FitResult(asked.trial, asked.fold, float("nan"), None, 0.0, what)
        channel.send(result)


def _import_libraries() -> None:
    """What every fit needs, while the parent still looks at the data."""
    for name in ("pandas", "sklearn.pipeline", "sklearn.compose", "sklearn.linear_model", "sklearn.dummy"):
        import_module(name)


if __name__ == "__main__":
    main(int(sys.argv[1]))
