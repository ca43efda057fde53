from __future__ import annotations

from datetime import UTC
from decimal import Decimal

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.workspace import Workspace
from tests.unit.feature_engineering.customers import NOW, STAMP, T, history, lookup, spend_then, training_set, wide


def test_a_table_is_made_filled_and_described(client: FeatureEngineeringClient, name: str) -> None:
    made = client.create_table(
        name=name,
        primary_keys=["customer_id", "ts"],
        timeseries_column="ts",
        df=history(2).to_pandas(),
        description="what they did",
        tags={"team": "growth"},
    )
    assert (made.name, made.description, made.tags) == (name, "what they did", {"team": "growth"})
    assert (made.primary_keys, made.timeseries_columns) == (["customer_id"], ["ts"])
    assert made.features == ["spend", "ratio", "visits"]
    assert made.column_data_types["customer_id"] == "int64"
    assert client.get_table(name=name) == made
    assert client.read_table(name=name).count() == 6


def test_a_table_can_be_made_of_a_schema(client: FeatureEngineeringClient, name: str) -> None:
    import pandas as pd
    from pyspark.sql.types import DoubleType, LongType, StructField, StructType

    spark = StructType([StructField("customer_id", LongType(), nullable=False), StructField("spend", DoubleType())])
    assert client.create_table(name=name, primary_keys="customer_id", schema=spark).features == ["spend"]
    client.create_table(name=f"{name}_arrow", primary_keys="customer_id", schema=history().schema)
    assert client.read_table(name=name).count() == 0
    client.write_table(name=name, df=pd.DataFrame({"customer_id": [1], "spend": [2.5]}))
    assert client.read_table(name=name).collect()[0].asDict() == {"customer_id": 1, "spend": 2.5}


def test_writing_merges_on_keys_and_time_and_old_versions_can_be_read(
    client: FeatureEngineeringClient, workspace: Workspace, name: str
) -> None:
    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(1))
    before = workspace.lake.pin(name).version
    frame = workspace.spark.session().createDataFrame(
        pa.table(
            {
                "customer_id": [0, 5],
                "ts": pa.array([T, T], STAMP),
                "spend": pa.array([Decimal("7.00"), Decimal("8.00")], pa.decimal128(18, 2)),
            }
        )
    )
    client.write_table(name=name, df=frame)
    client.write_table(name=name, df=frame)
    rows = {(row.customer_id, row.ts): row for row in client.read_table(name=name).collect()}
    assert len(rows) == 4
    changed = next(row for (customer, _), row in rows.items() if customer == 0 and row.spend == Decimal("7.00"))
    assert changed.visits == 0  # columns that were not given keep their values
    old = client.read_table(name=name, version=int(before)).collect()
    assert sorted(row.spend for row in old) == [Decimal("0.25"), Decimal("1.25"), Decimal("2.25")]


def test_tags_are_set_and_removed(client: FeatureEngineeringClient, name: str) -> None:
    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", schema=history().schema)
    client.set_feature_table_tag(name=name, key="team", value="growth")
    client.set_feature_table_tag(name=name, key="pii", value="no")
    client.delete_feature_table_tag(name=name, key="team")
    client.delete_feature_table_tag(name=name, key="team")
    assert client.get_table(name=name).tags == {"pii": "no"}


def test_a_dropped_table_is_gone_here_and_online(
    client: FeatureEngineeringClient, workspace: Workspace, name: str
) -> None:
    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(2))
    client.publish_table(source_table_name=name)
    client.drop_table(name=name)
    assert TableName.parse(name) not in [table.name for table in workspace.online.tables()]
    with pytest.raises(NotFound):
        client.get_table(name=name)
    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(2))


def test_publishing_brings_the_newest_rows_online(
    client: FeatureEngineeringClient, workspace: Workspace, features: str
) -> None:
    whole = client.publish_table(source_table_name=features, publish_mode="SNAPSHOT")
    again = client.publish_table(source_table_name=features)
    assert (whole.mode, whole.written, again.mode, again.written, again.removed) == ("SNAPSHOT", 12, "TRIGGERED", 0, 0)
    published = again.table
    assert (again.online_table_name, published.keys, published.published_at) == (features, 12, NOW)
    found = {str(table.name): table for table in workspace.online.tables()}
    assert found[features] == published


# Training sets


def test_a_training_set_has_each_row_with_what_was_known_at_its_time_in_order(
    client: FeatureEngineeringClient, features: str
) -> None:
    labels = wide(40)
    made = training_set(client, features, labels)
    expected = [
        {
            "customer_id": customer,
            "label": label,
            "spend": spend_then(customer, at.to_pydatetime().replace(tzinfo=UTC)),
        }
        for customer, at, label in labels.itertuples(index=False)
    ]
    for frame in (made.to_pandas(), made.load_df().toArrow().to_pandas(), made.to_arrow().to_pandas()):
        assert list(frame.columns) == ["customer_id", "at", "label", "spend", "ratio", "visits"]
        assert frame[["customer_id", "label", "spend"]].to_dict("records") == expected
    with pytest.raises(InvalidInput, match=r"'at' of type timestamp.* can't be a model input"):
        made.inputs()
    assert made.record.rows == 40
    assert [str(table) for table in made.record.tables] == [f"{features}@0"]


def test_excluded_columns_are_not_in_the_frames(client: FeatureEngineeringClient, features: str) -> None:
    made = training_set(client, features, wide(5), exclude_columns=["customer_id", "at", "ratio"])
    assert made.to_pandas().columns.tolist() == ["label", "spend", "visits"]
    assert made.load_df().columns == ["label", "spend", "visits"]
    assert made.inputs().columns.tolist() == ["spend", "visits"]


def test_features_is_another_name_for_lookups(client: FeatureEngineeringClient, features: str) -> None:
    one = client.create_training_set(df=wide(5), features=[lookup(features)], label="label")
    assert one.record.fingerprint == training_set(client, features, wide(5)).record.fingerprint
    assert client.create_training_set(df=wide(5), features=[lookup(features)], label=None).record.rows == 5
