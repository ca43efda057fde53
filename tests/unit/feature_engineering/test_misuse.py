from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, InvalidInput, MillraceError, NotFound
from millrace.feature_engineering import FeatureEngineeringClient, FeatureLookup
from millrace.workspace import Workspace
from tests.unit.feature_engineering.customers import history, lookup, wide

pytestmark = [
    # MLflow's own, while models are logged and read.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MISUSE: dict[str, tuple[Callable[[FeatureEngineeringClient, str], object], type[MillraceError], str]] = {
    "neither rows nor schema": (
        lambda c, _: c.create_table(name="ml.f.x", primary_keys="id"),
        InvalidInput,
        "a table needs df or schema",
    ),
    "no such key": (
        lambda c, _: c.create_table(name="ml.f.x", primary_keys="customer", df=history()),
        InvalidInput,
        "the schema has no column 'customer'",
    ),
    "a table that is there": (
        lambda c, t: c.create_table(name=t, primary_keys="customer_id", df=history()),
        AlreadyExists,
        "exists",
    ),
    "duplicate keys": (
        lambda c, _: c.create_table(name="ml.f.x", primary_keys="customer_id", df=history(2)),
        InvalidInput,
        "2 keys come more than once",
    ),
    "not a frame": (lambda c, t: c.write_table(name=t, df=[1, 2]), InvalidInput, "a list is not a frame"),
    "overwriting": (
        lambda c, t: c.write_table(name=t, df=history(), mode="overwrite"),
        InvalidInput,
        "are not written with mode 'overwrite'",
    ),
    "a stream": (
        lambda c, t: c.write_table(name=t, df=history(), checkpoint_location="/x"),
        InvalidInput,
        "checkpoint_location is not supported",
    ),
    "an unknown table": (lambda c, _: c.read_table(name="ml.features.customer"), NotFound, "ml.features.customer"),
    "an unknown version": (lambda c, t: c.read_table(name=t, version=99), NotFound, "has no version 99"),
    "dropping an unknown table": (lambda c, _: c.drop_table(name="ml.f.x"), NotFound, "ml.f.x"),
    "publishing an unknown table": (lambda c, _: c.publish_table(source_table_name="ml.f.x"), NotFound, "ml.f.x"),
    "another online store": (
        lambda c, t: c.publish_table(source_table_name=t, online_store="redis"),
        InvalidInput,
        "there is no online store 'redis'",
    ),
    "another online name": (
        lambda c, t: c.publish_table(source_table_name=t, online_table_name="a.b.c"),
        InvalidInput,
        "an online table has its source's name",
    ),
    "a continuous publish": (
        lambda c, t: c.publish_table(source_table_name=t, publish_mode="CONTINUOUS"),
        InvalidInput,
        "publish_mode 'CONTINUOUS' is not supported",
    ),
    "both kinds of lookups": (
        lambda c, t: c.create_training_set(df=wide(2), feature_lookups=[lookup(t)], features=[lookup(t)], label=None),
        InvalidInput,
        "give feature_lookups or features",
    ),
    "no lookups": (
        lambda c, _: c.create_training_set(df=wide(2), label=None),
        InvalidInput,
        "give feature_lookups or features",
    ),
    "no such label": (
        lambda c, t: c.create_training_set(df=wide(2), feature_lookups=[lookup(t)], label="lable"),
        InvalidInput,
        "lable",
    ),
    "a lookup in an unknown table": (
        lambda c, _: c.create_training_set(df=wide(2), feature_lookups=[lookup("ml.f.x")], label=None),
        NotFound,
        "ml.f.x",
    ),
    "an unknown feature": (
        lambda c, t: c.create_training_set(
            df=wide(2), feature_lookups=[lookup(t, feature_names=["spent"])], label=None
        ),
        InvalidInput,
        "spent",
    ),
    "a table's name in place of a lookup": (
        lambda c, t: c.create_training_set(df=wide(2), feature_lookups=cast("Any", [t]), label=None),
        InvalidInput,
        "is neither a FeatureLookup nor a FeatureFunction",
    ),
    "one lookup, not in a list": (
        lambda c, t: c.create_training_set(df=wide(2), feature_lookups=cast("Any", lookup(t)), label=None),
        InvalidInput,
        "one FeatureLookup, not a list",
    ),
    "a table's name in a feature spec": (
        lambda c, t: c.create_feature_spec(name="ml.specs.x", features=cast("Any", [lookup(t), t])),
        InvalidInput,
        "is neither a FeatureLookup nor a FeatureFunction",
    ),
    "a lookback without a unit": (
        lambda _, t: lookup(t, lookback_window=7),
        InvalidInput,
        "lookback_window is 7, not a timedelta",
    ),
    "a new name for no feature in particular": (
        lambda _, t: lookup(t, rename_outputs="spent"),
        InvalidInput,
        "rename_outputs is 'spent', not a mapping",
    ),
    "a freshness without a unit": (
        lambda c, _: c.create_table(
            name="ml.f.x",
            primary_keys="customer_id",
            timeseries_column="ts",
            df=history(),
            freshness=cast("timedelta", 2),
        ),
        InvalidInput,
        "freshness is 2, not a timedelta",
    ),
    "a delay as text": (
        lambda c, _: c.create_table(
            name="ml.f.x",
            primary_keys="customer_id",
            timeseries_column="ts",
            df=history(),
            available_after=cast("timedelta", "1h"),
        ),
        InvalidInput,
        "available_after is '1h', not a timedelta",
    ),
    "two times": (
        lambda c, _: c.create_table(
            name="ml.f.x", primary_keys="customer_id", timeseries_columns=["ts", "visits"], df=history()
        ),
        InvalidInput,
        "one timeseries column, not 2",
    ),
    "a schema as text": (
        lambda c, _: c.create_table(name="ml.f.x", primary_keys="id", schema="id long"),
        InvalidInput,
        "a str is not a schema",
    ),
    "two columns of one name": (
        lambda c, t: c.write_table(name=t, df=wide(2).set_axis(["a", "b", "a"], axis=1)),
        InvalidInput,
        "more than one column 'a'",
    ),
    "another environment": (
        lambda c, _: c.score_batch(model_uri="models:/a/1", df=wide(2), env_manager="conda"),
        InvalidInput,
        "env_manager 'conda' is not supported",
    ),
    "an unknown result type": (
        lambda c, _: c.score_batch(model_uri="models:/a/1", df=wide(2), result_type="money"),
        InvalidInput,
        "result_type 'money' is not known",
    ),
    "an unknown model": (
        lambda c, _: c.score_batch(model_uri="models:/ml.models.none/1", df=wide(2)),
        NotFound,
        "ml.models.none",
    ),
    "an unknown alias": (
        lambda c, _: c.score_batch(model_uri="models:/ml.models.tree@nothing", df=wide(2)),
        NotFound,
        "has no alias 'nothing'",
    ),
    "a URI without a version": (
        lambda c, _: c.score_batch(model_uri="models:/ml.models.tree", df=wide(2)),
        InvalidInput,
        "is not a model URI",
    ),
    "a URI of another kind": (
        lambda c, _: c.score_batch(model_uri="runs:/0123/model", df=wide(2)),
        NotFound,
        "runs:/0123/model",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_what_can_not_be_done_is_said_with_a_hint(
    client: FeatureEngineeringClient, workspace: Workspace, features: str, model_uri: str, case: str
) -> None:
    del model_uri
    call, kind, message = MISUSE[case]
    with pytest.raises(kind) as refused:
        call(client, features)
    assert message in refused.value.message
    assert refused.value.hint
    assert not workspace.lake.exists("ml.f.x")


def test_models_that_can_not_be_logged(client: FeatureEngineeringClient) -> None:
    import mlflow.pytorch
    import mlflow.sklearn
    from sklearn.dummy import DummyClassifier

    model = DummyClassifier().fit([[1.0]], [0])
    with pytest.raises(InvalidInput, match="needs a signature") as unsigned:
        client.log_model(model=model, flavor=mlflow.sklearn)
    assert unsigned.value.hint
    with pytest.raises(InvalidInput, match="flavor 'pytorch' is not supported"):
        client.log_model(model=model, flavor=mlflow.pytorch)


def test_scoring_wants_the_keys_and_times_of_the_lookups(client: FeatureEngineeringClient, model_uri: str) -> None:
    for missing in ("customer_id", "at"):
        with pytest.raises(InvalidInput, match=missing) as refused:
            client.score_batch(model_uri=model_uri, df=wide(2).drop(columns=missing))
        assert refused.value.hint


def test_a_batch_without_rows_is_scored_and_one_with_predictions_is_refused(
    client: FeatureEngineeringClient, model_uri: str
) -> None:
    none = client.score_batch(model_uri=model_uri, df=wide(2).head(0))
    assert (none.count(), none.columns[-1]) == (0, "prediction")
    with pytest.raises(InvalidInput, match="a column 'prediction' already") as refused:
        client.score_batch(model_uri=model_uri, df=wide(2).assign(prediction=1))
    assert refused.value.hint


def test_options_known_elsewhere_are_taken_where_they_change_nothing_and_refused_where_they_would(
    client: FeatureEngineeringClient,
) -> None:
    nothing: dict[str, Any] = {"use_spark_native_join": True, "use_timeseries_filtering": True}
    rows = pa.table({"customer_id": [1], "churned": [0]})
    with pytest.raises(NotFound, match=r"no\.such"):
        client.create_training_set(
            df=rows, feature_lookups=[FeatureLookup("no.such", "customer_id")], label="churned", **nothing
        )
    refused: list[dict[str, Any]] = [
        {"filter_condition": "x > 1"},
        {"streaming": True},
        {"features": ["x"]},
        {"mode": "overwrite"},
    ]
    for option in refused:
        with pytest.raises(InvalidInput, match="not supported"):
            client.publish_table(source_table_name="no.such", **option)


def test_whole_numbers_that_pandas_made_floats_are_told_how_to_stay_whole(
    client: FeatureEngineeringClient, features: str
) -> None:
    import pandas as pd

    keys = pd.DataFrame({"customer_id": [1, None], "at": pd.to_datetime(["2025-05-10"] * 2)})
    with pytest.raises(InvalidInput, match="is double") as refused:
        client.create_training_set(df=keys, feature_lookups=[lookup(features)], label=None)
    assert "astype('Int64')" in (refused.value.hint or "")
    whole = keys.astype({"customer_id": "Int64"})
    assert client.create_training_set(df=whole, feature_lookups=[lookup(features)], label=None).record.rows == len(keys)


def test_one_name_needs_no_list_around_it(client: FeatureEngineeringClient, features: str, name: str) -> None:
    one = lookup(features, feature_names="spend", rename_outputs=None, default_values=None)
    assert one == lookup(features, feature_names=("spend",))
    rows = client.create_training_set(df=wide(2), feature_lookups=[one], label="label", exclude_columns="at").to_arrow()
    assert rows.column_names == ["customer_id", "label", "spend"]
    table = client.create_table(
        name=name, primary_keys=["customer_id", "ts"], timeseries_columns="ts", schema=history().schema
    )
    assert (table.primary_keys, table.timeseries_columns) == (["customer_id"], ["ts"])


def test_a_lookup_without_a_time_in_a_table_with_times_is_a_doubt(
    client: FeatureEngineeringClient, features: str
) -> None:
    timeless = FeatureLookup(features, "customer_id", feature_names="spend")
    built = client.create_training_set(df=wide(2), feature_lookups=[timeless], label="label")
    (doubt,) = built.record.warnings
    assert doubt.startswith(f"{features} is looked up without timestamp_lookup_key")
    assert repr(built) == (
        "TrainingSet of 2 rows: customer_id, at, label, spend\n"
        f"  label label, from {built.record.tables[0]}\n"
        f"  doubt: {doubt}"
    )
    asked = client.create_training_set(df=wide(2), feature_lookups=[lookup(features)], label="label")
    assert asked.record.warnings == ()
