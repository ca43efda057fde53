from __future__ import annotations

from datetime import timedelta

import pytest

import millrace as mr
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.pipeline.admit import admit, tables_read
from millrace.pipeline.plan import Request, build_plan
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill
from tests.unit.pipeline.shop import DAY, PURCHASES, START, declared, purchases


def test_a_time_to_come_is_refused() -> None:
    admit(declared(), NOW, NOW, [])
    with pytest.raises(InvalidInput, match=r"2025-06-02T00:00:00.000001Z is in the future") as refused:
        admit(declared(), NOW, NOW + timedelta(microseconds=1), [])
    assert "it is 2025-06-02T00:00:00Z now" in refused.value.hint


def test_a_pin_of_a_table_that_is_not_read_is_refused_with_the_nearest() -> None:
    admit(declared(), NOW, None, [TableName.parse(PURCHASES), TableName.parse("ml.features.shop")])
    with pytest.raises(NotFound, match=r"pipeline shop does not read table bronze.purchase\b") as refused:
        admit(declared(), NOW, None, [TableName.parse("bronze.purchase")])
    assert refused.value.hint == "did you mean 'bronze.purchases'?"


def test_sources_features_labels_and_the_holdout_are_read() -> None:
    labels = mr.Label("ext.churned", column="lost", keys=("customer",), time="month_end", known_after=DAY)
    read = set(map(str, tables_read(declared(label=labels, holdout="ext.holdout"))))
    assert read == {PURCHASES, "ml.features.shop", "ext.churned", "ext.holdout"}


@pytest.mark.parametrize("request_", [Request(as_of=NOW + DAY), Request(versions={TableName.parse("bronze.other"): 0})])
def test_a_plan_of_what_may_not_be_asked_is_refused(workspace: Workspace, fill: Fill, request_: Request) -> None:
    fill(PURCHASES, purchases([(1, START - DAY, 1.0)]))
    with pytest.raises((InvalidInput, NotFound)):
        build_plan(workspace, declared(), request_)
