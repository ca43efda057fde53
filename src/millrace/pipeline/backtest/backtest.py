"""The backtest: tables, requests, replays, measures, report; each thing once, and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.pipeline.backtest.plan import first_training, result_key
from millrace.pipeline.backtest.quality import Measured, loss_kind, row_loss
from millrace.pipeline.backtest.replay import Replay
from millrace.pipeline.backtest.result import Document, document
from millrace.pipeline.backtest.scene import build_scene, compute_tables, label_times
from millrace.pipeline.backtest.store import Kept
from millrace.pipeline.backtest.trained import LABEL, Trained, Trainings
from millrace.pipeline.backtest.types import Model, Policy, Prepared, Run, Scene
from millrace.pipeline.backtest.watched import Known, watch
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.port import Progress, Services
from millrace.statistics.metrics import Floats


@dataclass(frozen=True)
class Backtest:
    """One backtest of a pipeline.

    Attributes:
        services: of the scratch home: the source tables as they are, and nothing else of the workspace.
        kept: the backtest's folder.
    """

    services: Services
    pipeline: Pipeline
    prepared: Prepared
    kept: Kept
    progress: Progress

    def run(self) -> Document:
        """Do what is not done yet, and return what was found.

        Raises:
            InvalidInput: no label is known by the end, or none early enough for a training.
        """
        name = f"result-{result_key(self.pipeline, self.prepared.ask)}.json"
        found = self.kept.read_json(name)
        if found is None:
            self.kept.write_json(name, self._find())
            found = self.kept.read_json(name)
        result: Document = found
        return result

    def _find(self) -> Document:
        ask = self.prepared.ask
        with self._stage("features and labels") as tell:
            compute_tables(self.services, self.pipeline, self.prepared, _As("features and labels", self.progress))
            first = self._first_training()
            tell(f"the first training can be as of {first:%Y-%m-%d}")
        with self._stage("requests") as tell:
            scene = build_scene(self.services, self.pipeline, self.prepared, self.kept)
            tell(f"{len(scene.times_us):,} requests")
        trainings = Trainings(self.services, self.pipeline, self.prepared, scene, self.kept)
        runs = self._replay(scene, trainings)
        with self._stage("measure"):
            measured = Measured(
                scene, ask, lambda at: trainings.at(at).scores, loss_kind(self.pipeline.choose_by), self.pipeline.seed
            )
            losses = {
                attempt.at: self._holdout(trainings.at(attempt.at))
                for run in runs
                for attempt in run.attempts
                if attempt.version
            }
            return document(self.pipeline, self.prepared, scene, runs, measured=measured, holdout_losses=losses)

    def _replay(self, scene: Scene, trainings: Trainings) -> Sequence[Run]:
        seen: dict[datetime, Sequence[Known]] = {}

        def look(model: Model) -> Sequence[Known]:
            if model.at not in seen:
                seen[model.at] = watch(self.pipeline, scene, trainings.at(model.at), self.prepared.ask.end)
            return seen[model.at]

        return [
            self._live(Replay(self.pipeline, scene, trainings, look, policy), policy)
            for policy in self.prepared.ask.policies
        ]

    def _live(self, replay: Replay, policy: Policy) -> Run:
        dates = self.prepared.ask.dates
        with self._stage(policy.name) as tell:
            begun = time.monotonic()
            for number, date in enumerate(dates, start=1):
                replay.live(date)
                self.progress.advance(policy.name, number, len(dates))
                tell(f"{date:%Y-%m-%d}, {_left(begun, number, len(dates))}")
            run = replay.run()
            tell(f"trainings: {len(run.attempts)}, alarms: {len(run.alerts)}")
        return run

    def _holdout(self, trained: Trained) -> Floats:
        labels = trained.holdout.column(LABEL).to_numpy().astype(np.float64)
        return row_loss(
            loss_kind(self.pipeline.choose_by), labels, trained.holdout.column(trained.model.candidate).to_numpy()
        )

    def _first_training(self) -> datetime:
        import pyarrow.compute as pc

        label, end = self.pipeline.labels, self.prepared.ask.end
        rows = label_times(self.services, self.pipeline, self.prepared)
        times = sorted(pc.unique(rows.column(label.time).cast("int64")).to_pylist())
        first = first_training(times, label, self.pipeline.split)
        if first is None or first > end:
            when = f": the first can be as of {first:%Y-%m-%d}" if first else ""
            raise InvalidInput(
                f"nothing can be trained by {end:%Y-%m-%d}{when}",
                hint=f"labels are known {label.known_after.days} days after their time, and those that judge come after those that "
                "train: give a later --to, import more history, or shorten split.holdout",
                first=None if first is None else iso(first),
            )
        return first

    @contextmanager
    def _stage(self, name: str) -> Iterator[Callable[[str], None]]:
        said, begun = [""], time.monotonic()

        def tell(detail: str) -> None:
            said[0] = detail
            self.progress.stage(name, "running", detail)

        self.progress.stage(name, "running")
        try:
            yield tell
        except BaseException:
            self.progress.stage(name, "failed", "", time.monotonic() - begun)
            raise
        self.progress.stage(name, "done", said[0], time.monotonic() - begun)


@dataclass(frozen=True, slots=True)
class _As:
    """The progress of whatever runs inside a stage, under the stage's name."""

    name: str
    to: Progress

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """Nothing: the stage that it belongs to tells of itself."""

    def advance(self, name: str, done: int, total: int) -> None:
        """Passed on."""
        del name
        self.to.advance(self.name, done, total)


def _left(begun: float, done: int, total: int) -> str:
    left = (time.monotonic() - begun) / done * (total - done)
    return f"about {left:.0f} s left"
