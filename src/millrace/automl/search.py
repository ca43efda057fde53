"""`classify` and `regress`: from rows and a target to a model, in the time that is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.automl.ask import Wish
from millrace.automl.check import check_options
from millrace.automl.engines.find import engine_named
from millrace.automl.kept import Options, search_by_engine, search_here
from millrace.automl.run import Watch
from millrace.automl.summary import AutoMLSummary
from millrace.automl.types import Impute, Latency
from millrace.core.errors import InvalidInput

DEFAULT_MINUTES = 5.0


def classify(
    dataset: Any,
    target_col: str,
    *,
    primary_metric: str = "log_loss",
    minutes: float | None = None,
    timeout_minutes: float | None = None,
    time_col: str | None = None,
    group_col: str | None = None,
    split_col: str | None = None,
    sample_weight_col: str | None = None,
    exclude_cols: Sequence[str] = (),
    exclude_frameworks: Sequence[str] = (),
    pos_label: object = None,
    imputers: Mapping[str, Impute] | None = None,
    experiment_name: str | None = None,
    data_dir: str | Path | None = None,
    max_trials: int | None = None,
    folds: int | None = None,
    latency: Latency = "normal",
    blend: bool = True,
    seed: int = 0,
    home: str | Path | None = None,
    watch: Watch | None = None,
    engine: str = "millrace",
) -> AutoMLSummary:
    """Search a classifier for two or more classes.

    Every trial is an MLflow run under the search's run. A search that was killed goes on with its finished trials when it is called again
    in the same way, with what is left of its time. Ctrl-C ends the search early, with the best model so far.

    Args:
        dataset: a frame of pandas, Arrow, polars or Spark, or the name of a table.
        target_col: the column to predict; rows without it are left out.
        primary_metric: `log_loss`, `roc_auc`, `accuracy`, `f1`, `precision`, `recall` or `brier`.
        minutes: the time for everything, 5 by default. Where it is short the model is there in time, and its runs come behind. Engines of others
            may take half as much again.
        timeout_minutes: the same by another name.
        time_col: a column of times, numbers or texts that sort: each fold is judged on rows later than all that it was fitted on.
        group_col: rows with the same value stay on one side of each fold.
        split_col: a column with `train`, `validate` and `test`: one fold, and `test` is never looked at.
        sample_weight_col: what each row weighs, in fits and in scores.
        exclude_cols: columns that no model sees.
        exclude_frameworks: of `sklearn`, `lightgbm`, `xgboost`, `linear`, `hist_gb`.
        pos_label: of two classes, the one that F1, precision and recall are about; the second by default.
        imputers: column to `median`, `mean`, `most_frequent` or `zero`: what linear models see for a missing number.
        experiment_name: the MLflow experiment; `automl <table>` by default.
        data_dir: a folder that gets the searched rows as Parquet, for the notebooks; the search's own folder by default.
        max_trials: how many trials at most; as many as there is time for by default.
        folds: of one repeat; 5 by default. Small data is dealt several times.
        latency: `low`: the best trial fitted once on all rows, instead of a bag of its folds' models.
        blend: whether the final model may be a weighted mean of several trials.
        seed: for every random choice.
        home: the home; MILLRACE_HOME or ./.millrace by default.
        watch: is told of the trials as they end; by default lines on standard error are, in a terminal or a notebook only.
        engine: `millrace`, or `flaml` or `autogluon` from an environment of its own. Those choose by themselves what is tried: `exclude_frameworks`,
            `imputers`, `max_trials`, `folds`, `blend` and `watch` are not for them.

    Raises:
        InvalidInput: nothing can be learned from this; the message says why and what to do.
        NotFound: there is no such table.
    """
    wish = Wish(
        "classification",
        target_col,
        primary_metric,
        time_col,
        group_col,
        split_col,
        sample_weight_col,
        tuple(exclude_cols),
        imputers or {},
        pos_label,
        folds,
        seed,
    )
    options = Options(
        _minutes(minutes, timeout_minutes),
        tuple(exclude_frameworks),
        experiment_name,
        data_dir,
        max_trials,
        latency,
        blend,
        home,
        watch,
        engine,
    )
    return search(dataset, wish, options)


def regress(
    dataset: Any,
    target_col: str,
    *,
    primary_metric: str = "rmse",
    minutes: float | None = None,
    timeout_minutes: float | None = None,
    time_col: str | None = None,
    group_col: str | None = None,
    split_col: str | None = None,
    sample_weight_col: str | None = None,
    exclude_cols: Sequence[str] = (),
    exclude_frameworks: Sequence[str] = (),
    imputers: Mapping[str, Impute] | None = None,
    experiment_name: str | None = None,
    data_dir: str | Path | None = None,
    max_trials: int | None = None,
    folds: int | None = None,
    latency: Latency = "normal",
    blend: bool = True,
    seed: int = 0,
    home: str | Path | None = None,
    watch: Watch | None = None,
    engine: str = "millrace",
) -> AutoMLSummary:
    """Search a model of a number: as `classify`, by `rmse`, `mae` or `r2`."""
    wish = Wish(
        "regression",
        target_col,
        primary_metric,
        time_col,
        group_col,
        split_col,
        sample_weight_col,
        tuple(exclude_cols),
        imputers or {},
        None,
        folds,
        seed,
    )
    options = Options(
        _minutes(minutes, timeout_minutes),
        tuple(exclude_frameworks),
        experiment_name,
        data_dir,
        max_trials,
        latency,
        blend,
        home,
        watch,
        engine,
    )
    return search(dataset, wish, options)


def search(dataset: Any, wish: Wish, options: Options) -> AutoMLSummary:
    """Search, and keep everything in the home."""
    check_options(options.minutes, options.latency, options.max_trials, options.exclude_frameworks)
    if options.engine == "millrace":
        return search_here(dataset, wish, options)
    return search_by_engine(engine_named(options.engine), dataset, wish, options)


def _minutes(minutes: float | None, timeout_minutes: float | None) -> float:
    if minutes is not None and timeout_minutes is not None and minutes != timeout_minutes:
        raise InvalidInput("minutes and timeout_minutes differ", hint="give one of them")
    return next((each for each in (minutes, timeout_minutes) if each is not None), DEFAULT_MINUTES)
