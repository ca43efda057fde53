"""Models that MLflow wrote, behind a hot app that is asked in-process: no sockets, so thousands of requests take seconds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
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


def numbers(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Random inputs in their types: small and great, whole and not, and what is missing where it may be."""
    scale = random.choice([1e-30, 0.1, 1.0, 1.0, 1.0, 1e3, 1e30], size=rows)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=rows) * scale,
            "b": np.where(random.random(rows) < 0.2, np.nan, np.round(random.normal(size=rows) * 3)),
            "n": random.choice([0, 1, -1, 7, 2**40, -(2**52)], size=rows) + random.integers(-5, 5, size=rows),
            "i": random.integers(-(2**31), 2**31 - 1, size=rows).astype(np.int32),
            "f": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows)).astype(np.float32),
            "flag": random.random(rows) < 0.5,
        }
    )
    frame.loc[random.random(rows) < 0.1, "a"] = np.nan
    frame.loc[random.random(rows) < 0.05, "a"] = -0.0
    return frame


def mixed(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers and texts, among them texts that need quotes, and texts that look like something else."""
    frame = numbers(random, rows)[["a", "b", "n"]]
    texts = ["north", "south", 'näh, "x"', "NA", "1.5", "true", "two\nlines", None]
    frame["region"] = pd.Series([texts[pick] for pick in random.integers(len(texts), size=rows)], dtype=object)
    return frame


@dataclass(frozen=True)
class Saved:
    """A model as MLflow wrote it, and random inputs for it."""

    folder: Path
    inputs: Callable[[np.random.Generator, int], pd.DataFrame]

    def expected(self, frame: pd.DataFrame) -> list[Any]:
        """What MLflow itself says."""
        import mlflow

        result = mlflow.pyfunc.load_model(str(self.folder)).predict(frame)
        return list(result.to_dict("records") if isinstance(result, pd.DataFrame) else np.asarray(result).tolist())


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Saved]]:
    """Models that MLflow itself wrote, with its own files and signatures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, of each version another
        import mlflow.pyfunc  # noqa: F401 - its own warnings too

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        yield _saved_models(tmp_path_factory.mktemp("models"))


def _saved_models(root: Path) -> dict[str, Saved]:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from xgboost import XGBClassifier

    random = np.random.default_rng(7)
    plain, rich = numbers(random, 600), mixed(random, 600)
    tame = plain.assign(a=plain["a"].clip(-1e9, 1e9))

    def folder(save: Any, frame: pd.DataFrame, predict: Any, **how: Any) -> Path:
        path = root / f"model-{len(list(root.iterdir()))}"
        save(path=path, signature=infer_signature(frame, predict(frame)), pip_requirements=["mlflow"], **how)
        return path

    boosted = XGBClassifier(n_estimators=25, max_depth=4, n_jobs=1).fit(plain, labels_of(plain, random))
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b", "n"]),
        (OneHotEncoder(handle_unknown="ignore"), ["region"]),
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(rich, labels_of(rich, random))
    trees = HistGradientBoostingClassifier(max_iter=15).fit(tame, labels_of(plain, random))
    own = _own_model()
    pickled = {"serialization_format": "cloudpickle"}
    return {
        "boosted": Saved(
            folder(lambda **how: mlflow.xgboost.save_model(boosted, **how), plain, boosted.predict), numbers
        ),
        "pipeline": Saved(
            folder(lambda **how: mlflow.sklearn.save_model(pipeline, **how), rich, pipeline.predict, **pickled), mixed
        ),
        "trees": Saved(
            folder(lambda **how: mlflow.sklearn.save_model(trees, **how), plain, trees.predict, **pickled), numbers
        ),
        "own": Saved(
            folder(
                lambda **how: mlflow.pyfunc.save_model(python_model=own, **how),
                rich,
                lambda rows: own.predict(None, rows),
            ),
            mixed,
        ),
    }


def labels_of(frame: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    """Two classes that the inputs say something of."""
    lean = np.nan_to_num(frame["b"]) / 3 + np.sign(np.nan_to_num(frame["a"]))
    labels: np.ndarray = (random.random(len(frame)) < 1 / (1 + np.exp(-lean))).astype(int)
    return labels


def _own_model() -> Any:
    """A model of one's own: arithmetic on columns, and a text."""
    import mlflow

    class Weighted(mlflow.pyfunc.PythonModel):  # type: ignore[misc,unused-ignore]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG002
            score = model_input["a"].fillna(0.5) / 3 + model_input["n"]
            who = model_input["region"].where(model_input["b"].notna(), "nobody").fillna("none")
            return pd.DataFrame({"score": score, "who": who})

    return Weighted()


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
