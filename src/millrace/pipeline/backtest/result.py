"""What a backtest found, as one JSON document: tables, report and programs read it, and nothing else is kept of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

import numpy as np

from millrace.core.clock import epoch_us, from_epoch_us, iso
from millrace.pipeline.backtest import alarms
from millrace.pipeline.backtest.quality import Gain, Measured, loss_kind
from millrace.pipeline.backtest.recommend import Contender, recommend, told
from millrace.pipeline.backtest.types import Alert, Attempt, Prepared, Run, Scene
from millrace.pipeline.declare import Pipeline
from millrace.statistics.metrics import Floats
from millrace.statistics.two_way import Mean

Document = dict[str, Any]


def document(
    pipeline: Pipeline,
    prepared: Prepared,
    scene: Scene,
    runs: Sequence[Run],
    *,
    measured: Measured,
    holdout_losses: dict[datetime, Floats],
) -> Document:
    """Everything that is told, JSON-compatible; what is not known is null."""
    ask = prepared.ask
    judged = {run.policy.name: alarms.judge_alarms(run, measured, ask, holdout_losses) for run in runs}
    losses = {run.policy.name: measured.mean(measured.served(run)) for run in runs}
    differences = {
        (one.policy.name, other.policy.name): measured.difference(one, other)
        for one in runs
        for other in runs
        if one is not other
    }
    contenders = [_contender(run, losses[run.policy.name]) for run in runs]
    best = recommend(contenders, differences)
    found = {
        "id": prepared.id,
        "pipeline": pipeline.name,
        "from": ask.start,
        "to": ask.end,
        "step_days": ask.step / timedelta(days=1),
        "changes": list(ask.changes),
        "tables": {str(name): version for name, version in prepared.versions.items()},
        "loss": loss_kind(pipeline.choose_by),
        "requests": len(scene.times_us),
        "replayed": int((scene.times_us >= epoch_us(ask.start)).sum()),
        "labelled_until": _labelled_until(scene),
        "known_after_days": pipeline.labels.known_after / timedelta(days=1),
        "notes": list(scene.notes),
        "policies": [_policy_document(run, measured, losses[run.policy.name], judged[run.policy.name]) for run in runs],
        "differences": [
            {"policy": one, "other": other, **_mean(mean), "told": told(mean)}
            for (one, other), mean in differences.items()
        ],
        "recommendation": asdict(best),
        "false_alarm": alarms.DEFINITION,
    }
    return {name: plain(value) for name, value in found.items()}


def _policy_document(run: Run, measured: Measured, loss: Mean, judged: Sequence[Alert]) -> Document:
    return {
        "name": run.policy.name,
        "retrain": _policy(run),
        "loss": _mean(loss),
        "cost": _cost(run),
        "alarms": alarms.count(judged),
        "verdicts": _verdicts(run),
        "attempts": [_attempt(each) for each in run.attempts],
        "episodes": [asdict(each) for each in judged],
        "gains": [_gain(each) for each in measured.gains(run)],
        "quality": [asdict(each) for each in measured.stretches(run)],
        "drift": [_drift(each) for each in run.verdicts if each.kind == "drift"],
        "days": [asdict(each) for each in run.days],
    }


def plain(value: object) -> Any:
    """A value as JSON has it: times as text, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float | np.floating):
        return float(value) if isfinite(value) else None
    if isinstance(value, timedelta):
        return value / timedelta(days=1)
    if isinstance(value, datetime):
        return iso(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _contender(run: Run, loss: Mean) -> Contender:
    retrainings = _retrainings(run)
    return Contender(run.policy.name, loss.value, len(retrainings), sum(attempt.model.rows for attempt in retrainings))


def _retrainings(run: Run) -> Sequence[Attempt]:
    """What was trained after the first version: that one every policy has."""
    first = next(
        (place for place, each in enumerate(run.attempts, start=1) if each.version is not None), len(run.attempts)
    )
    return run.attempts[first:]


def _policy(run: Run) -> Mapping[str, object]:
    return asdict(run.policy.retrain)


def _cost(run: Run) -> Document:
    retrainings = _retrainings(run)
    return {
        "trainings": len(retrainings),
        "promoted": sum(attempt.version is not None for attempt in retrainings),
        "refused": sum(attempt.version is None for attempt in retrainings),
        "rows": sum(attempt.model.rows for attempt in retrainings),
        "seconds": round(sum(attempt.model.seconds for attempt in retrainings), 1),
    }


def _verdicts(run: Run) -> Mapping[str, Mapping[str, int]]:
    counted: dict[str, Counter[str]] = {}
    for one in run.verdicts:
        counted.setdefault(one.kind, Counter())[one.status] += 1
    return counted


def _attempt(attempt: Any) -> Document:
    kept: Document = asdict(attempt)
    return kept


def _gain(gain: Gain) -> Document:
    return {
        "at": gain.at,
        "version": gain.version,
        "until": gain.until,
        "labelled": gain.labelled,
        **_mean(gain.mean),
        "told": told(gain.mean) if gain.labelled else "insufficient data: no label of that time is known",
    }


def _drift(seen: Any) -> Document:
    return {"at": seen.at, "status": seen.status, "severity": seen.severity, "score": seen.score, "reason": seen.reason}


def _mean(mean: Mean) -> Document:
    return {
        "mean": mean.value,
        "low": mean.interval.low,
        "high": mean.interval.high,
        "rows": mean.rows,
        "blocks": mean.blocks,
    }


def _labelled_until(scene: Scene) -> datetime | None:
    known = scene.times_us[~np.isnan(scene.labels)]
    return from_epoch_us(int(known[-1])) if len(known) else None
