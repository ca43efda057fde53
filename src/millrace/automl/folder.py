"""A search's folder in the home: what it needs to go on after it was killed, and the fold models that the final model is made of."""

from __future__ import annotations

import hashlib
import json
import math
import pickle
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.automl.types import Final, Member, Preparation, Problem, Trial
from millrace.automl.workers.fit import Job, write_whole
from millrace.core.clock import iso, parse_time

if TYPE_CHECKING:
    from filelock import FileLock

Predictions = Mapping[int, np.ndarray]
_KEPT, _KEPT_ROWS = 5, 50  # finished searches with their models, and with the rows that their notebooks read
_ABANDONED_S = 30 * 86_400.0  # a search that was killed is not gone on with after that


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """Paths and the few files that are read again. All writes are whole or not at all.

    Attributes:
        path: the folder; `id` is its name.
    """

    path: Path

    @property
    def id(self) -> str:
        """The search's id."""
        return self.path.name

    @property
    def job(self) -> Path:
        """The pickled `Job`."""
        return self.path / "job.pickle"

    @property
    def journal(self) -> Path:
        """Optuna's storage."""
        return self.path / "study.journal"

    @property
    def data(self) -> Path:
        """The searched rows, as Parquet."""
        return self.path / "data.parquet"

    def model(self, trial: int, fold: int | None) -> Path:
        """A fold's model, or that of all rows."""
        return self.path / "models" / str(trial) / f"{'all' if fold is None else fold}.pickle"

    @property
    def whole(self) -> Path:
        """The final model, where it is not made of folds' models."""
        return self.path / "models" / "final.pickle"

    def load_model(self, trial: int, fold: int | None) -> Any:
        """What `model` names, fitted."""
        return pickle.loads(self.model(trial, fold).read_bytes())  # noqa: S301 - our own worker wrote it

    def begin(self, job: Job) -> None:
        """Make the folder with what the workers need."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.job, job)

    def keep(self, trial: Trial, predictions: Predictions) -> None:
        """Write a trial that ended, and what its models said to the rows that judged them."""
        folder = self.path / "trials"
        folder.mkdir(exist_ok=True)
        if predictions:
            write_whole(self._said(trial.number), dict(predictions))
        _write_text(folder / f"{trial.number}.json", json.dumps(_to_json(trial)))

    def trials(self, preparations: Mapping[bool, Preparation]) -> list[Trial]:
        """The trials that ended, by number."""
        texts = [path.read_text() for path in (self.path / "trials").glob("*.json")]
        found = [_from_json(json.loads(text), preparations) for text in texts]
        return sorted(found, key=lambda trial: trial.number)

    def has_predictions(self, trial: int) -> bool:
        """Whether a trial's predictions were kept."""
        return self._said(trial).exists()

    def predictions(self, trial: int) -> Predictions:
        """By fold; empty where none were kept."""
        return pickle.loads(self._said(trial).read_bytes()) if self.has_predictions(trial) else {}  # noqa: S301 - ours

    def _said(self, trial: int) -> Path:
        return self.path / "trials" / f"{trial}.predictions"

    def models_size(self, trial: int) -> int:
        """Bytes of its models."""
        return sum(path.stat().st_size for path in self.model(trial, 0).parent.glob("*.pickle"))

    def forget_models(self, trial: int) -> None:
        """Remove the models of a trial that can't win any more."""
        shutil.rmtree(self.path / "models" / str(trial), ignore_errors=True)

    def state(self) -> dict[str, Any]:
        """What was kept of the search itself; empty for a new one."""
        path = self.path / "state.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def keep_state(self, **state: object) -> None:
        """Add to the state."""
        _write_text(self.path / "state.json", json.dumps({**self.state(), **state}))

    def finish(self, **state: object) -> None:
        """It is done: workers need their rows no more."""
        self.keep_state(done=True, **state)
        self.job.unlink(missing_ok=True)


def final_to_json(final: Final) -> dict[str, object]:
    """A final choice, to keep in the state."""
    members = [[member.trial, member.weight] for member in final.members]
    return {"kind": final.kind, "members": members, "score": _finite(final.score), "why": final.why}


def final_from_json(kept: Mapping[str, Any]) -> Final:
    """What `final_to_json` wrote."""
    members = tuple(Member(trial, weight) for trial, weight in kept["members"])
    return Final(kept["kind"], members, _number(kept["score"]), kept["why"])


def find_folder(root: Path, key: str, *, finished: bool) -> SearchFolder:
    """The newest search under this key: one that was not finished goes on; else a new one, or (`finished`) the finished one again."""
    known = sorted(root.glob(f"{key}-*"), key=_place)
    if known:
        last = SearchFolder(known[-1])
        if finished or not last.state().get("done"):
            return last
    number = _place(known[-1]) + 1 if known else 1
    return SearchFolder(root / f"{key}-{number}")


@contextmanager
def kept_folder(root: Path, key: str) -> Iterator[SearchFolder]:
    """The folder that a search under this key works in, its own until it ends: that of one that was killed, else a new one.

    The lock of a killed process is gone with it, and two searches of the same rows at once are two.
    """
    folder = find_folder(root, key, finished=False)
    while (lock := _lock(folder)) is None:
        folder = SearchFolder(root / f"{key}-{_place(folder.path) + 1}")
    try:
        yield folder
    finally:
        lock.release()


def _lock(folder: SearchFolder) -> FileLock | None:
    """None where a process is at it, or has finished it since it was found."""
    from filelock import FileLock, Timeout

    folder.path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.path / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    if not folder.state().get("done"):
        return lock
    lock.release()
    return None


def _place(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def tidy(root: Path, keep: SearchFolder) -> None:
    """Remove the oldest finished searches' models, and later their rows, and what was killed long ago, so that the home does not fill up."""
    known = [SearchFolder(path) for path in root.glob("[!.]*-*") if path != keep.path]
    done = [folder for folder in known if folder.state().get("done")]
    # By the state's time: the folder's own changes when something is removed.
    done.sort(key=lambda each: (each.path / "state.json").stat().st_mtime)
    for folder in done[:-_KEPT]:
        shutil.rmtree(folder.path / "models", ignore_errors=True)
        folder.job.unlink(missing_ok=True)
    for folder in done[:-_KEPT_ROWS]:
        folder.data.unlink(missing_ok=True)
    for folder in set(known) - set(done):
        _remove_abandoned(folder)


def _remove_abandoned(folder: SearchFolder) -> None:
    """One that was killed long ago; what goes on keeps its state after each trial, which is seen by the folder's time."""
    with suppress(FileNotFoundError):  # another search tidies too
        if time.time() - folder.path.stat().st_mtime < _ABANDONED_S or (lock := _lock(folder)) is None:
            return
        shutil.rmtree(folder.path, ignore_errors=True)
        lock.release()


def key_of(job: Job, preparations: Mapping[bool, Preparation], *more: object) -> str:
    """16 hex digits of what decides a search: rows, split, problem, preparation, and what else is given."""
    import pandas as pd

    said = (job.problem, job.plan, list(job.rows.features.columns), sorted(preparations.items()), more)
    digest = hashlib.sha256(repr(said).encode())
    digest.update(pd.util.hash_pandas_object(job.rows.features, index=False).to_numpy().tobytes())
    for values in (job.rows.target, job.rows.weights, job.rows.by):
        digest.update(b"" if values is None else np.asarray(values).astype(str).tobytes())
    return digest.hexdigest()[:16]


def _write_text(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def _to_json(trial: Trial) -> dict[str, object]:
    return {
        "number": trial.number,
        "family": trial.family,
        "estimator": trial.estimator,
        "params": dict(trial.params),
        "scale": trial.preparation.scale,
        "state": trial.state,
        "searched": dict(trial.searched),
        "fold_scores": {str(fold): _finite(value) for fold, value in trial.fold_scores.items()},
        "score": _finite(trial.score),
        "seconds": trial.seconds,
        "error": trial.error,
        "started_at": iso(trial.started_at) if trial.started_at else None,
        "default": trial.default,
        "run_id": trial.run_id,
        "notebook": trial.notebook,
    }


def _from_json(kept: dict[str, Any], preparations: Mapping[bool, Preparation]) -> Trial:
    started: datetime | None = parse_time(kept["started_at"]) if kept["started_at"] else None
    return Trial(
        number=kept["number"],
        family=kept["family"],
        estimator=kept["estimator"],
        params=kept["params"],
        preparation=preparations[kept["scale"]],
        state=kept["state"],
        searched=kept["searched"],
        fold_scores={int(fold): _number(value) for fold, value in kept["fold_scores"].items()},
        score=_number(kept["score"]),
        seconds=kept["seconds"],
        error=kept["error"],
        started_at=started,
        default=kept["default"],
        run_id=kept["run_id"],
        notebook=kept["notebook"],
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def pooled(
    problem: Problem, folds: Sequence[tuple[np.ndarray, np.ndarray]], said: Predictions, rows: int
) -> np.ndarray:
    """What a trial's fold models say to each row that none of them was fitted on: their mean over repeats; NaN for rows no fold judges."""
    width = (len(problem.classes),) if problem.task == "classification" else ()
    total, times = np.zeros((rows, *width)), np.zeros((rows, *(1 for _ in width)))
    for fold, (_, judge) in enumerate(folds):
        if fold in said:
            total[judge] += said[fold]
            times[judge] += 1
    return np.divide(total, times, out=np.full_like(total, np.nan), where=times > 0)
