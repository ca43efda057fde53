from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.access.types import CALLER, owner
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import TableName
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.feature_specs import make_feature_spec
from millrace.features.functions.source import define
from millrace.features.online.publish import publish
from millrace.features.spec import to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureFunction, FeatureLookup, FeatureSpec, FunctionVersion
from millrace.lake.lake import Lake
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.drain import drain
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Capture, Endpoint, EndpointName, EndpointState, LoadPlan, ServedEntity
from tests.unit.serving.conftest import START

STAMP = pa.timestamp("us", "UTC")
WALLET = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("shop", pa.string()),
        ("ts", STAMP),
        ("money", pa.decimal128(12, 2)),
        ("visits", pa.int32()),
        ("score", pa.float64()),
        ("member", pa.bool_()),
        ("since", pa.date32()),
        ("seen", STAMP),
        ("raw", pa.binary()),
        ("grade", pa.string()),
    ]
)
LATE = START - timedelta(hours=2)
FULL = {
    "customer_id": 1,
    "shop": "x",
    "ts": LATE,
    "money": Decimal("12.50"),
    "visits": 3,
    "score": 0.1,
    "member": True,
    "since": date(2020, 2, 29),
    "seen": datetime(2025, 2, 1, 6, 30, tzinfo=UTC),
    "raw": b"\x00\xff",
    "grade": "ä",
}
EMPTY = {**dict.fromkeys(WALLET.names), "customer_id": 2, "shop": "x", "ts": LATE, "score": float("nan")}
KEY = {"customer_id": 1, "shop": "x"}
# What FULL looks like as JSON: RFC 3339 times, decimals as digits in a text, bytes in base64.
AS_JSON = {
    "money": "12.50",
    "visits": 3,
    "score": 0.1,
    "member": True,
    "since": "2020-02-29",
    "seen": "2025-02-01T06:30:00Z",
    "raw": "AP8=",
    "grade": "ä",
}
WALLETS = FeatureLookup(
    "ml.features.wallets",
    ["customer_id", "shop"],
    timestamp_lookup_key="at",
    lookback_window=timedelta(days=30),
    rename_outputs={"raw": "bytes"},
    default_values={"grade": "none"},
)
PLAIN = {**{name: AS_JSON[name] for name in AS_JSON if name != "raw"}, "bytes": AS_JSON["raw"]}


def per_visit(money: Decimal, visits: int) -> float:
    return float(money) / visits


def age_days(at: datetime, since: date) -> int:
    return (at.date() - since).days


DEFINED = {"per_visit": per_visit, "age_days": age_days}
FUNCTIONS = (
    FeatureFunction("per_visit", {"money": "money", "visits": "visits"}),
    FeatureFunction("age_days", {"at": "at", "since": "since"}),
)


def found(name: str) -> FunctionVersion:
    short = name.rpartition(".")[2]
    if short not in DEFINED:
        raise NotFound(name)
    return FunctionVersion(define(short, DEFINED[short]), 1, "", "user:ada", START)


@dataclass(frozen=True)
class Asked:
    status: int
    headers: Mapping[str, str]
    json: Any


class World:
    """Published features and a worker's hot app over them, asked in process."""

    def __init__(self, lake: Lake, online: LmdbOnlineStore, clock: ManualClock, root: Path) -> None:
        self.lake, self.online, self.clock, self.root = lake, online, clock, root
        self.capture = CaptureLog(root / "capture", "w0", clock)
        self.app = HotApp(clock, online, self.capture)

    def spec(self, *features: FeatureLookup | FeatureFunction, exclude: tuple[str, ...] = ()) -> FeatureSpec:
        return make_feature_spec(self.lake, features or (WALLETS,), found, exclude=exclude, as_of=self.clock.now())

    def endpoint(self, *specs: FeatureSpec, traffic: dict[str, int] | None = None, generation: int = 1) -> Endpoint:
        entities = [served_entity("ml.specs.wallet", None, f"wallet{number}") for number, _ in enumerate(specs)]
        config = endpoint_config(*entities, traffic=traffic, capture=Capture("ml", "logs", "wallet"))
        return Endpoint(
            name=EndpointName("wallet"),
            id="e1",
            generation=generation,
            config=config,
            plans=tuple(plan(entity, spec) for entity, spec in zip(entities, specs, strict=True)),
            pending=None,
            state=EndpointState(ready=True, config_update="NOT_UPDATING"),
            created_at=START,
            updated_at=START,
            owner="user:ada",
        )

    def serve(self, *specs: FeatureSpec, traffic: dict[str, int] | None = None) -> None:
        self.app.serve([self.endpoint(*specs, traffic=traffic)])

    def ask(self, body: object, path: str = "") -> Asked:
        return self.ask_raw(json.dumps(body).encode(), url=f"/serving-endpoints/wallet{path}/invocations")

    def ask_raw(
        self, body: bytes, kind: str = "application/json", url: str = "/serving-endpoints/wallet/invocations"
    ) -> Asked:
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": url, CALLER: owner("user:ada")}
        scope["headers"] = [(b"content-type", kind.encode())]
        asyncio.run(self.app(scope, receive, send))
        start, end = sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Asked(start["status"], headers, json.loads(end["body"]))

    def outputs(self, *records: Mapping[str, object]) -> list[Any]:
        asked = self.ask({"dataframe_records": records})
        assert asked.status == 200, asked.json
        assert asked.json.keys() == {"outputs"}
        outputs = asked.json["outputs"]
        assert isinstance(outputs, list)
        return outputs


def plan(entity: ServedEntity, spec: FeatureSpec) -> LoadPlan:
    return LoadPlan(entity, "", "feature_spec", (), to_json(spec))


@pytest.fixture
def world(lake: Lake, clock: ManualClock, tmp_path: Path) -> Iterator[World]:
    create_feature_table(
        lake,
        "ml.features.wallets",
        WALLET,
        primary_keys=["customer_id", "shop"],
        timeseries_column="ts",
        available_after=timedelta(hours=1),
    )
    write_feature_rows(lake, "ml.features.wallets", pa.Table.from_pylist([FULL, EMPTY], schema=WALLET))
    online = LmdbOnlineStore(tmp_path / "online")
    publish(lake, online, "ml.features.wallets", as_of=START)
    made = World(lake, online, clock, tmp_path)
    yield made
    made.capture.close()
    online.close()


def test_values_keep_their_types_in_the_order_of_the_rows(world: World) -> None:
    world.serve(world.spec())
    unknown = {**dict.fromkeys(PLAIN), "grade": "none"}
    outputs = world.outputs({"customer_id": 9, "shop": "x"}, KEY, {"customer_id": 1, "shop": "y"})
    assert outputs == [unknown, PLAIN, unknown]
    in_order = ["money", "visits", "score", "member", "since", "seen", "bytes", "grade"]
    assert [list(row) for row in outputs] == [in_order] * 3
    # A null that is stored takes the default too, and what is no number is null.
    assert world.outputs({"customer_id": 2, "shop": "x"}) == [unknown]


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["shop", "customer_id"], "data": [["x", 1], ["x", 9]]}},
        {"dataframe_records": [KEY, {"customer_id": 9, "shop": "x"}]},
        {"instances": [KEY, {"customer_id": 9, "shop": "x"}]},
        {"inputs": {"customer_id": [1, 9], "shop": ["x", "x"]}},
        {"inputs": [KEY, {"customer_id": 9, "shop": "x"}]},
    ],
)
def test_bodies_are_those_of_models(world: World, body: object) -> None:
    world.serve(world.spec(exclude=tuple(name for name in PLAIN if name != "visits")))
    assert world.ask(body).json == {"outputs": [{"visits": 3}, {"visits": None}]}


def test_functions_are_applied_and_what_they_alone_need_is_left_out(world: World) -> None:
    excluded = tuple(name for name in PLAIN if name != "visits")
    world.serve(world.spec(WALLETS, *FUNCTIONS, exclude=excluded))
    # 2020-02-29 to 2025-03-01 are 1827 days.
    assert world.outputs(KEY) == [{"visits": 3, "per_visit": 12.5 / 3, "age_days": 1827}]
    assert world.outputs({"customer_id": 9, "shop": "x"}) == [{"visits": None, "per_visit": None, "age_days": None}]
    world.clock.advance(timedelta(days=2))
    assert world.outputs(KEY)[0]["age_days"] == 1829


def test_availability_and_lookback_are_the_clocks(world: World) -> None:
    world.serve(world.spec())
    available = LATE + timedelta(hours=1)
    for at, visits in (
        (available - timedelta(microseconds=1), None),
        (available, 3),
        (available + timedelta(days=30), 3),
        (available + timedelta(days=30, microseconds=1), None),
    ):
        world.clock.set(at)
        assert world.outputs(KEY)[0]["visits"] == visits


def test_what_the_request_carries_wins_in_the_features_type(world: World) -> None:
    world.serve(world.spec(WALLETS, *FUNCTIONS))
    sent = {
        "money": "7.5",
        "visits": 5.0,
        "score": 2,
        "member": None,
        "since": "2025-02-28",
        "seen": "2025-02-01T07:30:00+01:00",
        "bytes": "/w==",
        "grade": None,
    }
    (row,) = world.outputs({**KEY, **sent})
    assert row == {
        **PLAIN,
        "money": "7.50",
        "visits": 5,
        "score": 2.0,
        "member": None,
        "since": "2025-02-28",
        "seen": "2025-02-01T06:30:00Z",
        "bytes": "/w==",
        "grade": None,
        "per_visit": 1.5,
        "age_days": 1,
    }
    assert isinstance(row["score"], float)
    assert world.outputs({**KEY, "per_visit": 9})[0]["per_visit"] == 9.0


@pytest.mark.parametrize(
    ("record", "column"),
    [
        ({"shop": "x"}, "customer_id"),
        ({**KEY, "customer_id": "s3cret"}, "customer_id"),
        ({**KEY, "visits": "s3cret"}, "visits"),
        ({**KEY, "money": 7.5}, "money"),
        ({**KEY, "money": "1e999999999"}, "money"),  # a gigabyte, written out
        ({**KEY, "money": "-1e-999999999"}, "money"),
        ({**KEY, "since": "s3cret"}, "since"),
        ({**KEY, "grade": {"s3cret": 1}}, "grade"),
        ({**KEY, "bytes": "s3cret?"}, "bytes"),
        ({**KEY, "bytes": 5}, "bytes"),
        ({**KEY, "per_visit": ["s3cret"]}, "per_visit"),
        ({**KEY, "visits": 0}, "per_visit"),  # the function divides by it
    ],
)
def test_errors_name_the_column_and_never_the_callers_data(
    world: World, record: Mapping[str, object], column: str
) -> None:
    world.serve(world.spec(WALLETS, *FUNCTIONS))
    asked = world.ask({"dataframe_records": [KEY, record]})
    assert (asked.status, asked.json["error_code"]) == (400, "BAD_REQUEST")
    assert column in asked.json["message"]
    assert "s3cret" not in asked.json["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"instances": [[1, "x"]]}, "no column names"),
        ({"dataframe_records": []}, "no rows"),
        ({"dataframe_records": [KEY], "params": {"predict_proba": True}}, "predicts nothing"),
        ({"rows": [KEY]}, "none of the input formats"),
    ],
)
def test_what_is_no_question_for_features_is_refused(world: World, body: object, said: str) -> None:
    world.serve(world.spec())
    asked = world.ask(body)
    assert asked.status == 400
    assert said in asked.json["message"]


def test_requests_are_split_between_specs_and_a_key_stays_with_one(world: World) -> None:
    visits, score = (world.spec(exclude=tuple(set(PLAIN) - {name})) for name in ("visits", "score"))
    world.serve(visits, score, traffic={"wallet0": 50, "wallet1": 50})
    served = {
        customer: {
            (asked.headers["served-model-name"], *asked.json["outputs"][0])
            for asked in (world.ask({"instances": [{"customer_id": customer, "shop": "x"}]}) for _ in range(3))
        }
        for customer in range(20)
    }
    assert all(len(answers) == 1 for answers in served.values())
    assert set.union(*served.values()) == {("wallet0", "visits"), ("wallet1", "score")}
    asked = world.ask({"instances": [KEY]}, "/served-models/wallet1")
    assert (asked.headers["served-model-name"], asked.json) == ("wallet1", {"outputs": [{"score": 0.1}]})
    assert world.ask({"instances": [KEY]}, "/served-models/other").status == 404


def arrow(columns: Mapping[str, pa.Array]) -> bytes:
    table, sink = pa.table(dict(columns)), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(columns: Mapping[str, pa.Array]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), sink)
    return sink.getvalue()


def test_a_key_stays_with_one_in_whatever_format_it_is_sent(world: World) -> None:
    divided = [world.spec(exclude=tuple(set(PLAIN) - {name})) for name in ("visits", "score")]
    world.serve(*divided, traffic={"wallet0": 50, "wallet1": 50})
    v2 = "/v2/models/wallet/infer"
    for customer in range(8):
        columns = {"customer_id": pa.array([customer], pa.int32()), "shop": pa.array(["x"])}
        number = {"name": "customer_id", "shape": [1], "datatype": "INT64", "data": [customer]}
        shop = {"name": "shop", "shape": [1], "datatype": "BYTES", "data": ["x"]}
        asked = [
            world.ask({"instances": [{"customer_id": customer, "shop": "x"}]}),
            world.ask({"inputs": {"shop": ["x"], "customer_id": [customer]}}),
            world.ask_raw(f"shop,customer_id\nx,{customer}".encode(), "text/csv"),
            world.ask_raw(json.dumps({"inputs": [number, shop]}).encode(), url=v2),
            world.ask_raw(arrow(columns), "application/vnd.apache.arrow.stream"),
            world.ask_raw(parquet(columns), "application/vnd.apache.parquet"),
        ]
        assert [each.status for each in asked] == [200] * 6
        assert len({each.headers["served-model-name"] for each in asked}) == 1
    world.capture.seal()
    drain(world.lake, world.root / "capture")
    kept = world.lake.read("ml.logs.wallet_payload").to_pylist()
    assert len(kept) == 48
    assert len({dict(request["request_metadata"])["caller"] for request in kept}) == 8


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/csv", b"shop,customer_id\nx,%030d" % 7, 200),
        ("text/csv", b"shop,customer_id\nx,%s" % (b"7" * 30), 200),
        ("text/csv", b"shop,customer_id\nx,%s" % (b"7" * 5000), 400),
        ("application/json", b'{"instances": [{"customer_id": %s, "shop": "x"}]}' % (b"7" * 30), 400),
        ("application/json", b'{"instances": [{"customer_id": 1, "shop": %s}]}' % (b"[" * 900 + b"]" * 900), 400),
        ("application/json", b'{"instances": [{"customer_id": {"a": 1}, "shop": "x"}]}', 400),
    ],
)
def test_keys_that_no_lookup_takes_keep_nobody_anywhere(world: World, kind: str, body: bytes, status: int) -> None:
    divided = [world.spec(exclude=tuple(set(PLAIN) - {name})) for name in ("visits", "score")]
    world.serve(*divided, traffic={"wallet0": 50, "wallet1": 50})
    assert world.ask_raw(body, kind).status == status


def test_requests_are_kept_and_there_are_no_predictions(world: World) -> None:
    world.serve(world.spec(WALLETS, *FUNCTIONS))
    good = world.ask({"dataframe_records": [KEY, {**KEY, "customer_id": 9}], "client_request_id": "mine"})
    world.clock.advance(timedelta(seconds=1))
    assert world.ask({"dataframe_records": [{}]}).status == 400
    world.capture.seal()
    done = drain(world.lake, world.root / "capture")
    assert (done.requests, done.rows) == (2, 2)
    kept, refused = sorted(
        world.lake.read("ml.logs.wallet_payload").to_pylist(), key=lambda request: request["request_time"]
    )
    assert kept["databricks_request_id"] == good.headers["databricks-request-id"]
    assert (kept["client_request_id"], kept["status_code"], kept["served_entity_id"]) == ("mine", 200, "wallet0")
    assert json.loads(kept["response"]) == good.json
    facts = {"endpoint_name": "wallet", "endpoint_generation": "1", "feature_spec": "ml.specs.wallet"}
    assert dict(kept["request_metadata"]) == facts
    version = world.lake.history("ml.features.wallets")[-1].version
    table = "ml.features.wallets"
    assert json.loads(kept["features"]) == [
        {"sources": [{"table": table, "event_time": "2025-03-01T10:00:00Z", "version": version}]},
        {"sources": [{"table": table, "event_time": None, "version": None}]},
    ]
    assert (refused["status_code"], refused["features"]) == (400, "[]")
    assert not world.lake.exists("ml.logs.wallet_predictions")


def test_a_table_that_is_not_online_is_not_loaded_and_one_that_leaves_is_an_error(world: World) -> None:
    spec = world.spec()
    world.serve(spec)
    world.online.remove(TableName.parse("ml.features.wallets"))
    asked = world.ask({"dataframe_records": [KEY]})
    assert (asked.status, asked.json["error_code"]) == (500, "INVALID_STATE")
    assert "publish" in asked.json["message"]
    with pytest.raises(InvalidState, match="not in the online store"):
        world.app.load(world.endpoint(spec, generation=2))


def test_a_plan_without_a_spec_is_refused(world: World) -> None:
    endpoint = world.endpoint(world.spec())
    with pytest.raises(InvalidInput, match="not a feature spec"):
        world.app.load(replace(endpoint, plans=(replace(endpoint.plans[0], feature_spec=None),)))


def test_the_state_says_what_is_served_from_where(world: World) -> None:
    paths = world.app.load(world.endpoint(world.spec(WALLETS, *FUNCTIONS)))
    from_where = "ml.features.wallets, default.per_visit v1, default.age_days v1"
    assert paths == {"wallet0": f"feature_spec: 10 features from {from_where}"}


def test_features_are_served_without_arrow(world: World) -> None:
    program = (
        "import json, sys; from datetime import datetime; from pathlib import Path; import millrace.api.worker\n"
        "from millrace.features.adapters.lmdb_online import LmdbOnlineStore; from millrace.features.spec import from_json\n"
        "from millrace.features.online.lookup import OnlineFeatures; from millrace.features.functions.values import json_value\n"
        "root, spec, key, now = sys.argv[1:]\n"
        "features = OnlineFeatures(LmdbOnlineStore(Path(root)), from_json(spec))\n"
        "(row,) = features.find([json.loads(key)], datetime.fromisoformat(now))\n"
        "found = {name: json_value(value) for name, value in row.values.items()}\n"
        "print(json.dumps([found, [name for name in ('pyarrow', 'pandas') if name in sys.modules]]))\n"
    )
    spec, online = to_json(world.spec(replace(WALLETS, default_values={}))), str(world.root / "online")
    command = [sys.executable, "-c", program, online, spec, json.dumps(KEY), START.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [PLAIN, []]
