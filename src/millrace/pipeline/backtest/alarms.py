"""Was an alarm a false one? Told when the backtest is over, from what was measured afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import sqrt

import numpy as np

from millrace.pipeline.backtest.quality import Measured, reigns
from millrace.pipeline.backtest.types import Alert, Ask, Attempt, Run
from millrace.statistics.metrics import Floats

DEFINITION = (
    "An alarm is true where a change that you named lies between the newest label that the version was judged on and the alarm, "
    "or where the version's measured loss, from its first bad window until the alarm was over (four weeks at least), was higher than on "
    "its holdout: by more than 3 %, and by more than chance. It is false where the loss was measured and was not. "
    "Where no label of that time is known, nobody can tell."
)
_LEAST = timedelta(days=28)
_ROWS = 100
_FLOOR, _Z = 0.03, 1.96


def judge_alarms(run: Run, measured: Measured, ask: Ask, holdout_losses: dict[datetime, Floats]) -> tuple[Alert, ...]:
    """The run's alarms, each with what it turned out to be.

    Args:
        run: what happened.
        measured: the losses.
        ask: with the changes that somebody named.
        holdout_losses: of each model on its holdout, by its date.
    """
    by_version = {attempt.version: attempt for attempt, _ in reigns(run, ask.end)}
    return tuple(_judged(alert, by_version[alert.version], measured, ask, holdout_losses) for alert in run.alerts)


def _judged(alert: Alert, of: Attempt, measured: Measured, ask: Ask, holdouts: dict[datetime, Floats]) -> Alert:
    since = of.model.judged_to or of.at
    change = next((day for day in sorted(ask.changes) if since < day <= alert.began_at), None)
    if change is not None:
        return replace(alert, alarm="true", why=f"something changed on {change:%Y-%m-%d}, as you named it")
    until = max(alert.closed_at or ask.end, alert.began_at + _LEAST)
    rows = measured.rows(alert.began_at - ask.step, until)
    losses = measured.of_model(of.at)[rows]
    known = losses[~np.isnan(losses)]
    if len(known) < _ROWS:
        return replace(alert, why=f"{len(known)} labels of that time are known")
    reference = holdouts[of.at]
    mean, usual = float(known.mean()), float(reference.mean())
    error = sqrt(_variance(known) + _variance(reference))
    fell = mean - usual > _FLOOR * usual and mean - usual > _Z * error
    why = f"loss {mean:.4f} then (n={len(known):,}), {usual:.4f} on the holdout: {mean / usual - 1:+.1%}"
    return replace(alert, alarm="true" if fell else "false", why=why)


def _variance(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values)


def count(alerts: Sequence[Alert]) -> dict[str, int]:
    """How many were true, false and unknown."""
    return {name: sum(alert.alarm == name for alert in alerts) for name in ("true", "false", "unknown")}
