"""How many false alarms a year the user allows, and what each judge may spend of it at each window.

The sum of all chances is at most the budget (Bonferroni), whatever depends on what. It holds for rows that are independent of each
other; what rows of one day or week have in common is met by what the reference's own windows show (`reference.calibrate`).
"""

from __future__ import annotations

from collections.abc import Mapping

from millrace.monitoring.types import Kind, MonitorSpec
from millrace.monitoring.windows import Granularity

SCALES = (1, 3, 7, 28)
# An effect of so many floors opens an episode at once: no second window is waited for. That it is sure, the budget has seen to.
FAR = 1.5
SHARES: Mapping[Kind, float] = {"drift": 0.4, "quality": 0.1, "volume": 0.1, "performance": 0.3, "estimate": 0.1}


def alpha(spec: MonitorSpec, kind: Kind) -> float:
    """The chance of a false verdict that a judge of this kind may take at each window, over all that it looks at together."""
    return spec.false_alarms_per_year * SHARES[kind] / Granularity.parse(spec.granularity).windows_per_year
