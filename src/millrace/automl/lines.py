"""A search as lines of text on standard error."""

from __future__ import annotations

import math
import sys
import time

from millrace.automl.types import Search, Trial

_QUIET_S = 5.0


class Lines:
    """A line when the best changes, and now and then one in between; on standard error."""

    def __init__(self) -> None:
        self._best: int | None = None
        self._told = time.monotonic()

    def begun(self, search: Search) -> None:
        """What is searched."""
        dataset = search.dataset
        _write(f"{dataset.name}: {dataset.rows:,} rows, {len(dataset.used)} columns, {search.split.total} fits a trial")
        for warning in dataset.warnings:
            _write(f"note: {warning}")
        if search.trials:
            _write(f"goes on with {len(search.trials)} trials of a search that was stopped")

    def ended(self, trial: Trial, best: Trial | None, left_s: float) -> None:
        """A line where there is news."""
        now, number = time.monotonic(), None if best is None else best.number
        if number == self._best and trial.state != "failed" and now - self._told < _QUIET_S:
            return
        self._best, self._told = number, now
        _write(f"{told(trial)}; {best_so_far(best)}; {left_s:.0f} s left")


def lines_where_somebody_looks() -> Lines | None:
    """In a terminal or a notebook; None in a program whose errors go into a file or a pipe."""
    ipython = sys.modules.get("IPython")
    is_terminal = getattr(sys.stderr, "isatty", lambda: False)()  # there is no stream in a program without a console
    if is_terminal or (ipython is not None and ipython.get_ipython() is not None):
        return Lines()
    return None


def told(trial: Trial) -> str:
    """`lightgbm 7 done 0.41234`."""
    score = "" if math.isnan(trial.score) else f" {trial.score:.5f}"
    return f"{trial.name} {trial.state}{score}" + (f": {trial.error}" if trial.error else "")


def best_so_far(best: Trial | None) -> str:
    """`best 0.41234 by lightgbm 7`."""
    return "nothing yet" if best is None else f"best {best.score:.5f} by {best.name}"


def _write(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
