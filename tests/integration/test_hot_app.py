"""The hot app over a real lake, online store and model: what a worker does, without its process."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pyarrow as pa
import pytest
from xgboost import XGBClassifier  # noqa: TID253 - a test

from millrace.access.types import CALLER, Caller, Rights, owner
from millrace.api.attendance import Attendance
from millrace.api.worker import Commands
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.online.publish import publish
from millrace.features.spec import to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.drain import drain
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.turns import Limits
from millrace.serving.requests.generations import Generations
from millrace.serving.requests.hot import HotApp
from millrace.serving.requests.served import ServedModel
from millrace.serving.types import Capture, Endpoint, EndpointName, EndpointState, LoadPlan, ServedEntity

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
SPEC = FeatureSpec(
    lookups=(
        FeatureLookup(
            "ml.features.spend", "customer_id", lookback_window=timedelta(days=30), timestamp_lookup_key="at"
        ),
        FeatureLookup("ml.features.shops", "shop", default_values={"size": 1.5}),
    ),
    label="churned",
    exclude=(),
    inputs=("total", "visits", "size", "basket"),
    request_columns=("basket",),
)
PLAIN_INPUTS = [("total", "double"), ("visits", "double"), ("size", "double"), ("basket", "double")]
URL = "/serving-endpoints/churn/invocations"
ADA = owner("user:ada")
ONE, TWO = served_entity("ml.models.churn", "1"), served_entity("ml.models.churn", "2")


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    json: Any


@dataclass(frozen=True)
class World:
    """A lake with published features, two versions of a model, and where to put a worker's capture."""

    lake: Lake
    online: LmdbOnlineStore
    clock: ManualClock
    models: dict[str, XGBClassifier]
    root: Path

    def plan(self, entity: ServedEntity, *, lookups: bool = True) -> LoadPlan:
        folder = self.root / f"model-{entity.entity_version}"
        facts = read_model_folder(folder)
        spec = to_json(SPEC) if lookups else None
        return LoadPlan(entity, str(folder), facts.flavor, facts.inputs, spec)

    def endpoint(
        self, *entities: ServedEntity, generation: int = 1, traffic: dict[str, int] | None = None, lookups: bool = True
    ) -> Endpoint:
        config = endpoint_config(*entities, traffic=traffic, capture=Capture("ml", f"logs_{self.root.name}", "churn"))
        return Endpoint(
            name=EndpointName("churn"),
            id=uuid.uuid4().hex,
            generation=generation,
            config=config,
            plans=tuple(self.plan(entity, lookups=lookups) for entity in entities),
            pending=None,
            state=EndpointState(ready=True, config_update="NOT_UPDATING"),
            created_at=NOW,
            updated_at=NOW,
            owner="user:ada",
        )


class Worker:
    """A hot app with its capture, asked in-process."""

    def __init__(self, world: World, root: Path, *, limits: Limits | None = None) -> None:
        self.world, self.root = world, root
        self.capture = CaptureLog(root, "w0", world.clock)
        self.app = HotApp(world.clock, world.online, self.capture, limits)

    def post(self, body: object, url: str = URL, **more: Any) -> Response:
        self.world.clock.advance(timedelta(milliseconds=1))
        return asyncio.run(self.asked(body if isinstance(body, bytes) else json.dumps(body).encode(), url, **more))

    async def asked(
        self,
        raw: bytes,
        url: str = URL,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        caller: Caller | None = ADA,
        content_type: bytes = b"application/json",
        method: str = "POST",
        pieces: int = 1,
    ) -> Response:
        size = max(1, -(-len(raw) // pieces))
        parts = [raw[at : at + size] for at in range(0, len(raw), size)] or [b""]
        scope: dict[str, Any] = {"type": "http", "method": method, "path": url}
        scope |= {"headers": [*headers, (b"content-type", content_type)]} | ({} if caller is None else {CALLER: caller})
        assert self.app.handles(scope)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, end = sent
        heads = {name.decode(): value.decode() for name, value in start["headers"]}
        assert heads["content-length"] == str(len(end["body"]))
        return Response(start["status"], heads, json.loads(end["body"]))

    def drained(self) -> tuple[list[Any], list[Any]]:
        """(payload rows by time, prediction rows by request and row)."""
        self.capture.seal()
        assert drain(self.world.lake, self.root).segments
        prefix = f"ml.logs_{self.world.root.name}.churn"
        payload = self.world.lake.read(f"{prefix}_payload").to_pylist()
        rows = self.world.lake.read(f"{prefix}_predictions").to_pylist()
        return sorted(payload, key=lambda row: row["request_time"]), sorted(
            rows, key=lambda row: (row["timestamp"], row["row"])
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("hot")
    clock = ManualClock(NOW)
    engine = open_database(f"sqlite:///{root / 'millrace.db'}")
    lake = Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(root / "warehouse"))
    online = LmdbOnlineStore(root / "online")
    _make_features(lake, online)
    models = {version: _make_model(root / f"model-{version}", seed) for version, seed in (("1", 1), ("2", 2))}
    yield World(lake, online, clock, models, root)
    online.close()
    engine.dispose()


@pytest.fixture
def world(built: World, tmp_path: Path) -> World:
    built.clock.set(NOW)
    own = tmp_path / f"t{uuid.uuid4().hex[:8]}"
    own.mkdir()
    for version in built.models:
        (own / f"model-{version}").symlink_to(built.root / f"model-{version}")
    return replace(built, root=own)


@pytest.fixture
def worker(world: World, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(world, tmp_path / "capture")
    made.app.serve([world.endpoint(ONE)])
    yield made
    made.capture.close()


def _make_features(lake: Lake, online: LmdbOnlineStore) -> None:
    time = pa.timestamp("us", "UTC")
    spend = pa.schema(
        [("customer_id", pa.int64()), ("ts", time), ("total", pa.decimal128(12, 2)), ("visits", pa.int32())]
    )
    create_feature_table(lake, "ml.features.spend", spend, primary_keys=["customer_id"], timeseries_column="ts")
    random = np.random.default_rng(3)
    rows = [
        {
            "customer_id": customer,
            "ts": NOW - timedelta(days=int(age)),
            "total": None if age % 7 == 0 else Decimal(int(random.integers(0, 10**6))) / 100,
            "visits": int(random.integers(0, 30)),
        }
        for customer in range(1, 41)
        for age in sorted({int(random.integers(0, 60)), int(random.integers(0, 60))})
    ]
    write_feature_rows(lake, "ml.features.spend", pa.Table.from_pylist(rows, schema=spend))
    shops = pa.schema([("shop", pa.string()), ("size", pa.float32())])
    create_feature_table(lake, "ml.features.shops", shops, primary_keys=["shop"])
    write_feature_rows(
        lake,
        "ml.features.shops",
        pa.Table.from_pylist([{"shop": "x", "size": 0.1}, {"shop": "y", "size": None}], schema=shops),
    )
    for name in ("ml.features.spend", "ml.features.shops"):
        publish(lake, online, name, as_of=NOW)


def _make_model(folder: Path, seed: int) -> XGBClassifier:
    random = np.random.default_rng(seed)
    features = pd.DataFrame(random.normal(size=(400, 4)) * [5000, 10, 1, 3], columns=[name for name, _ in PLAIN_INPUTS])
    labels = (random.random(400) < 1 / (1 + np.exp(features.visits / 5 - features.basket))).astype(int)
    model = XGBClassifier(n_estimators=15, max_depth=3, n_jobs=1).fit(features, labels)
    folder.mkdir()
    model.save_model(folder / "model.ubj")
    signature = json.dumps([{"name": name, "type": kind} for name, kind in PLAIN_INPUTS])
    flavor = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier", "model_format": "ubj"}
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"xgboost": flavor}, "signature": {"inputs": signature}}))
    return model


def records(customers: Sequence[int]) -> list[dict[str, Any]]:
    shops = ["x", "y", "nowhere"]
    return [{"customer_id": customer, "shop": shops[customer % 3], "basket": customer / 7} for customer in customers]


def test_answers_equal_the_model_on_offline_features_to_the_bit(worker: Worker, world: World) -> None:
    sent = records(range(60))  # customers 0 and 41 to 59 are not in the table
    response = worker.post({"dataframe_records": sent, "params": {"predict_proba": True}})
    requests = pa.Table.from_pylist(sent).append_column("at", pa.array([NOW] * 60, pa.timestamp("us", "UTC")))
    frame = model_frame(augment(world.lake, DuckDbAsOfJoin(1), SPEC, requests, as_of=NOW), SPEC.inputs)
    assert response.status == 200
    assert response.json["predictions"] == world.models["1"].predict(frame).tolist()
    assert response.json["probabilities"] == world.models["1"].predict_proba(frame)[:, 1].tolist()
    _, rows = worker.drained()
    logged = pd.DataFrame(rows, columns=list(SPEC.inputs)).astype(float)
    pd.testing.assert_frame_equal(logged, frame, check_exact=True)
    assert 0 < frame.total.isna().sum() < 60
    assert 1.5 in set(frame["size"])


def test_each_logged_row_says_where_its_features_came_from(worker: Worker, world: World) -> None:
    worker.post({"dataframe_records": records([1, 59]), "client_request_id": "mine"})
    payload, rows = worker.drained()
    assert payload[0]["client_request_id"] == "mine"
    assert (payload[0]["requester"], payload[0]["served_entity_id"]) == ("user:ada", "churn-1")
    versions = {name: world.lake.history(name)[-1].version for name in ("ml.features.spend", "ml.features.shops")}
    known, unknown = (json.loads(row["features"]) for row in rows)
    stored = world.lake.read("ml.features.spend").to_pylist()
    newest = max(row["ts"] for row in stored if row["customer_id"] == 1)
    assert known == [
        {
            "table": "ml.features.spend",
            "event_time": newest.isoformat().replace("+00:00", "Z"),
            "version": versions["ml.features.spend"],
        },
        {"table": "ml.features.shops", "event_time": None, "version": versions["ml.features.shops"]},
    ]
    assert unknown[0] == {"table": "ml.features.spend", "event_time": None, "version": None}
    assert (rows[0]["customer_id"], rows[0]["shop"], rows[0]["basket"]) == (1, "y", 1 / 7)


def test_a_feature_in_the_request_wins(worker: Worker) -> None:
    row = {**records([1])[0], "total": 12.25, "visits": None}
    assert worker.post({"dataframe_records": [row]}).status == 200
    _, (logged,) = worker.drained()
    assert (logged["total"], logged["visits"]) == (12.25, None)
    assert [source["table"] for source in json.loads(logged["features"])] == ["ml.features.shops"]


def test_an_endpoint_may_refuse_keys_without_features(worker: Worker, world: World) -> None:
    endpoint = world.endpoint(ONE, generation=2)
    worker.app.load(replace(endpoint, config=replace(endpoint.config, missing_keys="404")))
    worker.app.activate("churn", 2)
    # Customer 77 is not in the table. What a request carries itself needs no key.
    response = worker.post({"dataframe_records": [*records([1]), {**records([1])[0], "customer_id": 77}]})
    assert (response.status, response.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "row 1" in response.json["message"]
    assert "customer_id" in response.json["message"]
    assert "77" not in response.json["message"]
    whole = {"total": 1.0, "visits": 2.0, "size": 3.0, "basket": 4.0}
    assert worker.post({"dataframe_records": [whole]}).status == 200
    payload, rows = worker.drained()
    assert [row["status_code"] for row in payload] == [404, 200]
    assert [(row["customer_id"], row["shop"], row["total"]) for row in rows] == [(None, None, 1.0)]


def test_a_value_is_too_old_when_the_clock_has_moved_on(worker: Worker, world: World) -> None:
    world.clock.set(NOW + timedelta(days=400))
    worker.post({"dataframe_records": records([1])})
    _, (logged,) = worker.drained()
    assert (logged["total"], logged["visits"], logged["timestamp"]) == (None, None, world.clock.now())


def test_responses_name_the_request_and_who_answered(worker: Worker) -> None:
    response = worker.post({"dataframe_records": records([1])}, pieces=3)
    payload, _ = worker.drained()
    assert response.headers["served-model-name"] == "churn-1"
    assert response.headers["databricks-request-id"] == payload[0]["databricks_request_id"]
    assert json.loads(payload[0]["response"]) == response.json


def test_a_callers_own_id_is_kept_from_the_body_or_else_from_the_header(worker: Worker) -> None:
    one = {"dataframe_records": records([1])}
    theirs = (b"x-request-id", b"from the header")
    worker.post({**one, "client_request_id": "from the body"}, headers=[theirs])
    worker.post(one, headers=[theirs])
    worker.post(one, headers=[(b"x-request-id", b"x" * 257)])
    worker.post(b"no json", headers=[theirs])
    payload, rows = worker.drained()
    kept = ["from the body", "from the header", None, "from the header"]
    assert [row["client_request_id"] for row in payload] == kept
    assert [row["client_request_id"] for row in rows] == kept[:3]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"no json", "not JSON"),
        ({"dataframe_records": [{"customer_id": 1, "shop": "x"}]}, "column 'basket'"),
        ({"dataframe_records": [{"customer_id": 1, "basket": 1}]}, "column 'shop'"),
        ({"dataframe_records": [{"customer_id": "c-77", "shop": "x", "basket": 1}]}, "key 'customer_id'"),
        ({"dataframe_records": [{"customer_id": 1, "shop": "x", "basket": "c-77"}]}, "column 'basket'"),
        ({"dataframe_records": [{"customer_id": 1, "shop": "x", "basket": ["c-77"]}]}, "column 'basket'"),
        ({"instances": [[1, "c-77", 1]]}, "no column names"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong_and_logged(worker: Worker, body: object, says: str) -> None:
    response = worker.post(body)
    assert (response.status, response.json["error_code"]) == (400, "BAD_REQUEST")
    assert says in response.json["message"]
    assert "c-77" not in response.json["message"]
    payload, rows = worker.drained()
    assert ([row["status_code"] for row in payload], rows) == ([400], [])


def test_who_has_no_token_is_not_answered_and_not_logged(worker: Worker) -> None:
    response = worker.post({"dataframe_records": records([1])}, caller=None)
    assert (response.status, response.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert response.headers["www-authenticate"] == "Bearer"
    assert not list(worker.root.iterdir())


def test_a_caller_without_the_right_is_refused_alike_for_every_name(worker: Worker) -> None:
    body, ci = {"dataframe_records": records([1])}, Caller("token:ci", Rights(query=frozenset({"other"})))
    there = worker.post(body, caller=ci)
    assert (there.status, there.json["error_code"]) == (403, "PERMISSION_DENIED")
    gone = worker.post(body, "/serving-endpoints/nowhere/invocations", caller=ci)
    assert gone.status == 403
    assert gone.json["message"].replace("nowhere", "churn") == there.json["message"]
    assert worker.post(body, "/serving-endpoints/other/invocations", caller=ci).status == 404
    assert not list(worker.root.iterdir())


def test_the_one_endpoint_is_the_one_that_the_caller_may_query(worker: Worker) -> None:
    body = {"dataframe_records": records([1])}
    assert worker.post(body, "/invocations", caller=Caller("token:a", Rights(query=frozenset({"churn"})))).status == 200
    other = worker.post(body, "/invocations", caller=Caller("token:b", Rights(query=frozenset({"spend"}))))
    assert other.status == 404
    assert "churn" not in other.json["message"]


def test_who_asked_is_logged(worker: Worker) -> None:
    ci = Caller("token:ci", Rights(query=frozenset({"churn"})))
    assert worker.post({"dataframe_records": records([1])}, caller=ci).status == 200
    payload, _ = worker.drained()
    assert [row["requester"] for row in payload] == ["token:ci"]


def test_what_is_answered_and_refused_is_counted(worker: Worker) -> None:
    worker.post({"dataframe_records": records([1, 2, 3])})
    worker.post({"dataframe_records": [{"basket": "s"}]})
    worker.post(b"no json")
    worker.post({}, content_type=b"image/png")
    worker.post({}, "/serving-endpoints/made-up/invocations")
    counts = json.loads(json.dumps(worker.app.counts()))
    found = {(each["endpoint"], each["entity"]): each for each in counts["entities"]}
    assert {name: each["statuses"] for name, each in found.items()} == {
        ("churn", "churn-1"): {"200": 1, "400": 1},
        ("churn", ""): {"400": 1, "415": 1},
        ("", ""): {"404": 1},
    }
    served = found["churn", "churn-1"]
    assert (served["rows"], sum(served["whole"]["buckets"]), sum(served["predict"]["buckets"])) == (3, 2, 1)
    assert 0 < served["predict"]["sum_s"] < served["whole"]["sum_s"]
    assert (counts["in_flight"], counts["waiting"]) == ({"churn": 0}, {"churn": {"churn-1": 0}})


def test_wrong_addresses_methods_and_content_types(worker: Worker) -> None:
    body = {"dataframe_records": records([1])}
    unknown = worker.post(body, "/serving-endpoints/other/invocations")
    assert (unknown.status, unknown.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert worker.post(body, "/serving-endpoints/churn/served-models/other/invocations").status == 404
    assert worker.post(body, "/serving-endpoints/churn/served-models/churn-1/invocations").status == 200
    assert worker.post(body, method="GET").status == 405
    assert worker.post(body, content_type=b"text/plain").status == 415
    assert worker.post(body, content_type=b"application/json; charset=utf-8").status == 200
    assert not worker.app.handles({"type": "http", "path": "/api/2.0/serving-endpoints"})
    assert not worker.app.handles({"type": "websocket", "path": URL})


def test_a_request_over_the_limit_is_refused_unread_and_logged(world: World, tmp_path: Path) -> None:
    worker = Worker(world, tmp_path / "capture", limits=Limits(body_bytes=1000))
    worker.app.serve([world.endpoint(ONE)])
    assert worker.post(b"", headers=[(b"content-length", b"1001")]).status == 413
    response = worker.post(b"x" * 1500, pieces=4)
    assert (response.status, response.json["error_code"]) == (413, "MAX_REQUEST_SIZE_EXCEEDED")
    payload, _ = worker.drained()
    assert [(row["status_code"], row["request"]) for row in payload] == [(413, None), (413, None)]
    worker.capture.close()


def test_a_model_that_fails_says_no_more_than_that(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    model = worker.app._generations.active("churn").first  # type: ignore[union-attr]
    assert isinstance(model, ServedModel)

    class Broken:
        path = why = ""
        quick_rows = 100

        def predict(self, rows: object) -> object:
            raise RuntimeError(f"c-77 at /secret/path: {rows}")

    monkeypatch.setattr(model.model, "predictor", Broken())
    response = worker.post({"dataframe_records": records([1])})
    assert (response.status, response.json["error_code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in response.json["message"]
    payload, _ = worker.drained()
    assert [(row["status_code"], row["served_entity_id"]) for row in payload] == [(500, "churn-1")]


def test_without_lookups_rows_need_no_names(world: World, tmp_path: Path) -> None:
    worker = Worker(world, tmp_path / "capture")
    worker.app.serve([world.endpoint(ONE, lookups=False)])
    rows: list[list[float | None]] = [[100.5, 3, 0.5, 1.0], [None, 1, 2, -4]]
    frame = pd.DataFrame(rows, columns=[name for name, _ in PLAIN_INPUTS]).astype(float)
    expected = world.models["1"].predict(frame).tolist()
    assert worker.post({"instances": rows}).json == {"predictions": expected}
    columns = {name: list(values) for (name, _), values in zip(PLAIN_INPUTS, zip(*rows, strict=True), strict=True)}
    assert worker.post({"inputs": columns}).json == {"predictions": expected}
    split = {"columns": [name for name, _ in PLAIN_INPUTS][::-1], "data": [row[::-1] for row in rows]}
    assert worker.post({"dataframe_split": split}).json == {"predictions": expected}
    worker.capture.close()


def test_others_are_answered_while_a_large_request_is_read(world: World, tmp_path: Path) -> None:
    worker = Worker(world, tmp_path / "capture")
    worker.app.serve([world.endpoint(ONE, lookups=False)])
    large = json.dumps({"instances": [[1.5, 2, 0.5, 1.0]] * 60_000}).encode()
    small = json.dumps({"instances": [[1.5, 2, 0.5, 1.0]]}).encode()
    ended: list[str] = []

    async def ask(name: str, body: bytes) -> None:
        await worker.asked(body)
        ended.append(name)

    async def both() -> None:
        first = asyncio.create_task(ask("large", large))
        await asyncio.sleep(0)
        await ask("small", small)
        await first

    asyncio.run(both())
    assert ended == ["small", "large"]
    worker.capture.close()


def test_traffic_is_split_by_key_and_each_row_logged_with_its_version(world: World, tmp_path: Path) -> None:
    worker = Worker(world, tmp_path / "capture")
    worker.app.serve([world.endpoint(ONE, TWO, traffic={"churn-1": 50, "churn-2": 50})])
    first = [worker.post({"dataframe_records": records([n])}).headers["served-model-name"] for n in range(40)]
    again = [worker.post({"dataframe_records": records([n])}).headers["served-model-name"] for n in range(40)]
    assert first == again
    assert set(first) == {"churn-1", "churn-2"}
    _, rows = worker.drained()
    assert [f"churn-{row['model_version']}" for row in rows[:40]] == first
    worker.capture.close()


def test_a_new_generation_takes_over_only_when_it_is_activated(worker: Worker, world: World) -> None:
    body = {"dataframe_records": records([1])}
    two = world.endpoint(TWO, generation=2)
    (path,) = worker.app.load(two).values()
    assert re.fullmatch(r"onnx(\+xgboost)?: equal to the model's own predict on \d+ rows", path)
    assert worker.post(body).headers["served-model-name"] == "churn-1"
    worker.app.activate("churn", 2)
    assert worker.post(body).headers["served-model-name"] == "churn-2"
    assert worker.app.served() == {"churn": 2}
    worker.app.load(world.endpoint(ONE, generation=3))
    worker.app.discard("churn", 3)
    with pytest.raises(InvalidState, match="generation 3 of endpoint 'churn' is not loaded"):
        worker.app.activate("churn", 3)
    worker.app.remove("churn")
    assert worker.post(body).status == 404


def test_going_back_loads_nothing(worker: Worker, world: World) -> None:
    before = worker.app._generations.active("churn").first.model  # type: ignore[union-attr]
    for generation, entity in ((2, TWO), (3, ONE)):
        worker.app.load(world.endpoint(entity, generation=generation))
        worker.app.activate("churn", generation)
    assert worker.app._generations.active("churn").first.model is before  # type: ignore[union-attr]


def test_a_model_whose_features_are_not_online_is_not_deployed(worker: Worker, world: World) -> None:
    gone = replace(SPEC, lookups=(*SPEC.lookups, FeatureLookup("ml.features.gone", "customer_id")))
    plan = replace(world.plan(TWO), feature_spec=to_json(gone))
    with pytest.raises(InvalidState, match=r"ml.features.gone is not in the online store"):
        worker.app.load(replace(world.endpoint(TWO, generation=2), plans=(plan,)))
    turned = replace(world.plan(TWO), feature_spec=to_json(replace(SPEC, inputs=SPEC.inputs[::-1])))
    with pytest.raises(InvalidInput, match="does not match its feature spec"):
        worker.app.load(replace(world.endpoint(TWO, generation=2), plans=(turned,)))
    assert worker.post({"dataframe_records": records([1])}).status == 200


def test_what_can_not_be_loaded_yet_says_so_and_answers_when_it_can(world: World, tmp_path: Path) -> None:
    late = replace(world, online=LmdbOnlineStore(tmp_path / "late"))
    worker, store = Worker(late, tmp_path / "capture"), SqlEndpointStore(open_database("sqlite://"))
    store.add(world.endpoint(ONE))
    commands = Commands(worker.app, worker.capture, store, Attendance(lambda: True, 0))
    asyncio.run(commands.start())
    refused = worker.post({"dataframe_records": records([1])})
    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert "ml.features.spend is not in the online store" in refused.json["message"]

    async def meanwhile() -> None:
        mending = asyncio.create_task(commands.mend(0.01))
        await asyncio.sleep(0.05)
        assert not worker.app.served()
        for name in ("ml.features.spend", "ml.features.shops"):
            publish(world.lake, late.online, name, as_of=NOW)
        for _ in range(3000):
            if worker.app.served():
                break
            await asyncio.sleep(0.01)
        mending.cancel()

    asyncio.run(meanwhile())
    assert worker.post({"dataframe_records": records([1])}).status == 200
    worker.capture.close()
    late.online.close()


def test_an_endpoint_that_nobody_thought_of_leaves_the_others_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load = Generations.load

    def choke(self: Generations, endpoint: Endpoint, known: Sequence[LoadPlan]) -> Mapping[str, str]:
        if endpoint.name == "bad":
            raise KeyError("s3cret")
        return load(self, endpoint, known)

    worker, store = Worker(world, tmp_path / "capture"), SqlEndpointStore(open_database("sqlite://"))
    store.add(replace(world.endpoint(ONE), name=EndpointName("bad")))
    store.add(world.endpoint(ONE))
    commands = Commands(worker.app, worker.capture, store, Attendance(lambda: True, 0))

    async def meanwhile() -> None:
        await commands.start()
        assert worker.app.served() == {"churn": 1}
        mending = asyncio.create_task(commands.mend(0.01))
        await asyncio.sleep(0.2)
        assert not mending.done()
        (answer,) = (await commands.handle({"do": "status"})).get("waiting").items()  # type: ignore[attr-defined]
        assert answer == ("bad", "it can't be loaded: KeyError; the server's log says where")
        patched.undo()
        for _ in range(6000):
            if "bad" in worker.app.served():
                break
            await asyncio.sleep(0.01)
        mending.cancel()

    with monkeypatch.context() as patched:
        patched.setattr(Generations, "load", choke)
        asyncio.run(meanwhile())
    assert worker.app.served() == {"churn": 1, "bad": 1}
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == [
        "endpoint bad can't be served by this worker"
    ]
    worker.capture.close()


def test_models_that_need_a_process_do_not_keep_the_others_waiting(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "model-slow"
    shutil.copytree(world.root / "model-1", folder)
    (folder / "requirements.txt").write_text("of-its-own==1.0")
    worker, store = Worker(world, tmp_path / "capture"), SqlEndpointStore(open_database("sqlite://"))
    environments = Environments(tmp_path / "envs", tmp_path / "logs")
    app = HotApp(world.clock, world.online, worker.capture, environments=environments)
    slow = replace(world.plan(ONE), path=str(folder), flavor="sklearn")
    store.add(replace(world.endpoint(ONE), name=EndpointName("a-slow-one"), plans=(slow,)))
    store.add(world.endpoint(ONE))
    commands = Commands(app, worker.capture, store, Attendance(lambda: True, 0))

    async def story() -> None:
        await commands.start()
        assert app.served() == {"churn": 1}
        assert app.waiting() == {
            "a-slow-one": "its model takes a while to load: it is proved, or has a process of its own"
        }
        mending = asyncio.create_task(commands.mend(60.0))  # the first time at once
        for _ in range(6000):
            if "environment" in app.waiting()["a-slow-one"]:
                break
            await asyncio.sleep(0.01)
        mending.cancel()

    asyncio.run(story())
    assert app.waiting() == {
        "a-slow-one": "the environment that the model needs is not there: of-its-own==1.0 (not installed)"
    }
    worker.capture.close()


def test_without_capture_nothing_is_kept(world: World, tmp_path: Path) -> None:
    worker = Worker(world, tmp_path / "capture")
    endpoint = world.endpoint(ONE)
    worker.app.serve([replace(endpoint, config=replace(endpoint.config, capture=None))])
    assert worker.post({"dataframe_records": records([1])}).status == 200
    worker.capture.close()
    assert not list(worker.root.iterdir())
