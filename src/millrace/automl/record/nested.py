"""A search within a pipeline's training: its trials are runs under the candidate's run, written by a thread beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from statistics import median

from millrace.automl.lines import best_so_far
from millrace.automl.notebooks import exploration_notebook, trial_notebook
from millrace.automl.record.writer import EXPLORATION, RunWriter
from millrace.automl.types import Search, Trial
from millrace.tracking.types import RunId
from millrace.training.types import Track

_GUESS_S = 0.3


class NestedLog:
    """Watches a search: logs each trial with its notebook, and tells the best so far. What could not be written is raised by `close`."""

    def __init__(self, track: Track, run: RunId, sketch: Search) -> None:
        """Begin with the notebook about the data.

        Args:
            track: where to.
            run: the candidate's.
            sketch: what is known of the search before it begins; its rows are kept.
        """
        self._sketch, self._tell = sketch, track.tell
        self._writer = RunWriter(track.tracking, track.experiment, sketch.id, render=self._rendered, parent=run)
        self._beside, self._written = ThreadPoolExecutor(1), list[Future[float]]()
        self._later(lambda: self._writer.text(exploration_notebook(sketch).ipynb(), EXPLORATION))

    def begun(self, search: Search) -> None:
        """Log what lacks of the trials of a search that was killed."""
        for trial in search.trials:
            self._later(partial(self._writer.known, trial))

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        """Log it."""
        self._later(partial(self._writer.trial, trial))
        if best is not None:
            self._tell(f"{best_so_far(best)}; {left_s:.0f} s left")

    @property
    def left_s(self) -> float:
        """How long it will take to write what is waiting, by how long it took so far; the first, which imports libraries, is not counted."""
        took = [one.result() for one in self._written[1:] if one.done() and one.exception() is None]
        waiting = sum(not one.done() for one in self._written)
        return (median(took) if took else _GUESS_S) * (waiting + 1)  # and one more: the importances

    def importance(self, search: Search) -> None:
        """Keep what the final choice needs with the candidate's run."""
        self._later(partial(self._writer.importance, search))

    def close(self) -> None:
        """Wait until all is written."""
        self._beside.shutdown()
        for written in self._written:
            written.result()

    def _later(self, write: Callable[[], object]) -> None:
        self._written.append(self._beside.submit(_seconds, write))

    def _rendered(self, trial: Trial) -> str:
        return trial_notebook(self._sketch, trial).ipynb()


def _seconds(write: Callable[[], object]) -> float:
    begun = time.monotonic()
    write()
    return time.monotonic() - begun
