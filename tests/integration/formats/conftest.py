"""Models that MLflow wrote, behind a hot app that is asked in-process: no sockets, so thousands of requests take seconds."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pyarrow as pa
import pytest

from millrace.access.types import CALLER, owner
from millrace.core.clock import ManualClock
from millrace.core.errors import NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.feature_specs import make_feature_spec
from millrace.features.online.publish import publish
from millrace.features.spec import to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.drain import drain
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.turns import Limits
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Capture, DrainResult, Endpoint, EndpointName, EndpointState, LoadPlan

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def json(self) -> Any:
        is_packed = self.headers.get(b"content-encoding") == b"gzip"
        return json.loads(gzip.decompress(self.body) if is_packed else self.body)

    @property
    def predicted(self) -> int:
        """Of how many rows a model told something; features alone are no predictions."""
        if self.status != 200 or self.headers[b"served-model-name"].startswith(b"divided"):
            return 0
        content = self.json
        return len(content["predictions"]) if "predictions" in content else content["outputs"][0]["shape"][0]


@dataclass
class Server:
    """A hot app over models, and one event loop for all that is asked of it.

    Attributes:
        answered: by request id, the status, and how many rows a model predicted.
    """

    online: LmdbOnlineStore
    limits: Limits = field(default_factory=Limits)
    environments: Environments | None = None
    proofs: Path | None = None
    capture: CaptureLog | None = None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    answered: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app = HotApp(
            ManualClock(NOW), self.online, self.capture, self.limits, environments=self.environments, proofs=self.proofs
        )

    def serve(self, name: str, folder: Path, spec: FeatureSpec | None = None) -> None:
        entity, facts = served_entity(f"ml.models.{name}", "3"), read_model_folder(folder)
        plan = LoadPlan(entity, str(folder), facts.flavor, facts.inputs, None if spec is None else to_json(spec))
        state, config = (
            EndpointState(ready=True, config_update="NOT_UPDATING"),
            endpoint_config(entity, capture=_to(name)),
        )
        self.app.serve([Endpoint(EndpointName(name), name, 1, config, (plan,), None, state, NOW, NOW, "user:ada")])

    def end(self) -> None:
        """Copies that still wait for a shadow are dropped."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def serve_divided(self, name: str, spec: FeatureSpec) -> None:
        """Two entities that share the requests by their keys, and a shadow that gets all of them."""
        entities = [served_entity("ml.specs.customer", None, f"{name}-{number}") for number in range(3)]
        config = endpoint_config(
            *entities,
            traffic={f"{name}-0": 50, f"{name}-1": 50},
            shadow={f"{name}-2": 100},
            missing_keys="null",
            capture=_to(name),
        )
        plans = tuple(LoadPlan(entity, "", "feature_spec", (), to_json(spec)) for entity in entities)
        state = EndpointState(ready=True, config_update="NOT_UPDATING")
        self.app.serve([Endpoint(EndpointName(name), name, 1, config, plans, None, state, NOW, NOW, "user:ada")])

    def ask(self, path: str, body: bytes = b"", **more: Any) -> Reply:
        return self.loop.run_until_complete(self._answer(path, body, **more))

    def ask_all(self, asked: Sequence[tuple[str, bytes, dict[str, Any]]]) -> list[Reply]:
        async def one_after_the_other() -> list[Reply]:
            return [await self._answer(path, body, **more) for path, body, more in asked]

        return self.loop.run_until_complete(one_after_the_other())

    async def _answer(
        self,
        path: str,
        body: bytes,
        *,
        content_type: bytes = b"application/json",
        headers: Sequence[tuple[bytes, bytes]] = (),
        method: str = "POST",
        anonymous: bool = False,
    ) -> Reply:
        where, _, query = path.partition("?")
        scope: dict[str, Any] = {"type": "http", "method": method, "path": where, "query_string": query.encode()}
        scope["headers"] = [(b"content-type", content_type), *headers]
        if not anonymous:
            scope[CALLER] = owner("user:ada")
        assert self.app.handles(scope)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, end = sent
        reply = Reply(start["status"], dict(start["headers"]), end["body"])
        if b"databricks-request-id" in reply.headers:
            self.answered[reply.headers[b"databricks-request-id"].decode()] = reply.status, reply.predicted
        return reply


@dataclass
class Kept:
    """What the server's requests become: the capture, and the lake that it is drained to."""

    lake: Lake
    root: Path

    def __post_init__(self) -> None:
        self.capture = CaptureLog(self.root, "w0", ManualClock(NOW))

    def drain(self) -> DrainResult:
        self.capture.seal()
        return drain(self.lake, self.root)

    def payload(self, endpoints: Iterable[str]) -> Counter[tuple[str, int]]:
        """Id and status of each request."""
        return self._rows([_to(each).tables for each in endpoints], "payload", "databricks_request_id", "status_code")

    def copies(self, endpoint: str) -> Counter[tuple[str]]:
        """The id of each request that a shadow has answered."""
        return self._rows([_to(endpoint).shadow_tables], "payload", "databricks_request_id")

    def predictions(self, endpoints: Iterable[str]) -> Counter[tuple[str]]:
        """Of each row the id of its request."""
        return self._rows([_to(each).tables for each in endpoints], "predictions", "request_id")

    def _rows(self, prefixes: Iterable[str], kind: str, *columns: str) -> Counter[Any]:
        found = [f"{prefix}_{kind}" for prefix in prefixes if self.lake.exists(f"{prefix}_{kind}")]
        tables = [self.lake.read(name, columns=columns).to_pylist() for name in found]
        return Counter(tuple(row[column] for column in columns) for table in tables for row in table)


def _to(name: str) -> Capture:
    return Capture("ml", "logs", name.replace("-", "_"))


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
