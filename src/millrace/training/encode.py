"""Text columns become numbers inside the model, so that whoever loads it can give it the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 100


def text_columns(features: pd.DataFrame) -> list[str]:
    """The columns that are not numbers, in order."""
    return [name for name, kind in features.dtypes.items() if getattr(kind, "kind", "O") not in "fiub"]


def encoded(features: pd.DataFrame, numbers: object) -> object:
    """An unfitted scikit-learn transformer: `numbers` for the number columns, one-hot for the text columns.

    A text column's categories are its 100 most frequent values (ties by alphabet). Anything else, a null or a value that
    training never saw, is a zero in each of them, whether the null is None or NaN.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder

    texts = text_columns(features)
    one_hot = OneHotEncoder(
        categories=[_categories(features[name]) for name in texts], handle_unknown="ignore", sparse_output=False
    )
    plain = [name for name in features.columns if name not in texts]
    return ColumnTransformer([("numbers", numbers, plain), ("texts", one_hot, texts)])


def _categories(column: pd.Series) -> list[str]:
    counts = column.dropna().value_counts().to_dict()
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:MOST_CATEGORIES]
    return sorted(frequent)
