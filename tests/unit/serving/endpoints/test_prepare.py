from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.adapters.sql_feature_specs import SqlFeatureSpecStore
from millrace.features.feature_specs import make_feature_spec
from millrace.features.online.publish import publish
from millrace.features.spec import to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec, FunctionVersion
from millrace.lake.lake import Lake
from millrace.registry.port import Registry
from millrace.registry.types import ModelName, ModelVersion, VersionEntry
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.endpoints.prepare import Sources, prepare
from millrace.serving.types import LoadPlan

ONE = served_entity("ml.models.churn", "1")
LOOKUP = FeatureLookup("ml.features.spend", "customer_id", timestamp_lookup_key="at")


@dataclass
class FolderRegistry:
    """A registry of folders: enough of the port for `prepare`."""

    folders: Mapping[tuple[str, str], Path]

    def versions(self, model: ModelName) -> Sequence[VersionEntry]:
        at = datetime(2025, 1, 1, tzinfo=UTC)
        return [
            VersionEntry(model, ModelVersion(version), "", None, at) for name, version in self.folders if name == model
        ]

    def models(self) -> Sequence[ModelName]:
        return [ModelName(name) for name, _ in self.folders]

    def download(self, model: ModelName, version: ModelVersion) -> Path:
        return self.folders[model, version]


SourcesOf = Callable[[Mapping[tuple[str, str], Path]], Sources]


@pytest.fixture
def sources(tmp_path: Path, clock: ManualClock) -> Iterator[SourcesOf]:
    online = LmdbOnlineStore(tmp_path / "online")
    specs = SqlFeatureSpecStore(open_database(f"sqlite:///{tmp_path / 'specs.db'}"), clock, Principal("user", "ada"))
    yield lambda folders: Sources(lambda: cast("Registry", FolderRegistry(folders)), specs, online)
    online.close()


def spec_of(lake: Lake, clock: ManualClock, lookup: FeatureLookup = LOOKUP) -> FeatureSpec:
    return make_feature_spec(lake, [lookup], no_function, as_of=clock.now())


@pytest.fixture
def spend(lake: Lake, clock: ManualClock) -> None:
    schema = pa.schema([("customer_id", pa.int64()), ("ts", pa.timestamp("us", "UTC")), ("total", pa.float64())])
    create_feature_table(lake, "ml.features.spend", schema, primary_keys=["customer_id"], timeseries_column="ts")
    rows = [{"customer_id": 7, "ts": clock.now() - timedelta(days=1), "total": 2.5}]
    write_feature_rows(lake, "ml.features.spend", pa.Table.from_pylist(rows, schema=schema))


def no_function(name: str) -> FunctionVersion:
    raise NotFound(name)


def test_a_model_is_found_with_what_it_takes(sources: SourcesOf, write_model: Callable[..., Path]) -> None:
    inputs = [("a", "double"), ("b", "string")]
    folder = write_model("churn", {"sklearn": {"pickled_model": "model.pkl"}}, inputs, feature_spec='{"format": 1}')
    plans = prepare(sources({("ml.models.churn", "1"): folder}), endpoint_config(ONE))
    assert plans == (LoadPlan(ONE, str(folder), "sklearn", (("a", "double"), ("b", "string")), '{"format": 1}'),)


def test_unknown_models_and_versions_are_refused_with_a_hint(
    sources: SourcesOf, write_model: Callable[..., Path]
) -> None:
    found = sources({("ml.models.churn", "1"): write_model("churn", {}, [("a", "double")])})
    with pytest.raises(NotFound, match="no version '2'") as caught:
        prepare(found, endpoint_config(served_entity("ml.models.churn", "2")))
    assert "1" in caught.value.hint
    with pytest.raises(NotFound, match=r"no model 'ml.models.chrun'") as caught:
        prepare(found, endpoint_config(served_entity("ml.models.chrun", "1")))
    assert "ml.models.churn" in caught.value.hint


def test_a_folder_that_is_no_model_and_a_model_without_signature(
    tmp_path: Path, sources: SourcesOf, write_model: Callable[..., Path]
) -> None:
    config = endpoint_config(ONE)
    with pytest.raises(InvalidInput, match="holds no MLflow model"):
        prepare(sources({("ml.models.churn", "1"): tmp_path}), config)
    bare = write_model("bare", {"python_function": {}}, [])
    with pytest.raises(InvalidInput, match="no signature with named input columns"):
        prepare(sources({("ml.models.churn", "1"): bare}), config)


@pytest.mark.usefixtures("spend")
def test_a_feature_spec_goes_into_the_plan_as_it_is_now(sources: SourcesOf, lake: Lake, clock: ManualClock) -> None:
    found, first = sources({}), spec_of(lake, clock)
    publish(lake, found.online, "ml.features.spend", as_of=clock.now())
    found.specs.add("ml.specs.spend", first, "")
    entity = served_entity("ml.specs.spend", None)
    plans = prepare(found, endpoint_config(entity))
    assert plans == (LoadPlan(entity, "", "feature_spec", (), to_json(first)),)
    renamed = spec_of(
        lake,
        clock,
        FeatureLookup("ml.features.spend", "customer_id", timestamp_lookup_key="at", rename_outputs={"total": "sum"}),
    )
    found.specs.update("ml.specs.spend", spec=renamed)
    (later,) = prepare(found, endpoint_config(entity))
    assert later.feature_spec == to_json(renamed) != plans[0].feature_spec


@pytest.mark.usefixtures("spend")
def test_a_table_that_is_not_online_is_refused_with_a_hint(sources: SourcesOf, lake: Lake, clock: ManualClock) -> None:
    found = sources({})
    found.specs.add("ml.specs.spend", spec_of(lake, clock), "")
    with pytest.raises(InvalidState, match=r"ml.features.spend is not in the online store") as caught:
        prepare(found, endpoint_config(served_entity("ml.specs.spend", None)))
    assert "publish" in caught.value.hint


@pytest.mark.usefixtures("spend")
def test_an_unknown_spec_a_model_without_version_and_a_spec_with_one(
    sources: SourcesOf, lake: Lake, clock: ManualClock, tmp_path: Path
) -> None:
    found = sources({("ml.models.churn", "1"): tmp_path, ("plain", "1"): tmp_path})
    found.specs.add("ml.specs.spend", spec_of(lake, clock), "")
    with pytest.raises(NotFound, match=r"ml.specs.spent") as caught:
        prepare(found, endpoint_config(served_entity("ml.specs.spent", None)))
    assert "ml.specs.spend" in caught.value.hint
    for model in ("ml.models.churn", "plain"):
        with pytest.raises(InvalidInput, match=f"'entity_version' is missing: '{model}' is a model"):
            prepare(found, endpoint_config(served_entity(model, None)))
    with pytest.raises(NotFound, match="no model") as caught:
        prepare(found, endpoint_config(served_entity("ml.specs.spend", "1")))
    assert "leave entity_version out" in caught.value.hint
