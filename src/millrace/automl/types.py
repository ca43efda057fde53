"""What a search is told, tries and finds. All of it is data: a notebook, a report or a later search can be made from it.

Everything that is fitted is scikit-learn's, LightGBM's or XGBoost's own, so that a trial can be written down as plain code:
a `ColumnTransformer` by `Preparation`, an estimator by `Trial.estimator` and `Trial.params`, folds by `SplitPlan`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Task = Literal["classification", "regression"]
Semantic = Literal["number", "boolean", "category", "high_cardinality", "date", "id", "constant", "empty", "text"]
Treatment = Literal["number", "one_hot", "target", "date", "drop"]
Impute = Literal["median", "mean", "most_frequent", "zero", "none"]
Family = Literal["dummy", "linear", "hist_gb", "lightgbm", "xgboost", "flaml", "autogluon"]
SplitKind = Literal["stratified", "random", "time", "group", "column"]
TrialState = Literal["running", "done", "pruned", "failed", "stopped"]
Latency = Literal["normal", "low"]
FinalKind = Literal["bag", "refit", "blend"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is predicted, and what makes a prediction good.

    Attributes:
        task: classification or regression.
        target: the column to predict.
        classes: a classifier's, sorted, as they stand in the data; models are fitted on their places (0, 1, ...). Empty in regression.
        metric: a name out of `automl.metrics.METRICS`; the mean of it over the folds is a trial's score.
        higher_is_better: which way that metric goes.
        positive: the class whose precision, recall and F1 count, where there are two; None in regression and for more classes.
    """

    task: Task
    target: str
    metric: str
    higher_is_better: bool
    classes: tuple[object, ...] = ()
    positive: object = None

    @property
    def is_binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.classes) == 2  # noqa: PLR2004 - the definition

    def better(self, score: float, other: float) -> bool:
        """Whether a score beats another; NaN beats nothing."""
        if math.isnan(score):
            return False
        return math.isnan(other) or (score > other if self.higher_is_better else score < other)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the data: what it is taken for, and what is done with it.

    Attributes:
        name: as in the data (duplicates are refused before).
        dtype: the frame's type, for people: `int64`, `string`, `timestamp[us]`.
        semantic: what the values are. `boolean` is a number with two values; a `category` is text with few
            values, `high_cardinality` with many; an `id` is a text, or a whole number by that name, that differs in nearly every row;
            `text` is prose, which is not used.
        treatment: what the preparation does with it; `drop` leaves it out.
        missing: how many rows have none. Infinite numbers count as missing and are counted in `infinite` too.
        infinite: how many numbers are infinite.
        distinct: how many values there are, null not among them.
        impute: what a linear model sees instead of a missing number; trees see it missing.
        why: why it is left out, or treated in a way that one would not expect; empty where there is nothing to tell.
    """

    name: str
    dtype: str
    semantic: Semantic
    treatment: Treatment
    missing: int = 0
    infinite: int = 0
    distinct: int = 0
    impute: Impute = "median"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows of a search, and where they are found again.

    Attributes:
        name: for people: the table's name, or `frame`.
        table: the table they were read from; None where they came as a frame.
        version: that table's version, which is pinned.
        path: a Parquet file with exactly the searched rows, in order, with all columns that were given (and `Problem.target`); None
            where nothing was kept.
        rows: how many rows the search saw (after those without a label were left out, and after sampling).
        columns: every column but the target, in the data's order, those with a role or left out among them.
        warnings: what was found odd in it, sentences for people.
    """

    name: str
    rows: int
    columns: tuple[Column, ...]
    table: str | None = None
    version: int | None = None
    path: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def used(self) -> tuple[Column, ...]:
        """The columns that models see."""
        return tuple(column for column in self.columns if column.treatment != "drop")


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How rows are split into folds: a function of this and the data, the same in every process.

    Attributes:
        kind: `stratified` (StratifiedKFold), `random` (KFold), `group` (no group on both sides), `time` (each fold is judged on rows later
            than all it was fitted on), `column` (one fold, by the values `train`, `validate` and `test` of a column).
        folds: of one repeat.
        repeats: how often the rows are dealt anew: more than 1 on small data. Fold k of repeat r has number r * folds + k.
        seed: repeat r is dealt with seed + r.
        column: the column with times, groups or the values of the split; None for `stratified` and `random`.
        weight: the column with the weight of each row, in fits and scores; None where all count the same.
        majority_kept: the share of the largest class's rows that a fit sees, each weighing its inverse, so that probabilities stay what
            they are; 1.0 for all. Only rows to fit are left out, never those to judge on.
    """

    kind: SplitKind
    folds: int
    repeats: int = 1
    seed: int = 0
    column: str | None = None
    weight: str | None = None
    majority_kept: float = 1.0

    @property
    def total(self) -> int:
        """How many fits a whole trial takes."""
        return self.folds * self.repeats


@dataclass(frozen=True, slots=True)
class Preparation:
    """How the columns become numbers, inside the model and fitted inside each fold: a scikit-learn `ColumnTransformer`.

    `automl.prepare.transformer(preparation, ...)` builds it. Its outputs in order: numbers, dates' parts, one-hot columns, target-encoded
    columns.

    Attributes:
        numbers: columns taken as float64.
        dates: columns split into parts (year, month, day, weekday, hour, days since 1970).
        one_hot: text columns with their categories: one column each; any other value is a zero in all.
        target: text columns replaced by the mean target of their category (scikit-learn's `TargetEncoder`, cross-fitted while fitting),
            with the categories that are told apart; any other value counts as never seen.
        scale: whether numbers are imputed and standardised first (linear models), or go to the trees as they are, missing ones too.
        impute: number column to how a missing value is filled, where `scale`; `median` where it is not named.
    """

    numbers: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    one_hot: tuple[tuple[str, tuple[str, ...]], ...] = ()
    target: tuple[tuple[str, tuple[str, ...]], ...] = ()
    scale: bool = False
    impute: tuple[tuple[str, Impute], ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration, judged on the folds.

    Attributes:
        number: from 0, in the order in which trials were begun.
        family: which kind of model.
        estimator: its class, as `lightgbm.LGBMClassifier`.
        params: the arguments to build that class with, complete: seed and threads among them. JSON-compatible.
        searched: the part of it that was searched, by the search space's names; empty for a default model.
        preparation: what stands before the estimator.
        state: `done` on all folds; `pruned` after some; `failed` with `error`; `stopped` by the deadline; `running`.
        fold_scores: the metric on each fold that was fitted, by fold number. Fold 0 first: a pruned trial has the first few.
        score: their mean; NaN where there is none.
        seconds: the processor's share: the sum of its fits' durations.
        error: what a failed fit said, one line.
        started_at: Clock time.
        default: whether it is one of the baselines that come first: what the search has to beat.
        run_id: its MLflow run; None before it is logged, or without a tracker.
        notebook: where its notebook is kept; None before it is written.
    """

    number: int
    family: Family
    estimator: str
    params: Mapping[str, object]
    preparation: Preparation
    state: TrialState = "running"
    searched: Mapping[str, object] = field(default_factory=dict)
    fold_scores: Mapping[int, float] = field(default_factory=dict)
    score: float = math.nan
    seconds: float = 0.0
    error: str = ""
    started_at: datetime | None = None
    default: bool = False
    run_id: str | None = None
    notebook: str | None = None

    @property
    def name(self) -> str:
        """`lightgbm 7`, for people."""
        return f"{self.family} {self.number}"


@dataclass(frozen=True, slots=True)
class Member:
    """A part of the final model: how much the models of a trial count.

    Attributes:
        trial: its number.
        weight: its share of the answer; the shares of all members sum to 1.
    """

    trial: int
    weight: float


@dataclass(frozen=True, slots=True)
class Final:
    """What the final model is made of.

    Attributes:
        kind: `bag`: the mean of the fold models of one trial. `blend`: of several trials, by weight. `refit`: one trial fitted once on all rows.
        members: the trials, the heaviest first.
        score: what it scored on rows that its parts did not see (a bag's is the score of its folds' models, each alone, which is
            not better than the bag).
        why: one sentence: why this and not another.
    """

    kind: FinalKind
    members: tuple[Member, ...]
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Importance:
    """How much worse the final choice scores when a column is shuffled among held-out rows.

    Attributes:
        column: an input.
        loss: how much worse the metric gets, in its own unit, mean over folds; 0 or less: the column tells nothing.
        spread: standard deviation of it over folds.
        low, high: 95 % interval of the loss; NaN where there is only one fold.
    """

    column: str
    loss: float
    spread: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, slots=True)
class Search:
    """A whole search as data: all that a notebook or a report needs.

    Attributes:
        id: names its folder in the home.
        problem, dataset, split: what was asked.
        budget_s: the time it was given.
        seed: for every random choice.
        threads: processes that fitted at once, with one thread each.
        trials: by number.
        experiment: the MLflow experiment's name; None without a tracker.
        run_id: the run that all trials are nested under.
        final: what came out; None while it runs.
        importance: of the final choice, the most important first; empty where there was no time for it.
        seconds: the time it took, end to end.
    """

    id: str
    problem: Problem
    dataset: Dataset
    split: SplitPlan
    budget_s: float
    seed: int
    threads: int
    trials: Sequence[Trial] = ()
    experiment: str | None = None
    run_id: str | None = None
    final: Final | None = None
    importance: Sequence[Importance] = ()
    seconds: float = 0.0

    def trial(self, number: int) -> Trial:
        """The trial of that number, which is there."""
        return next(each for each in self.trials if each.number == number)

    @property
    def leaderboard(self) -> list[Trial]:
        """The trials that were judged on all folds, the best first; between equals the earlier."""
        whole = [each for each in self.trials if each.state == "done" and not math.isnan(each.score)]
        sign = -1.0 if self.problem.higher_is_better else 1.0
        return sorted(whole, key=lambda each: (sign * each.score, each.number))
