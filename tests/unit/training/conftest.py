"""Training sets without a lake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from millrace.features.training_set import TrainingSet
from millrace.features.types import FeatureSpec, TrainingRecord

MakeSet = Callable[..., TrainingSet]


@pytest.fixture
def make_set() -> MakeSet:
    """Makes a training set of `rows` rows whose label depends on `spend`; columns may be replaced or added."""

    def make(rows: int = 400, *, text: bool = False, label: str | None = "churned", **columns: object) -> TrainingSet:
        rng = np.random.default_rng(3)
        spend, age = rng.normal(size=rows), rng.integers(18, 80, rows)
        made: dict[str, object] = {
            "spend": [None if i % 10 == 0 else value for i, value in enumerate(spend.tolist())],
            "age": age.tolist(),
        }
        if text:
            made["region"] = [("north", "south", "west", None)[i % 4] for i in range(rows)]
        made["churned"] = (rng.random(rows) < 1 / (1 + np.exp(-2 * spend + (age - 50) / 40))).astype(int).tolist()
        table = pa.table(made | columns)
        inputs = tuple(name for name in table.column_names if name != "churned")
        record = TrainingRecord((), datetime(2025, 1, 1, tzinfo=UTC), rows, "", "")
        return TrainingSet(table, record, FeatureSpec((), label, (), inputs, inputs))

    return make
