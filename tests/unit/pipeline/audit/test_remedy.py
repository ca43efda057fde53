from __future__ import annotations

from datetime import timedelta
from typing import Any

import millrace as mr
from millrace.pipeline.audit.rules import remedy
from tests.unit.pipeline.shop import declared

UNCUT = mr.Source("bronze.people", event_time="at", history="none")


@mr.feature_table("ml.features.people", keys=["customer_id"], every=timedelta(days=7))
def people(_as_of: Any, who: Any = UNCUT) -> Any:
    return who


def test_a_source_that_is_not_cut_is_to_be_declared_and_another_to_be_taken_as_one() -> None:
    page = declared(features=[people])
    assert "declare how bronze.people keeps its history" in remedy(page, ["bronze.people", "bronze.purchases"])
    assert remedy(page, ["bronze.purchases"]).startswith("take the table as a parameter")
