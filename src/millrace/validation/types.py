"""What gates look at, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Evidence:
    """A holdout, and what each model said of it. All arrays have the holdout's length and order.

    Attributes:
        labels: 0/1.
        challenger: probability of class 1 by the model under test.
        baselines: the same by name for each baseline that was trained on the same rows as the challenger.
        champion: the same for the version in production; None where there is none.
        champion_name: for the reasons, as `churn v3`.
        seed: for bootstrap draws.
        champion_has_seen: whether the champion was trained on rows of this holdout, which makes it harder to beat.
        window: for the reasons, which rows these are, as `2025-05-05 to 2025-06-01`.
        newest: the same on the most recent labelled rows, where the holdout is older: the champion is judged there. None: this is it.
    """

    labels: np.ndarray
    challenger: np.ndarray
    baselines: Mapping[str, np.ndarray]
    champion: np.ndarray | None = None
    champion_name: str = ""
    seed: int = 0
    champion_has_seen: bool = False
    window: str = ""
    newest: Evidence | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's answer: `reason` is a sentence with the figures that decided."""

    gate: str
    passed: bool
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All gates' answers about one model. `metrics` are the challenger's on the holdout, by name."""

    passed: bool
    results: tuple[GateResult, ...]
    metrics: Mapping[str, float]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass; empty where it did."""
        return tuple(result.reason for result in self.results if not result.passed)


class Gate(Protocol):
    """One condition. Frozen, comparable, printable: it is part of the plan's fingerprint."""

    @property
    def name(self) -> str: ...

    def check(self, evidence: Evidence) -> GateResult:
        """Decide. Deterministic for the same evidence."""
        ...
