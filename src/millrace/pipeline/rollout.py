"""How a new version comes into production."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from millrace.serving.canary.types import CanaryLimits, CanarySettings


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a new version takes over production from the one that serves: step by step, with a verdict between the steps.

    Attributes:
        canary: the new version's percent of the traffic in each step; rising, the last 100.
        shadow: percent of the requests that it answers in shadow in a step before; 0: no such step.
        min_requests: how many requests each of the two must have answered in a step before it is judged.
        min_labels: how many labels each must have got as well; 0: whatever labels came are looked at.
        wait: how long a step may take to get there.
        after_wait: what is decided then, where nothing is known against the new version.
        limits: how much worse than the other it may be.
    """

    canary: Sequence[int] = (10, 50, 100)
    shadow: int = 0
    min_requests: int = 500
    min_labels: int = 0
    wait: timedelta = timedelta(hours=24)
    after_wait: Literal["go", "stop"] = "stop"
    limits: CanaryLimits = field(default_factory=CanaryLimits)

    def __post_init__(self) -> None:
        _ = self.settings

    @property
    def settings(self) -> CanarySettings:
        """As the server takes it. Raises InvalidInput where a part of it is wrong."""
        return CanarySettings(
            tuple(self.canary),
            self.shadow,
            self.min_requests,
            self.min_labels,
            self.wait,
            self.after_wait,
            self.limits,
        )
