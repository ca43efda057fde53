"""The model of a finished search once more, to the bit, also where its parts were tidied away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from millrace.automl.ask import Asked
from millrace.automl.folder import SearchFolder, final_from_json
from millrace.automl.model import Part, assemble, member_folds, part_name, parts_of
from millrace.automl.types import Final, SplitPlan
from millrace.automl.workers.fit import FitTask
from millrace.automl.workers.pool import Pool
from millrace.core.errors import InvalidState

_LOOK_S = 60.0
Place = tuple[int, int | None]


def places_of(final: Final, plan: SplitPlan, folder: SearchFolder) -> list[Place]:
    """Trial and fold of each part of the final model: what `model_again` needs to know beside the choice."""
    return [(member.trial, fold) for member in final.members for fold in member_folds(final, member, plan, folder)]


def model_again(asked: Asked, folder: SearchFolder, state: Mapping[str, Any], threads: int) -> Any:
    """The final model, from its parts; those that are not there any more are fitted again, each as it was: alone, with one thread.

    Raises:
        InvalidState: a fit that went well once failed, or another search removed a part meanwhile.
    """
    folder.keep_state()  # the newest now, so that searches that end meanwhile leave its models alone
    lacking = [(trial, fold) for trial, fold in state["parts"] if not folder.model(trial, fold).exists()]
    if lacking:
        _fit(asked, folder, lacking, threads)
    return assemble(asked.job.problem, _parts(asked.job.plan, folder, state))


def _parts(plan: SplitPlan, folder: SearchFolder, state: Mapping[str, Any]) -> list[Part]:
    with suppress(FileNotFoundError):
        parts = parts_of(final_from_json(state["final"]), plan, folder)
        if [name for name, _, _ in parts] == [part_name(trial, fold) for trial, fold in state["parts"]]:
            return parts
    raise InvalidState(
        f"models of the finished search {folder.id} were removed while they were read",
        hint="another search tidied up; ask for the fit once more",
    )


def _fit(asked: Asked, folder: SearchFolder, lacking: Sequence[Place], threads: int) -> None:
    folder.begin(asked.job)
    try:
        _fit_each(asked, folder, lacking, threads)
    finally:
        folder.job.unlink(missing_ok=True)


def _fit_each(asked: Asked, folder: SearchFolder, lacking: Sequence[Place], threads: int) -> None:
    trials = {trial.number: trial for trial in folder.trials(asked.preparations)}
    waiting = [(trials[number], fold) for number, fold in lacking]
    with Pool(min(threads, len(waiting))) as pool:
        pool.load(folder.job)
        while waiting or pool.busy:
            while waiting and pool.idle:
                trial, fold = waiting.pop()
                to = str(folder.model(trial.number, fold))
                pool.give(FitTask(trial.number, fold, trial.estimator, trial.params, trial.preparation, to))
            for result in pool.collect(_LOOK_S):
                if result.error:
                    raise InvalidState(
                        f"trial {result.trial} of the finished search {folder.id} could not be fitted again: {result.error}",
                        hint=f"remove {folder.path} to search anew",
                    )
