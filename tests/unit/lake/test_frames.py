from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.lake.frames import to_arrow

ROWS = pa.table({"id": [1, 2], "name": ["a", None]})


class StreamOnly:
    """A frame of a library that we never heard of."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        return ROWS.__arrow_c_stream__(requested_schema)


class SparkLike:
    """A frame whose engine infers that a column has no nulls."""

    def toArrow(self) -> pa.Table:  # noqa: N802 - Spark's name
        return ROWS.cast(pa.schema([pa.field("id", pa.int64(), nullable=False), ("name", pa.string())]))


@pytest.mark.parametrize(
    "frame",
    [ROWS, ROWS.to_batches()[0], ROWS.to_reader(), StreamOnly(), SparkLike()],
    ids=lambda frame: type(frame).__name__,
)
def test_every_frame_becomes_the_same_table(frame: object) -> None:
    assert to_arrow(frame).equals(ROWS)


class TestPandas:
    def test_nan_is_null_and_an_unnamed_index_is_dropped(self) -> None:
        import pandas as pd

        frame = pd.DataFrame({"x": [1.5, float("nan")], "s": ["a", None]}, index=[7, 8])
        found = to_arrow(frame)
        assert found.to_pylist() == [{"x": 1.5, "s": "a"}, {"x": None, "s": None}]
        assert found.schema.metadata is None

    def test_a_named_index_becomes_columns(self) -> None:
        import pandas as pd

        frame = pd.DataFrame({"x": [1]}, index=pd.Index(["k"], name="id"))
        assert to_arrow(frame).to_pylist() == [{"id": "k", "x": 1}]

    def test_times_keep_their_instant(self) -> None:
        import pandas as pd

        moment = datetime(2024, 1, 31, 6, tzinfo=UTC)
        frame = pd.DataFrame({"at": pd.to_datetime([moment]).tz_convert("America/New_York")})
        assert to_arrow(frame).column("at").to_pylist()[0] == moment

    def test_mixed_values_and_numbered_columns_are_refused(self) -> None:
        import pandas as pd

        with pytest.raises(InvalidInput, match="column mixed"):
            to_arrow(pd.DataFrame({"mixed": [1, "a"]}))
        with pytest.raises(InvalidInput, match="column name 0 is not text"):
            to_arrow(pd.DataFrame([[1]]))
        with pytest.raises(InvalidInput, match="pandas Series is not a frame"):
            to_arrow(pd.Series([1]))


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a list is not a frame"):
        to_arrow([{"id": 1}])
