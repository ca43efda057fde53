"""What a search and the process that logs it say to each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.automl.types import Search, Trial
from millrace.tracking.types import RunId

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Begin:
    """To the process, before all else.

    Attributes:
        experiment: where the runs belong.
        sketch: what is known of the search before it begins.
        notebooks: whether each trial gets a notebook.
        known: the trials of a search that was killed, whose runs may lack.
    """

    experiment: str
    sketch: Search
    notebooks: bool
    known: Sequence[Trial] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """To the process, as the last.

    Attributes:
        search: all of it.
        example: a few rows of what the model is asked.
        folder: the search's, with the models that the final one is made of.
        model: the pickled final model where it is not made of those.
    """

    search: Search
    example: pd.DataFrame
    folder: Path
    model: Path | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """To the process, as the last: there is no outcome."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From the process: it has imported what it needs, and the run is there. `model_s`: how long it took to write a small model for trial."""

    model_s: float


@dataclass(frozen=True, slots=True)
class Logged:
    """From the process: a trial's run is whole, which took so many seconds. `notebook`: where its notebook is kept; None without one."""

    trial: int
    run_id: str
    notebook: str | None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Recorded:
    """From the process, as the last: all is there.

    Attributes:
        run_id: the search's run.
        model_uri: the final model; empty where the search failed.
        trials: the runs of the trials, by number.
    """

    run_id: RunId
    model_uri: str = ""
    trials: Mapping[int, Logged] = field(default_factory=dict)
