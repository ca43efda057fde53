"""Rollouts on a running server: good versions get there, bad ones are rolled back by each of the four signals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from millrace.api.discovery import running_server
from millrace.core.errors import InvalidInput
from millrace.registry.types import ModelName
from millrace.targets.adapters.millrace_http import MillraceTarget
from millrace.targets.types import CanaryStatus, DeploymentSpec
from millrace.tracking.types import ModelToLog
from millrace.workspace import Workspace, open_workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

MODEL = "ml.models.churn"
GOOD, AGAIN, WANTS_MORE, SLOW, CONSTANT, WRONG, DAMAGED = "1234567"
# Small, so that a test takes seconds; what a test is not about can't stop its canary.
EASY = {"errors": 1.0, "latency": 1000.0, "predictions": 1.0, "quality": 1000.0}
SMALL: Mapping[str, object] = {"steps": [50, 100], "min_requests": 40}


@dataclass
class Running:
    """The server under test, asked as callers ask it."""

    url: str
    token: str
    home: Path
    asked: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @property
    def target(self) -> MillraceTarget:
        return MillraceTarget(self.url, self.token)

    def serve(self, name: str, version: str = GOOD) -> None:
        status = self.target.deploy(spec(name, version))
        assert (status.state, status.version) == ("ready", version)

    def begin(self, name: str, version: str, settings: Mapping[str, object], **limits: float) -> CanaryStatus:
        canary = {**settings, "limits": EASY | limits}
        return self._canary(self.target.deploy(spec(name, version, canary)).canary)

    def ask(self, name: str, count: int) -> Counter[tuple[str, int]]:
        """Who answered how, from `count` callers; remembers the ids of the answers."""
        found: Counter[tuple[str, int]] = Counter()
        rng = np.random.default_rng(len(self.asked.get(name, [])))
        headers = {"authorization": f"Bearer {self.token}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=30) as client:
            for number in range(count):
                row = {"spend": float(rng.normal()), "visits": float(rng.normal())}
                body = {"dataframe_records": [row], "client_request_id": f"{name}-{len(self.asked.get(name, []))}"}
                answer = client.post(f"/serving-endpoints/{name}/invocations", json=body)
                entity = answer.headers["served-model-name"]
                found[entity.rpartition("-")[2], answer.status_code] += 1
                truth = str(int(row["spend"] + row["visits"] > 0))
                self.asked.setdefault(name, []).append((answer.headers["databricks-request-id"], truth))
                del number
        return found

    def look(self, name: str) -> CanaryStatus:
        """Drain, which is followed by a look at the canaries; how this one stands then."""
        self.target.drain()
        status = self.target.status(name)
        assert status is not None
        return self._canary(status.canary)

    @staticmethod
    def _canary(found: CanaryStatus | None) -> CanaryStatus:
        assert found is not None
        return found


def spec(name: str, version: str, canary: Mapping[str, object] | None = None) -> DeploymentSpec:
    return DeploymentSpec(name, MODEL, version, ("main", "logs", name.replace("-", "_")), canary)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = tmp_path_factory.mktemp("canaries") / "home"
    workspace = open_workspace(home)
    register_versions(workspace)
    workspace.close()
    with running_server(home, workers=2) as info:
        yield Running(info.url, (home / "token").read_text().strip(), home)


def register_versions(workspace: Workspace) -> None:
    """Versions that predict whether spend + visits > 0, each bad in its own way."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    rows = {name: rng.normal(size=400) for name in ("spend", "visits", "age")}
    truth = (rows["spend"] + rows["visits"] > 0).astype(int)
    two, three = ["spend", "visits"], ["spend", "visits", "age"]
    register(workspace, LogisticRegression(), rows, two, truth)
    register(workspace, LogisticRegression(), rows, two, truth)
    register(workspace, LogisticRegression(), rows, three, truth)
    many = {name: rng.normal(size=80_000) for name in two}
    neighbours = KNeighborsClassifier(50, algorithm="brute")
    register(workspace, neighbours, many, two, (many["spend"] + many["visits"] > 0).astype(int))
    register(workspace, DummyClassifier(strategy="constant", constant=1), rows, two, truth)
    register(workspace, LogisticRegression(), rows, two, 1 - truth)
    register(workspace, LogisticRegression(), rows, two, truth)
    for file in workspace.registry.download(
        ModelName(MODEL), workspace.registry.versions(ModelName(MODEL))[-1].version
    ).iterdir():
        if file.name != "MLmodel":
            file.write_bytes(b"damaged")


def register(workspace: Workspace, model: Any, rows: dict[str, Any], names: list[str], labels: Any) -> None:
    import pandas as pd
    from mlflow.models import infer_signature

    frame = pd.DataFrame({name: rows[name] for name in names})
    model.fit(frame, labels)
    run = workspace.tracking.start("churn", "a version", {})
    signature = infer_signature(frame[:5], model.predict(frame[:5]))
    uri = workspace.tracking.log_model(
        run, "model", ModelToLog(model, "sklearn", signature, requirements=("scikit-learn",))
    )
    workspace.tracking.finish(run)
    workspace.registry.register(ModelName(MODEL), uri, run, {})


def test_a_good_version_takes_over_step_by_step(server: Running) -> None:
    server.serve("good")
    begun = server.begin("good", AGAIN, {"steps": [10, 50, 100], "min_requests": 40})
    assert (begun.outcome, begun.share) == ("running", 10)
    first = server.ask("good", 200)
    # Binomial with n 200, p 0.1: standard deviation 4.2; four of them. So 40 are not reached yet.
    assert abs(first[AGAIN, 200] - 20) < 17
    assert first[GOOD, 200] + first[AGAIN, 200] == 200
    now = server.look("good")
    assert (now.share, now.message[:32]) == (10, "waits for a sample: the challeng")
    # The server looks by itself too, every ten seconds.
    shares = [now.share]
    while now.outcome == "running":
        assert len(shares) < 30
        server.ask("good", 50)
        now = server.look("good")
        shares.append(now.share)
    assert (now.outcome, sorted(set(shares))) == ("finished", [10, 50, 100])
    assert shares == sorted(shares)
    assert server.ask("good", 20) == {(AGAIN, 200): 20}
    status = server.target.roll_back("good", "for the test")
    assert (status.state, status.version) == ("ready", GOOD)
    assert server.ask("good", 5) == {(GOOD, 200): 5}


@pytest.mark.parametrize(
    ("signal_", "version", "limits"),
    [
        ("errors", WANTS_MORE, {"errors": 0.01}),
        ("latency", SLOW, {"latency": 1.5, "latency_ms": 0.5}),
        ("predictions", CONSTANT, {"predictions": 0.3}),
    ],
)
def test_a_bad_version_is_rolled_back(server: Running, signal_: str, version: str, limits: dict[str, float]) -> None:
    name = f"bad-{signal_}"
    server.serve(name)
    server.begin(name, version, SMALL, **limits)
    answers, ended = server.ask(name, 160), server.look(name)
    # One sample says it, but for the latency where the machine held up the champion as well.
    for _ in range(5):
        if ended.outcome == "running":
            answers, ended = answers + server.ask(name, 160), server.look(name)
    status = 400 if signal_ == "errors" else 200
    assert answers[version, status] >= 40
    assert ended.outcome == "rolled_back"
    assert ended.message.startswith(f"{signal_}: ")
    assert "; " not in ended.message  # this signal, and no other
    assert server.ask(name, 20) == {(GOOD, 200): 20}


def test_a_version_that_is_wrong_is_rolled_back_when_labels_have_come(server: Running) -> None:
    server.serve("bad-quality")
    server.begin("bad-quality", WRONG, {**SMALL, "min_labels": 30}, quality=0.1)
    server.ask("bad-quality", 160)
    assert "of 30 labels" in server.look("bad-quality").message
    labels = [{"request_id": request, "label": int(truth)} for request, truth in server.asked["bad-quality"]]
    headers, url = (
        {"authorization": f"Bearer {server.token}"},
        f"{server.url}/api/millrace/endpoints/bad-quality/labels",
    )
    answer = httpx.post(url, json={"labels": labels}, headers=headers, timeout=60)
    assert answer.json()["joined"] == 160
    ended = server.look("bad-quality")
    assert ended.outcome == "rolled_back"
    assert ended.message.startswith("quality: its mean loss on ")
    assert server.ask("bad-quality", 10) == {(GOOD, 200): 10}
    kinds = events(server, "endpoint/bad-quality")
    assert kinds[-2:] == [("endpoint.updated", "system:canary"), ("canary.rolled_back", "system:canary")]


def events(server: Running, subject: str) -> list[tuple[str, str]]:
    workspace = open_workspace(server.home)
    found = [(event.kind, str(event.by)) for event in workspace.events.read(subject=subject)]
    workspace.close()
    return found


def test_a_version_that_can_not_be_loaded_never_takes_traffic(server: Running) -> None:
    server.serve("damaged")
    status = server.target.deploy(spec("damaged", DAMAGED, {**SMALL, "limits": EASY}))
    assert (status.state, status.version, status.canary) == ("failed", GOOD, None)
    assert server.ask("damaged", 40) == {(GOOD, 200): 40}
    assert events(server, "endpoint/damaged")[-1][0] == "endpoint.failed"


def test_a_canary_goes_on_where_the_control_process_was_killed(server: Running) -> None:
    server.serve("killed")
    server.begin("killed", CONSTANT, SMALL, predictions=0.3)
    server.ask("killed", 100)
    os.kill(control_of(server), signal.SIGKILL)
    answers = server.ask("killed", 60)  # the workers don't mind
    assert answers[GOOD, 200] + answers[CONSTANT, 200] == 60
    assert server.look("killed").outcome == "rolled_back"
    assert server.ask("killed", 20) == {(GOOD, 200): 20}


def control_of(server: Running) -> int:
    listed = subprocess.run(["ps", "ww", "-eo", "pid=,args="], capture_output=True, text=True, check=True).stdout
    found = [line for line in listed.splitlines() if "millrace.api.control" in line and str(server.home) in line]
    return int(found[0].split()[0])


def test_shadows_answer_and_nobody_sees_it(server: Running) -> None:
    server.serve("quiet")
    status = server.target.shadow("quiet", MODEL, CONSTANT, 100)
    assert (status.state, status.version) == ("ready", GOOD)
    assert server.ask("quiet", 60) == {(GOOD, 200): 60}
    asked = {request for request, _ in server.asked["quiet"]}
    deadline = time.monotonic() + 60
    while sum(copies(server, "quiet").values()) < 60:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    server.target.drain()
    workspace = open_workspace(server.home)
    tables = {
        name: workspace.lake.read(f"main.logs.quiet_{name}").to_pylist()
        for name in ("payload", "predictions", "shadow_payload", "shadow_predictions")
    }
    workspace.close()
    assert {row["databricks_request_id"] for row in tables["payload"]} == asked
    assert {row["model_version"] for row in tables["predictions"]} == {GOOD}
    shadows = tables["shadow_payload"]
    assert len(shadows) == copies(server, "quiet")["answered"] > 0
    assert {row["databricks_request_id"] for row in shadows} <= asked
    assert {row["served_entity_id"] for row in shadows} == {f"churn-{CONSTANT}"}
    assert {(row["prediction"], row["probability"]) for row in tables["shadow_predictions"]} == {(1.0, 1.0)}
    assert server.target.shadow("quiet", MODEL, CONSTANT, 0).version == GOOD


def copies(server: Running, name: str) -> Counter[str]:
    """How many copies were answered, and how many were dropped, as the metrics say."""
    text = httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {server.token}"}, timeout=30).text
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("millrace_shadow_copies_total{") and f'endpoint="{name}"' in line:
            outcome = "answered" if 'outcome="answered"' in line else "dropped"
            found[outcome] += int(float(line.rpartition(" ")[2]))
    return found


def test_a_canary_can_begin_in_shadow(server: Running) -> None:
    server.serve("shy")
    begun = server.begin("shy", CONSTANT, {**SMALL, "shadow": 50}, predictions=0.3)
    assert (begun.outcome, begun.share) == ("running", 0)
    ended = begun
    # As many as it takes, should some copies be dropped on a busy machine.
    for _ in range(5):
        assert server.ask("shy", 120) == {(GOOD, 200): 120}
        time.sleep(0.2)
        ended = server.look("shy")
        if ended.outcome != "running":
            break
    assert (ended.outcome, ended.share) == ("rolled_back", 0)
    assert ended.message.startswith("predictions: ")


def test_without_capture_there_is_no_canary(server: Running) -> None:
    assert server.target.deploy(DeploymentSpec("bare", MODEL, GOOD)).state == "ready"
    with pytest.raises(InvalidInput, match="logs nothing"):
        server.target.deploy(DeploymentSpec("bare", MODEL, AGAIN, canary=SMALL))
