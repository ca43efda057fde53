"""A server's worker without the server, for tests that kill it or watch what it asks of the kernel."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from xgboost import XGBClassifier  # noqa: TID253 - a test

from millrace.api.options import ChildOptions
from millrace.api.runtime import socket_folder
from millrace.core.principal import Principal
from millrace.serving.endpoints import endpoints
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.types import Capture, LoadPlan
from millrace.targets.local_server import home_token
from millrace.workspace import open_workspace

BODY = b'{"instances": [[1.0, 2.0]]}'
PATH = "/serving-endpoints/churn/invocations"


@dataclass(frozen=True)
class Worker:
    """A worker that answers: its process (or that of whoever started it), and how it is asked."""

    process: subprocess.Popen[bytes]
    port: int
    headers: Mapping[str, str]


def write_model(folder: Path) -> Path:
    """Trees of XGBoost over two doubles, as MLflow would write them."""
    features = np.random.default_rng(5).normal(size=(100, 2))
    model = XGBClassifier(n_estimators=5, n_jobs=1).fit(features, (features[:, 0] > 0).astype(int))
    folder.mkdir(parents=True)
    model.save_model(folder / "model.ubj")
    flavor = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}
    signature = json.dumps([{"name": "a", "type": "double"}, {"name": "b", "type": "double"}])
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"xgboost": flavor}, "signature": {"inputs": signature}}))
    return folder


def deploy(home: Path) -> None:
    """Have a home whose endpoint `churn` serves such a model, and is captured to `ml.logs.churn_*`."""
    entity, facts = endpoints.served_entity("ml.models.churn", "1"), read_model_folder(write_model(home / "model"))
    plan = LoadPlan(entity, str(home / "model"), facts.flavor, facts.inputs, None)
    config = endpoints.endpoint_config(entity, capture=Capture("ml", "logs", "churn"))
    with closing(open_workspace(home)) as workspace:
        made = endpoints.create(workspace.endpoints, workspace.clock, Principal("user", "ada"), "churn", config)
        ready = endpoints.candidate(made, (plan,))
        endpoints.activate(workspace.endpoints, workspace.clock, ready, {entity.name: "xgboost: equal"})


@contextmanager
def running(home: Path, under: Sequence[str] = (), process_group: int | None = None) -> Iterator[Worker]:
    """A worker of the home, from when it answers, killed at the end. `under`: the command that starts it, if not this process."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        port = listener.getsockname()[1]
        options = ChildOptions(
            str(home), str(socket_folder(home)), "test", f"http://127.0.0.1:{port}", listen_fd=listener.fileno()
        )
        process = subprocess.Popen(
            [*under, sys.executable, "-m", "millrace.api.worker", options.text()],
            pass_fds=[listener.fileno()],
            process_group=process_group,
        )
        headers = {"authorization": f"Bearer {home_token(home)}", "content-type": "application/json"}
        with process:
            try:
                worker = Worker(process, port, headers)
                _wait(worker)
                yield worker
            finally:
                process.kill()


def _wait(worker: Worker, within_s: float = 150.0) -> None:
    """Until its model is proved and loaded."""
    until = time.monotonic() + within_s
    url = f"http://127.0.0.1:{worker.port}/v2/models/churn/ready"
    while httpx.get(url, headers=worker.headers, timeout=within_s).status_code != httpx.codes.OK:
        assert worker.process.poll() is None
        assert time.monotonic() < until, "its model is not loaded"
        time.sleep(0.1)
