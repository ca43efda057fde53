"""AutoML as one of a pipeline's candidates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from millrace.automl.again import model_again, places_of
from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.check import check_options
from millrace.automl.folder import SearchFolder, final_to_json, find_folder, key_of, tidy
from millrace.automl.kept_rows import with_rows_kept
from millrace.automl.metrics import metric_for
from millrace.automl.read import Given
from millrace.automl.record.nested import NestedLog
from millrace.automl.record.writer import SEARCH
from millrace.automl.run import Found, Limits, left_s, run_search
from millrace.automl.space import spaces
from millrace.automl.types import Latency, Search, Trial
from millrace.automl.workers.pool import Pool
from millrace.core.clock import SystemClock
from millrace.training.types import Track, TrainingData

if TYPE_CHECKING:
    import pandas as pd

_TARGET, _TIME = "label", "time"
_LOGGING_SHARE = 0.5  # of the time, at most
_LEAST_FOLDS = 2  # in time; there is one where the first half of the rows is of one time, or lacks a class


@dataclass(frozen=True)
class AutoML:
    """A search within a pipeline's training: its final model is the candidate's model.

    Where features are looked up by time, trials are judged on rows later than all that they were fitted on, and the best one is fitted once
    more on all rows; else, and where the times give no two folds, they are judged on stratified folds.

    What does not depend on the time: folds, the defaults that come first, and what each trial scores. How many trials there are, and
    with several threads which ones, does: a slower machine tries fewer. A fit that is asked for again, after a crash say, gives the same
    model to the bit: the search's folder in the home has kept it, or knows how to fit it again.

    Each trial is a run under the candidate's, with a notebook that gives its score again; the candidate's run has a notebook about the data
    and the columns' importances.

    Attributes:
        minutes: the time for the search.
        metric: what it aims at: `log_loss`, `roc_auc`, `accuracy`, `f1`, `precision`, `recall` or `brier`.
        latency: `low`: one refit instead of a bag.
        blend: whether the model may be a weighted mean of several trials.
        exclude_frameworks: of `sklearn`, `lightgbm`, `xgboost`, `linear`, `hist_gb`.
        max_trials: how many trials at most; with one thread the result then depends on nothing but the seed, if the time suffices for them.
        name: unique among a pipeline's candidates.
    """

    minutes: float = 5.0
    metric: str = "log_loss"
    latency: Latency = "normal"
    blend: bool = True
    exclude_frameworks: tuple[str, ...] = ()
    max_trials: int | None = None
    name: str = "automl"

    def __post_init__(self) -> None:
        """Raise InvalidInput for what no search could be asked for: where it is written down, not after the features were computed."""
        check_options(self.minutes, self.latency, self.max_trials, self.exclude_frameworks)
        metric_for("classification", self.metric)

    @property
    def params(self) -> Mapping[str, object]:
        """What it was asked for."""
        return {
            "minutes": self.minutes,
            "metric": self.metric,
            "latency": self.latency,
            "blend": self.blend,
            "exclude_frameworks": list(self.exclude_frameworks),
            "max_trials": self.max_trials,
        }

    @property
    def is_baseline(self) -> bool:
        """No."""
        return False

    @property
    def complexity(self) -> int:
        """2."""
        return 2

    def fit(self, data: TrainingData) -> object:
        """Search, or take the finished search of the same rows again."""
        if data.track is not None:
            return self._fit(data, data.track.folder)
        with TemporaryDirectory() as folder:
            return self._fit(data, Path(folder))

    def _fit(self, data: TrainingData, root: Path) -> object:
        begun = time.monotonic()
        asked = self._ask(data)
        key = key_of(asked.job, asked.preparations, self.params)
        folder = find_folder(root, key, finished=True)
        state = folder.state()
        if state.get("done"):
            if "parts" in state:
                _name(folder, data.track)
                return model_again(asked, folder, state, data.threads)
            folder = find_folder(root, key, finished=False)
        _name(folder, data.track)
        found = self._searched(asked, folder, data, begun)
        if found.interrupted:
            raise KeyboardInterrupt
        final = found.search.final
        assert final is not None  # noqa: S101 - it is finished
        folder.finish(final=final_to_json(final), parts=places_of(final, asked.job.plan, folder))
        tidy(root, folder)
        return found.model

    def _searched(self, asked: Asked, folder: SearchFolder, data: TrainingData, begun: float) -> Found:
        """Search; what is logged of it is there when this ends."""
        with Pool(data.threads) as pool, ExitStack() as held:
            log = None
            if data.track is not None and data.track.run is not None:
                job = asked.job
                asked = with_rows_kept(asked, folder.data)
                whole_s = self.minutes * 60
                sketch = Search(folder.id, job.problem, asked.dataset, job.plan, whole_s, data.seed, data.threads)
                log = held.enter_context(closing(NestedLog(data.track, data.track.run, sketch)))
            limits = self._limits(log, begun, float(folder.state().get("used_s", 0.0)), data.seed)
            families = spaces(frozenset(self.exclude_frameworks))
            watch = log or _Nobody()
            found = run_search(asked, folder, families, limits, pool=pool, clock=SystemClock(), watch=watch)
            if log is not None:
                log.importance(found.search)
            return found

    def _limits(self, log: NestedLog | None, begun: float, used_s: float, seed: int) -> Limits:
        budget_s = left_s(self.minutes * 60, used_s)
        return Limits(
            begun,
            budget_s,
            used_s,
            after_s=lambda: 0.0 if log is None else min(log.left_s, _LOGGING_SHARE * budget_s),
            max_trials=self.max_trials,
            latency=self.latency,
            blend=self.blend,
            importance=log is not None,
            seed=seed,
        )

    def _ask(self, data: TrainingData) -> Asked:
        target, time_col = (_unused(name, data) for name in (_TARGET, _TIME))
        frame = data.features.assign(**{target: data.labels})
        wish = Wish("classification", target, self.metric, seed=data.seed)
        if data.times is not None:
            asked = ask(_given(frame.assign(**{time_col: data.times})), replace(wish, time_col=time_col))
            if asked.job.plan.folds >= _LEAST_FOLDS:
                return asked
        return ask(_given(frame), wish)


def _given(frame: pd.DataFrame) -> Given:
    return Given(frame, {name: str(kind) for name, kind in frame.dtypes.items()}, "training set")


def _name(folder: SearchFolder, track: Track | None) -> None:
    """In the candidate's run: the trials of a search that is taken again are under the run that searched."""
    if track is not None and track.run is not None:
        track.tracking.log(track.run, tags={SEARCH: folder.id})


def _unused(name: str, data: TrainingData) -> str:
    while name in data.features.columns:
        name += "_"
    return name


class _Nobody:
    """Looks on where nothing is logged."""

    def begun(self, search: Search) -> None: ...

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None: ...
