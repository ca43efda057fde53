"""What a column's values are, and what is done with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from millrace.automl.types import Column, Impute, Preparation, Semantic, Treatment

if TYPE_CHECKING:
    import pandas as pd

MOST_ONE_HOT = 30
MOST_TARGET = 10_000
_ID_NAME = re.compile(r"(?i)(^|_)(id|uuid|guid|key|index|rowid)$|^unnamed: \d+$")
_ID_SHARE = 0.9
_ID_ROWS = 50
_PROSE_WORDS = 5.0
_SAMPLE = 1000


def describe(
    frame: pd.DataFrame,
    kinds: Mapping[str, str],
    infinite: Mapping[str, int],
    *,
    excluded: Mapping[str, str],
    imputers: Mapping[str, Impute],
) -> tuple[Column, ...]:
    """The columns of a plain frame (see `rows.plain_frame`), in order.

    Args:
        frame: without the target.
        kinds: column to its type in the data, for people.
        infinite: column to how many of its numbers were infinite.
        excluded: column to why it is left out.
        imputers: column to how a linear model's missing values are filled; others by the median.
    """
    return tuple(
        _column(frame[name], kinds[name], infinite.get(name, 0), excluded.get(name), imputers.get(name, "median"))
        for name in frame.columns
    )


def preparation(columns: tuple[Column, ...], frame: pd.DataFrame, *, scale: bool) -> Preparation:
    """What stands before an estimator: for trees, or (`scale`) for a linear model.

    Categories are listed from all rows. That tells no model about a label: what a category means is fitted inside each fold.
    """
    by_kind: dict[str, list[str]] = {}
    for column in columns:
        by_kind.setdefault(column.treatment, []).append(column.name)
    numbers = by_kind.get("number", [])
    filled = [
        (column.name, column.impute) for column in columns if column.name in set(numbers) and column.impute != "median"
    ]
    return Preparation(
        numbers=tuple(numbers),
        dates=tuple(by_kind.get("date", [])),
        one_hot=tuple((name, frequent(frame[name], MOST_ONE_HOT)) for name in by_kind.get("one_hot", [])),
        target=tuple((name, frequent(frame[name], MOST_TARGET)) for name in by_kind.get("target", [])),
        scale=scale,
        impute=tuple(filled) if scale else (),
    )


def frequent(column: pd.Series, most: int) -> tuple[str, ...]:
    """The most frequent texts (ties by alphabet), sorted."""
    counts = column.dropna().value_counts().to_dict()
    return tuple(sorted(sorted(counts, key=lambda text: (-counts[text], text))[:most]))


def _column(values: pd.Series, dtype: str, infinite: int, excluded: str | None, impute: Impute) -> Column:
    missing, distinct = int(values.isna().sum()), int(values.nunique())
    semantic, treatment, why = _judged(values, dtype, missing, distinct)
    if excluded is not None:
        treatment, why = "drop", excluded
    return Column(str(values.name), dtype, semantic, treatment, missing, infinite, distinct, impute, why)


def _judged(values: pd.Series, dtype: str, missing: int, distinct: int) -> tuple[Semantic, Treatment, str]:
    rows = len(values)
    if distinct == 0:
        return "empty", "drop", f"all {rows:,} values are missing"
    if distinct == 1 and not missing:
        return "constant", "drop", "all values are the same"
    match values.dtype.kind:
        case "M":
            return "date", "date", ""
        case "f":
            return _number(values, dtype, missing, distinct)
        case _:
            return _text(values, rows - missing, distinct)


def _number(values: pd.Series, dtype: str, missing: int, distinct: int) -> tuple[Semantic, Treatment, str]:
    if distinct <= 2 and set(values.dropna().unique()) <= {0.0, 1.0}:  # noqa: PLR2004 - yes and no
        return "boolean", "number", ""
    rows = len(values)
    named = _ID_NAME.search(str(values.name)) and "int" in dtype.lower()
    if named and not missing and distinct == rows >= _ID_ROWS:
        return "id", "drop", f"{rows:,} different whole numbers by the name of an id"
    return "number", "number", ""


def _text(values: pd.Series, filled: int, distinct: int) -> tuple[Semantic, Treatment, str]:
    if distinct > _ID_ROWS and distinct > _ID_SHARE * filled:
        words = np.mean([text.count(" ") + 1 for text in values.dropna().head(_SAMPLE)])
        if words >= _PROSE_WORDS:
            return "text", "drop", "prose, which is not used"
        return "id", "drop", f"{distinct:,} different texts in {filled:,} rows: an id"
    if distinct <= MOST_ONE_HOT:
        return "category", "one_hot", ""
    why = (
        f"the {MOST_TARGET:,} most frequent of {distinct:,} categories are told apart" if distinct > MOST_TARGET else ""
    )
    return "high_cardinality", "target", why
