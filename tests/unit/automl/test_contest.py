from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from millrace.automl.contest import Contest
from millrace.automl.folder import SearchFolder
from millrace.automl.proposals import Proposal
from millrace.automl.space import space_of
from millrace.automl.types import Preparation, Problem, SplitPlan, Trial
from millrace.automl.workers.fit import FitResult, FitTask
from millrace.core.clock import SystemClock

_FIT_S = 5.0


@dataclass
class Given:
    """Proposals that are known beforehand; none of them is pruned by the others."""

    left: Iterator[Proposal]

    def first(self) -> None:
        return None

    def next(self) -> Proposal | None:
        return next(self.left, None)

    def judge(self, number: int, step: int, mean: float) -> bool:
        del number, step, mean
        return False

    def ended(self, number: int, state: str, score: float) -> None: ...


@dataclass
class AtOnce:
    """One process, whose fits tell that they took five seconds."""

    size: int = 1
    busy: list[tuple[FitTask, float]] = field(default_factory=list)

    @property
    def idle(self) -> int:
        return 1 - len(self.busy)

    def give(self, task: FitTask) -> None:
        self.busy.append((task, 0.0))

    def collect(self, timeout_s: float) -> Sequence[FitResult]:
        del timeout_s
        task, _ = self.busy.pop()
        return [FitResult(task.trial, task.fold, 0.5, None, _FIT_S)]


def ended(folder: Path, proposals: Sequence[Proposal], last_s: float) -> list[Trial]:
    """The trials of a search that believes that it has half a second left, again and again."""
    trials: list[Trial] = []
    (folder / "trials").mkdir(parents=True)
    contest = Contest(
        problem=Problem("classification", "y", "log_loss", higher_is_better=False, classes=(0, 1), positive=1),
        plan=SplitPlan("stratified", 2, 1, 0),
        folder=SearchFolder(folder),
        preparations={scale: Preparation() for scale in (False, True)},
        proposals=cast("Any", Given(iter(proposals))),
        pool=cast("Any", AtOnce()),
        clock=SystemClock(),
        seed=0,
        deadline=lambda _: time.monotonic() + 0.5,
        last=time.monotonic() + last_s,
        max_trials=None,
        told=trials.append,
    )
    contest.run()
    return trials


def test_a_default_is_judged_whole_whatever_is_guessed_of_what_comes_after(tmp_path: Path) -> None:
    linear, lightgbm = space_of("linear"), space_of("lightgbm")
    proposals = [
        Proposal(1, linear, linear.default, default=True),
        Proposal(2, lightgbm, lightgbm.default, default=True),
        Proposal(3, lightgbm, lightgbm.default, default=False),
    ]
    states = [trial.state for trial in ended(tmp_path / "a", proposals, last_s=100.0)]
    assert states == ["done", "done", "stopped"]
    assert [trial.state for trial in ended(tmp_path / "b", proposals, last_s=1.0)] == ["done", "stopped", "stopped"]
