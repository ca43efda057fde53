"""A hot app that is asked in-process, in the usual way or by its lane, and what is kept of that."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millrace.access.types import CALLER, owner
from millrace.core.clock import ManualClock
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.spec import to_json
from millrace.features.types import FeatureSpec
from millrace.lake.lake import Lake
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.drain import drain
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.turns import Limits
from millrace.serving.requests.desk import Response
from millrace.serving.requests.hot import HotApp
from millrace.serving.requests.lane import Head
from millrace.serving.types import Capture, DrainResult, Endpoint, EndpointName, EndpointState, LoadPlan

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
ADA = owner("user:ada")
JSON = b"application/json"


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
        content_type: bytes = JSON,
        headers: Sequence[tuple[bytes, bytes]] = (),
        method: str = "POST",
        anonymous: bool = False,
    ) -> Reply:
        where, _, query = path.partition("?")
        scope: dict[str, Any] = {"type": "http", "method": method, "path": where, "query_string": query.encode()}
        scope["headers"] = [(b"content-type", content_type), *headers]
        if not anonymous:
            scope[CALLER] = ADA
        assert self.app.handles(scope)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, end = sent
        return self._entered(Reply(start["status"], dict(start["headers"]), end["body"]))

    def ask_by_lane(
        self, path: str, body: bytes, content_type: bytes = JSON, headers: Sequence[tuple[bytes, bytes]] = ()
    ) -> Reply | None:
        """The answer of the short way; None for what that leaves to the usual one."""
        where, _, query = path.partition("?")
        head = Head(where, query.encode(), dict([(b"content-type", content_type), *headers]))
        response = self.loop.run_until_complete(self._visit(head, body))
        return (
            None if response is None else self._entered(Reply(response.status, dict(response.headers), response.body))
        )

    async def _visit(self, head: Head, body: bytes) -> Response | None:
        visitor = _Visitor(self.loop.create_future())
        return await visitor.response if self.app.lane.takes(head, ADA, body, visitor) else None

    def _entered(self, reply: Reply) -> Reply:
        if b"databricks-request-id" in reply.headers:
            self.answered[reply.headers[b"databricks-request-id"].decode()] = reply.status, reply.predicted
        return reply


@dataclass(frozen=True)
class _Visitor:
    """Who waits at the lane."""

    response: asyncio.Future[Response]

    def respond(self, response: Response) -> None:
        self.response.set_result(response)


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
