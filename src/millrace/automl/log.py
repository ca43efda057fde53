"""Trials as MLflow runs, written by a thread beside the search, so that logging takes no time from it."""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from millrace.automl.logged import rehearse
from millrace.automl.types import Search, Trial
from millrace.core.errors import MillraceError
from millrace.tracking.port import Tracking
from millrace.tracking.types import RunId

_PARENT = "mlflow.parentRunId"
NOTEBOOK, EXPLORATION = "notebook.ipynb", "exploration.ipynb"
IMPORTANCE = "importance"
_SET_UP_S, _MODEL_S, _LEAST_S = 5.0, 0.3, 0.3  # of a processor: imports and a new database; the final model
_SLOWEST, _MODEL_TIMES = 10.0, 4.0  # a rehearsal writes less than the final model is
_REHEARSALS = 4
RenderTrial = Callable[[Trial], str | None]
RenderText = Callable[[], str]


@dataclass(slots=True)
class _Logged:
    run_id: str
    notebook: str | None


class RunLog:
    """The search's run and, nested under it, one for each trial. Used from one thread; it writes from another."""

    def __init__(
        self,
        tracking: Tracking,
        experiment: str,
        search_id: str,
        *,
        render: RenderTrial = lambda _: None,
        about: Mapping[str, RenderText] | None = None,
        parent: RunId | None = None,
    ) -> None:
        """Begin to write.

        Args:
            tracking: where to.
            experiment: its name.
            search_id: the key under which the run is found again when a killed search goes on.
            render: a trial's notebook as text; None for none.
            about: texts that are kept with the search's run, by their path.
            parent: the run that trials are nested under; None: one of the search's own.
        """
        self._tracking, self._experiment, self._id, self._render = tracking, experiment, search_id, render
        self._about, self._parent = about or {}, parent
        self._queue = queue.SimpleQueue[Trial | None]()
        self._logged: dict[int, _Logged] = {}
        self._failure: MillraceError | None = None
        self._rehearsed_s, self._spent_s = math.inf, 0.0
        self.run_id: RunId | None = None
        self._started, self._since = threading.Event(), time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def left_s(self) -> float:
        """How long it will take to write what is waiting and the final model.

        Until MLflow and a notebook's library are imported and a small model was written for trial: by how much of a processor the thread
        gets. Then: by how long that model and the trials so far took.
        """
        if math.isinf(self._rehearsed_s):
            wall, computed = time.monotonic() - self._since, self._computed_s()
            slowness = min(max(wall / max(computed, _LEAST_S), 1.0), _SLOWEST)
            return slowness * (max(_SET_UP_S - computed, _LEAST_S) + _MODEL_S)
        each = self._spent_s / max(len(self._logged), 1)
        return _LEAST_S + _MODEL_TIMES * self._rehearsed_s + each * self._queue.qsize()

    def _computed_s(self) -> float:
        """The processor time of the thread that writes."""
        ident = self._thread.ident
        if ident is None or not self._thread.is_alive() or not hasattr(time, "pthread_getcpuclockid"):
            return _SET_UP_S
        return time.clock_gettime(time.pthread_getcpuclockid(ident))

    def trial(self, trial: Trial) -> None:
        """Write a trial that ended, soon."""
        self._queue.put(trial)

    def flush(self) -> None:
        """Wait until all is written.

        Raises:
            MillraceError: what could not be written.
        """
        self._queue.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def wait_started(self) -> RunId:
        """The search's run, as soon as it is there.

        Raises:
            MillraceError: it can't be begun.
        """
        self._started.wait()
        if self.run_id is None:
            assert self._failure is not None  # noqa: S101 - one of the two
            raise self._failure
        return self.run_id

    def named(self, trial: Trial) -> Trial:
        """The trial with its run and notebook."""
        logged = self._logged.get(trial.number)
        return trial if logged is None else replace(trial, run_id=logged.run_id, notebook=logged.notebook)

    def _work(self) -> None:
        try:
            self.run_id = self._parent or self._tracking.start(
                self._experiment, f"search {self._id}", {"millrace.automl": self._id}, key=f"automl {self._id}"
            )
            self._started.set()
            for path, told in self._about.items():
                self._tracking.log_text(self.run_id, told(), path)
            self._rehearse()
            while (trial := self._queue.get()) is not None:
                begun = time.monotonic()
                self._logged[trial.number] = self._write(trial, self.run_id)
                self._spent_s += time.monotonic() - begun
        except MillraceError as error:
            self._failure = error
        finally:
            self._started.set()

    def _rehearse(self) -> None:
        """Write a small model into nowhere, several times: the first imports libraries, the quickest tells how long it takes.

        Any one of them may have waited for the disk, and what it tells is kept from the search until its end.
        """
        from sklearn.dummy import DummyClassifier

        quickest = math.inf
        for _ in range(_REHEARSALS):
            begun = time.monotonic()
            rehearse(DummyClassifier(strategy="prior").fit([[0.0], [1.0]], [0, 1]))
            quickest = min(quickest, time.monotonic() - begun)
        self._rehearsed_s = quickest

    def _write(self, trial: Trial, parent: RunId) -> _Logged:
        tags = {_PARENT: str(parent), "millrace.automl": self._id, "millrace.state": trial.state}
        run = self._tracking.start(self._experiment, trial.name, tags, key=f"automl {self._id} trial {trial.number}")
        self._tracking.log(run, params=_params(trial), metrics=_metrics(trial), tags=_error(trial))
        text = self._render(replace(trial, run_id=str(run)))
        if text is not None:
            self._tracking.log_text(run, text, NOTEBOOK)
        self._tracking.finish(run, failed=trial.state == "failed")
        return _Logged(str(run), None if text is None else f"runs:/{run}/{NOTEBOOK}")


def search_facts(search: Search) -> tuple[Mapping[str, object], Mapping[str, float]]:
    """Parameters and metrics of the search's own run."""
    problem, final = search.problem, search.final
    params: dict[str, object] = {
        "task": problem.task,
        "target": problem.target,
        "metric": problem.metric,
        "dataset": search.dataset.name,
        "rows": search.dataset.rows,
        "columns": len(search.dataset.used),
        "split": f"{search.split.kind} {search.split.folds} x {search.split.repeats}",
        "budget_s": search.budget_s,
        "seed": search.seed,
    }
    metrics = {"trials": float(len(search.trials)), "seconds": search.seconds}
    if final is not None:
        params |= {"final": final.kind, "final_why": final.why}
        params["final_members"] = ", ".join(f"{each.trial}: {each.weight:.3g}" for each in final.members)
        metrics[problem.metric] = final.score
    return params, metrics


def _params(trial: Trial) -> Mapping[str, object]:
    return {"family": trial.family, "estimator": trial.estimator, **trial.params}


def _metrics(trial: Trial) -> Mapping[str, float]:
    folds = {f"fold_{fold:02d}": value for fold, value in trial.fold_scores.items()}
    return {"score": trial.score, "seconds": trial.seconds, **folds}


def _error(trial: Trial) -> Mapping[str, str]:
    return {"millrace.error": trial.error} if trial.error else {}
