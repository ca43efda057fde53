"""Duplicates in a log, against counting by hand."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.monitoring.reference.each_once import each_once

_ROW = st.tuples(st.sampled_from([None, "a", "b", "c"]), st.integers(0, 1), st.sampled_from([None, 0, 1]))


@given(st.lists(_ROW, max_size=20))
@settings(max_examples=100, deadline=None)
def test_one_row_an_identity_with_the_label_that_it_has(rows: list[tuple[str | None, int, int | None]]) -> None:
    log = pa.table(
        {
            "request_id": pa.array([row[0] for row in rows], pa.string()),
            "row": pa.array([row[1] for row in rows], pa.int32()),
            "actual_label": pa.array([row[2] for row in rows], pa.int64()),
            "at": pa.array(range(len(rows)), pa.int64()),
        }
    )
    expected: list[object] = []
    seen: set[tuple[str, int]] = set()
    for at, (request, number, label) in enumerate(rows):
        if request is None:
            expected.append((request, number, label, at))
        elif (request, number) not in seen:
            seen.add((request, number))
            labels = {other for one, two, other in rows if (one, two) == (request, number)} - {None}
            expected.append((request, number, labels.pop() if len(labels) == 1 else None, at))
    found = each_once(log, ["request_id", "row"], "actual_label")
    assert [tuple(row.values()) for row in found.to_pylist()] == expected
    assert found.schema == log.schema


def test_logs_without_identity_or_labels_are_taken_as_they_are() -> None:
    log = pa.table({"request_id": ["a", "a"], "x": [1.0, 2.0]})
    assert each_once(log, ["request_id", "row"], "actual_label") is log
    assert each_once(log, ["request_id"], "actual_label").to_pydict() == {"request_id": ["a"], "x": [1.0]}
    texts = pa.table({"request_id": ["a", "a"], "actual_label": pa.chunked_array([["yes"], [None]], pa.string())})
    assert each_once(texts, ["request_id"], "actual_label").column("actual_label").to_pylist() == ["yes"]
