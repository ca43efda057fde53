"""Labels that come long after their windows: the estimate without labels is still held against them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from millrace.monitoring.refresh import refresh
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
