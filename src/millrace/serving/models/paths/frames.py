"""Inputs to a pandas frame with the types of a signature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from millrace.serving.inputs import Inputs, is_text

if TYPE_CHECKING:
    import pandas as pd

_DTYPES = {"float": "float32", "integer": "int32", "long": "int64", "boolean": "bool"}


def to_frame(inputs: Inputs, signature: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """One column per input, in order: numbers in the signature's type, texts as objects with None for missing."""
    import pandas as pd

    names = [name for name, _ in signature]
    if all(kind == "double" for _, kind in signature):
        return pd.DataFrame(inputs.numbers, columns=names)
    numbers, texts = iter(inputs.numbers.T), iter(inputs.texts)
    columns = {}
    for name, kind in signature:
        if kind == "datetime":
            columns[name] = pd.Series(pd.to_datetime(next(texts), utc=True).tz_localize(None))
        elif is_text(kind):
            columns[name] = pd.Series(next(texts), dtype=object)
        else:
            with np.errstate(over="ignore"):  # beyond float32 is infinite, as it is to MLflow
                columns[name] = pd.Series(next(numbers).astype(_DTYPES.get(kind, "float64")))
    return pd.DataFrame(columns, columns=names)
