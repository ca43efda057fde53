"""One search from its first fit to its final model, within its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from millrace.automl.ask import Asked
from millrace.automl.contest import Contest
from millrace.automl.final import choose, judged
from millrace.automl.folder import SearchFolder
from millrace.automl.importance import importance
from millrace.automl.libraries import Libraries
from millrace.automl.model import assemble, parts_of
from millrace.automl.proposals import Proposals
from millrace.automl.space import Space, space_of
from millrace.automl.splits import folds_of
from millrace.automl.types import Final, Importance, Latency, Member, Search, Trial
from millrace.automl.workers.fit import FitTask, Fitter
from millrace.automl.workers.pool import Pool
from millrace.core.clock import Clock

_IMPORTANCE_SHARE = 0.04
_CHOOSE_SHARE = 0.02  # of the time is left for importances where a blend takes long to find
_BYTES_PER_S = 30e6
_DRAIN_S = 0.3
_REFIT_SLACK = 1.5
_RESTART_S = 3.0
_CHOOSE_S, _DUMMY_S = 0.3, 0.5
_LEAST_S = 3.0


class Watch(Protocol):
    """Who looks on while a search runs."""

    def begun(self, search: Search) -> None:
        """It begins; `search` has no trials yet, or those of the search that was killed."""
        ...

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        """A trial ended."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a search may take, and what for.

    Attributes:
        begun: the `time.monotonic()` from which the time counts.
        budget_s: the time.
        used_s: what the search had used before it was killed, `begun` being when it goes on.
        after_s: what of it is kept for what the caller does with the model; asked again and again, since that is learned meanwhile.
        max_trials: how many trials are begun at most; None: as many as there is time for.
        latency: `low`: one refit as the final model.
        blend: whether a blend of several trials may be the final model.
        importance: whether columns are shuffled at the end.
        seed: for every random choice.
    """

    begun: float
    budget_s: float
    used_s: float = 0.0
    after_s: Callable[[], float] = field(default=lambda: 0.0)
    max_trials: int | None = None
    latency: Latency = "normal"
    blend: bool = True
    importance: bool = True
    seed: int = 0

    @property
    def end(self) -> float:
        """When the final model must be there."""
        return self.begun + self.budget_s - self.after_s()


def left_s(whole_s: float, used_s: float) -> float:
    """What a search that was killed still has of its time: at least the little in which it can end."""
    return max(whole_s - used_s, min(whole_s, _LEAST_S))


@dataclass(frozen=True, slots=True)
class Found:
    """A finished search and its model; `interrupted` where Ctrl-C ended it early."""

    search: Search
    model: Any
    interrupted: bool = False


def run_search(
    asked: Asked,
    folder: SearchFolder,
    spaces: Sequence[Space],
    limits: Limits,
    *,
    pool: Pool,
    clock: Clock,
    watch: Watch,
) -> Found:
    """Search, choose, and build the final model. Ctrl-C ends the search, not the model.

    Args:
        asked: what is searched.
        folder: where it is kept; trials that are there already are not tried again.
        spaces: the families.
        limits: time and number.
        pool: the processes, which need not have rows yet.
        clock: for the times in records.
        watch: who looks on.
    """
    libraries = Libraries()
    folder.begin(asked.job)
    _keep_used(folder, limits)
    pool.load(folder.job)
    search = _blank(asked, folder, limits, pool.size)
    deadline = _deadline(asked, folder, limits, libraries)
    contest = _contest(asked, folder, spaces, limits, deadline, pool=pool, clock=clock, watch=watch)
    watch.begun(replace(search, trials=tuple(contest.trials.values())))
    interrupted = False
    try:
        contest.run()
    except KeyboardInterrupt:
        interrupted = True
    contest.stop(_DRAIN_S)
    libraries.wait()
    final = _final(asked, folder, contest, limits, libraries.slowness)
    model = assemble(asked.job.problem, parts_of(final, asked.job.plan, folder))
    weights = _importance(asked, folder, final, limits) if limits.importance and not interrupted else ()
    trials = tuple(contest.trials[number] for number in sorted(contest.trials))
    whole = replace(search, trials=trials, final=final, importance=weights, seconds=time.monotonic() - limits.begun)
    return Found(whole, model, interrupted)


def _keep_used(folder: SearchFolder, limits: Limits) -> None:
    """How much time was used since it began, without what it lay still after it was killed."""
    folder.keep_state(used_s=limits.used_s + time.monotonic() - limits.begun)


def _blank(asked: Asked, folder: SearchFolder, limits: Limits, threads: int) -> Search:
    job = asked.job
    return Search(folder.id, job.problem, asked.dataset, job.plan, limits.budget_s, limits.seed, threads)


def _contest(
    asked: Asked,
    folder: SearchFolder,
    spaces: Sequence[Space],
    limits: Limits,
    deadline: Callable[[Trial | None], float],
    *,
    pool: Pool,
    clock: Clock,
    watch: Watch,
) -> Contest:
    job = asked.job
    known = {trial.number: trial for trial in folder.trials(asked.preparations)}
    share = (job.plan.folds - 1) / job.plan.folds if job.plan.folds > 1 else 0.8
    proposals = Proposals(
        folder.journal,
        spaces,
        higher_is_better=job.problem.higher_is_better,
        seed=limits.seed,
        size=(int(len(job.rows) * share), job.rows.features.shape[1]),
    )

    def told(trial: Trial) -> None:
        _keep_used(folder, limits)
        watch.ended(trial, contest.best, max(contest.left_s, 0.0))

    contest = Contest(
        problem=job.problem,
        plan=job.plan,
        folder=folder,
        preparations=asked.preparations,
        proposals=proposals,
        pool=pool,
        clock=clock,
        seed=limits.seed,
        deadline=deadline,
        last=limits.begun + limits.budget_s,
        max_trials=limits.max_trials,
        told=told,
        trials=known,
    )
    return contest


def _deadline(
    asked: Asked, folder: SearchFolder, limits: Limits, libraries: Libraries
) -> Callable[[Trial | None], float]:
    """When the search has to stop, so that its final model is there in time: later where that is small, earlier where it needs a refit."""
    sizes: dict[int, float] = {}
    refits = limits.latency == "low" or asked.job.plan.kind in {"time", "column"}

    def deadline(best: Trial | None) -> float:
        if best is None:
            return limits.end - libraries.slowness * _DUMMY_S
        if best.number not in sizes:
            sizes[best.number] = folder.models_size(best.number)
        taken = (
            libraries.slowness * _CHOOSE_S
            + _assembling_s(sizes[best.number], libraries.slowness)
            + _IMPORTANCE_SHARE * limits.budget_s
        )
        return limits.end - taken - (_refit_s(best) if refits else 0.0)

    return deadline


def _assembling_s(size: float, slowness: float) -> float:
    """How long it takes to read the best trial's models."""
    return slowness * 2 * size / _BYTES_PER_S


def _refit_s(best: Trial) -> float:
    """How long a fit on all rows may take: rather more than a fold's."""
    each = best.seconds / max(len(best.fold_scores), 1)
    return _REFIT_SLACK * 2 * each + (_RESTART_S if each > _DRAIN_S else 0.0)


def _final(asked: Asked, folder: SearchFolder, contest: Contest, limits: Limits, slowness: float) -> Final:
    job = asked.job
    if contest.best is None:
        return _without_a_whole_trial(asked, folder, contest)
    search = _blank(asked, folder, limits, contest.pool.size)
    board = [
        trial
        for trial in replace(search, trials=tuple(contest.trials.values())).leaderboard
        if folder.has_predictions(trial.number)
    ]
    end = (
        limits.end - _assembling_s(folder.models_size(contest.best.number), slowness) - _CHOOSE_SHARE * limits.budget_s
    )
    final = choose(
        board,
        job.plan,
        low_latency=limits.latency == "low",
        blend=limits.blend and job.plan.total > 1,
        judged=lambda: judged(
            job.problem, job.rows, folds_of(job.plan, job.problem.task, job.rows), board, folder, end=end
        ),
    )
    if final.kind != "refit":
        return final
    late = [member for member in final.members if not _refit(contest, member.trial, limits.end)]
    if not late:
        return final
    instead = "the model of the last fold" if job.plan.kind == "time" else "the mean of the folds' models"
    return replace(final, kind="bag", why=f"{instead}, since a fit on all rows did not end in time")


def _refit(contest: Contest, number: int, end: float) -> bool:
    """Fit a trial once on all rows; whether that ended in time."""
    trial, pool = contest.trials[number], contest.pool
    to = contest.folder.model(number, None)
    if to.exists():
        return True
    pool.give(FitTask(number, None, trial.estimator, trial.params, trial.preparation, str(to)))
    while (left := end - time.monotonic()) > 0:
        for result in pool.collect(left):
            if result.trial == number and result.fold is None:
                return not result.error
    return False


def _without_a_whole_trial(asked: Asked, folder: SearchFolder, contest: Contest) -> Final:
    """The time was too short for any trial: what was fitted of one, else a dummy, which is quick."""
    begun = [trial for trial in contest.trials.values() if trial.fold_scores and folder.has_predictions(trial.number)]
    if begun:
        most = max(begun, key=lambda trial: (len(trial.fold_scores), -trial.number))
        done = len(most.fold_scores)
        why = f"{done} of {asked.job.plan.total} folds of {most.name}: there was no time for a whole trial"
        return Final("bag", (Member(most.number, 1.0),), most.score, why)
    problem, space, fitter = asked.job.problem, space_of("dummy"), Fitter(asked.job)
    estimator, params = space.estimator(problem), space.params({}, problem, 0)
    results = [
        fitter.run(FitTask(0, fold, estimator, params, asked.preparations[False], str(folder.model(0, fold))))
        for fold in range(asked.job.plan.folds)  # of one repeat: there is no time
    ]
    scores = {result.fold: result.score for result in results if result.fold is not None}
    mean = sum(scores.values()) / len(scores)
    contest.trials[0] = trial = Trial(
        0, "dummy", estimator, params, asked.preparations[False], "done", fold_scores=scores, score=mean, default=True
    )
    said = {result.fold: result.predictions for result in results if result.fold is not None}
    folder.keep(trial, {fold: values for fold, values in said.items() if values is not None})
    return Final("bag", (Member(0, 1.0),), mean, "a dummy: there was no time for anything else; give more minutes")


def _importance(asked: Asked, folder: SearchFolder, final: Final, limits: Limits) -> Sequence[Importance]:
    end = min(limits.end, time.monotonic() + _IMPORTANCE_SHARE * limits.budget_s)
    return importance(asked.job, folder, final, end=end, seed=limits.seed)
