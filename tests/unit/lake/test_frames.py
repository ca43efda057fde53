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


class TestPolars:
    def test_text_categories_and_lists_come_out_in_plain_layouts(self) -> None:
        import polars as pl

        frame = pl.DataFrame(
            {
                "text": ["x", None],
                "kind": pl.Series(["u", "v"], dtype=pl.Categorical),
                "size": pl.Series([None, "b"], dtype=pl.Enum(["a", "b"])),
                "words": [["a"], []],
                "inner": [{"q": "x"}, {"q": None}],
                "raw": [b"1", None],
            }
        )
        found = to_arrow(frame)
        text = pa.string()
        assert found.schema.types == [text, text, text, pa.list_(text), pa.struct([("q", text)]), pa.binary()]
        assert found.to_pylist() == [
            {"text": "x", "kind": "u", "size": None, "words": ["a"], "inner": {"q": "x"}, "raw": b"1"},
            {"text": None, "kind": "v", "size": "b", "words": [], "inner": {"q": None}, "raw": None},
        ]

    def test_numbers_and_times_keep_their_types(self) -> None:
        import polars as pl

        moment = datetime(2024, 1, 31, 6, tzinfo=UTC)
        frame = pl.DataFrame({"n": pl.Series([1, None], dtype=pl.Int32), "at": [moment, None]})
        found = to_arrow(frame)
        assert found.schema.types == [pa.int32(), pa.timestamp("us", "UTC")]
        assert found.to_pylist() == [{"n": 1, "at": moment}, {"n": None, "at": None}]

    def test_a_lazy_frame_is_collected_and_a_series_refused(self) -> None:
        import polars as pl

        assert to_arrow(pl.LazyFrame({"id": [1, 2]}).filter(pl.col("id") > 1)).to_pylist() == [{"id": 2}]
        with pytest.raises(InvalidInput, match="a Polars Series is not a frame"):
            to_arrow(pl.Series("id", [1]))


def test_arrow_dictionaries_are_decoded() -> None:
    rows = pa.table({"s": pa.array(["a", "b", "a", None]).dictionary_encode()})
    assert to_arrow(rows).equals(pa.table({"s": ["a", "b", "a", None]}))
    assert to_arrow(rows.slice(1, 2)).to_pylist() == [{"s": "b"}, {"s": "a"}]


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a list is not a frame"):
        to_arrow([{"id": 1}])
