"""The rows of a search as models are given them: float64, text or times in each column, and the target beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.core.errors import InvalidInput

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Rows:
    """What is fitted and judged. Picklable.

    Attributes:
        features: n x m: float64 (missing and infinite are NaN), object (`str` or None) or datetime64[us] (UTC, or NaT).
        target: n int64 places of classes, or n float64.
        weights: n float64; None where all rows count the same.
        by: n values of the column that folds follow (times as int64 microseconds, groups as whole numbers, or `train`, `validate`,
            `test`); None where folds are dealt.
    """

    features: pd.DataFrame
    target: np.ndarray
    weights: np.ndarray | None = None
    by: np.ndarray | None = None

    def __len__(self) -> int:
        """How many rows."""
        return len(self.target)


def plain_frame(frame: Any) -> tuple[pd.DataFrame, dict[str, int]]:
    """Each column as float64, text or times; and how many infinite numbers became missing, by column.

    A column of lists, bytes or other objects is a text column of nulls: there is nothing in it that a model could learn from.

    Raises:
        InvalidInput: names that are no texts, or stand twice.
    """
    import pandas as pd

    names = list(frame.columns)
    odd = [name for name in names if not isinstance(name, str)]
    if odd:
        raise InvalidInput(
            f"a column is named {odd[0]!r}, which is no text",
            hint="name them: frame.columns = frame.columns.astype(str)",
        )
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InvalidInput(
            f"{len(twice)} column names stand twice: {', '.join(twice[:5])}",
            hint="rename one of each, or leave it out",
            columns=twice,
        )
    columns, infinite = {}, {}
    for name in names:
        values = plain_values(frame[name])
        if values.dtype.kind == "f":
            bad = np.isinf(values)
            if bad.any():
                infinite[name] = int(bad.sum())
                values = np.where(bad, np.nan, values)
        columns[name] = pd.Series(values, dtype=values.dtype)
    return pd.DataFrame(columns, columns=names, index=range(len(frame))), infinite


def plain_values(column: pd.Series) -> np.ndarray:
    """One column as float64, object (`str` or None) or datetime64[us] in UTC."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kind = column.dtype
    if pd.api.types.is_datetime64_any_dtype(kind):
        return _times(column)
    if pd.api.types.is_timedelta64_dtype(kind):
        return np.asarray(column.dt.total_seconds().to_numpy(dtype=np.float64))
    if pd.api.types.is_bool_dtype(kind) or (pd.api.types.is_numeric_dtype(kind) and kind.kind != "c"):
        return np.array(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return _of_objects(column)


def _of_objects(column: pd.Series) -> np.ndarray:
    import pandas as pd

    missing = column.isna().to_numpy()
    values = column.to_numpy(dtype=object)
    kind = pd.api.types.infer_dtype(values[~missing], skipna=True)
    if kind in {"boolean", "integer", "floating", "mixed-integer-float", "decimal"}:
        return np.array([np.nan if gone else float(value) for value, gone in zip(values, missing, strict=True)])
    if kind in {"date", "datetime", "datetime64"}:
        return _times(pd.Series(pd.to_datetime(column, utc=True, errors="coerce")))
    if kind in {"string", "mixed-integer"}:
        return _texts(values, missing)
    if all(isinstance(value, str | int | float | bool) for value in values[~missing]):
        return _texts(values, missing)
    return np.full(len(values), None, dtype=object)


def _texts(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if gone else str(value) for value, gone in zip(values, missing, strict=True)]
    return texts


def _times(column: pd.Series) -> np.ndarray:
    if column.dt.tz is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(column.to_numpy(dtype="datetime64[us]"))
