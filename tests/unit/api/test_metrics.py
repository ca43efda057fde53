from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from prometheus_client.parser import text_string_to_metric_families  # noqa: TID253 - a test

from millrace.api.deployments import Deployments
from millrace.api.metrics import Metrics
from millrace.api.workers import Workers
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.online.publish import publish
from millrace.features.port import OnlineStore
from millrace.features.spec import to_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.requests.counts import RequestCounts
from millrace.serving.types import Endpoint, EndpointName, EndpointState, LoadPlan
from millrace.workspace import Workspace

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
TABLE = "ml.features.customers"
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class Home:
    """What metrics read of a workspace, of the workers and of the store of endpoints."""

    clock: ManualClock
    online: OnlineStore
    capture_root: Path
    counted: list[dict[str, object]]
    found: list[Endpoint]

    def metrics(self) -> list[dict[str, object]]:
        return self.counted

    def list(self) -> list[Endpoint]:
        return self.found

    def scrape(self, accept: str = "") -> str:
        metrics = Metrics(cast(Workspace, self), cast(Workers, self), cast(Deployments, self))
        content, content_type = metrics.write(accept)
        assert ("openmetrics" in content_type) is ("openmetrics" in accept)
        return content.decode()

    def samples(self) -> Samples:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
        }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def counted(counts: RequestCounts, **more: object) -> dict[str, object]:
    return {"restarts": 0, "dropped": 0, "waiting": {}, "paths": {}, "shadows": [], **counts.read(), **more}


def endpoint() -> Endpoint:
    entity = served_entity("ml.models.churn", "3")
    spec = FeatureSpec((FeatureLookup("features.customers", "id"), FeatureLookup(TABLE, "other")), None, (), ("v",))
    return Endpoint(
        name=EndpointName("churn"),
        id="e",
        generation=1,
        config=endpoint_config(entity),
        plans=(LoadPlan(entity, "/m", "xgboost", (("v", "double"),), to_json(spec)),),
        pending=None,
        state=EndpointState(True, "NOT_UPDATING", paths={"churn-3": "xgboost: equal to the model's own predict"}),
        created_at=NOW,
        updated_at=NOW,
        owner="user:ada",
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    clock = ManualClock(NOW)
    engine = open_database(f"sqlite:///{tmp_path / 'home.db'}")
    lake = Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(tmp_path / "warehouse"))
    schema = pa.schema({"id": pa.int64(), "ts": pa.timestamp("us", "UTC"), "v": pa.float64()})
    create_feature_table(lake, TABLE, schema, primary_keys="id", timeseries_column="ts")
    write_feature_rows(lake, TABLE, pa.table({"id": [1], "ts": [NOW - timedelta(hours=2)], "v": [1.0]}, schema=schema))
    online = LmdbOnlineStore(tmp_path / "online")
    publish(lake, online, TABLE, as_of=NOW)
    yield Home(clock, online, tmp_path / "capture", [], [])
    online.close()
    engine.dispose()


def test_an_idle_server_has_metrics(home: Home) -> None:
    samples = home.samples()
    assert samples[key("millrace_process_up", process="control")] == 1
    assert samples[key("millrace_capture_waiting_segments")] == 0
    assert samples[key("millrace_capture_waiting_age_seconds")] == 0
    assert samples[key("millrace_online_store_up")] == 1


def test_each_worker_counts_for_itself_and_one_that_is_gone_says_nothing(home: Home) -> None:
    one, two = RequestCounts(), RequestCounts()
    for seconds in (0.0004, 0.0006, 70.0):
        one.answered("churn", "churn-3", 200, seconds, rows=2, predict_s=0.0002)
    two.answered("churn", "churn-3", 500, 0.01, rows=0, predict_s=None)
    two.begin("churn")
    waiting = {"churn": {"churn-3": 5}}
    home.counted = [counted(one), {}, counted(two, restarts=2, dropped=4, waiting=waiting)]
    samples = home.samples()
    served = {"endpoint": "churn", "entity": "churn-3"}
    assert samples[key("millrace_requests_total", **served, worker="0", status="200")] == 3
    assert samples[key("millrace_requests_total", **served, worker="2", status="500")] == 1
    assert samples[key("millrace_rows_total", **served, worker="0")] == 6
    buckets = {le: samples[key("millrace_request_duration_seconds_bucket", **served, worker="0", le=le)] for le in
               ("0.00025", "0.0005", "0.001", "60.0", "+Inf")}  # fmt: skip
    assert buckets == {"0.00025": 0, "0.0005": 1, "0.001": 2, "60.0": 2, "+Inf": 3}
    assert samples[key("millrace_request_duration_seconds_count", **served, worker="0")] == 3
    assert samples[key("millrace_request_duration_seconds_sum", **served, worker="0")] == pytest.approx(70.001)
    assert samples[key("millrace_predict_duration_seconds_count", **served, worker="0")] == 3
    assert key("millrace_predict_duration_seconds_count", **served, worker="2") not in samples
    assert samples[key("millrace_requests_in_flight", endpoint="churn", worker="2")] == 1
    assert samples[key("millrace_requests_waiting", **served, worker="2")] == 5
    assert samples[key("millrace_capture_dropped_total", worker="2")] == 4
    up = {process: samples[key("millrace_process_up", process=process)] for process in ("worker-0", "worker-1")}
    assert up == {"worker-0": 1, "worker-1": 0}
    assert samples[key("millrace_process_restarts_total", process="worker-2")] == 2
    assert not any(dict(labels).get("worker") == "1" for _, labels in samples)


def test_endpoints_and_how_they_answer(home: Home) -> None:
    ready = endpoint()
    waits = replace(ready, name=EndpointName("new"), plans=(), state=EndpointState(False, "IN_PROGRESS"))
    home.found = [ready, waits]
    samples = home.samples()
    assert samples[key("millrace_endpoint_ready", endpoint="churn")] == 1
    assert samples[key("millrace_endpoint_ready", endpoint="new")] == 0
    assert samples[key("millrace_traffic_percent", endpoint="churn", entity="churn-3")] == 100
    labels = {"endpoint": "churn", "entity": "churn-3", "serves": "ml.models.churn", "version": "3", "path": "xgboost"}
    assert samples[key("millrace_predict_path_info", **labels)] == 1


@pytest.mark.parametrize(
    ("loaded", "paths"),
    [
        ([{}, {}], {"xgboost"}),  # nobody has it: as it was deployed
        ([{"churn": {"churn-3": "onnx: equal"}}, {"churn": {"churn-3": "onnx: equal"}}], {"onnx"}),
        ([{"churn": {"churn-3": "onnx: equal"}}, {"churn": {"churn-3": "pyfunc: no proof"}}], {"onnx", "pyfunc"}),
        ([{"churn": {"churn-3": "sklearn: equal"}}, {"other": {"churn-3": "pyfunc: no proof"}}], {"sklearn"}),
    ],
)
def test_the_paths_are_those_of_what_workers_have_loaded(
    home: Home, loaded: list[dict[str, dict[str, str]]], paths: set[str]
) -> None:
    home.found = [endpoint()]
    home.counted = [{}, *(counted(RequestCounts(), paths=each) for each in loaded)]
    found = [dict(labels) for name, labels in home.samples() if name == "millrace_predict_path_info"]
    assert sorted(labels["path"] for labels in found) == sorted(paths)


def test_a_worker_of_the_version_before_tells_no_paths(home: Home) -> None:
    home.found = [endpoint()]
    before = counted(RequestCounts())
    del before["paths"]
    home.counted = [before, counted(RequestCounts(), paths={"churn": {"churn-3": "onnx: equal"}})]
    found = [dict(labels) for name, labels in home.samples() if name == "millrace_predict_path_info"]
    assert [labels["path"] for labels in found] == ["onnx"]


def test_features_age_with_the_homes_clock(home: Home) -> None:
    home.found = [endpoint()]
    home.clock.advance(timedelta(minutes=30))
    samples = home.samples()
    assert samples[key("millrace_feature_age_seconds", endpoint="churn", table=TABLE)] == 2.5 * 3600
    assert samples[key("millrace_feature_published_age_seconds", endpoint="churn", table=TABLE)] == 1800
    # The other table, of the catalog `main`, is not published.
    assert sum(name == "millrace_feature_age_seconds" for name, _ in samples) == 1


def test_an_online_store_that_is_away_hides_nothing_else(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_name: TableName) -> Any:
        raise InvalidState("gone")

    monkeypatch.setattr(home.online, "table", away)
    home.found = [endpoint()]
    samples = home.samples()
    assert samples[key("millrace_online_store_up")] == 0
    assert samples[key("millrace_endpoint_ready", endpoint="churn")] == 1


def test_segments_wait(home: Home) -> None:
    home.capture_root.mkdir()
    begun = datetime.now(UTC).timestamp()
    for name, age_s in (("a.segment", 90), ("b.open", 1)):
        (home.capture_root / name).write_bytes(b"12345")
        os.utime(home.capture_root / name, (begun - age_s, begun - age_s))
    samples = home.samples()
    assert samples[key("millrace_capture_waiting_segments")] == 2
    assert samples[key("millrace_capture_waiting_bytes")] == 10
    lasted_s = datetime.now(UTC).timestamp() - begun
    assert 90 <= samples[key("millrace_capture_waiting_age_seconds")] <= 90.001 + lasted_s


def test_openmetrics_is_written_for_who_asks_for_it(home: Home) -> None:
    assert home.scrape("application/openmetrics-text; version=1.0.0").endswith("# EOF\n")


def test_copies_for_shadows_are_told_by_what_became_of_them(home: Home) -> None:
    shadow = {"endpoint": "churn", "entity": "churn-4", "answered": 7, "dropped": 2}
    home.counted = [counted(RequestCounts(), shadows=[shadow])]
    found = home.samples()
    for outcome, count in (("answered", 7), ("dropped", 2)):
        labels = {"endpoint": "churn", "entity": "churn-4", "worker": "0", "outcome": outcome}
        assert found[key("millrace_shadow_copies_total", **labels)] == count
