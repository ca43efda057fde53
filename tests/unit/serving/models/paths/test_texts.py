from __future__ import annotations

import numpy as np
import pandas as pd  # noqa: TID253 - a test of it
import pytest
from sklearn.base import BaseEstimator, TransformerMixin  # noqa: TID253 - a test of it
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder  # noqa: TID253 - a test of it

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.path import Unsuitable
from millrace.serving.models.paths.texts import Vocabulary, encode, tabulate

FRAME = pd.DataFrame({"size": ["s", "m", "l", "m"], "shop": ["x", "y", "x", "y"]}, dtype=object)


def looked_up(encoder: OneHotEncoder | OrdinalEncoder, rows: list[list[str | None]]) -> list[list[float]]:
    """What the tables say to rows of texts, put together by hand."""
    tables, width = tabulate(encoder, ["size", "shop"])
    answers = []
    for row in rows:
        answer = [float("nan")] * width
        for table, text in zip(tables, row, strict=True):
            (code,) = table.vocabulary.encode([text])
            for place, value in zip(table.places, table.rows[code], strict=True):
                answer[place] = value
        answers.append(answer)
    return answers


def test_tables_say_what_the_encoder_says() -> None:
    # By hand: categories in alphabetical order, l m s and x y; an unknown text is a row of zeros.
    one_hot = OneHotEncoder(handle_unknown="ignore").fit(FRAME)
    assert looked_up(one_hot, [["m", "y"], ["l", "new"], [None, "x"]]) == [
        [0, 1, 0, 0, 1],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 1, 0],
    ]
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(FRAME)
    assert looked_up(ordinal, [["s", "x"], ["new", "y"]]) == [[2, 0], [-1, 1]]


def test_what_an_encoder_refuses_is_refused() -> None:
    (size, shop), _ = tabulate(OneHotEncoder().fit(FRAME), ["size", "shop"])
    assert (size.vocabulary.other, shop.vocabulary.other) == (None, None)
    with pytest.raises(InvalidInput, match="column 'shop' has a text that the model does not know"):
        encode([size.vocabulary, shop.vocabulary], Inputs(np.empty((2, 0)), (["s", "m"], ["x", "new"])))


def test_codes_are_a_column_for_each_text_input() -> None:
    known = [Vocabulary("size", {"s": 0, "m": 1, None: 2}, 3), Vocabulary("shop", {None: 0}, 0)]
    codes = encode(known, Inputs(np.empty((3, 0)), (["m", None, "new"], ["x", "y", None])))
    assert codes.tolist() == [[1, 0], [2, 0], [3, 0]]


class Both(BaseEstimator, TransformerMixin):  # type: ignore[misc,unused-ignore]
    """Looks at two columns together."""

    categories_ = (("s", "m"), ("x", "y"))

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        return np.array([[float(row == ("s", "x"))] for row in frame.itertuples(index=False)])


def test_an_encoder_that_mixes_columns_is_unsuitable() -> None:
    with pytest.raises(Unsuitable, match="mixes columns"):
        tabulate(Both(), ["size", "shop"])
