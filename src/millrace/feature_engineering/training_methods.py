"""The client's part for training sets, models and batch scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.feature_engineering import frames, scoring
from millrace.feature_engineering.models import log_model, model_to_log
from millrace.feature_engineering.options import names
from millrace.feature_engineering.types import LoggedModel, TrainingSet
from millrace.features.feature_specs import features_of, spec_name
from millrace.features.functions.store import finder
from millrace.features.training_set import build_training_set
from millrace.features.types import FeatureFunction, FeatureLookup
from millrace.lake.frames import tables_read
from millrace.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EXAMPLE_ROWS = 20


class TrainingMethods:
    """Training sets, models that carry their lookups, batch scoring."""

    _workspace: Workspace

    def create_training_set(
        self,
        *,
        df: object,
        feature_lookups: Sequence[FeatureLookup | FeatureFunction] | None = None,
        label: str | None,
        exclude_columns: str | Sequence[str] | None = None,
        features: Sequence[FeatureLookup | FeatureFunction] | None = None,
        feature_spec: str | None = None,
        use_spark_native_join: bool = False,  # noqa: ARG002 - other engines' matter
        use_timeseries_filtering: bool = False,  # noqa: ARG002 - other engines' matter
    ) -> TrainingSet:
        """Each row of `df` with the features that were known at its time: as many rows, in their order.

        Args:
            df: one row per example: keys, times, the label.
            feature_lookups: what to look up, and functions over it; functions are computed in their order.
            label: the column to predict; None where there is none.
            exclude_columns: columns that the model does not see.
            features: `feature_lookups` under another name.
            feature_spec: the name of a feature spec instead: its lookups, its functions with the code that it holds, and
                its exclusions beside `exclude_columns`.
            use_spark_native_join: accepted; says how another engine would join, and changes no result.
            use_timeseries_filtering: accepted, as well.

        Raises:
            NotFound: an unknown table, function or feature spec.
            InvalidInput: none or several of `feature_lookups`, `features` and `feature_spec`, or a lookup or function that
                does not fit.
        """
        if sum(given is not None for given in (feature_lookups, features, feature_spec)) != 1:
            raise InvalidInput(
                "give feature_lookups or features or feature_spec, one of them",
                hint="feature_lookups=[FeatureLookup(...)]",
            )
        asked: Sequence[FeatureLookup | FeatureFunction] = feature_lookups or features or ()
        find, exclude = finder(self._workspace.functions), names(exclude_columns)
        if feature_spec is not None:
            kept = self._workspace.feature_specs.get(spec_name(feature_spec)).spec
            asked, find = features_of(kept)
            exclude = (*kept.exclude, *exclude)
        found = build_training_set(
            self._workspace.lake,
            self._workspace.asof,
            frames.to_arrow(df),
            asked,
            label,
            exclude=exclude,
            as_of=self._workspace.clock.now(),
            read=tables_read(df),
            functions=find,
        )
        return TrainingSet(found, self._workspace.spark, self._workspace.lake)

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
        rows = scoring.score(self._workspace, model_uri, frames.to_arrow(df), result_type, params, read=tables_read(df))
        return self._workspace.spark.session().createDataFrame(rows)
