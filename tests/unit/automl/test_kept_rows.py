from __future__ import annotations

import pandas as pd  # noqa: TID253 - frames are what is asked
import pyarrow as pa

from millrace.automl.kept_rows import arrow_table


def test_only_what_arrow_refuses_becomes_text() -> None:
    frame = pd.DataFrame(
        {
            "mixed": pd.Series([1, "two", None], dtype=object),
            "flag": pd.Series([True, None, False], dtype=object),
            "count": pd.Series([1, None, 3], dtype=object),
            "name": pd.Series(["a", None, "c"], dtype=object),
        }
    )
    kept = arrow_table(frame)
    assert kept.to_pydict() == {
        "mixed": ["1", "two", None],
        "flag": [True, None, False],
        "count": [1, None, 3],
        "name": ["a", None, "c"],
    }
    assert [kept.schema.field(name).type for name in ("flag", "count")] == [pa.bool_(), pa.int64()]
