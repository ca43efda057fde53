"""A server whose Redis stalls, and then is away: other endpoints go on, and who needs it is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
import redis

from millrace.feature_engineering import FeatureEngineeringClient, FeatureLookup
from millrace.testing.redis import RedisServer, temporary_redis
from millrace.workspace import open_workspace
from tests.integration.chaos_clients import wait
from tests.integration.chaos_server import ENDPOINTS, Server, serving
from tests.integration.constant_model import ROW, register_constant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.redis,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
# A client of Redis waits ten seconds for an answer, and asks three times.
ANSWER_S, PATIENCE_S = 10, 120


@dataclass(frozen=True)
class Stage:
    server: Server
    redis: RedisServer

    def ask(self, name: str, row: dict[str, object]) -> httpx.Response:
        with self.server.http() as http:
            path, body = f"/serving-endpoints/{name}/invocations", {"dataframe_records": [row]}
            return http.post(path, json=body, timeout=PATIENCE_S)

    def features(self) -> httpx.Response:
        return self.ask("features", {"customer_id": 7})

    @property
    def redis_pid(self) -> int:
        with redis.Redis(port=self.redis.port, password=self.redis.password) as client:
            return int(client.info("server")["process_id"])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """`features` looks up Redis, `churn` nothing; the server has one worker."""
    home = tmp_path / "home"
    with temporary_redis() as store:
        monkeypatch.setenv("MILLRACE_ONLINE_URL", store.new_url())
        _publish(home)
        with serving(home) as server:
            server.deploy("churn")
            with server.http() as http:
                entity = {"entity_name": "ml.specs.spend"}
                http.post(ENDPOINTS, json={"name": "features", "config": {"served_entities": [entity]}})
            made = Stage(server, store)
            wait(lambda: made.features().status_code == 200)
            yield made


def _publish(home: Path) -> None:
    """A table of features, and a spec that looks it up."""
    workspace = open_workspace(home)
    register_constant(workspace, 1)
    fe = FeatureEngineeringClient(workspace=workspace)
    rows = pa.table({"customer_id": [7], "ts": [datetime.now(UTC) - timedelta(days=1)], "spend": [2.5]})
    fe.create_table(name="ml.features.spend", primary_keys=["customer_id"], timeseries_column="ts", df=rows.to_pandas())
    fe.publish_table(source_table_name="ml.features.spend")
    lookup = FeatureLookup("ml.features.spend", "customer_id", timestamp_lookup_key="at")
    fe.create_feature_spec(name="ml.specs.spend", features=[lookup])
    workspace.close()


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_redis_that_stalls_holds_up_who_needs_it_and_nobody_else(stage: Stage) -> None:
    with ThreadPoolExecutor(20) as clients:
        with _stopped(stage.redis_pid):
            stopped_s = time.monotonic()
            asked = [clients.submit(stage.features) for _ in range(20)]
            for _ in range(10):
                assert stage.ask("churn", dict(ROW)).status_code == 200
                assert httpx.get(f"{stage.server.url}/health/live", timeout=PATIENCE_S).status_code == 200
                is_done = any(each.done() for each in asked)
                assert not is_done or time.monotonic() - stopped_s > ANSWER_S
        assert {each.result().status_code for each in asked} <= {200, 503}
    assert stage.features().json() == {"outputs": [{"spend": 2.5}]}


def test_a_redis_that_is_away_is_told_as_that(stage: Stage) -> None:
    os.kill(stage.redis_pid, signal.SIGKILL)
    away = stage.features()
    assert (away.status_code, away.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert away.headers["retry-after"] == "5"
    assert away.json()["message"] == "'spend' can't answer now: the online store does not answer"
    assert str(stage.redis.port) not in away.text
    assert stage.ask("churn", dict(ROW)).status_code == 200
