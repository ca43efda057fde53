"""Which candidate goes on?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import metric_named

_SAME = 1e-9


class Contender(Protocol):
    """A trained candidate, as `training.types.FittedModel` is one."""

    @property
    def candidate(self) -> str:
        """Its name."""
        ...

    @property
    def is_baseline(self) -> bool:
        """Whether it is never chosen."""
        ...

    @property
    def complexity(self) -> int:
        """Lower is simpler: 1 for a linear model, 2 for trees."""
        ...


def choose(
    contenders: Sequence[Contender], metrics: Mapping[str, Mapping[str, float]], metric: str = "log_loss"
) -> str:
    """The name of the best by the metric that is no baseline, whatever kind of model it is.

    Values within 1e-9 of the best are equal, and of equals the simpler is chosen, then the one that was named first. A model
    whose metric is not defined loses to every other.

    Args:
        contenders: what was trained.
        metrics: of each contender on the holdout, by its name.
        metric: what decides.

    Raises:
        InvalidInput: an unknown metric, a contender without it, or nothing but baselines.
    """
    measured = metric_named(metric)
    able = [each for each in contenders if not each.is_baseline]
    if not able:
        raise InvalidInput("there is no candidate besides baselines", hint="add one, as XGBoost() or Linear()")
    for each in able:
        if metric not in metrics.get(each.candidate, {}):
            raise InvalidInput(f"the candidate '{each.candidate}' has no {metric}", hint="measure it on the holdout")
    merits = [measured.gain(metrics[each.candidate][metric], 0.0) for each in able]
    best = max((merit for merit in merits if not math.isnan(merit)), default=math.nan)
    equals = [each for each, merit in zip(able, merits, strict=True) if merit >= best - _SAME] or able
    return min(equals, key=lambda each: each.complexity).candidate
