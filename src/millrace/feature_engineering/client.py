"""The feature-engineering client: feature tables, training sets, models that carry their lookups, batch scoring, publishing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.feature_engineering import frames, scoring
from millrace.feature_engineering.models import log_model, model_to_log
from millrace.feature_engineering.types import FeatureTable, LoggedModel, TrainingSet
from millrace.features.publish import publish
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.training_set import build_training_set
from millrace.features.types import FeatureLookup, OnlineTable
from millrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EXAMPLE_ROWS = 20
_ONLINE = (None, "embedded", "default")


class FeatureEngineeringClient:
    """Feature engineering over a home, with keyword arguments that people know.

    Args:
        model_registry_uri: accepted for code written elsewhere; the registry is the home's.
        workspace: the home, opened; None opens the default one. Times (`as of now`) are its Clock's.
    """

    def __init__(self, *, model_registry_uri: str | None = None, workspace: Workspace | None = None) -> None:
        self.model_registry_uri = model_registry_uri
        self._workspace = workspace or open_workspace()
        _point_mlflow_at(self._workspace)

    def create_table(
        self,
        *,
        name: str,
        primary_keys: str | Sequence[str],
        df: object = None,
        timeseries_column: str | None = None,
        partition_columns: str | Sequence[str] | None = None,
        schema: object = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> FeatureTable:
        """Make a feature table, and fill it where `df` is given.

        Args:
            name: one to three levels.
            primary_keys: key columns; the timeseries column may be among them.
            df: rows: a PySpark, pandas, Polars or Arrow frame.
            timeseries_column: event time, where rows are a time series.
            partition_columns: Delta partition columns.
            schema: a PySpark or Arrow schema, where there is no `df`.
            description: for people.
            tags: free key and value.

        Raises:
            AlreadyExists: a table of that name exists.
            InvalidInput: neither `df` nor `schema`, a missing key, duplicate or null keys.
        """
        rows = None if df is None else frames.to_arrow(df)
        found = rows.schema if rows is not None else frames.to_schema(schema)
        lake = self._workspace.lake
        create_feature_table(
            lake,
            name,
            found,
            primary_keys=primary_keys,
            timeseries_column=timeseries_column,
            partition_columns=[partition_columns]
            if isinstance(partition_columns, str)
            else list(partition_columns or ()),
            description=description or "",
            tags=tags or {},
        )
        if rows is not None:
            try:
                write_feature_rows(lake, name, rows, why="create")
            except InvalidInput:
                lake.drop(name)
                raise
        return self.get_table(name=name)

    def write_table(
        self,
        *,
        name: str,
        df: object,
        mode: str = "merge",
        checkpoint_location: str | None = None,
        trigger: Mapping[str, object] | None = None,
    ) -> None:
        """Upsert rows on keys and time. `mode` is `merge`; streams (`checkpoint_location`, `trigger`) are not taken."""
        _only_default(checkpoint_location=checkpoint_location, trigger=trigger)
        write_feature_rows(self._workspace.lake, name, frames.to_arrow(df), mode=mode)

    def read_table(self, *, name: str, version: int | None = None) -> DataFrame:
        """A PySpark frame over the newest version, or the one asked for."""
        pinned = self._workspace.lake.pin(
            name, None, None if version is None else {self._workspace.lake.entry(name).name: version}
        )
        return self._workspace.spark.read(self._workspace.lake.entry(name).location, pinned.version)

    def get_table(self, *, name: str) -> FeatureTable:
        """What is known of a feature table."""
        return FeatureTable.of(self._workspace.lake.entry(name), self._workspace.lake.schema(name))

    def drop_table(self, *, name: str) -> None:
        """Drop a table here, its files, and what the online store has of it."""
        entry = self._workspace.lake.entry(name)
        self._workspace.online.remove(entry.name)
        self._workspace.lake.drop(name)

    def set_feature_table_tag(self, *, name: str, key: str, value: str) -> None:
        """Set one tag."""
        tags = self._workspace.lake.entry(name).definition.tags
        self._workspace.lake.describe(name, tags={**tags, key: value})

    def delete_feature_table_tag(self, *, name: str, key: str) -> None:
        """Remove one tag; nothing where it isn't there."""
        tags = self._workspace.lake.entry(name).definition.tags
        self._workspace.lake.describe(name, tags={k: v for k, v in tags.items() if k != key})

    def create_training_set(
        self,
        *,
        df: object,
        feature_lookups: Sequence[FeatureLookup] | None = None,
        label: str | None,
        exclude_columns: Sequence[str] | None = None,
        features: Sequence[FeatureLookup] | None = None,
        feature_spec: str | None = None,
        use_spark_native_join: bool = False,  # noqa: ARG002 - other engines' matter
        use_timeseries_filtering: bool = False,  # noqa: ARG002 - other engines' matter
    ) -> TrainingSet:
        """Each row of `df` with the features that were known at its time: as many rows, in their order.

        Args:
            df: one row per example: keys, times, the label.
            feature_lookups: what to find.
            label: the column to predict; None where there is none.
            exclude_columns: columns that the model does not see.
            features: `feature_lookups` under another name.
            feature_spec: named feature specs are not supported yet.
            use_spark_native_join: accepted; says how another engine would join, and changes no result.
            use_timeseries_filtering: accepted, as well.

        Raises:
            NotFound: an unknown table.
            InvalidInput: both or neither of `feature_lookups` and `features`, or a lookup that does not fit.
        """
        _only_default(feature_spec=feature_spec)
        if (feature_lookups is None) == (features is None):
            raise InvalidInput(
                "give feature_lookups or features, one of the two", hint="feature_lookups=[FeatureLookup(...)]"
            )
        found = build_training_set(
            self._workspace.lake,
            self._workspace.asof,
            frames.to_arrow(df),
            list(feature_lookups or features or ()),
            label,
            exclude=list(exclude_columns or ()),
            as_of=self._workspace.clock.now(),
        )
        return TrainingSet(found, self._workspace.spark)

    def log_model(
        self,
        *,
        model: object,
        artifact_path: str = "model",
        flavor: ModuleType,
        training_set: TrainingSet | None = None,
        registered_model_name: str | None = None,
        await_registration_for: int = 300,  # noqa: ARG002 - registering is done when the call returns
        infer_input_example: bool = False,
        extra_pip_requirements: Sequence[str] | None = None,
        signature: object = None,
        input_example: object = None,
    ) -> LoggedModel:
        """Store a model with its lookups, in the active MLflow run or one of its own, and register it where a name is given.

        Args:
            model: the fitted object.
            artifact_path: the model's name in its run.
            flavor: an MLflow flavor module, as `mlflow.sklearn` or `mlflow.xgboost`.
            training_set: what the model was trained on: its lookups go with the model.
            registered_model_name: one to three levels.
            await_registration_for: accepted; a version is ready when the call returns.
            infer_input_example: keep some training rows as the model's example.
            extra_pip_requirements: beside those that the flavor needs.
            signature: an MLflow signature; inferred from the training set where None.
            input_example: rows to keep as the example.

        Raises:
            InvalidInput: the flavor is not known, or there is neither a signature nor a training set.
        """
        if infer_input_example and input_example is None and training_set is not None:
            input_example = training_set.inputs().head(_EXAMPLE_ROWS)
        to_log = model_to_log(
            model,
            flavor.__name__.rpartition(".")[2],
            training_set.built if training_set else None,
            requirements=extra_pip_requirements or (),
            signature=signature,
            example=input_example,
        )
        return log_model(self._workspace, to_log, artifact_path, registered_model_name)

    def score_batch(
        self,
        *,
        model_uri: str,
        df: object,
        result_type: str = "double",
        env_manager: str = "local",
        params: Mapping[str, object] | None = None,
        use_spark_native_join: bool = False,  # noqa: ARG002 - other engines' matter
    ) -> DataFrame:
        """The rows of `df` with the model's features and a column `prediction`; a feature that `df` has is not looked up.

        Args:
            model_uri: `models:/name/1`, `models:/name@alias` or `models:/m-...`.
            df: keys, times, and any inputs.
            result_type: Spark SQL type of `prediction`.
            env_manager: only `local`: the model runs in this environment.
            params: handed to the model's `predict`.
            use_spark_native_join: accepted; says how another engine would join, and changes no result.

        Raises:
            InvalidInput: `env_manager` is another one, or a key or input is missing.
        """
        if env_manager != "local":
            raise InvalidInput(
                f"env_manager '{env_manager}' is not supported", hint="use 'local': the model runs in this environment"
            )
        rows = scoring.score(self._workspace, model_uri, frames.to_arrow(df), result_type, params)
        return self._workspace.spark.session().createDataFrame(rows)

    def publish_table(
        self,
        *,
        source_table_name: str,
        online_store: str | None = None,
        online_table_name: str | None = None,
        publish_mode: str = "TRIGGERED",
        filter_condition: str | None = None,
        mode: str = "merge",
        streaming: bool = False,
        features: Sequence[str] | None = None,
    ) -> OnlineTable:
        """Bring the online store up to date with a feature table, as of now.

        Args:
            source_table_name: the feature table.
            online_store: None: the home's own.
            online_table_name: None: as the source.
            publish_mode: `TRIGGERED` or `SNAPSHOT`: both publish now; `CONTINUOUS` is not supported.
            filter_condition: not supported: all keys are published.
            mode: `merge`.
            streaming: not supported.
            features: not supported: all columns are published.
        """
        _only_default(filter_condition=filter_condition, streaming=streaming or None, features=features)
        if mode != "merge":
            raise InvalidInput(f"mode '{mode}' is not supported", hint="use merge: the newest row of each key is there")
        if online_store not in _ONLINE:
            raise InvalidInput(
                f"there is no online store '{online_store}'", hint="leave online_store out: the home has one"
            )
        if online_table_name not in (None, source_table_name):
            raise InvalidInput("an online table has its source's name", hint="leave online_table_name out")
        if publish_mode not in {"TRIGGERED", "SNAPSHOT"}:
            raise InvalidInput(f"publish_mode '{publish_mode}' is not supported", hint="use TRIGGERED")
        workspace = self._workspace
        return publish(workspace.lake, workspace.online, source_table_name, as_of=workspace.clock.now())


def _only_default(**options: object) -> None:
    """Refuse options that are known elsewhere and do nothing here: what is asked for is done, or said not to be."""
    for name, given in options.items():
        if given is not None:
            raise InvalidInput(f"{name} is not supported", hint=f"leave {name} out")


def _point_mlflow_at(workspace: Workspace) -> None:
    """Let `mlflow.start_run()` beside this client write into the same home, unless the user has said where."""
    import os

    mlflow = sys.modules.get("mlflow")  # imported before or not: it reads the environment when it is first used
    if "MLFLOW_TRACKING_URI" not in os.environ and not (mlflow and mlflow.is_tracking_uri_set()):
        os.environ["MLFLOW_TRACKING_URI"] = os.environ["MLFLOW_REGISTRY_URI"] = workspace.settings.mlflow_url
