"""What is tried next: the defaults, cheapest first, then what Optuna's TPE proposes."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from millrace.automl.space import Space
from millrace.automl.types import Family

_RANDOM = 10  # proposals at random before TPE has something to learn from, the defaults among them


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to judge.

    Attributes:
        number: the trial's.
        space: its family.
        searched: values of the family's search space.
        default: whether it is one of those that come first.
    """

    number: int
    space: Space
    searched: Mapping[str, object]
    default: bool


class Proposals:
    """An Optuna study, kept in a file. The dummy is trial 0 and not part of it: trial n is the study's n - 1."""

    def __init__(
        self, journal: Path, spaces: Sequence[Space], *, higher_is_better: bool, seed: int, size: tuple[int, int]
    ) -> None:
        """Say where and how. The file is opened, or made with the defaults in line, when the first proposal after the dummy is asked for.

        Args:
            journal: where the study is kept.
            spaces: the families.
            higher_is_better: which way scores go.
            seed: of the sampler. After a restart it is another one, or TPE's random numbers would come again.
            size: rows of a fit, and columns.
        """
        self._journal, self._direction, self._seed = journal, "maximize" if higher_is_better else "minimize", seed
        self._size, self._searched = size, {space.family: space for space in spaces if space.family != "dummy"}
        self._dummy = next((space for space in spaces if space.family == "dummy"), None)
        self._open: dict[int, Any] = {}

    @cached_property
    def _study(self) -> Any:
        import optuna

        logging.getLogger("optuna").setLevel(logging.ERROR)
        known = self._journal.exists()
        study = optuna.create_study(
            storage=optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(self._journal))),
            study_name="search",
            direction=self._direction,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=len(self._searched) + 2, n_warmup_steps=0),
        )
        begun = _forget_unfinished(study) if known else 0
        study.sampler = _sampler(self._seed + begun)
        if not begun:
            for space in self._searched.values():
                study.enqueue_trial({"family": space.family, **_prefixed(space)}, user_attrs={"default": True})
        return study

    def first(self) -> Proposal | None:
        """The dummy; None where its framework is excluded."""
        return None if self._dummy is None else Proposal(0, self._dummy, {}, default=True)

    def next(self) -> Proposal:
        """A default as long as there is one, else what the sampler proposes."""
        trial = self._study.ask()
        families: list[Family] = list(self._searched)
        space = self._searched[trial.suggest_categorical("family", families)]
        searched = space.suggest(trial, *self._size)
        number = trial.number + 1
        self._open[number] = trial
        return Proposal(number, space, searched, default=bool(trial.user_attrs.get("default")))

    def judge(self, number: int, step: int, mean: float) -> bool:
        """Tell the mean over the first folds; whether the trial is so far below the median of the others that it should end."""
        trial = self._open.get(number)
        if trial is None or math.isnan(mean):
            return False
        trial.report(mean, step)
        return bool(trial.should_prune())

    def ended(self, number: int, state: str, score: float) -> None:
        """Tell how a trial ended: what was pruned still tells where not to look."""
        trial = self._open.pop(number, None)
        if trial is None:
            return
        from optuna.trial import TrialState

        if state == "done" and math.isfinite(score):
            self._study.tell(trial, score)
        else:
            self._study.tell(trial, state=TrialState.PRUNED if state == "pruned" else TrialState.FAIL)


def _forget_unfinished(study: Any) -> int:
    """How many trials were begun; the defaults that were not finished come again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.user_attrs.get("default") and "family" in trial.params:
            study.enqueue_trial(dict(trial.params), user_attrs={"default": True})
    return len(study.get_trials(deepcopy=False))


def _sampler(seed: int) -> Any:
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `group`
        return optuna.samplers.TPESampler(
            n_startup_trials=_RANDOM, multivariate=True, group=True, constant_liar=True, seed=seed
        )


def _prefixed(space: Space) -> dict[str, object]:
    return {f"{space.family}_{name}": value for name, value in space.default.items()}
