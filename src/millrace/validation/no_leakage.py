"""Leakage: what a model knows in training, and won't know when it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.statistics.intervals import CONFIDENCE, Estimate, area
from millrace.validation.types import Evidence, GateResult, TrainingFacts

_CELLS = 64
_MOST_ROWS = 100_000
_MOST_COLUMNS = 2_000
_ALL = 0.95  # a share of the importance that is nearly all of it
_STRONG = 0.95  # an area that one feature seldom has by itself
_LEAST_FEATURES = 3


@dataclass(frozen=True)
class NoLeakage:
    """The model must not have seen the answers: not in a feature, not by its time, not in its own holdout.

    Refused is

    - a feature that tells the label nearly perfectly by itself: its ROC AUC on the holdout, by rates of its values that were learned in
      training, is at least `perfect`, and surely over 0.95 (for all features at once);
    - a feature that is nearly all that the model relies on (95 % of the permutation importance, of three features or more) and whose AUC by
      itself is surely over 0.95;
    - a feature that was looked up as it was after the row's time;
    - a training row that is in the holdout too, by key and time.

    Args:
        perfect: which AUC of a single feature is too good.
        allow: features that may be that good, because somebody has looked.

    Raises:
        InvalidInput: `perfect` outside (0.5, 1].
    """

    perfect: float = 0.99
    allow: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow", (self.allow,) if isinstance(self.allow, str) else tuple(self.allow))
        if not 0.5 < self.perfect <= 1:  # noqa: PLR2004 - a coin's
            raise InvalidInput(f"perfect can't be {self.perfect}", hint="give a ROC AUC, as 0.99")

    @property
    def name(self) -> str:
        """`no_leakage`."""
        return "no_leakage"

    def check(self, evidence: Evidence) -> GateResult:
        """Look for all of them; where nobody knows what the model was trained on, that is said."""
        facts = evidence.training
        if facts is None:
            return GateResult(self.name, True, "it is not known what the model was trained on")
        alone = _alone(evidence, facts)
        best = max(alone, key=lambda name: alone[name].value, default=None)
        reasons = [*_shared(facts), *_late(facts), *self._too_good(alone, facts)]
        figures = {"shared_rows": float(facts.shared_rows), "late_rows": float(sum(facts.late.values()))}
        if best is not None:
            figures |= {"best_feature_auc": alone[best].value, "best_feature_auc_low": alone[best].low}
        return GateResult(self.name, not reasons, "; ".join(reasons) or _all_well(best, alone), figures)

    def _too_good(self, alone: dict[str, Estimate], facts: TrainingFacts) -> Iterator[str]:
        known = {name: one for name, one in alone.items() if name not in self.allow}
        strong = {name for name, one in known.items() if one.low >= _STRONG}
        perfect = [name for name in known if name in strong and known[name].value >= self.perfect]
        for name in perfect:
            yield (
                f"{name} alone tells the label: its ROC AUC is {known[name].value:.4f}, at least {known[name].low:.4f} (limit "
                f"{self.perfect:g}); was it known before the label?"
            )
        strong -= set(perfect)
        if strong and len(facts.columns) >= _LEAST_FEATURES:
            for name, share in facts.importances().items():
                if name in strong and share >= _ALL:
                    yield (
                        f"{name} is {share:.0%} of what the model relies on, with a ROC AUC of {known[name].value:.4f} by itself; "
                        "was it known before the label?"
                    )


def _shared(facts: TrainingFacts) -> list[str]:
    if not facts.shared_rows:
        return []
    return [
        f"{facts.shared_rows:,} rows of the holdout were trained on, by key and time: its figures say nothing of new rows"
    ]


def _late(facts: TrainingFacts) -> list[str]:
    return [
        f"{name} was looked up as it was after the row's time, for {rows:,} of {len(facts.labels):,} training rows"
        for name, rows in facts.late.items()
        if rows
    ]


def _all_well(best: str | None, alone: dict[str, Estimate]) -> str:
    said = "no training row is in the holdout, no feature is from after its row's time"
    if best is None:
        return said
    return f"{said}, and no feature tells the label by itself (best: {best}, ROC AUC {alone[best].value:.4f})"


def _alone(evidence: Evidence, facts: TrainingFacts) -> dict[str, Estimate]:
    """Each feature's own area under the ROC curve on the holdout, with intervals that hold for all at once."""
    names = [name for name in list(facts.columns)[:_MOST_COLUMNS] if name in evidence.columns]
    step = max(1, len(facts.labels) // _MOST_ROWS)
    labels = facts.labels[::step]
    confidence = 1 - (1 - CONFIDENCE) / max(len(names), 1)
    found = {
        name: _area_of(facts.columns[name][::step], labels, evidence.columns[name], evidence, confidence)
        for name in names
    }
    return {name: one for name, one in found.items() if one}


def _area_of(
    trained: np.ndarray, labels: np.ndarray, held: np.ndarray, evidence: Evidence, confidence: float
) -> Estimate:
    cells, asked = _text_cells(trained, held) if trained.dtype == object else _number_cells(trained, held)
    count = int(max(cells.max(initial=0), asked.max(initial=0))) + 1
    rows, positives = np.bincount(cells, minlength=count), np.bincount(cells, weights=labels, minlength=count)
    rates = (positives + labels.mean()) / (rows + 1)
    worth = 1.0 if evidence.groups is None else (int(evidence.groups.max()) + 1) / len(evidence.labels)
    order = np.argsort(rates, kind="stable")
    zeros, ones = (
        np.bincount(asked, weights=(evidence.labels == kind) * worth, minlength=count)[order] for kind in (0, 1)
    )
    return area(zeros, ones, confidence=confidence).estimate


def _number_cells(trained: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges with about as many training rows each; a missing value has a cell of its own."""
    known = trained[~np.isnan(trained)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _CELLS + 1)[1:-1])) if len(known) else np.array([])
    first, second = (
        np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="left"))
        for values in (trained, held)
    )
    return first, second


def _text_cells(trained: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A cell for each text that was trained on, one for missing values, one for texts that are new."""
    codes: dict[object, int] = {None: 0}
    first = np.array([codes.setdefault(_known(value), len(codes)) for value in trained], dtype=np.int64)
    new = len(codes)
    return first, np.array([codes.get(_known(value), new) for value in held], dtype=np.int64)


def _known(value: object) -> object:
    return value if isinstance(value, str) else None
