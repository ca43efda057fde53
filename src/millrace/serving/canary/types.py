"""What a canary is: what was declared, how far it is, and what was found on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from millrace.core.errors import InvalidInput

Signal = Literal["errors", "latency", "predictions", "quality"]
Decision = Literal["go", "wait", "stop"]
Outcome = Literal["running", "finished", "rolled_back", "cancelled"]

SIGNALS: tuple[Signal, ...] = ("errors", "latency", "predictions", "quality")
MOST_REQUESTS = 100_000  # of each, that a verdict may ask for
_WHOLE = 100


@dataclass(frozen=True, slots=True)
class CanaryLimits:
    """How much worse than the champion a challenger may be. What is beyond a limit, and not chance, rolls it back.

    Attributes:
        errors: how much higher its share of failed requests may be; 0.01 is one request in a hundred.
        latency: how many times longer its 95th percentile may be...
        latency_ms: ...where that is at least so many milliseconds more.
        predictions: how far its predictions may be distributed from the champion's: the largest gap between the cumulative
            shares (Kolmogorov-Smirnov), or half the sum of the gaps where they are texts. Another model may well say
            something else: this one is for a model that is broken.
        quality: how much higher its mean loss on labels may be, as a share of the champion's.
        false_stop: the probability that a challenger that is no different is rolled back, over all steps and signals.
    """

    errors: float = 0.01
    latency: float = 1.5
    latency_ms: float = 1.0
    predictions: float = 0.3
    quality: float = 0.1
    false_stop: float = 0.01

    def __post_init__(self) -> None:
        for name in ("errors", "latency_ms", "predictions", "quality"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"the limit '{name}' is negative", hint="give 0 or more")
        if self.latency < 1:
            raise InvalidInput(f"the limit 'latency' is {self.latency}", hint="it is a factor: give 1 or more")
        if not 0 < self.false_stop < 1:
            raise InvalidInput(f"'false_stop' is {self.false_stop}", hint="give a probability, as 0.01")


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """How a challenger takes over, whoever it is.

    Attributes:
        steps: the challenger's percent of the traffic in each step; rising, the last 100.
        shadow: percent of the requests that the challenger answers in shadow in a step before the first; 0: no such step.
        min_requests: how many requests of a step each of the two must have answered before it is judged.
        min_labels: how many labels each must have got as well; 0: whatever labels came are looked at.
        wait: how long a step may take to get there.
        after_wait: what is decided then, where nothing is known against the challenger.
    """

    steps: tuple[int, ...] = (10, 50, 100)
    shadow: int = 0
    min_requests: int = 500
    min_labels: int = 0
    wait: timedelta = timedelta(hours=24)
    after_wait: Literal["go", "stop"] = "stop"
    limits: CanaryLimits = field(default_factory=CanaryLimits)

    def __post_init__(self) -> None:
        _check_steps(self.steps, self.shadow)
        if self.min_requests < 1 or self.min_labels < 0:
            raise InvalidInput("a verdict needs a minimum sample", hint="give min_requests of 1 or more")
        if max(self.min_requests, self.min_labels) > MOST_REQUESTS:
            raise InvalidInput(
                "the canary's minimum sample is too large", hint=f"a verdict reads at most {MOST_REQUESTS:,} of each"
            )
        if self.wait <= timedelta(0):
            raise InvalidInput("the canary's wait is not positive", hint="say how long a step may take at most")
        if self.after_wait not in {"go", "stop"}:
            raise InvalidInput(f"'{self.after_wait}' is no decision", hint="say 'go' or 'stop'")

    @property
    def shares(self) -> tuple[int, ...]:
        """The challenger's percent of the traffic in each step, 0 in the one in shadow."""
        return (0, *self.steps) if self.shadow else self.steps

    @property
    def verdicts(self) -> int:
        """How many verdicts there are at most: one after each step but the last, which ends the canary."""
        return len(self.shares) - 1


@dataclass(frozen=True, slots=True)
class Canary:
    """A challenger that takes over the traffic of a champion; both are names of served entities."""

    champion: str
    challenger: str
    settings: CanarySettings = field(default_factory=CanarySettings)

    def __post_init__(self) -> None:
        if self.champion == self.challenger:
            raise InvalidInput(f"'{self.champion}' can't be the challenger of itself", hint="name two served entities")

    def traffic(self, step: int) -> dict[str, int]:
        """Percent by served entity in a step."""
        share = self.settings.shares[step]
        return {self.champion: _WHOLE - share, self.challenger: share}

    def copied(self, step: int) -> dict[str, int]:
        """Percent of the requests that are copied to the challenger in a step."""
        return {self.challenger: self.settings.shadow} if self.settings.shadow and step == 0 else {}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one signal says.

    Attributes:
        champion, challenger: the two figures that are compared: share of failed requests, 95th percentile in
            milliseconds, mean prediction (None for texts), mean loss. None where there are none.
        effect: what is held against the limit: a difference, a ratio, a distance, a relative difference.
        p_value: the chance of such an effect between two that are no different; None where it was not needed.
        bad: beyond the limit, and not chance.
        reason: a sentence with the figures.
    """

    signal: Signal
    champion: float | None
    challenger: float | None
    effect: float | None
    p_value: float | None
    bad: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done after a look at a step, and why."""

    decision: Decision
    reason: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """The verdict that ended a step."""

    step: int
    share: int
    at: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class CanaryRun:
    """A canary under way, or how the last one ended.

    Attributes:
        model, version: the challenger.
        step: index into the canary's shares.
        since: when the step began; when it ended, for one that has.
        verdicts: those that ended the steps before.
        message: what the newest look found, or why it ended.
    """

    canary: Canary
    model: str
    version: str
    step: int
    since: datetime
    outcome: Outcome = "running"
    verdicts: tuple[StepVerdict, ...] = ()
    message: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.outcome == "running"

    @property
    def share(self) -> int:
        """The challenger's percent of the traffic: all where it has finished, none where it was rolled back."""
        if self.outcome == "finished":
            return _WHOLE
        return self.canary.settings.shares[self.step] if self.is_running else 0


def _check_steps(steps: tuple[int, ...], shadow: int) -> None:
    """Raise InvalidInput unless the steps are whole percents that rise to 100, and the shadow is a percent."""
    whole = all(type(step) is int for step in (*steps, shadow))
    rising = whole and all(low < high for low, high in zip((0, *steps), steps, strict=False))
    if not steps or not rising or steps[-1] != _WHOLE:
        raise InvalidInput(f"the steps {list(steps)} don't lead to 100", hint="give rising percents, as 10, 50, 100")
    if not 0 <= shadow <= _WHOLE:
        raise InvalidInput(f"{shadow} is no percent", hint="give a shadow of 0 to 100")
    if len(steps) == 1 and not shadow:
        raise InvalidInput(
            "a canary of one step has nothing to judge", hint="give a step before 100, or a shadow, or no canary"
        )
