"""Rows to a pandas frame with the types of a signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace.serving.paths.path import Rows

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"float": "float32", "integer": "int32", "long": "int64", "boolean": "bool"}


def to_frame(rows: Rows, inputs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """One column per input, in order: numbers in the signature's type, texts as objects with None for missing."""
    import numpy as np
    import pandas as pd

    names = [name for name, _ in inputs]
    if all(kind == "double" for _, kind in inputs):
        return pd.DataFrame(np.array(rows, dtype=np.float64).reshape(len(rows), len(names)), columns=names)
    columns = {}
    for place, (name, kind) in enumerate(inputs):
        values = [row[place] for row in rows]
        if kind == "string":
            columns[name] = pd.Series(values, dtype=object)
        elif kind == "datetime":
            columns[name] = pd.Series(pd.to_datetime(values, utc=True).tz_localize(None))
        else:
            columns[name] = pd.Series(np.array(values, dtype=np.float64).astype(_DTYPES.get(kind, "float64")))
    return pd.DataFrame(columns, columns=names)
