"""Runs in MLflow's own database, without its server: the same database that its UI and clients read."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from millrace.core.clock import Clock, epoch_us, from_epoch_us
from millrace.core.errors import Conflict, InvalidInput, InvalidState, MillraceError, NotFound
from millrace.database.mlflow import opening_mlflow, tell_mlflow
from millrace.tracking.adapters.mlflow_flavors import save_model
from millrace.tracking.types import ModelToLog, RunId, RunInfo

KEY_TAG = "millrace.key"
_LONGEST_PARAM = 6000
_US_PER_MS = 1000


class MlflowTracking:
    """The `Tracking` port over MLflow. Opens the database at the first call; times are the Clock's, cut to milliseconds."""

    def __init__(self, url: str, artifact_root: Path, clock: Clock) -> None:
        """Say where.

        Args:
            url: SQLAlchemy URL of MLflow's database.
            artifact_root: folder for artifacts, one folder in it for each experiment.
            clock: for start and end of runs, and for metrics.
        """
        self._url, self._root, self._clock = url, artifact_root.absolute(), clock

    @cached_property
    def _client(self) -> Any:
        tell_mlflow()
        from mlflow import MlflowClient
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with opening_mlflow(self._url), _edge():
            # The first to open a database decides where its default experiment keeps artifacts; by itself the client would
            # take the working directory.
            SqlAlchemyStore(self._url, (self._root / "0").as_uri())
            return MlflowClient(tracking_uri=self._url, registry_uri=self._url)

    def start(self, experiment: str, name: str, tags: Mapping[str, str], key: str | None = None) -> RunId:
        """Open a run, or find the one that was started under this key; one that failed goes on."""
        found = self.find(experiment, key) if key is not None else None
        with _edge():
            if found is not None:
                if found.status == "FAILED":
                    self._client.update_run(found.id, status="RUNNING")
                return found.id
            kept = dict(tags) | ({KEY_TAG: key} if key is not None else {})
            run = self._client.create_run(self._experiment(experiment), self._now_ms(), kept, run_name=name)
            return RunId(run.info.run_id)

    def log(
        self,
        run: RunId,
        *,
        params: Mapping[str, object] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a run, in one write. Values of parameters are cut to 6000 characters; metrics that are not finite are left out."""
        with _edge():
            self._client.log_batch(
                run, metrics=self._metrics(metrics or {}), params=_params(params or {}), tags=_tags(tags or {})
            )

    def log_text(self, run: RunId, text: str, path: str) -> None:
        """Keep a text with the run; a second one under the same path replaces the first."""
        with _edge():
            self._client.log_text(run, text, path)

    def read_text(self, run: RunId, path: str) -> str:
        """A text that was kept with the run; NotFound where there is none."""
        with _edge(), TemporaryDirectory() as folder:
            uri = self._client.get_run(run).info.artifact_uri
            local = _local(uri)
            if local is None:
                return Path(self._client.download_artifacts(run, path, folder)).read_text()
            try:
                return (local / path).read_text()
            except (FileNotFoundError, IsADirectoryError) as error:
                raise NotFound(f"run {run} has no text '{path}'", hint="look at the run's artifacts") from error

    def where(self, run: RunId, path: str) -> str:
        """Where an artifact of the run is."""
        with _edge():
            uri = self._client.get_run(run).info.artifact_uri
        local = _local(uri)
        return f"{uri.rstrip('/')}/{path}" if local is None else str(local / path)

    def log_model(self, run: RunId, name: str, model: ModelToLog) -> str:
        """Store the model with the run and return its URI. It is there whole, or it is not ready and never loaded."""
        with _edge(), TemporaryDirectory() as folder:
            parent, logged = self._new_model(run, name)
            path = Path(folder) / "model"
            save_model(model, path, logged=logged, at=self._clock.now())
            return self._stored(parent, logged, path)

    def add_model(self, run: RunId, name: str, folder: Path) -> str:
        """Store a model's folder as it is. Its MLmodel file goes on naming the run and model that it came from."""
        with _edge():
            return self._stored(*self._new_model(run, name), folder)

    def _new_model(self, run: RunId, name: str) -> tuple[Any, Any]:
        parent = self._client.get_run(run)
        logged = self._client.create_logged_model(
            parent.info.experiment_id, name, source_run_id=run, params=parent.data.params
        )
        return parent, logged

    def _stored(self, parent: Any, logged: Any, folder: Path) -> str:
        from mlflow.entities import LoggedModelOutput

        self._client.log_model_artifacts(logged.model_id, str(folder))
        self._client.log_outputs(parent.info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        self._client.log_batch(parent.info.run_id, metrics=self._metrics(parent.data.metrics, logged.model_id))
        self._client.finalize_logged_model(logged.model_id, "READY")
        return f"models:/{logged.model_id}"

    def copy_files(self, run: RunId, into: Path) -> None:
        """Copy all that is kept with the run."""
        with _edge():
            local = _local(self._client.get_run(run).info.artifact_uri)
            if local is None:
                self._client.download_artifacts(run, "", str(into))
            elif local.is_dir():
                shutil.copytree(local, into, dirs_exist_ok=True)

    def add_files(self, run: RunId, folder: Path) -> None:
        """Keep all files of a folder with the run."""
        with _edge():
            if any(folder.iterdir()):
                self._client.log_artifacts(run, str(folder))

    def logged_model(self, run: RunId, name: str) -> str | None:
        """The URI of the newest model that was stored whole with the run under a name."""
        with _edge():
            outputs = self._client.get_run(run).outputs
            ids = [output.model_id for output in outputs.model_outputs] if outputs else []
            models = [self._client.get_logged_model(model) for model in ids]
        ready = [each for each in models if each.name == name and each.status == "READY"]
        newest = max(ready, key=lambda each: (each.creation_timestamp, each.model_id), default=None)
        return None if newest is None else f"models:/{newest.model_id}"

    def finish(self, run: RunId, *, failed: bool = False) -> None:
        """Close the run at the Clock's time."""
        with _edge():
            self._client.set_terminated(run, "FAILED" if failed else "FINISHED", self._now_ms())

    def get(self, run: RunId) -> RunInfo:
        """A run; NotFound where there is none."""
        with _edge():
            found = self._client.get_run(run)
            return _info(found, self._client.get_experiment(found.info.experiment_id).name)

    def find(self, experiment: str, key: str) -> RunInfo | None:
        """The run that was started under this key; None for an unknown experiment too."""
        runs = self._search(experiment, f"tags.`{KEY_TAG}` = {_quoted(key)}", 1)
        return runs[0] if runs else None

    def list(self, experiment: str, limit: int = 100) -> Sequence[RunInfo]:
        """Newest first; empty for an unknown experiment."""
        return self._search(experiment, "", limit)

    def _search(self, experiment: str, condition: str, limit: int) -> Sequence[RunInfo]:
        with _edge():
            known = self._client.get_experiment_by_name(experiment)
            if known is None:
                return []
            newest_first = ["attributes.start_time DESC"]
            runs = self._client.search_runs([known.experiment_id], condition, 1, limit, newest_first)
            return [_info(run, experiment) for run in runs]

    def _experiment(self, name: str) -> str:
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return _alive(known)
        from mlflow.exceptions import MlflowException

        try:
            return str(self._client.create_experiment(name, (self._root / _folder_name(name)).as_uri()))
        except MlflowException:  # another process made it meanwhile
            known = self._client.get_experiment_by_name(name)
            if known is None:
                raise
            return _alive(known)

    def _metrics(self, metrics: Mapping[str, float], model_id: str | None = None) -> Sequence[object]:
        from mlflow.entities import Metric

        now = self._now_ms()
        return [
            Metric(key, float(value), now, 0, model_id=model_id)
            for key, value in metrics.items()
            if math.isfinite(value)
        ]

    def _now_ms(self) -> int:
        return epoch_us(self._clock.now()) // _US_PER_MS


@contextmanager
def _edge() -> Iterator[None]:
    """MLflow's errors as ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        raise _ours(error) from error
    except SQLAlchemyError as error:
        raise InvalidState(
            f"MLflow's database can't be used: {getattr(error, 'orig', None) or error}",
            hint="check MILLRACE_MLFLOW_URL and the home's rights",
        ) from error


def _ours(error: Any) -> MillraceError:
    message = str(error.message)
    match error.error_code:
        case "RESOURCE_DOES_NOT_EXIST":
            return NotFound(message, hint="list what there is in MLflow's UI: `millrace up`")
        case "INVALID_PARAMETER_VALUE" | "BAD_REQUEST":
            return InvalidInput(message)
        case "RESOURCE_ALREADY_EXISTS":
            return Conflict(message, hint="try again")
        case _:
            return InvalidState(f"MLflow: {message}", hint="check MILLRACE_MLFLOW_URL and the home's rights")


def _alive(experiment: Any) -> str:
    if experiment.lifecycle_stage != "active":
        raise InvalidState(
            f"the experiment '{experiment.name}' was deleted", hint="restore it in MLflow, or choose another name"
        )
    return str(experiment.experiment_id)


def _info(run: Any, experiment: str) -> RunInfo:
    return RunInfo(
        id=RunId(run.info.run_id),
        experiment=experiment,
        name=run.info.run_name,
        status=run.info.status if run.info.status in {"RUNNING", "FINISHED"} else "FAILED",
        started_at=_moment(run.info.start_time),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
    )


def _moment(milliseconds: int) -> datetime:
    return from_epoch_us(milliseconds * _US_PER_MS)


def _params(params: Mapping[str, object]) -> Sequence[object]:
    from mlflow.entities import Param

    return [Param(key, _text(value)[:_LONGEST_PARAM]) for key, value in params.items()]


def _tags(tags: Mapping[str, str]) -> Sequence[object]:
    from mlflow.entities import RunTag

    return [RunTag(key, value) for key, value in tags.items()]


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str) if isinstance(value, (dict, list, tuple)) else str(value)


def _quoted(key: str) -> str:
    for quote in ("'", '"'):
        if quote not in key:
            return f"{quote}{key}{quote}"
    raise InvalidInput(f"the key {key} holds both kinds of quotes", hint="make it of letters, digits and -")


def _folder_name(experiment: str) -> str:
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", experiment).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(experiment.encode()).hexdigest()[:8]}"


def _local(uri: str) -> Path | None:
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    return Path(local_file_uri_to_path(uri)) if is_local_uri(uri) else None
