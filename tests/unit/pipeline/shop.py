"""A small pipeline over purchases, for the tests of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pyarrow as pa

import millrace as mr
from millrace.pipeline.context import Pins, Quiet, RunContext
from millrace.targets.port import DeploymentTarget
from millrace.workspace import Workspace

DAY, WEEK = timedelta(days=1), timedelta(days=7)
START = datetime(2025, 3, 3, tzinfo=UTC)  # a Monday, the first snapshot
PURCHASES, FEATURES, LABELS = "bronze.purchases", "ml.features.shop", "ml.labels.shop"
SCHEMA = pa.schema([("customer_id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("amount", pa.float64())])
SOURCE = mr.Source(PURCHASES, event_time="at")


@mr.feature_table(FEATURES, keys=["customer_id"], every=WEEK, start=START)
def features(as_of: datetime, tx: Any = SOURCE) -> Any:
    """What each customer had bought."""
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    del as_of
    return tx.groupBy("customer_id").agg(F.count("*").alias("purchases"), F.sum("amount").alias("spend"))


@mr.label_table(LABELS, keys=["customer_id"], column="came_back", horizon=2 * WEEK, every=WEEK, start=START)
def labels(time: datetime, end: datetime, tx: Any = SOURCE) -> Any:
    """Who bought again within two weeks?"""
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    del end
    back = F.max((F.col("at") > F.lit(time)).cast("int"))
    before = F.min("at") <= F.lit(time)
    return tx.groupBy("customer_id").agg(back.alias("came_back"), before.alias("known")).where("known").drop("known")


Purchase = tuple[int, datetime, float]


def purchases(rows: Sequence[Purchase]) -> pa.Table:
    names = ("customer_id", "at", "amount")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=SCHEMA)


def features_at(rows: Sequence[Purchase], time: datetime) -> list[dict[str, object]]:
    """What `features` has to give for a time, in plain Python."""
    amounts: dict[int, list[float]] = {}
    for customer, at, amount in rows:
        if at <= time:
            amounts.setdefault(customer, []).append(amount)
    return [
        {"customer_id": customer, "feature_time": time, "purchases": len(found), "spend": sum(found)}
        for customer, found in sorted(amounts.items())
    ]


def labels_at(rows: Sequence[Purchase], time: datetime) -> list[dict[str, object]]:
    """What `labels` has to give for a time, in plain Python."""
    known = sorted({customer for customer, at, _ in rows if at <= time})
    back = {customer for customer, at, _ in rows if time < at <= time + 2 * WEEK}
    return [{"customer_id": one, "label_time": time, "came_back": int(one in back)} for one in known]


def declared(**changes: Any) -> mr.Pipeline:
    given: dict[str, Any] = {
        "name": "shop",
        "features": [features],
        "label": labels,
        "candidates": [mr.Linear(), mr.Dummy()],
        "gates": [mr.BeatsBaselines()],
        "split": mr.Split(holdout=WEEK),
        "retrain": mr.Retrain(on=("drift", "performance"), cooldown=2 * WEEK, min_new_labels=3),
    }
    return mr.Pipeline(**given | changes)


def no_target() -> AbstractContextManager[DeploymentTarget]:
    return _refuse()


def _refuse() -> NoReturn:
    raise AssertionError("nothing here needs a server")


def context(workspace: Workspace, pipeline: mr.Pipeline, as_of: datetime) -> RunContext:
    return RunContext(workspace, pipeline, Pins(as_of), no_target, Quiet())


@dataclass
class Told:
    """Progress that remembers."""

    stages: list[tuple[str, str]] = field(default_factory=list)

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        del detail, seconds
        self.stages.append((name, status))

    def advance(self, name: str, done: int, total: int) -> None:
        assert done <= total, name


def sorted_rows(table: pa.Table, time: str) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = table.sort_by([(time, "ascending"), ("customer_id", "ascending")]).to_pylist()
    return rows
