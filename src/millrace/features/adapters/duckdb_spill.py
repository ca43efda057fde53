"""Where DuckDB puts what does not fit memory: a folder for each use, gone after it, also when the process was killed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace.core.processes import is_alive

_PREFIX = "millrace-spill-"


@contextmanager
def spill_folder() -> Iterator[str]:
    """A path for `temp_directory`, made by DuckDB when it needs it. What killed processes left behind is removed first."""
    root = Path(tempfile.gettempdir())
    for left in root.glob(f"{_PREFIX}*"):
        process = left.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdecimal() and not is_alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
