"""What gates look at, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np


Columns = Mapping[str, "np.ndarray"]
"""Column name to its values: float64 with NaN for missing, or text as objects with None."""


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What the model was trained on, for those who look for leaks.

    Attributes:
        columns: the model's inputs, m values each.
        labels: m values, 0 and 1.
        shared_rows: how many of the holdout's rows, told apart by key and time, are among the m rows too.
        late: what was looked up as it was after a row's time (as `ml.features.spend`): to how many training rows.
        importances: input to its share of what the model relies on, by permutation; asked for only where it is needed.
    """

    columns: Columns
    labels: np.ndarray
    shared_rows: int = 0
    late: Mapping[str, int] = field(default_factory=dict)
    importances: Callable[[], Mapping[str, float]] = dict


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
        linear: as a baseline's, for a linear model that was trained on the same rows; None where the challenger is one itself.
        groups: codes from 0 on, of rows that belong together (of one customer); None: rows have nothing to do with each other.
        columns: by which slices can be made: the model's inputs and what else was looked up.
        training: what the challenger was trained on; None where nobody knows.
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
    linear: np.ndarray | None = None
    groups: np.ndarray | None = None
    columns: Columns = field(default_factory=dict)
    training: TrainingFacts | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """What the staging endpoint did.

    Attributes:
        rows: how many answers were compared with those computed offline.
        differing: how many of them differ by more than rounding.
        largest_difference: of a probability.
        example: the first answer that differs.
        latencies_ms: of requests of one row, one after the other, over HTTP, after others had warmed the model.
        size_bytes: of the model's files.
    """

    rows: int
    differing: int
    largest_difference: float
    example: str = ""
    latencies_ms: tuple[float, ...] = ()
    size_bytes: int = 0


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
    """One condition on a model. Frozen, comparable, printable: it is part of the plan's fingerprint."""

    @property
    def name(self) -> str: ...

    def check(self, evidence: Evidence) -> GateResult:
        """Decide. Deterministic for the same evidence."""
        ...


@runtime_checkable
class ServedGate(Protocol):
    """One condition on a model as it is served, asked once the version is on the staging endpoint. Frozen, comparable, printable."""

    @property
    def name(self) -> str: ...

    def check_served(self, served: Served) -> GateResult:
        """Decide. Deterministic for the same measurements."""
        ...


AnyGate = Gate | ServedGate
