"""The search: trials are begun, fitted fold by fold in several processes, pruned, and stopped when the time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from millrace.automl.folder import SearchFolder
from millrace.automl.proposals import Proposal, Proposals
from millrace.automl.types import Family, Preparation, Problem, SplitPlan, Trial
from millrace.automl.workers.fit import FitResult, FitTask
from millrace.automl.workers.pool import Pool
from millrace.core.clock import Clock

_WAIT_S = 0.5
_MODELS_OF = 12  # the best so many trials keep their models
_SURE = 2.5
_LONG_S = 5.0
_LEAST_FOLDS = 4


@dataclass(slots=True)
class _Open:
    """A trial that is being fitted."""

    trial: Trial
    given: int = 0
    scores: dict[int, float] = field(default_factory=dict)
    said: dict[int, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0
    judged: int = 0
    over: bool = False


@dataclass(slots=True)
class Contest:
    """One search while it runs.

    Attributes:
        problem, plan: what is asked.
        folder: where trials are kept.
        preparations: by whether the estimator wants scaled inputs.
        proposals: what is tried next.
        pool: the processes.
        clock: for the times in records.
        seed: of estimators.
        deadline: given the best trial so far, the `time.monotonic()` after which nothing is fitted for the search: what is left then goes
            into the final model.
        last: the `time.monotonic()` after which nothing is fitted at all. The deadline comes before it by what logging and the final model may
            take, which is guessed high until it was measured.
        max_trials: how many are begun at most; None: as many as the time allows.
        told: called with a trial that ended.
        trials: by number.
    """

    problem: Problem
    plan: SplitPlan
    folder: SearchFolder
    preparations: Mapping[bool, Preparation]
    proposals: Proposals
    pool: Pool
    clock: Clock
    seed: int
    deadline: Callable[[Trial | None], float]
    last: float
    max_trials: int | None
    told: Callable[[Trial], None]
    trials: dict[int, Trial] = field(default_factory=dict)
    _open: dict[int, _Open] = field(default_factory=dict)

    def run(self) -> None:
        """Until the deadline, or the last trial. What is still fitted then is stopped, and its trial with it."""
        while (left := self.left_s) > 0:
            while self.pool.idle and (task := self._next()) is not None:
                self.pool.give(task)
            if not self.pool.busy:
                return
            for result in self.pool.collect(min(left, _WAIT_S)):
                self._take(result)

    @property
    def left_s(self) -> float:
        """The time that is left to search."""
        return self.deadline(self.best) - time.monotonic()

    def stop(self, drain_s: float = 0.0) -> None:
        """End what is open: its processes are killed. `drain_s`: wait so long for one to become idle by itself, since a new one takes seconds."""
        end = time.monotonic() + drain_s
        while not self.pool.idle and (left := end - time.monotonic()) > 0:
            for result in self.pool.collect(left):
                self._take(result)
        for task, _ in self.pool.busy:
            self.pool.stop(task)
        for number in list(self._open):
            self._end(number, "stopped")

    @property
    def best(self) -> Trial | None:
        """Of the trials that were judged on all folds."""
        done = [trial for trial in self.trials.values() if trial.state == "done" and not math.isnan(trial.score)]
        return min(done, key=self._rank, default=None)

    def _best_of(self, family: Family) -> Trial | None:
        done = [trial for trial in self.trials.values() if trial.state == "done" and trial.family == family]
        return min((trial for trial in done if not math.isnan(trial.score)), key=self._rank, default=None)

    def _rank(self, trial: Trial) -> tuple[float, int]:
        return (-trial.score if self.problem.higher_is_better else trial.score, trial.number)

    def _next(self) -> FitTask | None:
        waiting = [each for each in self._open.values() if not each.over and each.given < self.plan.total]
        if not waiting:
            proposal = self._proposal()
            if proposal is None:
                return None
            waiting = [self._begin(proposal)]
        chosen = waiting[0]
        fold, trial = chosen.given, chosen.trial
        chosen.given += 1
        to = str(self.folder.model(trial.number, fold))
        return FitTask(trial.number, fold, trial.estimator, trial.params, trial.preparation, to)

    def _proposal(self) -> Proposal | None:
        begun = {**self.trials, **self._open}
        if self.max_trials is not None and len(begun) >= self.max_trials:
            return None
        first = self.proposals.first()
        return first if first is not None and 0 not in begun else self.proposals.next()

    def _begin(self, proposal: Proposal) -> _Open:
        space = proposal.space
        trial = Trial(
            number=proposal.number,
            family=space.family,
            estimator=space.estimator(self.problem),
            params=space.params(proposal.searched, self.problem, self.seed),
            preparation=self.preparations[space.scale],
            searched={} if proposal.default else dict(proposal.searched),
            started_at=self.clock.now(),
            default=proposal.default,
        )
        self._open[trial.number] = opened = _Open(trial)
        return opened

    def _take(self, result: FitResult) -> None:
        opened = self._open.get(result.trial)
        if opened is None or result.fold is None:
            return  # of a trial that ended meanwhile
        opened.seconds += result.seconds
        if result.error:
            self._end(result.trial, "failed", result.error)
            return
        opened.scores[result.fold] = result.score
        if result.predictions is not None:
            opened.said[result.fold] = result.predictions
        if len(opened.scores) == self.plan.total:
            self._end(result.trial, "done")
        elif self._hopeless(opened):
            self._end(result.trial, "pruned")
        elif self._too_slow(opened):
            self._end(result.trial, "stopped", "it would not end in time")

    def _hopeless(self, opened: _Open) -> bool:
        """Whether the folds so far say that it can't become the best of its family: a blend may want the best of each. Defaults are judged whole."""
        while opened.judged in opened.scores:
            opened.judged += 1
            mean = float(np.mean([opened.scores[fold] for fold in range(opened.judged)]))
            if self.proposals.judge(opened.trial.number, opened.judged, mean) and not opened.trial.default:
                return True
        best = self._best_of(opened.trial.family)
        if best is None or opened.trial.default or opened.judged < _LEAST_FOLDS:
            return False
        sign = -1.0 if self.problem.higher_is_better else 1.0
        behind = np.array([sign * (value - best.fold_scores[fold]) for fold, value in opened.scores.items()])
        return bool(behind.mean() > _SURE * behind.std(ddof=1) / math.sqrt(len(behind)))

    def _too_slow(self, opened: _Open) -> bool:
        """Whether its other folds would take longer than there is; never before something simpler has ended.

        A default is held against all the time that there is: a guess of what else is to be done stops none.
        """
        best = self.best
        if best is None or best.family == "dummy":
            return False
        left = self.plan.total - len(opened.scores)
        rounds = math.ceil(left / max(self.pool.size, 1))
        left_s = self.last - time.monotonic() if opened.trial.default else self.left_s
        return rounds * opened.seconds / len(opened.scores) > left_s

    def _end(self, number: int, state: str, error: str = "") -> None:
        opened = self._open.pop(number)
        opened.over = True
        if opened.seconds > _LONG_S * max(
            len(opened.scores), 1
        ):  # a new process takes seconds to begin: what is short may end
            for task in [task for task, _ in self.pool.busy if task.trial == number]:
                self.pool.stop(task)
        values = [opened.scores[fold] for fold in sorted(opened.scores)]
        trial = replace(
            opened.trial,
            state=state,  # type: ignore[arg-type]
            fold_scores=dict(sorted(opened.scores.items())),
            score=float(np.mean(values)) if values else math.nan,
            seconds=opened.seconds,
            error=error,
        )
        self.trials[number] = trial
        self.proposals.ended(number, state, trial.score)
        self.folder.keep(trial, opened.said if state in {"done", "stopped"} else {})
        self._forget()
        self.told(trial)

    def _forget(self) -> None:
        """Remove the models of those that can't be part of the final model, so that the disk does not fill up."""
        done = sorted((each for each in self.trials.values() if each.state == "done"), key=self._rank)
        if not done:
            return
        kept = {each.number for each in done[:_MODELS_OF]} | {each.number for each in done if each.default}
        for number in self.trials.keys() - kept:
            self.folder.forget_models(number)
