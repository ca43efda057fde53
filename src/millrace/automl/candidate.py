"""AutoML as one of a pipeline's candidates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.check import check_options
from millrace.automl.folder import final_from_json, final_to_json, find_folder, key_of, tidy
from millrace.automl.metrics import metric_for
from millrace.automl.model import assemble, parts_of
from millrace.automl.read import Given
from millrace.automl.record.messages import Logged
from millrace.automl.record.writer import RunWriter
from millrace.automl.run import Limits, run_search
from millrace.automl.space import spaces
from millrace.automl.types import Latency, Search, Trial
from millrace.automl.workers.pool import Pool
from millrace.core.clock import SystemClock
from millrace.training.types import Track, TrainingData

if TYPE_CHECKING:
    import pandas as pd

_TARGET, _TIME = "label", "time"
_LEAST_FOLDS = 2  # in time; there is one where the first half of the rows is of one time, or lacks a class


@dataclass(frozen=True)
class AutoML:
    """A search within a pipeline's training: its final model is the candidate's model.

    Where features are looked up by time, trials are judged on rows later than all that they were fitted on, and the best one is fitted once
    more on all rows; else, and where the times give no two folds, they are judged on stratified folds.

    What does not depend on the time: folds, the defaults that come first, and what each trial scores. How many trials there are, and
    with several threads which ones, does: a slower machine tries fewer. A fit that is asked for again, after a crash say, gives the same
    model to the bit, since the search's folder in the home has kept it.

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
        folder = find_folder(root, key_of(asked.job, self.params), finished=True)
        problem, plan, state = asked.job.problem, asked.job.plan, folder.state() if folder.path.exists() else {}
        if state.get("done"):
            parts = parts_of(final_from_json(state["final"]), plan, folder)
            if parts:
                return assemble(problem, parts)
        limits = Limits(
            begun,
            self.minutes * 60,
            max_trials=self.max_trials,
            latency=self.latency,
            blend=self.blend,
            importance=False,
            seed=data.seed,
        )
        families = spaces(frozenset(self.exclude_frameworks))
        with Pool(data.threads) as pool, closing(_Logging(data.track, folder.id)) as log:
            found = run_search(asked, folder, families, limits, pool=pool, clock=SystemClock(), watch=log)
        if found.interrupted:
            raise KeyboardInterrupt
        assert found.search.final is not None  # noqa: S101 - it is finished
        folder.keep_state(done=True, final=final_to_json(found.search.final))
        tidy(root, folder)
        return found.model

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


def _unused(name: str, data: TrainingData) -> str:
    while name in data.features.columns:
        name += "_"
    return name


class _Logging:
    """Each trial as a run, by a thread beside the search; what could not be written is raised at the end. Nothing without a run to nest under."""

    def __init__(self, track: Track | None, search_id: str) -> None:
        self._writer: RunWriter | None = None
        if track is not None and track.run is not None:
            self._writer = RunWriter(track.tracking, track.experiment, search_id, parent=track.run)
        self._beside, self._written = ThreadPoolExecutor(1), list[Future[Logged]]()

    def begun(self, search: Search) -> None:
        """Log what lacks of the trials of a search that was killed."""
        if self._writer is not None:
            self._written += [self._beside.submit(self._writer.known, trial) for trial in search.trials]

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        del best, left_s
        if self._writer is not None:
            self._written.append(self._beside.submit(self._writer.trial, trial))

    def close(self) -> None:
        """Wait until all is written."""
        self._beside.shutdown()
        for written in self._written:
            written.result()
