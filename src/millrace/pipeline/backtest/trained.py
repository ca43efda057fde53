"""A training as of a date: made once, whichever policies ask for it, and kept with what the model says of every request."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.core.clock import epoch_us, iso, parse_time, utc
from millrace.core.errors import InvalidInput
from millrace.features.matrix import model_frame
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.pipeline import training_parts
from millrace.pipeline.backtest.scene import no_server
from millrace.pipeline.backtest.store import Kept, read_table, write_table
from millrace.pipeline.backtest.types import Model, Prepared, Scene
from millrace.pipeline.context import Pins, Quiet, RunContext
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.evidence import evidence_of
from millrace.pipeline.fitted import contest, fitted_model
from millrace.pipeline.port import Services
from millrace.pipeline.reference import reference_profile
from millrace.pipeline.training_parts import TrainingParts
from millrace.statistics.metrics import Floats
from millrace.training.models import predict_proba
from millrace.validation.defaults import in_force, of_itself, offline
from millrace.validation.judge import judge
from millrace.validation.types import Evidence, Gate

if TYPE_CHECKING:
    import pyarrow as pa

_REASONS = "reasons.json"
LABEL = "__label"  # beside the candidates, whose names are columns


@dataclass(frozen=True)
class Trained:
    """One training, read from where it is kept.

    Attributes:
        scores: what the winner says of each of the scene's requests, also of those before it was trained.
        holdout: the label, and a column for each candidate.
    """

    model: Model
    folder: Path

    @cached_property
    def scores(self) -> Floats:
        """N probabilities of class 1."""
        values: Floats = read_table(self.folder / "scores.parquet").column("score").to_numpy()
        return values

    @cached_property
    def holdout(self) -> pa.Table:
        """The rows that judged."""
        return read_table(self.folder / "holdout.parquet")

    @cached_property
    def reasons(self) -> list[str]:
        """Why gates refuse it that don't ask about the champion, whichever that is."""
        return list(json.loads((self.folder / _REASONS).read_text()))

    @cached_property
    def reference(self) -> ReferenceProfile:
        """What the winner's requests are compared with."""
        return ReferenceProfile.from_json((self.folder / "reference.json").read_text())


@dataclass(frozen=True)
class Trainings:
    """All trainings of a backtest, by date."""

    services: Services
    pipeline: Pipeline
    prepared: Prepared
    scene: Scene
    kept: Kept
    _read: dict[datetime, Trained] = field(default_factory=dict)

    def at(self, date: datetime) -> Trained:
        """The training as of a date."""
        if date not in self._read:
            folder = self.kept.folder(f"models/{date:%Y-%m-%dT%H%M%S}", lambda path: self._train(date, path))
            self._read[date] = Trained(_model(json.loads((folder / "model.json").read_text())), folder)
        return self._read[date]

    def model(self, date: datetime) -> Model:
        """What is known of the training as of a date."""
        return self.at(date).model

    def refusal(self, model: Model, champion: Model | None) -> str:
        """Why the gates refuse a training; empty where they let it pass. The champion is asked about the newest labelled rows."""
        if model.refused:
            return model.refused
        name = f"verdicts/{model.at:%Y-%m-%dT%H%M%S}-{'none' if champion is None else f'{champion.at:%Y-%m-%dT%H%M%S}'}.json"
        found = self.kept.read_json(name)
        if found is None:
            against = None if champion is None else self.at(champion.at)
            found = {"reasons": self._judge(self.at(model.at), against)}
            self.kept.write_json(name, found)
        return "; ".join(found["reasons"])

    def _judge(self, trained: Trained, champion: Trained | None) -> list[str]:
        holdout = trained.holdout
        scores = {name: holdout.column(name).to_numpy() for name in holdout.column_names}
        labels = scores.pop(LABEL).astype(np.int64)
        evidence = Evidence(
            labels=labels,
            challenger=scores[trained.model.candidate],
            baselines={each.name: scores[each.name] for each in self.pipeline.candidates if each.is_baseline},
            seed=self.pipeline.seed,
            newest=None if champion is None else self._newest(trained, champion),
        )
        gates = self._gates(unattended=champion is not None)
        others = [gate for gate in gates if gate not in of_itself(gates)]
        return [*trained.reasons, *judge(others, evidence).reasons]

    def _gates(self, *, unattended: bool) -> tuple[Gate, ...]:
        """Those of a run; nothing is served in a backtest, so those of the staging endpoint are not asked."""
        return offline(in_force(self.pipeline.gates, self.pipeline.skip_gates, unattended=unattended))

    def _newest(self, trained: Trained, champion: Trained) -> Evidence:
        """Both models on the newest labelled rows, which are the scene's rows of these times."""
        model, scene = trained.model, self.scene
        assert model.judged_from is not None  # noqa: S101 - of what could not be trained nobody asks
        assert model.judged_to is not None  # noqa: S101
        times = (scene.times_us >= epoch_us(model.judged_from)) & (scene.times_us <= epoch_us(model.judged_to))
        rows = np.flatnonzero(times & ~np.isnan(scene.labels))
        seen = champion.model.trained_to is not None and champion.model.trained_to >= model.judged_from
        return Evidence(
            labels=scene.labels[rows].astype(np.int64),
            challenger=trained.scores[rows],
            baselines={},
            champion=champion.scores[rows],
            champion_name=f"the model of {champion.model.at:%Y-%m-%d}",
            seed=self.pipeline.seed,
            champion_has_seen=seen,
            window=f"{model.judged_from:%Y-%m-%d} to {model.judged_to:%Y-%m-%d}",
            groups=np.unique(scene.keys[rows], return_inverse=True)[1],
        )

    def _train(self, date: datetime, folder: Path) -> None:
        begun = time.perf_counter()
        context = RunContext(self.services, self.pipeline, Pins(date, self.prepared.versions), no_server, Quiet())
        try:
            parts = training_parts.assemble(self.services, self.pipeline, context.pins)
            context.scratch[training_parts.STAGE] = parts
            model = self._fit(context, parts, folder)
        except InvalidInput as error:
            model = Model(date, refused=error.message)
        seconds = round(time.perf_counter() - begun, 3)
        (folder / "model.json").write_text(json.dumps(_plain(model, seconds), sort_keys=True, indent=1))
        if not model.refused:
            self._score(context, model.candidate, folder)

    def _fit(self, context: RunContext, parts: TrainingParts, folder: Path) -> Model:
        import pyarrow as pa

        held = contest(context)
        alone = judge(of_itself(self._gates(unattended=False)), evidence_of(context, held))
        (folder / _REASONS).write_text(json.dumps(list(alone.reasons)))
        judged = _span(parts.newest.table.column(self.pipeline.labels.time))
        write_table(folder / "holdout.parquet", pa.table({LABEL: held.labels, **held.scores}))
        (folder / "reference.json").write_text(reference_profile(context, held.winner).to_json())
        return Model(
            at=context.pins.as_of,
            candidate=held.winner,
            rows=parts.train.record.rows * len(held.scores),
            trained_to=parts.windows.train_to,
            judged_from=judged[0],
            judged_to=judged[1],
            metrics=held.metrics[held.winner],
        )

    def _score(self, context: RunContext, winner: str, folder: Path) -> None:
        import pyarrow as pa

        parts = training_parts.of_run(context)
        frame = model_frame(self.scene.features, parts.train.spec.inputs)
        scores = predict_proba(fitted_model(context, self.pipeline.candidate(winner)).model, frame)
        write_table(folder / "scores.parquet", pa.table({"score": scores}))


def _span(times: pa.ChunkedArray) -> tuple[datetime, datetime]:
    import pyarrow.compute as pc

    return utc(pc.min(times).as_py()), utc(pc.max(times).as_py())


def _plain(model: Model, seconds: float) -> dict[str, Any]:
    plain = {**asdict(model), "seconds": seconds}
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in plain.items()}


def _model(kept: dict[str, Any]) -> Model:
    times = {name: parse_time(kept[name]) for name in ("at", "trained_to", "judged_from", "judged_to") if kept[name]}
    return Model(**{**kept, **times})
