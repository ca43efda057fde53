"""`classify` and `regress`: from rows and a target to a model, in the time that is given."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.check import check_options
from millrace.automl.engines.find import Engine, engine_named, interpreter
from millrace.automl.engines.run import run_engine
from millrace.automl.folder import SearchFolder, final_to_json, kept_folder, key_of, tidy
from millrace.automl.importance_report import importance_csv, importance_svg
from millrace.automl.log import EXPLORATION, IMPORTANCE, RunLog, search_facts
from millrace.automl.logged import model_to_log
from millrace.automl.notebooks import exploration_notebook, trial_notebook
from millrace.automl.read import read
from millrace.automl.run import Found, Limits, Watch, run_search
from millrace.automl.space import spaces
from millrace.automl.summary import AutoMLSummary
from millrace.automl.types import Impute, Latency, Search, Trial
from millrace.automl.workers.pool import Pool
from millrace.core.errors import InvalidInput, MillraceError
from millrace.workspace import Workspace, open_workspace

DEFAULT_MINUTES = 5.0
_MODEL = "model"
_LEAST_S = 3.0
_SHORT_S = 10.0


@dataclass(frozen=True, slots=True)
class Options:
    """What does not change what is asked, only how it is searched. Each is explained in `classify`."""

    minutes: float
    exclude_frameworks: Sequence[str] = ()
    experiment: str | None = None
    data_dir: str | Path | None = None
    max_trials: int | None = None
    latency: Latency = "normal"
    blend: bool = True
    home: str | Path | None = None
    watch: Watch | None = None
    engine: str = "millrace"


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
        minutes: the time for everything, the final model and its logging too; 5 by default.
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
        watch: is told of the trials as they end.
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
    if options.engine != "millrace":
        return _by_engine(engine_named(options.engine), dataset, wish, options)
    begun = time.monotonic()
    with closing(open_workspace(options.home)) as workspace, Pool(_processes(workspace, options)) as pool:
        asked = ask(read(dataset, workspace), wish)
        key = key_of(asked.job, options.exclude_frameworks, options.latency)
        with kept_folder(workspace.home / "automl", key) as folder:
            return _searched(workspace, asked, wish, options, folder, pool, begun)


def _searched(  # noqa: PLR0917 - the world first, then what is asked, then where and since when
    workspace: Workspace, asked: Asked, wish: Wish, options: Options, folder: SearchFolder, pool: Pool, begun: float
) -> AutoMLSummary:
    asked = _kept(asked, folder, options)
    experiment = options.experiment or f"automl {asked.dataset.name}"
    log = _run_log(workspace, asked, folder, options, experiment)
    used_s = float(folder.state().get("used_s", 0.0))
    watch = _Watching(log, folder, options.watch, begun - used_s)
    limits = replace(_limits(begun, wish, options, used_s), after_s=partial(_after_s, log, options.minutes * 60))
    families = spaces(frozenset(options.exclude_frameworks))
    found = run_search(asked, folder, families, limits, pool=pool, clock=workspace.clock, watch=watch)
    pool.close()
    summary = _log(workspace, asked, found, log, experiment)
    folder.keep_state(done=True, model_uri=summary.model_uri, final=final_to_json(summary.final))
    tidy(folder.path.parent, folder)
    return replace(summary, search=replace(summary.search, seconds=time.monotonic() - begun))


@dataclass(slots=True)
class _Watching:
    """Logs each trial, keeps how much time was used since it began (without what it lay still after it was killed), and passes on to who looks on."""

    log: RunLog
    folder: SearchFolder
    other: Watch | None
    since: float

    def begun(self, search: Search) -> None:
        if self.other is not None:
            self.other.begun(search)

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        self.log.trial(trial)
        self.folder.keep_state(used_s=time.monotonic() - self.since)
        if self.other is not None:
            self.other.ended(trial, best, left_s)


def _run_log(workspace: Workspace, asked: Asked, folder: SearchFolder, options: Options, experiment: str) -> RunLog:
    """With notebooks: one about the data with the search's run, and one with each trial of our own."""
    sketch = _sketch(workspace, asked, folder, options)

    def of_trial(trial: Trial) -> str | None:
        return trial_notebook(sketch, trial).ipynb() if options.engine == "millrace" else None

    about = {EXPLORATION: lambda: exploration_notebook(sketch).ipynb()}
    return RunLog(workspace.tracking, experiment, folder.id, render=of_trial, about=about)


def _sketch(workspace: Workspace, asked: Asked, folder: SearchFolder, options: Options) -> Search:
    """What is known of a search before it begins."""
    job, threads = asked.job, workspace.settings.threads
    return Search(folder.id, job.problem, asked.dataset, job.plan, options.minutes * 60, job.plan.seed, threads)


def _by_engine(engine: Engine, dataset: Any, wish: Wish, options: Options) -> AutoMLSummary:
    """The same with an engine that is not ours, which does not go on where it was killed."""
    begun = time.monotonic()
    with closing(open_workspace(options.home)) as workspace:
        interpreter(engine, workspace.home)
        asked = ask(read(dataset, workspace), wish)
        with kept_folder(workspace.home / "automl", key_of(asked.job, engine, options.latency)) as folder:
            return _searched_by(engine, workspace, asked, wish, options, folder, begun)


def _searched_by(  # noqa: PLR0917 - as `_searched`
    engine: Engine,
    workspace: Workspace,
    asked: Asked,
    wish: Wish,
    options: Options,
    folder: SearchFolder,
    begun: float,
) -> AutoMLSummary:
    folder.begin(asked.job)
    asked = _kept(asked, folder, options)
    experiment = options.experiment or f"automl {asked.dataset.name}"
    log = _run_log(workspace, asked, folder, options, experiment)
    if options.watch is not None:
        options.watch.begun(_sketch(workspace, asked, folder, options))
    try:
        found = run_engine(
            engine,
            asked,
            search_id=folder.id,
            home=workspace.home,
            budget_s=options.minutes * 60 - (time.monotonic() - begun),
            threads=workspace.settings.threads,
            seed=wish.seed,
            latency=options.latency,
            clock=workspace.clock,
        )
    except MillraceError:
        log.flush()
        workspace.tracking.finish(log.wait_started(), failed=True)
        raise
    for trial in found.search.trials:
        log.trial(trial)
    summary = _log(workspace, asked, found, log, experiment)
    folder.keep_state(done=True, model_uri=summary.model_uri)
    return replace(summary, search=replace(summary.search, seconds=time.monotonic() - begun))


def _kept(asked: Asked, folder: SearchFolder, options: Options) -> Asked:
    """With the searched rows in a Parquet file, for the notebooks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder.data if options.data_dir is None else Path(options.data_dir).absolute() / f"{folder.id}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # Arrow asks pandas 3.1 for times with a zone in a way that it is giving up.
        warnings.filterwarnings("ignore", "Series.values returning an ndarray")
        try:
            table = pa.Table.from_pandas(asked.raw, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # columns of mixed objects
            mixed = asked.raw.select_dtypes("object").columns
            texts = asked.raw.assign(**{name: asked.raw[name].map(str, na_action="ignore") for name in mixed})
            table = pa.Table.from_pandas(texts, preserve_index=False)
    part = path.with_suffix(".part")
    pq.write_table(table, part)
    part.replace(path)
    return replace(asked, dataset=replace(asked.dataset, path=str(path)))


def _limits(begun: float, wish: Wish, options: Options, used_s: float) -> Limits:
    budget = options.minutes * 60
    return Limits(
        begun=begun,
        budget_s=max(budget - used_s, min(budget, _LEAST_S)),
        max_trials=options.max_trials,
        latency=options.latency,
        blend=options.blend,
        seed=wish.seed,
    )


def _log(workspace: Workspace, asked: Asked, found: Found, log: RunLog, experiment: str) -> AutoMLSummary:
    """The final model and what is known of it, in the search's run."""
    tracking, run = workspace.tracking, log.wait_started()
    uri = tracking.log_model(run, _MODEL, model_to_log(found, asked.job))
    log.flush()
    trials = tuple(log.named(trial) for trial in found.search.trials)
    whole = replace(found.search, trials=trials, experiment=experiment, run_id=str(run))
    params, metrics = search_facts(whole)
    tracking.log(run, params=params, metrics=metrics)
    if whole.importance:
        tracking.log_text(run, importance_csv(whole.importance), f"{IMPORTANCE}.csv")
        tracking.log_text(run, importance_svg(whole.importance, whole.problem), f"{IMPORTANCE}.svg")
    tracking.finish(run)
    return AutoMLSummary(whole, found.model, uri, workspace.home, found.interrupted)


def _after_s(log: RunLog, budget_s: float) -> float:
    """How much of the time logging will take: never more than two fifths of it."""
    return min(log.left_s, 0.4 * budget_s)


def _processes(workspace: Workspace, options: Options) -> int:
    """One where the time is short: a second one would take longer to begin than it could help."""
    return 1 if options.minutes * 60 < _SHORT_S else workspace.settings.threads


def _minutes(minutes: float | None, timeout_minutes: float | None) -> float:
    if minutes is not None and timeout_minutes is not None and minutes != timeout_minutes:
        raise InvalidInput("minutes and timeout_minutes differ", hint="give one of them")
    return next((each for each in (minutes, timeout_minutes) if each is not None), DEFAULT_MINUTES)
