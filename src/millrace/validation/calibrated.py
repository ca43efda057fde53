"""Calibration: of the rows that a model gives 30 %, do 30 in 100 come true?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.statistics.bootstrap import Interval, metric_intervals
from millrace.statistics.calibration import calibration_error
from millrace.validation.types import Evidence, GateResult

_LEAST_ROWS = 100
_DRAWS = 500


@dataclass(frozen=True)
class Calibrated:
    """The model's probabilities must be about what comes true.

    The expected calibration error is the mean distance, over ten bins of about as many rows, of what was said from what came true. It is
    over 0 for a calibrated model too, by chance, and a bootstrap sample adds as much chance again: so the interval is turned round
    (`2 error - quantile`; Davison & Hinkley 1997, section 5.2), which takes that off. The model is refused where it lies above the limit.

    Args:
        max_error: the limit, as a share: 0.1 is ten points of a hundred.

    Raises:
        InvalidInput: a limit outside (0, 1).
    """

    max_error: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.max_error < 1:
            raise InvalidInput(f"max_error can't be {self.max_error}", hint="give a share, as 0.1")

    @property
    def name(self) -> str:
        """`calibrated`."""
        return "calibrated"

    def check(self, evidence: Evidence) -> GateResult:
        """Measure; few rows can't tell, and that is said."""
        rows = len(evidence.labels)
        if rows < _LEAST_ROWS:
            return GateResult(self.name, True, f"{rows} rows are too few to tell ({_LEAST_ROWS} would do)")
        error, between = calibration(evidence)
        bias = float(np.mean(evidence.challenger) - np.mean(evidence.labels))
        passed = not between.low > self.max_error
        figures = {
            "calibration_error": error,
            "calibration_error_low": between.low,
            "calibration_error_high": between.high,
            "bias": bias,
        }
        return GateResult(self.name, passed, self._reason(error, between, bias, passed=passed), figures)

    def _reason(self, error: float, between: Interval, bias: float, *, passed: bool) -> str:
        said = (
            f"probabilities are {error:.3f} off what came true on average (calibration error, 95 % interval {between.low:.3f} to "
            f"{between.high:.3f}), {abs(bias):.3f} too {'high' if bias > 0 else 'low'} over all rows"
        )
        if passed:
            return f"{said}: {'within' if error <= self.max_error else 'not surely above'} {self.max_error:g}"
        return f"{said}: surely above {self.max_error:g}"


def calibration(evidence: Evidence) -> tuple[float, Interval]:
    """The expected calibration error, and its interval with what chance adds taken off."""
    error = calibration_error(evidence.labels, evidence.challenger)
    drawn = metric_intervals(
        [calibration_error],
        evidence.labels,
        evidence.challenger,
        seed=evidence.seed,
        draws=_DRAWS,
        groups=evidence.groups,
    )[calibration_error.name]
    low, high = (max(2 * error - bound, 0.0) for bound in (drawn.high, drawn.low))
    return error, Interval(low, max(high, low), drawn.confidence)
