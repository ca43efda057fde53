"""The loss on labels against the reference, from sums of losses alone: until windows that are stored have their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.calibrate import LEAST_ROWS
from millrace.monitoring.reference.profile import LossProfile
from millrace.monitoring.types import MonitorSpec, Status, WindowVerdict
from millrace.monitoring.verdicts.drift import BUDGET_SHARE, SCALES
from millrace.monitoring.windows import Granularity

RELATIVE_FLOOR = 0.03
_NAMES = {"log_loss": "log-loss", "zero_one": "error rate"}


@dataclass(frozen=True, slots=True)
class Change:
    """The loss over some windows against the reference. `relative` is the change as a share of the reference's loss."""

    scale: int
    rows: int
    loss: float
    relative: float
    z: float
    p_value: float


def judge_loss(
    spec: MonitorSpec, version: str, windows: Sequence[WindowCounts], loss: LossProfile | None
) -> Sequence[WindowVerdict]:
    """A verdict for each window that has labels; none for one without, or without a reference loss.

    Degraded where, at some scale, the loss is over the reference's by more than 3 % and the one-sided z-test's p-value is under the
    budget (half of `false_alarms_per_year` over the windows of a year and the scales; drift has the other half). The test's variance holds that of both
    means and, where the reference has weeks, how much its weeks differ. Windows whose labels cover less than `label_coverage`
    of their rows have not matured: they count nowhere, and are `insufficient_data` themselves.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first; the first ones serve as the past of the later ones.
        loss: the reference's.
    """
    if loss is None:
        return []
    granularity = Granularity.parse(spec.granularity)
    mature = {window.number: window for window in windows if _matured(window, spec.label_coverage)}
    alpha = spec.false_alarms_per_year * BUDGET_SHARE / granularity.windows_per_year / len(SCALES)
    verdicts = []
    for window in windows:
        if window.loss.labelled == 0:
            continue
        past = [mature[n] for n in range(window.number - SCALES[-1] + 1, window.number + 1) if n in mature]
        changes = _changes(past, window.number, loss) if window.number in mature else []
        verdicts.append(_verdict(version, granularity, window, reference=loss, changes=changes, alpha=alpha))
    return verdicts


def _matured(window: WindowCounts, coverage: float) -> bool:
    return window.loss.labelled >= coverage * window.rows


def _changes(past: Sequence[WindowCounts], number: int, reference: LossProfile) -> Sequence[Change]:
    found = []
    for scale in SCALES:
        sums = [window.loss for window in past if window.number > number - scale]
        rows = sum(one.labelled for one in sums)
        if rows >= LEAST_ROWS:
            total, squares = (float(np.sum([getattr(one, name) for one in sums])) for name in ("total", "squares"))
            found.append(_change(scale, rows, total / rows, squares / rows, reference))
    return found


def _change(scale: int, rows: int, mean: float, mean_square: float, reference: LossProfile) -> Change:
    variance = max(mean_square - mean * mean, 0.0)
    error = sqrt(variance / rows + reference.mean_sd**2 + reference.between_sd**2)
    difference = mean - reference.mean
    z = difference / error if error > 0 else float(np.sign(difference)) * 1e3
    relative = difference / reference.mean if reference.mean > 0 else float(difference > 0)
    return Change(scale, rows, mean, relative, z, erfc(z / sqrt(2)) / 2)


def _verdict(
    version: str,
    granularity: Granularity,
    window: WindowCounts,
    *,
    reference: LossProfile,
    changes: Sequence[Change],
    alpha: float,
) -> WindowVerdict:
    start, end = granularity.start(window.number), granularity.start(window.number + 1)
    if not changes:
        labelled = window.loss.labelled
        reason = f"{labelled} of {window.rows} rows have labels: too few to judge, {LEAST_ROWS} are needed"
        return WindowVerdict(
            "performance", version, start, end, "insufficient_data", None, (), reason, {"rows": labelled}
        )
    bad = [change for change in changes if change.p_value < alpha and change.relative > RELATIVE_FLOOR]
    worst = min(bad or changes, key=lambda change: change.p_value)
    status: Status = "degraded" if bad else "ok"
    reason = (
        f"{_NAMES[reference.kind]} {worst.loss:.3f} over {granularity.span(worst.scale)} (n={worst.rows}), "
        f"{reference.mean:.3f} in the reference: {worst.relative:+.1%}, z {worst.z:.1f}"
    )
    figures = {
        "windows": float(worst.scale),
        "rows": float(worst.rows),
        "loss": worst.loss,
        "reference_loss": reference.mean,
        "p_value": worst.p_value,
    }
    return WindowVerdict("performance", version, start, end, status, worst.relative, (), reason, figures)
