"""The program that logs a search: `python -m millrace.automl.record.child FD HOME NICE`. It ends when its parent does."""

from __future__ import annotations

import math
import os
import pickle
import queue
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from millrace.automl.folder import SearchFolder
from millrace.automl.model import assemble, parts_of
from millrace.automl.notebooks import exploration_notebook, trial_notebook
from millrace.automl.processes import listening
from millrace.automl.record.messages import Begin, Failed, Logged, Outcome, Ready, Recorded
from millrace.automl.record.model import model_to_log, rehearse
from millrace.automl.record.writer import EXPLORATION, RunWriter
from millrace.automl.types import Search, Trial
from millrace.core.errors import MillraceError
from millrace.tracking.port import Tracking

_REHEARSALS = 4


def main(descriptor: int, home: str, nice: int) -> None:
    """Write what is said through a socket, until the outcome is written too."""
    os.nice(nice)
    channel, said = listening(descriptor)
    from millrace.workspace import open_workspace

    try:
        with closing(open_workspace(home)) as workspace:
            _Clerk(workspace.tracking, channel, said).work()
    except MillraceError as error:
        channel.send(error)


@dataclass(slots=True)
class _Clerk:
    tracking: Tracking
    channel: Connection
    said: queue.SimpleQueue[object]
    logged: dict[int, Logged] = field(default_factory=dict)

    def work(self) -> None:
        model_s = _rehearsed()
        begin = self.said.get()
        assert isinstance(begin, Begin)  # noqa: S101 - it comes first
        writer = _writer(self.tracking, begin)
        self.channel.send(Ready(model_s))
        for trial in begin.known:
            self._tell(writer.known(trial))
        while isinstance(heard := self.said.get(), Trial):
            self._tell(writer.trial(heard))
        assert isinstance(heard, (Outcome, Failed))  # noqa: S101 - the last
        self.channel.send(self._end(writer, heard))

    def _tell(self, logged: Logged) -> None:
        self.logged[logged.trial] = logged
        self.channel.send(logged)

    def _end(self, writer: RunWriter, outcome: Outcome | Failed) -> Recorded:
        if isinstance(outcome, Failed):
            writer.fail()
            return Recorded(writer.run)
        search = outcome.search
        model = model_to_log(_model(search, outcome), outcome.example, search.problem, search.id)
        return Recorded(writer.run, writer.end(search, model), self.logged)


def _rehearsed() -> float:
    """Write a small model into nowhere, several times: the first imports libraries, the quickest tells how long it takes.

    Any one of them may have waited for the disk, and what it tells is kept from the search until its end.
    """
    from sklearn.dummy import DummyClassifier

    quickest = math.inf
    for _ in range(_REHEARSALS):
        begun = time.monotonic()
        rehearse(DummyClassifier(strategy="prior").fit([[0.0], [1.0]], [0, 1]))
        quickest = min(quickest, time.monotonic() - begun)
    return quickest


def _writer(tracking: Tracking, begin: Begin) -> RunWriter:
    """With notebooks: one about the data with the search's run, and one with each trial of our own."""
    sketch = begin.sketch

    def of_trial(trial: Trial) -> str:
        return trial_notebook(sketch, trial).ipynb()

    writer = RunWriter(tracking, begin.experiment, sketch.id, render=of_trial if begin.notebooks else None)
    writer.text(exploration_notebook(sketch).ipynb(), EXPLORATION)
    return writer


def _model(search: Search, outcome: Outcome) -> object:
    if outcome.model is not None:
        return pickle.loads(outcome.model.read_bytes())  # noqa: S301 - our parent wrote it
    assert search.final is not None  # noqa: S101 - it is finished
    return assemble(search.problem, parts_of(search.final, search.split, SearchFolder(outcome.folder)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
