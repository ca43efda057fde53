"""Training sets that are split, saved and loaded, through the client."""

from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.core.errors import AlreadyExists, InvalidInput
from millrace.feature_engineering import FeatureEngineeringClient, TrainingSet
from tests.unit.feature_engineering.customers import DAY, T, lookup, training_set, wide


@pytest.fixture
def whole(client: FeatureEngineeringClient, features: str) -> TrainingSet:
    return training_set(client, features, wide(300))


def test_a_split_by_time_finds_its_column_in_the_lookups(whole: TrainingSet) -> None:
    train, validation, test = whole.split_by_time(at=(T + 10 * DAY, T + 20 * DAY), known_after=timedelta(days=3))
    times = [part.to_pandas()["at"] for part in (train, validation, test)]
    assert times[0].max() <= T + 7 * DAY
    assert (times[1].min() >= T + 10 * DAY, times[1].max() <= T + 17 * DAY) == (True, True)
    assert times[2].min() >= T + 20 * DAY
    assert [part.record.split["part"] for part in (train, validation, test)] == ["train", "validation", "test"]
    assert train.record.tables == whole.record.tables


def test_a_split_by_group_parts_customers(whole: TrainingSet) -> None:
    train, test = whole.split_by_group(group="customer_id", test=0.4)
    one, other = (set(part.to_pandas()["customer_id"]) for part in (train, test))
    assert one.isdisjoint(other)
    assert len(one | other) == 12
    assert train.record.rows + test.record.rows == 300


def test_a_split_at_random_keeps_the_share_of_labels(whole: TrainingSet) -> None:
    positive = whole.to_pandas()["label"].mean()
    for part in whole.split_at_random(test=0.25, stratify=True, seed=3):
        assert part.to_pandas()["label"].mean() == pytest.approx(positive, abs=0.02)


def test_a_saved_training_set_is_a_table_and_comes_back(
    client: FeatureEngineeringClient, features: str, whole: TrainingSet
) -> None:
    excluded = training_set(client, features, wide(200), exclude_columns=["at"])
    for number, kept in enumerate((whole, excluded, whole.split_by_group(group="customer_id")[0])):
        saved = kept.save(f"ml.training.set{number}", description="for March", owner="team:growth")
        found = client.load_training_set(name=str(saved.name))
        assert found.to_arrow().equals(kept.to_arrow())
        assert found.to_pandas().equals(kept.to_pandas())
        assert (found.record, found.built.spec.inputs) == (kept.record, kept.built.spec.inputs)
        rows = client.read_table(name=str(saved.name)).orderBy("row_number").toArrow()
        assert rows.column("customer_id").to_pylist() == kept.to_pandas()["customer_id"].tolist()
    with pytest.raises(AlreadyExists):
        whole.save("ml.training.set0")
    with pytest.raises(InvalidInput, match="is no saved training set"):
        client.load_training_set(name=features)


def test_a_spark_frame_has_the_rows_in_order(client: FeatureEngineeringClient, features: str) -> None:
    many = wide(20_000)
    made = client.create_training_set(df=many, feature_lookups=[lookup(features)], label="label")
    spark = made.load_df().toArrow()
    assert spark.column("customer_id").to_pylist() == many["customer_id"].tolist()
    assert spark.column("visits").to_pylist() == made.to_arrow().column("visits").to_pylist()
