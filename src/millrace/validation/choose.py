"""Which candidate goes on?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import metric_named

_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Contender:
    """A trained candidate and what it reached on the holdout.

    Attributes:
        name: the candidate's.
        metrics: on the holdout, by name.
        is_baseline: never chosen.
        complexity: lower is simpler (1 for a linear model, 2 for trees).
    """

    name: str
    metrics: Mapping[str, float]
    is_baseline: bool = False
    complexity: int = 2


def choose(contenders: Sequence[Contender], metric: str = "log_loss") -> Contender:
    """The best by the metric that is no baseline, whatever kind it is.

    Values within 1e-9 of the best are equal, and of equals the simpler is chosen, then the one that was named first. A model
    whose metric is not defined loses to every other.

    Raises:
        InvalidInput: an unknown metric, a contender without it, or nothing but baselines.
    """
    measured = metric_named(metric)
    able = [each for each in contenders if not each.is_baseline]
    if not able:
        raise InvalidInput("there is no candidate besides baselines", hint="add one, as XGBoost() or Linear()")
    for each in able:
        if metric not in each.metrics:
            raise InvalidInput(f"the candidate '{each.name}' has no {metric}", hint="measure it on the holdout")
    merits = [measured.gain(each.metrics[metric], 0.0) for each in able]
    best = max((merit for merit in merits if not math.isnan(merit)), default=math.nan)
    equals = [each for each, merit in zip(able, merits, strict=True) if merit >= best - _SAME] or able
    return min(equals, key=lambda each: each.complexity)
