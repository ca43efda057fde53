"""Loading the file that defines a pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.pipeline.declare import Pipeline


def load_page(file: Path, pipeline: str | None, home: Path | None) -> Pipeline:
    """The pipeline of a file. What the file opens by itself, as `mr.spark()`, is the home that the command was given.

    Raises:
        NotFound, InvalidInput, UsageError: as `load_pipeline`.
    """
    from millrace.pipeline.load import load_pipeline

    if home is not None:
        os.environ["MILLRACE_HOME"] = str(home)
    return load_pipeline(file, pipeline)
