"""The two processes of a contender in the AutoML benchmark: one fits and keeps its result on disk, one loads that and answers.

`fit CONTENDER FOLDER TRAIN.parquet SECONDS SEED` and `answer CONTENDER FOLDER TEST.parquet ANSWERS.npy`, run by the contender's own environment. Each
prints one line of JSON. Nothing here needs more than numpy and pandas.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

Answer = Callable[["pd.DataFrame"], "np.ndarray"]
Fit = Callable[[str, "pd.DataFrame", Path, float, int], Mapping[str, object]]
Load = Callable[[str, Path], Mapping[str, Answer]]
CORES = 2
_ASKED_S, _MOST_ASKED, _WARM = 4.0, 300, 3


def main(fit: Fit, load: Load) -> None:
    """Do the step that the command line names.

    Args:
        fit: trains the contender on a frame with the target `y` in about so many seconds, and keeps its result in the folder; it may say
            itself how long the search alone took, as `fit_s`.
        load: the ways to ask the result, each from a frame to an n x k matrix of probabilities; the first gives the answers that are judged.
    """
    import pandas as pd

    step, contender, folder, file, *rest = sys.argv[1:]
    if step == "fit":
        frame = pd.read_parquet(file)
        begun = time.perf_counter()
        said = fit(contender, frame, Path(folder), float(rest[0]), int(rest[1]))
        found = {"fit_s": time.perf_counter() - begun, **said}
    else:
        found = _answered(load(contender, Path(folder)), pd.read_parquet(file), Path(rest[0]))
    print(json.dumps(found, default=str))


def size_mb(folder: Path) -> float:
    """All files of a folder together."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _answered(ways: Mapping[str, Answer], frame: pd.DataFrame, answers: Path) -> dict[str, Any]:
    import numpy as np

    first, *_ = ways.values()
    np.save(answers, np.asarray(first(frame), dtype=np.float64))
    told = {f"{name}_path": way.path for name, way in ways.items() if hasattr(way, "path")}
    return told | {f"{name}_ms": 1e3 * _median_s(way, frame) for name, way in ways.items()}


def _median_s(way: Answer, frame: pd.DataFrame) -> float:
    """The median time of an answer about one row; each of many different rows is asked about in turn.

    Who is asked with something else than a frame makes it before the time is taken, by its attribute `made`.
    """
    import numpy as np

    made = getattr(way, "made", lambda row: row)
    rows: list[Any] = [made(frame.iloc[[number]]) for number in range(min(len(frame), _MOST_ASKED))]
    for row in rows[:_WARM]:
        way(row)
    taken: list[float] = []
    end = time.perf_counter() + _ASKED_S
    for number in range(_MOST_ASKED):
        begun = time.perf_counter()
        way(rows[number % len(rows)])
        taken.append(time.perf_counter() - begun)
        if time.perf_counter() > end:
            break
    return float(np.median(taken))
