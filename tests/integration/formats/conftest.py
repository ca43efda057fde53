"""Models that MLflow wrote, behind a hot app that is asked in-process: no sockets, so thousands of requests take seconds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.feature_specs import make_feature_spec
from millrace.features.online.publish import publish
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from tests.integration.formats.hot_server import NOW, Kept, Server
from tests.integration.formats.saved import Saved, saved_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Saved]]:
    """Models that MLflow itself wrote, with its own files and signatures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, of each version another
        import mlflow.pyfunc  # noqa: F401 - its own warnings too

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        yield saved_models(tmp_path_factory.mktemp("models"))


def _made_lake(root: Path) -> Lake:
    engine = open_database(f"sqlite:///{root / 'millrace.db'}")
    return Lake(
        SqlCatalog(engine), DeltaTableStore(), ManualClock(NOW), Principal("user", "ada"), str(root / "warehouse")
    )


def _publish(lake: Lake, online: LmdbOnlineStore, name: str, *, schema: pa.Schema, keys: list[str], row: Any) -> None:
    create_feature_table(lake, name, schema, primary_keys=keys)
    write_feature_rows(lake, name, pa.Table.from_pylist([row], schema=schema))
    publish(lake, online, name, as_of=NOW)


def _four_keys(lake: Lake, online: LmdbOnlineStore) -> FeatureSpec:
    """A table with keys of four types, in the online store."""
    keys = {
        "number": pa.int64(),
        "name": pa.string(),
        "at": pa.timestamp("us", "UTC"),
        "cost": pa.decimal128(12, 2),
    }
    row = {"number": 5, "name": "x", "at": NOW, "cost": Decimal("1.50"), "score": 0.5}
    schema = pa.schema([*keys.items(), ("score", pa.float64())])
    _publish(lake, online, "ml.features.customers", schema=schema, keys=list(keys), row=row)
    lookup = FeatureLookup("ml.features.customers", list(keys))
    return make_feature_spec(lake, [lookup], _no_function, as_of=NOW)


def _looked_up(lake: Lake, online: LmdbOnlineStore) -> FeatureSpec:
    """Two of the inputs of the pipeline by a key; the others are the request's."""
    schema = pa.schema([("shop", pa.int64()), ("a", pa.float64()), ("region", pa.string())])
    row = {"shop": 5, "a": 1.5, "region": "north"}
    _publish(lake, online, "ml.features.shops", schema=schema, keys=["shop"], row=row)
    lookup = FeatureLookup("ml.features.shops", "shop")
    return FeatureSpec((lookup,), None, (), ("a", "b", "n", "region"), ("b", "n"))


def _no_function(name: str) -> Any:
    raise NotFound(name)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    root = tmp_path_factory.mktemp("lake")
    made = Kept(_made_lake(root), root / "capture")
    yield made
    made.capture.close()


@pytest.fixture(scope="session")
def server(models: dict[str, Saved], kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(LmdbOnlineStore(tmp_path_factory.mktemp("online")), capture=kept.capture)
    for name, saved in models.items():
        made.serve(name, saved.folder)
    made.serve("looked-up", models["pipeline"].folder, _looked_up(kept.lake, made.online))
    made.serve_divided("divided", _four_keys(kept.lake, made.online))
    yield made
    made.end()
    made.online.close()
