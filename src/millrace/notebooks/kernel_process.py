"""A kernel of our own: where it lies, what it is told, and how it ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from millrace.core.processes import is_alive
from millrace.core.settings import Settings
from millrace.notebooks.context import VARIABLE, NotebookContext

COMMAND = (sys.executable, "-m", "millrace.notebooks.kernel", "-f", "{connection_file}")

_PREFIX = "millrace-nb-"
_LONGEST_PATH = 100  # a socket's name has 107 characters at most


@contextmanager
def kernel_folder(context: NotebookContext) -> Iterator[Path]:
    """A folder that only we can read, for the connection's sockets and what the kernel is told; gone at the end."""
    _remove_left_behind()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
    try:
        (folder / "context.json").write_text(context.to_json(), encoding="utf-8")
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind() -> None:
    """Folders of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and not is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)  # another user's stays


def kernel_environment(settings: Settings, folder: Path, experiment: str) -> dict[str, str]:
    """The environment of a kernel: this process's, with the home for MLflow and for millrace, and UTC."""
    return {
        **os.environ,
        **notebook_environment(settings),
        VARIABLE: str(folder / "context.json"),
        "MLFLOW_EXPERIMENT_NAME": experiment,
        # Nobody's own profile, start-up files or history: a notebook runs the same for everybody.
        "IPYTHONDIR": str(folder / "ipython"),
    }


def notebook_environment(settings: Settings) -> dict[str, str]:
    """What every notebook of a home has in its environment."""
    return {
        "MILLRACE_HOME": str(settings.home),
        "TZ": "UTC",
        "MLFLOW_TRACKING_URI": settings.mlflow_url,
        "MLFLOW_REGISTRY_URI": settings.mlflow_url,
        # Where MLflow puts artifacts of experiments that it makes; by itself into the working directory.
        "_MLFLOW_SERVER_ARTIFACT_ROOT": (settings.home / "mlartifacts").as_uri(),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def kernel_manager(folder: Path) -> Any:
    """A manager of one kernel, over sockets in the folder: no ports that two could take at once. Over ports where its path is too long for that."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    short = len(str(folder)) < _LONGEST_PATH
    where = {"transport": "ipc", "ip": str(folder / "k")} if short else {}
    manager = AsyncKernelManager(connection_file=str(folder / "kernel.json"), **where)
    manager._kernel_spec = KernelSpec(argv=list(COMMAND), display_name="millrace", language="python")  # noqa: SLF001 - there is no other way but a file in a folder that it searches
    return manager


def experiment_of(path: Path, project: Path) -> str:
    """The name of a notebook's experiment: its path in the project, without its ending."""
    inside = path.relative_to(project) if path.is_relative_to(project) else Path(path.name)
    return "/" + inside.with_suffix("").as_posix()


def with_our_modules(environment: Mapping[str, str]) -> dict[str, str]:
    """The same, in which a child finds this very millrace, however it was found here."""
    root = str(Path(__file__).parents[2])
    others = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part and part != root]
    return {**environment, "PYTHONPATH": os.pathsep.join([root, *others])}
