from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.features.feature_specs import create_feature_spec, make_feature_spec
from millrace.features.functions.store import create_function, finder
from millrace.features.tables import create_feature_table
from millrace.features.types import FeatureFunction, FeatureLookup
from millrace.workspace import open_workspace
from tests.unit.cli.conftest import Cli


def half(spend: float) -> float:
    """Half of it."""
    return spend / 2


@pytest.fixture
def filled(home: Path) -> None:
    workspace = open_workspace(home)
    workspace.clock.set(datetime(2025, 3, 10, tzinfo=UTC))
    schema = pa.schema({"id": pa.int64(), "spend": pa.float64()})
    create_feature_table(workspace.lake, "ml.features.spend", schema, primary_keys="id")
    create_function(workspace.functions, "ml.functions.half", half)
    spec = make_feature_spec(
        workspace.lake,
        [FeatureLookup("ml.features.spend", "id"), FeatureFunction("ml.functions.half", {"spend": "spend"}, "half")],
        finder(workspace.functions),
        as_of=workspace.clock.now(),
    )
    create_feature_spec(workspace.feature_specs, "ml.specs.spend", spec, "What they spend")
    workspace.close()


@pytest.mark.usefixtures("filled")
def test_specs_are_listed_and_shown(cli: Cli) -> None:
    (one,) = cli("features", "specs", "--json").json()["feature_specs"]
    assert (one["name"], one["features"], one["created_at"]) == (
        "ml.specs.spend",
        ["spend", "half"],
        "2025-03-10T00:00:00Z",
    )
    assert "spend, half" in cli("features", "specs").out
    said = cli("features", "specs", "ml.specs.spend").out
    assert "ml.features.spend" in said
    assert "ml.functions.half" in said
    assert "did you mean 'ml.specs.spend'?" in cli("features", "specs", "ml.specs.spent").refused()


def test_a_home_without_specs(cli: Cli, home: Path) -> None:
    open_workspace(home).close()
    assert "there is no feature spec yet" in cli("features", "specs").out
