"""Models and versions in MLflow's own registry: aliases are the truth, stages follow them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.parse import unquote

from millrace.core.clock import Clock, from_epoch_us, iso, parse_time
from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import did_you_mean
from millrace.database.mlflow import opening_mlflow, tell_mlflow
from millrace.registry.trusted import is_trusted_url, trusted_folder, untrusted_url
from millrace.registry.types import ModelName, ModelVersion, VersionEntry

KEY_TAG = "millrace.key"
SOURCE_TAG = "millrace.source"  # the logged model's URI: MLflow keeps only where its files are
CREATED_TAG = "millrace.created_at"
ALIAS_TAG = "millrace.alias."  # and the alias: since when it has pointed to the version, in Clock time
_STAGES = {"production": "Production", "staging": "Staging", "previous": "Archived"}
_US_PER_MS = 1000
_SERVED = "mlflow-artifacts:"  # what is in our own folder, as clients that logged it through the server call it


class MlflowRegistry:
    """The `Registry` port over MLflow. Opens the database at the first call.

    A version has one stage but may have several aliases: production counts before staging, staging before previous.
    """

    def __init__(self, url: str, clock: Clock, artifacts: Path, sources: Sequence[str] = ()) -> None:
        """Say where: the SQLAlchemy URL of MLflow's database, the clock for times of versions and aliases, and the store.

        Models are loaded from the folder `artifacts`, which is what MLflow's clients call `mlflow-artifacts:/`, and from
        what lies under `sources`, paths or URLs; from nowhere else.
        """
        self._url, self._clock = url, clock
        self._artifacts, self._roots = artifacts, (str(artifacts), *sources)

    @cached_property
    def _store(self) -> Any:
        tell_mlflow()
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

        with opening_mlflow(self._url), _edge():
            return SqlAlchemyStore(self._url)

    @cached_property
    def _runs(self) -> Any:
        from mlflow import MlflowClient

        with opening_mlflow(self._url), _edge():
            return MlflowClient(tracking_uri=self._url, registry_uri=self._url)

    def register(
        self, model: ModelName, source: str, run_id: str | None, tags: Mapping[str, str], key: str | None = None
    ) -> VersionEntry:
        """Make a version of `models:/m-...` or of a model folder; under a key that was used before, return that version."""
        from mlflow.entities.model_registry import ModelVersionTag

        for entry in self.versions(model) if key is not None else ():
            if entry.tags.get(KEY_TAG) == key:
                return entry
        kept = dict(tags) | {CREATED_TAG: iso(self._clock.now()), SOURCE_TAG: source}
        kept |= {KEY_TAG: key} if key is not None else {}
        with _edge():
            self._ensure(model)
            # Resolved here: MLflow would look the model up in the process's global tracking store.
            location, run, model_id = self._resolve(source, run_id)
            made = self._store.create_model_version(
                model,
                location,
                run_id=run,
                tags=[ModelVersionTag(name, value) for name, value in kept.items()],
                model_id=model_id if run else None,
            )
        return self.version(model, ModelVersion(str(made.version)))

    def version(self, model: ModelName, version: ModelVersion) -> VersionEntry:
        """One version; NotFound where the model or the version is not there."""
        return _entry(self._found(model, version))

    def by_alias(self, model: ModelName, alias: str) -> VersionEntry | None:
        """Where the alias points; None where it is not set or the model does not exist."""
        with _edge():
            version = self._aliases(model).get(alias)
        return None if version is None else self.version(model, ModelVersion(str(version)))

    def versions(self, model: ModelName) -> Sequence[VersionEntry]:
        """Oldest first; empty for an unknown model."""
        with _edge():
            if self._model(model) is None:
                return []
            aliases = self._aliases(model)
            found = _all_pages(self._store.search_model_versions, f"name = '{model}'")
        entries = [_entry(each, aliases) for each in found]
        return sorted(entries, key=lambda entry: int(entry.version))

    def models(self) -> Sequence[ModelName]:
        """All names, by alphabet."""
        with _edge():
            found = _all_pages(self._store.search_registered_models, None)
        return sorted(ModelName(model.name) for model in found)

    def set_alias(self, model: ModelName, alias: str, version: ModelVersion) -> None:
        """Point the alias at the version, tag it with the time, and mirror stages. Doing it again changes nothing."""
        tags = self._found(model, version).tags
        with _edge():
            before = self._aliases(model).get(alias)
            if before is not None and str(before) == version:
                if ALIAS_TAG + alias not in tags:
                    self._complete(model, alias, version)
                self._mirror(model, version)
                return
            self._store.set_registered_model_alias(model, alias, version)
            if before is not None:
                self._left(model, alias, ModelVersion(str(before)))
            # Last of the tags: a move that has it is complete.
            self._set_tags(model, version, {ALIAS_TAG + alias: iso(self._clock.now())})
            self._mirror(model, version)

    def remove_alias(self, model: ModelName, alias: str) -> None:
        """Take the alias away; nothing where it is not set. NotFound for an unknown model."""
        with _edge():
            if self._model(model) is None:
                raise self._no_model(model)
            version = self._aliases(model).get(alias)
            if version is not None:
                self._store.delete_registered_model_alias(model, alias)
                self._left(model, alias, ModelVersion(str(version)))

    def tag(self, model: ModelName, version: ModelVersion, tags: Mapping[str, str]) -> None:
        """Set tags of a version; others stay."""
        self._found(model, version)
        with _edge():
            self._set_tags(model, version, tags)

    def download(self, model: ModelName, version: ModelVersion) -> Path:
        """The model's own folder where artifacts are local, a copy in a new folder elsewhere; only of what is trusted."""
        self._found(model, version)
        with _edge():
            uri = self._store.get_model_version_download_uri(model, version)
        what, local = f"{model} version {version}", self._local(uri)
        if local is None and not is_trusted_url(uri, self._roots):
            raise untrusted_url(uri, what)
        folder = _fetched(uri) if local is None else trusted_folder(local, self._roots, what)
        if not folder.is_dir():
            raise NotFound(f"the files of {what} are gone", hint=f"restore the folder {folder}")
        return folder

    def _local(self, uri: str) -> Path | None:
        """The folder on this machine; None for a model that is elsewhere."""
        from mlflow.utils.file_utils import local_file_uri_to_path
        from mlflow.utils.uri import is_local_uri

        if uri.startswith(_SERVED):
            return self._artifacts / unquote(uri.removeprefix(_SERVED)).lstrip("/")
        return Path(local_file_uri_to_path(uri)) if is_local_uri(uri) else None

    def _resolve(self, source: str, run_id: str | None) -> tuple[str, str | None, str | None]:
        if not source.startswith("models:/m-"):
            return source, run_id, None
        logged = self._runs.get_logged_model(source.removeprefix("models:/"))
        if logged.status != "READY":
            raise InvalidState(f"the model {source} was not stored to its end", hint="log the model again")
        return logged.artifact_location, run_id or logged.source_run_id, logged.model_id

    def _ensure(self, model: ModelName) -> None:
        from mlflow.exceptions import MlflowException

        if self._model(model) is None:
            try:
                self._store.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process made it meanwhile
                    raise

    def _model(self, model: ModelName) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._store.get_registered_model(model)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise

    def _aliases(self, model: ModelName) -> Mapping[str, object]:
        found = self._model(model)
        return {} if found is None else dict(found.aliases)

    def _found(self, model: ModelName, version: ModelVersion) -> Any:
        from mlflow.exceptions import MlflowException

        with _edge():
            try:
                return self._store.get_model_version(model, version)
            except MlflowException as error:
                if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                    raise
        there = [str(entry.version) for entry in self.versions(model)]
        if not there:
            raise self._no_model(model)
        raise NotFound(f"{model} has no version {version}", hint=did_you_mean(str(version), there), model=model)

    def _no_model(self, model: ModelName) -> NotFound:
        return NotFound(f"there is no model '{model}'", hint=did_you_mean(model, self.models()), model=model)

    def _set_tags(self, model: ModelName, version: ModelVersion, tags: Mapping[str, str]) -> None:
        from mlflow.entities.model_registry import ModelVersionTag

        for name, value in tags.items():
            self._store.set_model_version_tag(model, version, ModelVersionTag(name, value))

    def _complete(self, model: ModelName, alias: str, version: ModelVersion) -> None:
        """Tags after a move that was killed right after it: of the version that has the alias, and of the one that had it."""
        for entry in self.versions(model):
            if entry.version != version and ALIAS_TAG + alias in entry.tags:
                self._left(model, alias, entry.version)
        self._set_tags(model, version, {ALIAS_TAG + alias: iso(self._clock.now())})

    def _left(self, model: ModelName, alias: str, version: ModelVersion) -> None:
        from mlflow.exceptions import MlflowException

        # The tag goes last: while it is there, a move that was killed is known to be unfinished.
        with suppress(MlflowException):
            self._mirror(model, version)
        with suppress(MlflowException):  # the tag or the version is gone: all the better
            self._store.delete_model_version_tag(model, version, ALIAS_TAG + alias)

    def _mirror(self, model: ModelName, version: ModelVersion) -> None:
        entry = self._store.get_model_version(model, version)
        left = "Archived" if entry.current_stage in {"Production", "Staging"} else entry.current_stage
        stage = next((stage for alias, stage in _STAGES.items() if alias in entry.aliases), left)
        if entry.current_stage != stage:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # stages are deprecated; they are a mirror here
                self._store.transition_model_version_stage(model, version, stage, archive_existing_versions=False)


@contextmanager
def _edge() -> Iterator[None]:
    """MLflow's errors as ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        message = str(error.message)
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise NotFound(message, hint="list what there is in MLflow's UI: `millrace up`") from error
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise InvalidInput(message, hint="a model's name holds letters, digits, dots, _ and -") from error
        raise InvalidState(f"MLflow: {message}", hint="check MILLRACE_MLFLOW_URL and the home's rights") from error
    except SQLAlchemyError as error:
        raise InvalidState(
            f"MLflow's database can't be used: {getattr(error, 'orig', None) or error}",
            hint="check MILLRACE_MLFLOW_URL and the home's rights",
        ) from error


def _entry(found: Any, aliases: Mapping[str, object] | None = None) -> VersionEntry:
    version = str(found.version)
    if aliases is None:
        pointing = tuple(found.aliases)
    else:
        pointing = tuple(alias for alias, points_to in aliases.items() if str(points_to) == version)
    created = found.tags.get(CREATED_TAG)
    return VersionEntry(
        model=ModelName(found.name),
        version=ModelVersion(version),
        source=found.tags.get(SOURCE_TAG) or found.source,
        run_id=found.run_id or None,
        created_at=parse_time(created) if created else from_epoch_us(found.creation_timestamp * _US_PER_MS),
        aliases=tuple(sorted(pointing)),
        tags=dict(found.tags),
    )


def _all_pages(search: Any, condition: str | None) -> list[Any]:
    found, token = [], None
    while True:
        page = search(condition, max_results=1000, page_token=token)
        found.extend(page)
        token = page.token
        if not token:
            return found


def _fetched(uri: str) -> Path:
    from mlflow.artifacts import download_artifacts

    with _edge():
        return Path(download_artifacts(artifact_uri=uri, dst_path=mkdtemp(prefix="millrace-model-")))
