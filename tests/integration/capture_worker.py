"""A worker alone, for tests that kill or watch it: `capture_worker.py ROOT DURABILITY QUOTA_BYTES`. Says its port.

ROOT has `model/`, an MLflow model of two doubles; what is captured goes to `capture/`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn

from millrace.access.types import CALLER, owner
from millrace.core.clock import SystemClock
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Capture, Endpoint, EndpointName, EndpointState, LoadPlan


def _endpoint(root: Path) -> Endpoint:
    entity, facts = served_entity("ml.models.churn", "1"), read_model_folder(root / "model")
    plan = LoadPlan(entity, str(root / "model"), facts.flavor, facts.inputs, None)
    config = endpoint_config(entity, capture=Capture("ml", "logs", "churn"))
    now = SystemClock().now()
    state = EndpointState(ready=True, config_update="NOT_UPDATING")
    return Endpoint(EndpointName("churn"), "id", 1, config, (plan,), None, state, now, now, "user:ada")


def main(root: Path, durability: Any, quota_bytes: int) -> None:
    """Serve until killed."""
    clock = SystemClock()
    capture = CaptureLog(root / "capture", "w0", clock, durability=durability, quota_bytes=quota_bytes)
    hot = HotApp(clock, LmdbOnlineStore(root / "online"), capture)
    hot.serve([_endpoint(root)])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hot({**scope, CALLER: owner("user:ada")}, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
    asyncio.run(server.serve([listener]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
