"""Labels that come long after their windows: the estimate without labels is still held against them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from millrace.monitoring.refresh import refresh
from millrace.serving.labels.labels import join_labels
from tests.unit.monitoring.logs import SPEC, START, log_of, make_lake, reference_of


def test_the_estimate_hears_of_labels_that_are_older_than_what_a_window_looks_back_at(tmp_path: Path) -> None:
    lake, references = make_lake(tmp_path), {"1": reference_of(log_of(range(-50, -10)))}
    lake.append(SPEC.table, log_of(range(12)))
    lake.append(SPEC.table, log_of(range(12, 62), labels=False))
    refresh(lake, SPEC, references, since=START, until=START + timedelta(days=61))
    found = refresh(lake, SPEC, references, since=START + timedelta(days=61), until=START + timedelta(days=62)).verdicts
    (verdict,) = [one for one in found if one.kind == "estimate"]
    assert verdict.figures["checked_windows"] == 12.0
    assert verdict.figures["trusted"] == 1.0
    assert "over the newest 12 days with labels it said" in verdict.reason
    (measured,) = [one for one in found if one.kind == "performance"]
    assert measured.status == "insufficient_data"
    assert measured.reason == "none of 40 rows has a label yet"


def test_labels_that_come_twice_count_once(tmp_path: Path) -> None:
    lake, references = make_lake(tmp_path), {"1": reference_of(log_of(range(-50, -10)))}
    log = log_of([0]).rename_columns({"id": "request_id", "actual_label": "came"})
    empty = {"row": pa.array([0] * 40, pa.int32()), "actual_label": pa.nulls(40, pa.float64())}
    empty |= {"label_time": pa.nulls(40, pa.timestamp("us", "UTC")), "customer_id": pa.array(range(40), pa.int64())}
    labels = pa.table(
        {"customer_id": empty["customer_id"], "churned": log.column("came"), "at": log.column("timestamp")}
    )
    for name, column in empty.items():
        log = log.append_column(name, column)
    spec, log = replace(SPEC, table="logs.asked"), log.drop_columns(["came"])
    lake.ensure(spec.table, log.schema)
    lake.append(spec.table, log)
    for _ in range(2):
        join_labels(
            lake,
            spec.table,
            pa.concat_tables([labels, labels]),
            keys=["customer_id"],
            label_column="churned",
            label_time="at",
            tolerance=timedelta(days=1),
            as_of=START + timedelta(days=9),
        )
        found = refresh(lake, spec, references, since=START, until=START + timedelta(days=1)).verdicts
        (verdict,) = [one for one in found if one.kind == "performance"]
        assert (verdict.figures["labelled"], verdict.figures["coverage"], verdict.figures["rows"]) == (40.0, 1.0, 40.0)
