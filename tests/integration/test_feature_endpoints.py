"""An endpoint that serves features: made by the client, asked over HTTP, its answers those of the offline lookup."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pyarrow as pa
import pytest

from millrace.api.discovery import running_server
from millrace.core.errors import AlreadyExists, InvalidInput, InvalidState, NotFound
from millrace.database.clock import HomeClock
from millrace.feature_engineering import (
    AutoCaptureConfig,
    EndpointCoreConfig,
    FeatureEngineeringClient,
    FeatureFunction,
    FeatureLookup,
    ServedEntity,
)
from millrace.lake.lake import Lake
from millrace.workspace import open_workspace

pytestmark = pytest.mark.slow

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
ENDPOINTS = "/api/2.0/serving-endpoints"
_PATIENCE_S = 120
SPEND = FeatureLookup(
    "ml.features.spend",
    "customer_id",
    timestamp_lookup_key="at",
    lookback_window=timedelta(days=20),
    default_values={"grade": "none"},
)
SHOPS = FeatureLookup("ml.features.shops", ["shop", "city"], rename_outputs={"size": "shop_size"})
RATIO = FeatureFunction("ml.functions.ratio", {"spend": "total", "size": "shop_size"}, "ratio")
AGE = FeatureFunction("ml.functions.days_since", {"at": "at", "since": "since"}, "age")
ASKED = [
    {"customer_id": customer, "shop": shop, "city": "a"} for customer in range(12) for shop in ("small", "big", "none")
]


def ratio(spend: Decimal, size: float | None) -> float | None:
    return None if not size else float(spend) / size


def days_since(at: datetime, since: date) -> int:
    return (at.date() - since).days


@dataclass(frozen=True)
class Running:
    """A server in virtual time, and a client that is another process than it."""

    client: FeatureEngineeringClient
    http: httpx.Client
    now: HomeClock
    lake: Lake

    def ask(self, name: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = self.http.post(f"/serving-endpoints/{name}/invocations", json={"dataframe_records": records})
        assert answer.status_code == 200, answer.text
        outputs = answer.json()["outputs"]
        assert isinstance(outputs, list)
        return outputs

    def settled(self, name: str) -> dict[str, Any]:
        """The endpoint, once no update of it is under way."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            found: dict[str, Any] = self.http.get(f"{ENDPOINTS}/{name}").json()
            if found["state"]["config_update"] != "IN_PROGRESS":
                return found
            assert time.monotonic() < until
            time.sleep(0.05)

    def offline(self, spec: str, at: datetime) -> list[dict[str, Any]]:
        """The spec's features for ASKED, from the feature tables themselves, as JSON writes them."""
        times = pa.array([at] * len(ASKED), STAMP)
        frame = pa.Table.from_pylist(ASKED).append_column("at", times)
        rows = self.client.create_training_set(df=frame, feature_spec=spec, label=None).to_arrow().to_pylist()
        return [{name: plain(row[name]) for name in row if name not in (*ASKED[0], "at")} for row in rows]


def plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, date | Decimal) else value


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("features") / "home"
    workspace = open_workspace(home)
    workspace.clock.set(NOW)
    client = FeatureEngineeringClient(workspace=workspace)
    _make_tables(client)
    client.create_function(name="ml.functions.ratio", function=ratio)
    client.create_function(name="ml.functions.days_since", function=days_since)
    client.create_feature_spec(name="ml.specs.shopping", features=[SPEND, SHOPS, RATIO, AGE], exclude_columns=["since"])
    with running_server(home, workers=2) as server:
        headers = {"authorization": f"Bearer {(home / 'token').read_text().strip()}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=_PATIENCE_S) as http:
            yield Running(client, http, workspace.clock, workspace.lake)
    workspace.close()


def _make_tables(client: FeatureEngineeringClient) -> None:
    rows = [
        {
            "customer_id": customer,
            "ts": NOW - timedelta(days=age, hours=customer),
            "total": Decimal(customer * 100 + age) / 4,
            "visits": customer * age,
            "since": date(2024, 1, 1) + timedelta(days=31 * customer),
            "seen": NOW - timedelta(days=age),
            "grade": None if customer % 4 == 0 else "ab"[customer % 2],
        }
        for customer in range(1, 10)
        for age in (0, 7, 19)
        if customer % 3 or age == 19
    ]
    types = {
        "customer_id": pa.int64(),
        "ts": STAMP,
        "total": pa.decimal128(12, 2),
        "visits": pa.int32(),
        "since": pa.date32(),
        "seen": STAMP,
        "grade": pa.string(),
    }
    client.create_table(
        name="ml.features.spend",
        primary_keys="customer_id",
        timeseries_column="ts",
        df=pa.Table.from_pylist(rows, schema=pa.schema(types)),
        available_after=timedelta(hours=6),
    )
    shops = {"shop": ["small", "big", "big"], "city": ["a", "a", "b"], "size": pa.array([0.0, 0.1, 9.5], pa.float32())}
    client.create_table(name="ml.features.shops", primary_keys=["shop", "city"], df=pa.table(shops))


def config(spec: str, **more: Any) -> EndpointCoreConfig:
    return EndpointCoreConfig(served_entities=ServedEntity(feature_spec_name=spec, workload_size="Small"), **more)


def test_from_a_spec_to_answers_that_equal_the_offline_lookup(running: Running) -> None:
    client = running.client
    # Tables first.
    with pytest.raises(InvalidState, match=r"ml.features.spend is not in the online store") as caught:
        client.create_feature_serving_endpoint(name="shopping", config=config("ml.specs.shopping"))
    assert "publish" in caught.value.hint
    with pytest.raises(NotFound):
        client.get_feature_serving_endpoint(name="shopping")
    for table in ("ml.features.spend", "ml.features.shops"):
        client.publish_table(source_table_name=table)
    capture = AutoCaptureConfig(schema_name="logs", table_name_prefix="shopping", catalog_name="ml")
    made = client.create_feature_serving_endpoint(
        name="shopping", config=config("ml.specs.shopping", auto_capture_config=capture)
    )
    assert (made.state, made.config_update, made.config_version) == ("READY", "NOT_UPDATING", 1)
    assert (made.config.auto_capture_config, made.config.traffic) == (capture, {"shopping": 100})
    assert made.endpoint_url.endswith("/serving-endpoints/shopping/invocations")

    # The same at each time: rows become available, others too old.
    seen = set()
    for days in (0, 0.25, 1, 12, 40):
        at = NOW + timedelta(days=days)
        running.now.set(at)
        outputs = running.ask("shopping", ASKED)
        assert outputs == running.offline("ml.specs.shopping", at)
        assert list(outputs[0]) == ["total", "visits", "seen", "grade", "shop_size", "ratio", "age"]
        seen.add(str(outputs))
    assert len(seen) == 5
    running.now.set(NOW + timedelta(hours=12))
    (row,) = running.ask("shopping", [{"customer_id": 1, "shop": "big", "city": "a"}])
    # Customer 1 has a row of 11:00, known from 17:00 on: 100 / 4, no visits, a customer since February 1, 2024.
    size = 0.10000000149011612  # 0.1 in single precision
    assert row == {
        "total": "25.00",
        "visits": 0,
        "seen": "2025-03-10T12:00:00Z",
        "grade": "b",
        "shop_size": size,
        "ratio": 25 / size,
        "age": 404,
    }


def test_an_update_takes_the_spec_as_it_is_then(running: Running) -> None:
    client, asked = running.client, [{"customer_id": 1, "shop": "big", "city": "a"}]
    running.now.set(NOW + timedelta(hours=12))
    client.create_feature_spec(name="ml.specs.frozen", features=[SPEND, SHOPS])
    client.create_feature_serving_endpoint(name="frozen", config=config("ml.specs.frozen"))
    before = running.ask("frozen", asked)
    client.update_feature_spec(name="ml.specs.frozen", features=[SHOPS])
    assert running.ask("frozen", asked) == before
    updated = client.update_feature_serving_endpoint(name="frozen", config=config("ml.specs.frozen"))
    assert updated.config_version == 2
    assert running.ask("frozen", asked) == [{"shop_size": 0.10000000149011612}]
    # A spec that is gone is served on; an update that can't be made changes nothing.
    client.delete_feature_spec(name="ml.specs.frozen")
    with pytest.raises(NotFound, match=r"ml.specs.frozen"):
        client.update_feature_serving_endpoint(name="frozen", config=config("ml.specs.frozen"))
    assert client.get_feature_serving_endpoint(name="frozen").config_version == 2
    assert running.ask("frozen", asked) == [{"shop_size": 0.10000000149011612}]
    client.delete_feature_serving_endpoint(name="frozen")
    assert running.http.post("/serving-endpoints/frozen/invocations", json={}).status_code == 404
    with pytest.raises(NotFound):
        client.delete_feature_serving_endpoint(name="frozen")


def test_rest_has_the_shapes_of_models_endpoints_without_a_version(running: Running) -> None:
    client, http = running.client, running.http
    client.create_feature_spec(name="ml.specs.shops", features=[SHOPS])
    client.create_feature_spec(name="ml.specs.spend", features=[SPEND])
    both = {
        "served_entities": [
            {"entity_name": "ml.specs.shops", "workload_size": "Small"},
            {"entity_name": "ml.specs.spend", "name": "second"},
        ],
        "traffic_config": {
            "routes": [
                {"served_entity_name": "shops", "traffic_percentage": 30},
                {"served_entity_name": "second", "traffic_percentage": 70},
            ]
        },
    }
    made = http.post(ENDPOINTS, json={"name": "both", "config": both})
    assert made.status_code == 200, made.text
    found = running.settled("both")  # it is answered before, where it takes more than a second
    assert found["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
    assert [(e["name"], e["entity_name"], "entity_version" in e) for e in found["config"]["served_entities"]] == [
        ("shops", "ml.specs.shops", False),
        ("second", "ml.specs.spend", False),
    ]
    assert found["config"]["served_entities"][0]["state"]["deployment_state_message"].startswith("feature_spec: 1 ")
    assert "both" in [endpoint["name"] for endpoint in http.get(ENDPOINTS).json()["endpoints"]]
    assert client.get_feature_serving_endpoint(name="both").config.traffic == {"shops": 30, "second": 70}
    answer = http.post(
        "/serving-endpoints/both/served-models/shops/invocations",
        json={"dataframe_split": {"columns": ["shop", "city"], "data": [["big", "b"]]}},
    )
    assert (answer.json(), answer.headers["served-model-name"]) == ({"outputs": [{"shop_size": 9.5}]}, "shops")
    bad = http.post("/serving-endpoints/both/served-models/shops/invocations", json={"inputs": {"shop": ["big"]}})
    assert (bad.status_code, bad.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "'city'" in bad.json()["message"]
    mixed = {"served_entities": [{"entity_name": "ml.specs.shops"}, {"entity_name": "m", "entity_version": "1"}]}
    refused = http.put(f"{ENDPOINTS}/both/config", json=mixed)
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert http.delete(f"{ENDPOINTS}/both").status_code == 200
    assert http.get(f"{ENDPOINTS}/both").status_code == 404


def test_what_was_asked_is_kept(running: Running) -> None:
    running.now.set(NOW + timedelta(days=50))
    running.ask("shopping", ASKED[:2])
    running.http.post("/api/millrace/capture/drain").raise_for_status()
    last = max(running.lake.read("ml.logs.shopping_payload").to_pylist(), key=lambda kept: kept["request_time"])
    assert (last["status_code"], last["served_entity_id"]) == (200, "shopping")
    assert last["request_time"] == NOW + timedelta(days=50)
    assert not running.lake.exists("ml.logs.shopping_predictions")


def test_names_that_are_taken_or_are_none(running: Running) -> None:
    client = running.client
    with pytest.raises(AlreadyExists):
        client.create_feature_serving_endpoint(name="shopping", config=config("ml.specs.shopping"))
    with pytest.raises(InvalidInput, match="can't be the name of an endpoint"):
        client.create_feature_serving_endpoint(name="a/b", config=config("ml.specs.shopping"))
    with pytest.raises(NotFound) as caught:
        client.create_feature_serving_endpoint(name="other", config=config("ml.specs.shoping"))
    assert "ml.specs.shopping" in caught.value.hint
