"""MLflow's own API and UI, inside the control process: `/mlflow/` for people, its usual paths for its clients."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from http import HTTPStatus
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.api.errors import error_body
from millrace.core.settings import Settings
from millrace.database.mlflow import opening_mlflow

_log = logging.getLogger(__name__)
# What MLflow's clients and pages need. Its other services (gateway, assistant, jobs, tool servers, trace collector) run
# code or reach out to the network on a caller's word, and are not opened.
_OPENED = tuple(
    f"/{api}/{version}/{service}/"
    for api in ("api", "ajax-api")
    for version in ("2.0", "3.0")
    for service in ("mlflow", "mlflow-artifacts")
)
_CLOSED = tuple(
    f"/{api}/{version}/mlflow/{service}"
    for api in ("api", "ajax-api")
    for version in ("2.0", "3.0")
    for service in ("assistant", "gateway", "mcp", "webhooks", "scorers/online", "runs/create-promptlab-run")
)
_PAGES = ("/", "/version", "/graphql", "/get-artifact", "/model-versions/get-artifact")


def is_mlflow_path(path: str) -> bool:
    """Whether MLflow answers this path; `path` is without the `/mlflow` prefix."""
    opened = path in _PAGES or path.startswith((*_OPENED, "/static-files/"))
    return opened and not path.startswith(_CLOSED)


class MlflowMount:
    """An ASGI application around MLflow's server, which takes seconds to import: requests wait for it.

    Args:
        settings: where MLflow's database is.
        secret: text that MLflow signs its form tokens with, the same at each start.
    """

    def __init__(self, settings: Settings, secret: str) -> None:
        self._settings = settings
        self._secret = secret
        self._lock = threading.Lock()
        self._app: ASGIApp | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether MLflow is imported and its database migrated."""
        return self._app is not None

    def load(self) -> ASGIApp:
        """Import MLflow and open its stores, once; seconds at the first call. Thread-safe."""
        with self._lock:
            if self._app is None:
                self._app = _start(self._settings, self._secret)
            return self._app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"].removeprefix("/mlflow")
        if not path:
            await RedirectResponse("/mlflow/", 307)(scope, receive, send)
        elif not is_mlflow_path(path):
            error = error_body("RESOURCE_DOES_NOT_EXIST", f"there is nothing at {scope['path']}")
            await JSONResponse(error, 404)(scope, receive, send)
        else:
            app = self._app if self._app is not None else await run_in_threadpool(self.load)
            inner = {**scope, "path": path, "raw_path": scope["raw_path"].removeprefix(b"/mlflow"), "root_path": ""}
            await app(inner, receive, _without_internals(send, scope["path"]))


def _without_internals(send: Send, path: str) -> Send:
    """Answers of 500 and above get a body of ours: MLflow's own may hold SQL with its parameters, and is not even logged."""
    failed: list[Message] = []

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
            failed.append(message)
        elif not failed:
            await send(message)
        else:
            failed.append(message)
            if not message.get("more_body", False):
                status = failed[0]["status"]
                kind = _kind(b"".join(part.get("body", b"") for part in failed[1:]))
                _log.error("MLflow answered %s with %s: %s", path, status, kind)
                for part in _failure(status, path):
                    await send(part)

    return sender


def _kind(body: bytes) -> str:
    """MLflow's error code, the only thing in its body that says nothing of the request."""
    found = re.match(rb'\s*\{\s*"error_code"\s*:\s*"([A-Z_]{1,64})"', body)
    return "no kind" if found is None else found[1].decode()


def _failure(status: int, path: str) -> tuple[Message, Message]:
    code = "TEMPORARILY_UNAVAILABLE" if status == HTTPStatus.SERVICE_UNAVAILABLE else "INTERNAL_ERROR"
    hint = "the control process's log in the home has its kind, and where it was raised where MLflow says so"
    answer = JSONResponse(error_body(code, f"MLflow failed at {path}", hint), status)
    start = {"type": "http.response.start", "status": status, "headers": answer.raw_headers}
    return start, {"type": "http.response.body", "body": answer.body}


def _start(settings: Settings, secret: str) -> ASGIApp:
    artifacts = settings.home / "mlartifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    os.environ.update(_environment(settings.mlflow_url, artifacts, secret))
    with opening_mlflow(settings.mlflow_url):
        # The order matters: MLflow reads the environment while it is imported.
        from mlflow.server import handlers

        handlers.initialize_backend_stores(settings.mlflow_url, settings.mlflow_url, "mlflow-artifacts:/")
    from mlflow.server.fastapi_app import app

    server: ASGIApp = app
    return server


def _environment(url: str, artifacts: Path, secret: str) -> dict[str, str]:
    return {
        "_MLFLOW_SERVER_FILE_STORE": url,
        "_MLFLOW_SERVER_REGISTRY_STORE": url,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts.as_uri(),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": hashlib.sha256(b"mlflow:" + secret.encode()).hexdigest(),
        # The guard in front checks host and origin, and more strictly: two lists would have to be kept alike.
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
