"""What is written of a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from millrace.automl.importance_report import importance_csv, importance_svg
from millrace.automl.record.messages import Logged
from millrace.automl.types import Search, Trial
from millrace.tracking.port import Tracking
from millrace.tracking.types import ModelToLog, RunId

_PARENT = "mlflow.parentRunId"
SEARCH = "millrace.automl"
"""The tag with a search's id: of its own run or the candidate's, and of its trials' runs."""
_MODEL = "model"
NOTEBOOK, EXPLORATION = "notebook.ipynb", "exploration.ipynb"
IMPORTANCE = "importance"
RenderTrial = Callable[[Trial], str]


class RunWriter:
    """The runs of one search. What was written before it was killed is found again by its keys."""

    def __init__(
        self,
        tracking: Tracking,
        experiment: str,
        search_id: str,
        *,
        render: RenderTrial | None = None,
        parent: RunId | None = None,
    ) -> None:
        """Begin the search's run.

        Args:
            tracking: where to.
            experiment: its name.
            search_id: the key under which runs are found again when a killed search goes on.
            render: a trial's notebook as text; None for none.
            parent: the run that trials are nested under; None: one of the search's own.
        """
        self._tracking, self._experiment, self._id, self._render = tracking, experiment, search_id, render
        self.run = parent or tracking.start(
            experiment, f"search {search_id}", {SEARCH: search_id}, key=f"automl {search_id}"
        )

    def text(self, text: str, path: str) -> None:
        """Keep a text with the search's run."""
        self._tracking.log_text(self.run, text, path)

    def trial(self, trial: Trial) -> Logged:
        """A trial that ended, as a run of its own."""
        begun, tags = time.monotonic(), {_PARENT: str(self.run), SEARCH: self._id}
        run = self._tracking.start(self._experiment, trial.name, tags, key=self._key(trial))
        self._tracking.log(run, params=_params(trial), metrics=_metrics(trial), tags=_tags(trial))
        if self._render is not None:
            self._tracking.log_text(run, self._render(replace(trial, run_id=str(run))), NOTEBOOK)
        self._tracking.finish(run, failed=trial.state == "failed")
        return self._logged(trial, run, time.monotonic() - begun)

    def known(self, trial: Trial) -> Logged:
        """A trial of a search that was killed: its run, or what lacks of it."""
        run = self._tracking.find(self._experiment, self._key(trial))
        is_whole = run is not None and run.status == ("FAILED" if trial.state == "failed" else "FINISHED")
        return self._logged(trial, run.id, 0.0) if run is not None and is_whole else self.trial(trial)

    def _key(self, trial: Trial) -> str:
        return f"automl {self._id} trial {trial.number}"

    def _logged(self, trial: Trial, run: RunId, seconds: float) -> Logged:
        return Logged(trial.number, str(run), None if self._render is None else f"runs:/{run}/{NOTEBOOK}", seconds)

    def end(self, search: Search, model: ModelToLog) -> str:
        """The final model and what is known of it; the model's URI."""
        uri = self._tracking.log_model(self.run, _MODEL, model)
        # Parameters can't be changed: those of a search that was killed here, and asked for more time since, stay.
        there = self._tracking.get(self.run).params
        params = {name: value for name, value in _asked(search).items() if name not in there}
        self._tracking.log(self.run, params=params, metrics=_found(search), tags=_final(search))
        self.importance(search)
        self._tracking.finish(self.run)
        return uri

    def importance(self, search: Search) -> None:
        """How much each column is needed, as a table and a picture, with the search's run; nothing where there was no time for it."""
        if search.importance:
            self.text(importance_csv(search.importance), f"{IMPORTANCE}.csv")
            self.text(importance_svg(search.importance, search.problem), f"{IMPORTANCE}.svg")

    def fail(self) -> None:
        """The search failed."""
        self._tracking.finish(self.run, failed=True)


def _asked(search: Search) -> Mapping[str, object]:
    problem = search.problem
    return {
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


def _found(search: Search) -> Mapping[str, float]:
    score = {} if search.final is None else {search.problem.metric: search.final.score}
    return {"trials": float(len(search.trials)), "seconds": search.seconds, **score}


def _final(search: Search) -> Mapping[str, str]:
    if search.final is None:
        return {}
    members = ", ".join(f"{each.trial}: {each.weight:.3g}" for each in search.final.members)
    return {"final": search.final.kind, "final_why": search.final.why, "final_members": members}


def _params(trial: Trial) -> Mapping[str, object]:
    return {"family": trial.family, "estimator": trial.estimator, **trial.params}


def _metrics(trial: Trial) -> Mapping[str, float]:
    folds = {f"fold_{fold:02d}": value for fold, value in trial.fold_scores.items()}
    return {"score": trial.score, "seconds": trial.seconds, **folds}


def _tags(trial: Trial) -> Mapping[str, str]:
    return {"millrace.state": trial.state} | ({"millrace.error": trial.error} if trial.error else {})
