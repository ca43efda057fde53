from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import FeatureTable, LabelTable

DAY = timedelta(days=1)
SOURCE = mr.Source("bronze.transactions", event_time="at")


def features_of(as_of: datetime, tx: Any = SOURCE, plain: int = 3) -> Any:
    """What was known.

    More about it.
    """
    del as_of, plain
    return tx


def labels_of(time: datetime, end: datetime, tx: Any = SOURCE) -> Any:
    del time, end
    return tx


FEATURES = FeatureTable("ml.features.churn", features_of, ("id",), DAY)
LABELS = LabelTable("ml.labels.churn", labels_of, ("id",), "churned", 90 * DAY, 7 * DAY)


def declared(**changes: Any) -> mr.Pipeline:
    given: dict[str, Any] = {
        "name": "customer_churn",
        "label": LABELS,
        "candidates": [mr.Linear(), mr.Dummy()],
        "gates": [mr.BeatsBaselines()],
        "features": [FEATURES],
    }
    return mr.Pipeline(**given | changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mr.Source("bronze.t"), "source bronze.t has no event_time"),
        (lambda: mr.Source("a.b.c.d", event_time="at"), "a.b.c.d"),
        (lambda: mr.Source("t", event_time="at", history="scd2"), "valid_to goes with history='scd2'"),
        (lambda: mr.Source("t", event_time="at", valid_to="until"), "valid_to goes with history='scd2'"),
        (lambda: FeatureTable("ml.f.t", features_of, (), DAY), "ml.f.t has no keys"),
        (lambda: FeatureTable("ml.f.t", features_of, ("id",), -DAY), "every is not positive"),
        (lambda: LabelTable("ml.l.t", labels_of, ("id",), "y", 0 * DAY, DAY), "horizon is not positive"),
        (lambda: declared(name="customer churn"), "'customer churn' is not a pipeline name"),
        (lambda: declared(name=""), "'' is not a pipeline name"),
        (lambda: declared(candidates=[]), "candidates need distinct names"),
        (lambda: declared(candidates=[mr.Linear(), mr.Linear(C=2.0)]), "candidates need distinct names"),
        (lambda: declared(candidates=[mr.Dummy()]), "all candidates are baselines"),
        (lambda: declared(features=[]), "the pipeline has no features"),
    ],
)
def test_a_declaration_that_can_not_work_is_refused_with_a_hint(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        make()
    assert message in refused.value.message
    assert refused.value.hint


def test_a_source_without_history_needs_no_time() -> None:
    assert mr.Source("bronze.regions", history="none").event_time is None


def test_sources_are_the_parameters_that_have_one_as_default() -> None:
    assert FEATURES.sources == {"tx": SOURCE}
    assert LABELS.sources == {"tx": SOURCE}


def test_decorators_make_tables_of_functions() -> None:
    start = datetime(2025, 1, 1)  # noqa: DTZ001 - a naive time is UTC
    made = mr.feature_table("ml.features.churn", keys=["id"], every=DAY, start=start)(features_of)
    assert made == FeatureTable(
        "ml.features.churn", features_of, ("id",), DAY, datetime(2025, 1, 1, tzinfo=UTC), description="What was known."
    )
    label = mr.label_table("ml.labels.churn", keys=["id"], column="churned", horizon=90 * DAY, every=7 * DAY)(labels_of)
    assert label == LABELS


def test_names_follow_from_the_pipelines_name() -> None:
    made = declared()
    assert made.model_name == "ml.models.customer_churn"
    assert (made.endpoint, made.staging_endpoint) == ("customer-churn", "customer-churn-staging")
    assert str(made.predictions_table) == "ml.inference_logs.customer_churn_predictions"
    named = declared(model="a.b.c", deployment=mr.Deployment(endpoint="e", inference_schema="x.y", prefix="p"))
    assert (named.model_name, named.endpoint, named.staging_endpoint) == ("a.b.c", "e", "e-staging")
    assert str(named.predictions_table) == "x.y.p_predictions"


def test_lookups_are_one_per_feature_table_unless_given() -> None:
    (lookup,) = declared().all_lookups
    assert (lookup.table_name, list(lookup.keys), lookup.timestamp_lookup_key) == (
        "ml.features.churn",
        ["id"],
        "label_time",
    )
    given = mr.FeatureLookup("ml.features.other", "id")
    assert declared(lookups=[given]).all_lookups == (given,)


def test_computed_labels_are_known_after_their_horizon_and_reach_less_than_a_step_back() -> None:
    label = declared().labels
    assert (label.name, label.column, label.keys, label.time) == ("ml.labels.churn", "churned", ("id",), "label_time")
    assert label.known_after == 90 * DAY
    assert 7 * DAY - timedelta(milliseconds=1) < label.tolerance < 7 * DAY
