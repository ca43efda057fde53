"""The searched rows as a Parquet file, which notebooks read."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.automl.ask import Asked

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def with_rows_kept(asked: Asked, path: Path) -> Asked:
    """Write them, whole or not at all, and name the file in the dataset."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pq.write_table(arrow_table(asked.raw), part)
    part.replace(path)
    return replace(asked, dataset=replace(asked.dataset, path=str(path)))


def arrow_table(frame: pd.DataFrame) -> pa.Table:
    """A frame as Arrow; columns of mixed objects, which Arrow has no type for, as text."""
    import pyarrow as pa

    with warnings.catch_warnings():
        # Arrow asks pandas 3.1 for times with a zone in a way that it is giving up.
        warnings.filterwarnings("ignore", "Series.values returning an ndarray")
        try:
            return pa.Table.from_pandas(frame, preserve_index=False)
        except _refusals():
            mixed = [name for name in frame.columns if _is_refused(frame[name])]
            texts = frame.assign(**{name: frame[name].map(str, na_action="ignore") for name in mixed})
            return pa.Table.from_pandas(texts, preserve_index=False)


def _is_refused(column: pd.Series) -> bool:
    import pyarrow as pa

    try:
        pa.Array.from_pandas(column)
    except _refusals():
        return True
    return False


def _refusals() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError
