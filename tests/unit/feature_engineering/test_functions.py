from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, InvalidInput, MillraceError, NotFound
from millrace.feature_engineering import FeatureEngineeringClient, FeatureFunction
from millrace.features.functions import store as function_store
from millrace.features.functions.store import feature_function
from millrace.features.online.lookup import OnlineFeatures
from millrace.features.online.publish import publish
from millrace.features.types import FeatureLookup
from millrace.workspace import Workspace
from tests.unit.feature_engineering.customers import NOW, lookup, spend_then, wide

pytestmark = [
    # MLflow's own, while models are logged and read.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def per_visit(spend: Decimal, visits: int) -> float | None:
    """Spend per visit."""
    return float(spend) / visits if visits else None


def is_big(value: float | None, limit: float = 50.0) -> bool:
    return value is not None and value > limit


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing stays declared in this process."""
    yield
    function_store._declared.clear()


@pytest.fixture
def registered(client: FeatureEngineeringClient) -> None:
    client.create_function(name="ml.functions.per_visit", function=per_visit)
    client.create_function(name="ml.functions.is_big", function=is_big, description="Whether it is much")


def features_of(table: str) -> list[FeatureLookup | FeatureFunction]:
    return [
        lookup(table),
        FeatureFunction("ml.functions.per_visit", {"spend": "spend", "visits": "visits"}, "rate"),
        FeatureFunction("ml.functions.is_big", {"value": "rate"}),
    ]


def test_functions_are_registered_listed_and_forgotten(client: FeatureEngineeringClient, workspace: Workspace) -> None:
    made = client.create_function(name="ml.functions.gone", function=per_visit)
    assert (made.version, made.description, made.owner) == (1, "Spend per visit.", str(workspace.principal))
    assert client.create_function(name="ml.functions.gone", function=per_visit) == made
    assert client.create_function(name="ml.functions.gone", function=is_big).version == 2
    assert client.get_function(name="ml.functions.gone", version=1) == made
    assert "ml.functions.gone" in [each.definition.name for each in client.list_functions()]
    client.delete_function(name="ml.functions.gone")
    with pytest.raises(NotFound):
        client.get_function(name="ml.functions.gone")


@pytest.mark.usefixtures("registered")
def test_a_model_carries_its_functions_and_scores_with_the_code_that_it_was_trained_with(
    client: FeatureEngineeringClient, features: str
) -> None:
    import mlflow.sklearn
    from sklearn.tree import DecisionTreeClassifier

    trained = client.create_training_set(
        df=wide(60), features=features_of(features), label="label",
        exclude_columns=["customer_id", "at", "ratio", "spend", "visits"],
    )  # fmt: skip
    inputs = trained.inputs()
    assert inputs.columns.tolist() == ["rate", "is_big"]
    assert set(trained.record.code) == {"ml.functions.per_visit", "ml.functions.is_big"}
    whole = trained.built.table
    columns = [whole.column(name).to_pylist() for name in ("customer_id", "at", "visits")]
    expected = [
        float(spend_then(customer, at)) / visits if visits else None
        for customer, at, visits in zip(*columns, strict=True)
    ]
    assert whole.column("rate").to_pylist() == expected
    assert whole.column("is_big").to_pylist() == [value is not None and value > 50 for value in expected]

    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(inputs, trained.to_pandas()["label"])
    logged = client.log_model(
        model=model, flavor=mlflow.sklearn, training_set=trained, registered_model_name="ml.models.functional"
    )

    def per_visit(spend: Decimal, visits: int) -> float | None:
        return float(spend) * visits

    client.create_function(name="ml.functions.per_visit", function=per_visit)
    scored = client.score_batch(model_uri=logged.model_uri, df=wide(60)).toArrow()
    assert scored.column("rate").to_pylist() == expected
    assert scored.column("prediction").to_pylist() == model.predict(inputs).tolist()
    assert client.create_training_set(df=wide(60), features=features_of(features), label="label").built.table.column(
        "rate"
    ).to_pylist() != expected  # fmt: skip


def test_what_this_process_declares_is_registered_when_it_is_used(
    client: FeatureEngineeringClient, workspace: Workspace
) -> None:
    @feature_function("ml.functions.half")
    def half(x: float) -> float:
        """Half of it."""
        return x / 2

    assert workspace.functions.find("ml.functions.half") is None
    rows = pa.table({"x": [3.0], "label": [1]})
    call = FeatureFunction("ml.functions.half", {"x": "x"})
    made = client.create_training_set(df=rows, features=[call], label="label")
    assert made.to_arrow().column("half").to_pylist() == [1.5]
    kept = workspace.functions.get("ml.functions.half")
    assert (kept.definition, kept.description, kept.version) == (half.definition, "Half of it.", 1)

    @feature_function("ml.functions.half")
    def rounded(x: float) -> float:
        return x // 2

    made = client.create_training_set(df=rows, features=[call], label="label")
    assert made.to_arrow().column("half").to_pylist() == [1.0]
    assert workspace.functions.get("ml.functions.half").definition == rounded.definition
    client.create_function(name="ml.functions.half", function=half)  # what is made last counts
    made = client.create_training_set(df=rows, features=[call], label="label")
    assert made.to_arrow().column("half").to_pylist() == [1.5]


@pytest.mark.usefixtures("registered")
def test_a_named_spec_makes_training_sets_and_answers_with_the_features_themselves(
    client: FeatureEngineeringClient, workspace: Workspace, features: str
) -> None:
    made = client.create_feature_spec(
        name="ml.specs.rates", features=features_of(features), exclude_columns=["ratio", "visits"], description="Rates"
    )
    assert (made.name, made.description, made.created_at) == ("ml.specs.rates", "Rates", NOW)
    assert (made.spec.inputs, made.spec.request_columns) == (("spend", "rate", "is_big"), ())
    assert client.get_feature_spec(name="ml.specs.rates") == made
    assert [each.name for each in client.list_feature_specs()] == ["ml.specs.rates"]

    trained = client.create_training_set(
        df=wide(5), feature_spec="ml.specs.rates", label="label", exclude_columns=["customer_id", "at"]
    )
    assert trained.built.spec.inputs == ("spend", "rate", "is_big")

    publish(workspace.lake, workspace.online, features, as_of=NOW)
    served = OnlineFeatures(workspace.online, made.spec)
    served.check()
    found = served.find([{"customer_id": 3}, {"customer_id": 99}], NOW)
    known, unknown = found
    spend = spend_then(3, NOW)
    assert known.values == {"spend": spend, "rate": float(spend) / 5, "is_big": True}
    assert found.as_json()[0] == {"spend": str(spend), "rate": float(spend) / 5, "is_big": True}
    assert unknown.values == {"spend": None, "rate": None, "is_big": False}
    ((table, _, version),) = known.sources
    assert (known.keys, table, version) == ({"customer_id": 3}, features, workspace.lake.pin(features).version)
    assert unknown.sources == ((features, None, None),)

    changed = client.update_feature_spec(name="ml.specs.rates", owner="team:growth")
    assert (changed.owner, changed.spec) == ("team:growth", made.spec)
    fewer = client.update_feature_spec(name="ml.specs.rates", features=[lookup(features, feature_names=["visits"])])
    assert fewer.spec.inputs == ("visits",)
    client.delete_feature_spec(name="ml.specs.rates")
    assert client.list_feature_specs() == []


@pytest.mark.usefixtures("registered")
def test_a_spec_knows_what_a_request_has_to_bring(client: FeatureEngineeringClient, features: str) -> None:
    made = client.create_feature_spec(
        name="ml.specs.asks",
        features=[lookup(features), FeatureFunction("ml.functions.per_visit", {"spend": "spend", "visits": "seen"})],
    )
    assert made.spec.request_columns == ("seen",)
    assert made.spec.functions[0].types == {"spend": "decimal128(18, 2)", "visits": "int64"}
    client.delete_feature_spec(name="ml.specs.asks")


MISUSE: dict[str, tuple[Callable[[FeatureEngineeringClient, str], object], type[MillraceError], str]] = {
    "an unknown function": (
        lambda c, t: c.create_training_set(
            df=wide(2), features=[lookup(t), FeatureFunction("ml.functions.per_vist", {})], label="label"
        ),
        NotFound,
        "function ml.functions.per_vist does not exist",
    ),
    "a function over the label": (
        lambda c, t: c.create_training_set(
            df=wide(2),
            features=[lookup(t), FeatureFunction("ml.functions.is_big", {"value": "label"})],
            label="label",
        ),
        InvalidInput,
        "reads the label 'label'",
    ),
    "an unknown spec": (
        lambda c, _: c.create_training_set(df=wide(2), feature_spec="ml.specs.none", label="label"),
        NotFound,
        "feature spec ml.specs.none does not exist",
    ),
    "a spec and lookups": (
        lambda c, t: c.create_training_set(df=wide(2), features=[lookup(t)], feature_spec="ml.s.x", label="label"),
        InvalidInput,
        "give feature_lookups or features or feature_spec",
    ),
    "a spec without features": (
        lambda c, _: c.create_feature_spec(name="ml.specs.x", features=[]),
        InvalidInput,
        "the feature spec has no features",
    ),
    "a spec that excludes what it has not": (
        lambda c, t: c.create_feature_spec(name="ml.specs.x", features=[lookup(t)], exclude_columns=["spent"]),
        InvalidInput,
        "exclude_columns names 'spent'",
    ),
    "a spec over an unknown table": (
        lambda c, _: c.create_feature_spec(name="ml.specs.x", features=[lookup("ml.f.x")]),
        NotFound,
        "ml.f.x",
    ),
    "a spec's name that is none": (
        lambda c, t: c.create_feature_spec(name="a spec", features=[lookup(t)]),
        InvalidInput,
        "'a spec' is not a feature spec's name",
    ),
    "requirements of a spec": (
        lambda c, t: c.create_feature_spec(name="ml.specs.x", features=[lookup(t)], extra_pip_requirements=["x"]),
        InvalidInput,
        "extra_pip_requirements is not supported",
    ),
    "updating an unknown spec": (
        lambda c, _: c.update_feature_spec(name="ml.specs.none", description="x"),
        NotFound,
        "ml.specs.none",
    ),
    "a lambda": (
        lambda c, _: c.create_function(name="ml.functions.x", function=lambda x: x),
        InvalidInput,
        "a lambda is not a Python function",
    ),
}


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_said_with_a_hint(client: FeatureEngineeringClient, features: str, case: str) -> None:
    call, kind, message = MISUSE[case]
    with pytest.raises(kind) as refused:
        call(client, features)
    assert message in refused.value.message
    assert refused.value.hint
    assert client.list_feature_specs() == []


def test_a_spec_of_that_name_exists(client: FeatureEngineeringClient, features: str) -> None:
    client.create_feature_spec(name="ml.specs.twice", features=[lookup(features)])
    with pytest.raises(AlreadyExists):
        client.create_feature_spec(name="ml.specs.twice", features=[lookup(features)])
    with pytest.raises(InvalidInput, match="exclude_columns is given without features"):
        client.update_feature_spec(name="ml.specs.twice", exclude_columns=["spend"])
    client.delete_feature_spec(name="ml.specs.twice")
