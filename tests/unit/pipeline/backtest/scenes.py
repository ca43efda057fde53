"""Small scenes by hand, and what a replay asks for, made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

import millrace as mr
from millrace.core.clock import epoch_us
from millrace.monitoring.types import WindowVerdict
from millrace.pipeline.backtest.types import Ask, Attempt, Day, Model, Policy, Run, Scene
from millrace.pipeline.backtest.watched import Known

DAY, WEEK = timedelta(days=1), timedelta(days=7)
START = datetime(2025, 1, 6, tzinfo=UTC)  # a Monday
KNOWN_AFTER = 3 * WEEK
NEVER = Policy("never", mr.Retrain(on=()))


def at(week: int) -> datetime:
    return START + week * WEEK


def scene(weeks: Sequence[int], labels: Sequence[Sequence[float]]) -> Scene:
    """In each week, a Monday, as many keys ask as there are labels; NaN is one that is not known."""
    times = [epoch_us(at(week)) for week, some in zip(weeks, labels, strict=True) for _ in some]
    keys = [key for some in labels for key in range(len(some))]
    flat = np.array([label for some in labels for label in some], dtype=np.float64)
    return Scene(
        np.array(times, dtype=np.int64), flat, np.array(keys, dtype=np.int64), pa.table({"x": np.zeros(len(flat))})
    )


def declared(**changes: Any) -> mr.Pipeline:
    given: dict[str, Any] = {
        "name": "shop",
        "lookups": [mr.FeatureLookup("ml.features.shop", "customer_id", timestamp_lookup_key="at")],
        "label": mr.Label("ml.labels.shop", "left", ("customer_id",), "at", known_after=KNOWN_AFTER),
        "candidates": [mr.Linear()],
        "gates": [],
        "split": mr.Split(holdout=WEEK),
        "monitor": mr.Monitor(granularity="1 week"),
        "alerts": mr.Alert(breaches=1, out_of=1, resolve_after=2),
    }
    return mr.Pipeline(**given | changes)


def ask(weeks: int, *policies: Policy, changes: Sequence[datetime] = ()) -> Ask:
    return Ask(START, at(weeks), WEEK, policies or (NEVER,), tuple(changes))


def verdict(week: int, status: str, kind: str = "drift", known: int | None = None, **other: Any) -> Known:
    """A verdict on the week that ends at `week`, known then or later."""
    one = WindowVerdict(kind, "1", at(week - 1), at(week), status, 0.2, ("x",), f"{kind} of week {week}", **other)  # type: ignore[arg-type]
    return Known(at(week if known is None else known), one)


def run(policy: Policy, promoted: Mapping[int, int], weeks: int, **other: Any) -> Run:
    """A run in which versions were promoted in some weeks: week to version."""
    attempts = tuple(
        Attempt(at(week), version, "why", "", Model(at(week), "linear", rows=10, seconds=2.0, judged_to=at(week) - DAY))
        for week, version in promoted.items()
    )
    serving = [max((v for w, v in promoted.items() if w <= week), default=None) for week in range(weeks + 1)]
    days = tuple(Day(at(week), serving[week], "calm", "") for week in range(weeks + 1))
    return Run(policy, days, attempts, other.get("alerts", ()), other.get("verdicts", ()))


@dataclass
class Trainer:
    """Trains nothing: models are known by their dates; `refused` weeks say no."""

    refused: Mapping[datetime, str] = field(default_factory=dict)
    impossible: frozenset[datetime] = frozenset()
    asked: list[tuple[datetime, datetime | None]] = field(default_factory=list)

    def model(self, date: datetime) -> Model:
        if date in self.impossible:
            return Model(date, refused="no label is known")
        return Model(date, "linear", rows=10, seconds=1.0, trained_to=date - 2 * KNOWN_AFTER - WEEK)

    def refusal(self, model: Model, champion: Model | None) -> str:
        self.asked.append((model.at, champion.at if champion else None))
        return model.refused or self.refused.get(model.at, "")
