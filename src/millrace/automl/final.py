"""From judged trials to one model: a bag of one trial's fold models, a blend of several, or one refit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from millrace.automl.folder import SearchFolder, pooled
from millrace.automl.metrics import score
from millrace.automl.rows import Rows
from millrace.automl.splits import Fold
from millrace.automl.types import Final, FinalKind, Member, Problem, SplitPlan, Trial

_STEPS = 12
_MOST_MEMBERS = 3
_CANDIDATES = 12
_HALVES_SEED = 7
_HALVINGS = 3
_MOST_ROWS, _MOST_CELLS = 10_000, 200_000  # of the rows on which a blend is chosen and judged, and of shares in them


@dataclass(frozen=True, slots=True)
class Judged:
    """Trials with what they said to rows that they were not fitted on.

    Attributes:
        problem: names the metric.
        trials: the best first.
        said: trial's number to its pooled predictions, a row for each of the rows that a fold judges.
        target, weights: of these rows.
        end: the `time.monotonic()` until which they may be scored.
    """

    problem: Problem
    trials: Sequence[Trial]
    said: Mapping[int, np.ndarray]
    target: np.ndarray
    weights: np.ndarray | None
    end: float = math.inf

    def score(self, weights: Mapping[int, float], rows: np.ndarray | slice = slice(None)) -> float:
        """What a weighted mean of trials scores.

        Raises:
            TimeoutError: the time is over.
        """
        if time.monotonic() > self.end:
            raise TimeoutError
        mix = np.asarray(sum(share * self.said[number][rows] for number, share in weights.items()))
        of_rows = None if self.weights is None else self.weights[rows]
        return score(self.problem, self.target[rows], mix, of_rows)


def judged(
    problem: Problem, rows: Rows, folds: Sequence[Fold], trials: Sequence[Trial], folder: SearchFolder, *, end: float
) -> Judged:
    """Read what the best trials, and the defaults, said; until `end` they may be scored."""
    chosen = [*trials[:_CANDIDATES], *(trial for trial in trials[_CANDIDATES:] if trial.default)]
    said = {trial.number: pooled(problem, folds, folder.predictions(trial.number), len(rows)) for trial in chosen}
    covered = np.unique(np.concatenate([judge for _, judge in folds]))
    most = min(_MOST_ROWS, _MOST_CELLS // max(len(problem.classes), 1))
    if len(covered) > most:
        covered = np.sort(np.random.default_rng(_HALVES_SEED).choice(covered, most, replace=False))
    weights = None if rows.weights is None else rows.weights[covered]
    kept = {number: values[covered] for number, values in said.items()}
    return Judged(problem, chosen, kept, rows.target[covered], weights, end)


def choose(
    trials: Sequence[Trial], plan: SplitPlan, *, low_latency: bool, blend: bool, judged: Callable[[], Judged]
) -> Final:
    """What the final model is made of.

    A blend is taken where it is better than the best trial on rows that neither its weights nor that choice has seen; never where the folds'
    models have not seen the newest rows.

    Args:
        trials: at least one, the best first.
        plan: how the rows were split.
        low_latency: a refit is asked for.
        blend: whether a blend may be taken.
        judged: reads what the trials said; asked only where a blend may be taken, since it takes time.
    """
    best = trials[0]
    kind: FinalKind = "refit" if low_latency or plan.kind in {"time", "column"} else "bag"
    why = {
        "bag": f"the mean of the models that {best.name}, the best trial, has of the folds",
        "refit": f"{best.name}, the best trial, fitted once more on all rows"
        + ("" if low_latency else ", since its folds' models have not seen the newest"),
    }
    single = Final(kind, (Member(best.number, 1.0),), best.score, why[kind])
    if kind == "refit" or not blend or len(trials) == 1:
        return single
    try:
        return _blend(judged()) or single
    except TimeoutError:
        return replace(single, why=f"{single.why}; there was no time to look for a blend")


def _blend(found: Judged) -> Final | None:
    """None where none is better than the best trial.

    Raises:
        TimeoutError: the time is over.
    """
    gain = _gain(found)
    weights = greedy(found, np.arange(len(found.target)))
    if gain <= 0 or len(weights) == 1:
        return None
    members = tuple(Member(number, share) for number, share in sorted(weights.items(), key=lambda one: -one[1]))
    said = f"on rows that chose neither, a blend is better than the best trial by {gain:.4g}"
    return Final("blend", members, found.score(weights), said)


def greedy(found: Judged, rows: np.ndarray) -> dict[int, float]:
    """Weights of trials whose mean scores best on some rows, added one by one, with repetition.

    Source: Caruana et al. 2004, Ensemble selection from libraries of models.
    """
    taken: list[int] = []
    best_taken: list[int] = []
    best = float("nan")
    for _ in range(_STEPS):
        tries = [trial.number for trial in found.trials]
        if len(set(taken)) >= _MOST_MEMBERS:
            tries = sorted(set(taken))
        scores = [(found.score(_shares([*taken, number]), rows), number) for number in tries]
        value, number = _best(found.problem, scores)
        taken = [*taken, number]
        if found.problem.better(value, best):
            best, best_taken = value, taken
    return _shares(best_taken or [found.trials[0].number])


def _gain(found: Judged) -> float:
    """How much better blends are than the best single trial, both chosen on one half of the rows and judged on the other."""
    problem, rng, gains = found.problem, np.random.default_rng(_HALVES_SEED), []
    rows = len(found.target)
    for _ in range(_HALVINGS):
        order = rng.permutation(rows)
        halves = (order[: rows // 2], order[rows // 2 :])
        for chosen_on, judged_on in (halves, halves[::-1]):
            alone = [(found.score({trial.number: 1.0}, chosen_on), trial.number) for trial in found.trials]
            single = found.score({_best(problem, alone)[1]: 1.0}, judged_on)
            gain = found.score(greedy(found, chosen_on), judged_on) - single
            gains.append(gain if problem.higher_is_better else -gain)
    usable = [gain for gain in gains if np.isfinite(gain)]
    return float(np.mean(usable)) if usable else 0.0


def _best(problem: Problem, scores: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """The best score; between equals the first."""
    best = scores[0]
    for each in scores[1:]:
        if problem.better(each[0], best[0]):
            best = each
    return best


def _shares(taken: Sequence[int]) -> dict[int, float]:
    return {number: taken.count(number) / len(taken) for number in dict.fromkeys(taken)}
