"""A hot app over models that tests can hold up, and what becomes of the requests in its lane."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from millrace.access.types import owner
from millrace.core.clock import ManualClock
from millrace.core.settings import Durability
from millrace.features.port import OnlineStore
from millrace.features.spec import to_json
from millrace.features.types import FeatureSpec
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.records import Record, read_payload
from millrace.serving.capture.segments import read_segment, sealed
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.inputs import Inputs
from millrace.serving.models.turns import Limits, Turns
from millrace.serving.port import Served
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.desk import Response
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.requests.hot import HotApp
from millrace.serving.requests.lane import Head
from millrace.serving.requests.served import ServedModel
from millrace.serving.requests.served_features import ServedFeatures
from millrace.serving.types import (
    Capture,
    Endpoint,
    EndpointConfig,
    EndpointName,
    EndpointState,
    ExtraColumns,
    LoadPlan,
    Prediction,
)

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
ADA = owner("user:ada")
JSON = {b"content-type": b"application/json"}
# (message, as whom) of each line of the log.
LogLines = list[tuple[str, tuple[str, str] | None]]
_COLUMNS = json.dumps([{"name": "x", "type": "double", "required": True}])
_LOG = logging.getLogger("a.foreign.model")


class Adding:
    """Adds `more` to x; fails on what is negative, and says so in the log. Waits while its gate is closed.

    Attributes:
        calls: the rows of each.
        names: as whom each was made.
    """

    path = why = "test"

    def __init__(self, more: float = 1.0, quick_rows: int = 32) -> None:
        self.more, self.quick_rows = more, quick_rows
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[list[float]] = []
        self.names: list[tuple[str, str] | None] = []

    def predict(self, inputs: Inputs) -> Prediction:
        rows = inputs.numbers[:, 0].tolist()
        self.calls.append(rows)
        self.names.append(CURRENT.get())
        assert self.gate.wait(30)
        if any(value < 0 for value in rows):
            _LOG.warning("what is negative can't be added to")
            raise ValueError("negative")
        return Prediction([value + self.more for value in rows], None)


class Visitor:
    """Who waits for an answer. Leaves before it comes, or breaks when it does, if told to."""

    def __init__(self, *, breaks: bool = False) -> None:
        self.breaks = breaks
        self.responses: list[Response] = []

    def respond(self, response: Response) -> None:
        self.responses.append(response)
        if self.breaks:
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    @property
    def response(self) -> Response:
        (only,) = self.responses
        return only

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def content(self) -> Any:
        return json.loads(self.response.body)

    @property
    def heads(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.response.headers}


class Scene:
    """A worker's hot app and capture, without its process."""

    def __init__(
        self,
        root: Path,
        *,
        limits: Limits | None = None,
        durability: Durability = "process",
        quota_bytes: int = 1 << 30,
        sync_s: float = 0.01,
        online: object = None,
    ) -> None:
        self.root, self.limits, self.clock = root, limits or Limits(), ManualClock(NOW)
        self.online = cast("OnlineStore", online)
        self.capture = CaptureLog(
            root / "capture", "w0", self.clock, durability=durability, quota_bytes=quota_bytes, sync_s=sync_s
        )
        self.hot = HotApp(self.clock, self.online, self.capture, self.limits)
        self.lane, self.desk = self.hot.lane, self.hot._desk
        self._heads = dict[tuple[object, ...], Head]()
        self._thread = self.hot._generations._thread
        self._model = root / "model"
        self._model.mkdir()
        (self._model / "MLmodel").write_text(json.dumps({"flavors": {}, "signature": {"inputs": _COLUMNS}}))

    def close(self) -> None:
        self.capture.close()
        self._thread.shutdown()

    def serve(
        self,
        name: str,
        *models: Adding,
        together: bool = True,
        spec: FeatureSpec | None = None,
        traffic: Mapping[str, int] | None = None,
        shadow: Mapping[str, int] | None = None,
        captured: bool = True,
        extra_columns: ExtraColumns | None = None,
    ) -> ServedEndpoint:
        """Serve models at once, as `<name>-1`, `<name>-2`, ..., the first with all traffic unless told otherwise.

        `spec` says how their input x is looked up.
        """
        looked_up = None if spec is None else to_json(spec)
        entities = [served_entity(f"ml.models.{name}", str(at)) for at in range(1, len(models) + 1)]
        plans = tuple(LoadPlan(each, str(self._model), "sklearn", (("x", "double"),), looked_up) for each in entities)
        config = endpoint_config(
            *entities,
            traffic=traffic or {f"{name}-1": 100},
            shadow=shadow or {},
            capture=Capture("ml", "logs", name) if captured else None,
            extra_columns=extra_columns,
        )
        stored = _stored(name, config, plans)
        served = {
            plan.entity.name: ServedModel(
                stored, plan, Turns(model, self._thread, self.limits, together=together), self.online
            )
            for plan, model in zip(plans, models, strict=True)
        }
        return self._serve(stored, served)

    def serve_features(self, name: str, spec: FeatureSpec) -> ServedEndpoint:
        """Serve the features of a spec at once; a key without any is refused."""
        entity = served_entity(f"ml.specs.{name}", None, f"{name}-1")
        plan = LoadPlan(entity, "", "feature_spec", (), to_json(spec))
        config = endpoint_config(entity, capture=Capture("ml", "logs", name), missing_keys="404")
        stored = _stored(name, config, (plan,))
        return self._serve(stored, {entity.name: ServedFeatures(stored, plan, self.online)})

    def _serve(self, stored: Endpoint, served: Mapping[str, Served]) -> ServedEndpoint:
        endpoint = ServedEndpoint(stored, served, self.limits)
        self.hot._generations._active[stored.name] = endpoint
        return endpoint

    def head(self, name: str, *, more: Mapping[bytes, bytes] | None = None, query: bytes = b"") -> Head:
        """The same one for those who send the same, as connections have it."""
        path, sent = f"/serving-endpoints/{name}/invocations", {**JSON, **(more or {})}
        return self._heads.setdefault((path, query, *sorted(sent.items())), Head(path, query, sent))

    def ask(self, name: str, *rows: float, visitor: Visitor | None = None, **more: Any) -> Visitor:
        """Let the lane take a request."""
        return self.send(name, body_of(*rows), visitor=visitor, **more)

    def send(self, name: str, body: bytes, *, visitor: Visitor | None = None, **more: Any) -> Visitor:
        """Let the lane take a request with such a body."""
        visitor = visitor or Visitor()
        assert self.lane.takes(self.head(name, **more), ADA, body, visitor)
        return visitor

    def records(self) -> list[Record]:
        """What was kept, in the order in which it was."""
        self.capture.seal()
        payloads = [each for path in sealed(self.root / "capture") for each in read_segment(path).payloads]
        return [read for each in payloads if isinstance(read := read_payload(each), Record)]

    @property
    def in_flight(self) -> int:
        return self.desk.counts.answering

    def statuses(self, endpoint: str) -> dict[str, int]:
        """How many requests to an endpoint were answered with which status, whoever answered."""
        found: dict[str, int] = {}
        for each in cast("Sequence[Mapping[str, Any]]", self.desk.counts.read()["entities"]):
            if each["endpoint"] == endpoint:
                for status, count in each["statuses"].items():
                    found[status] = found.get(status, 0) + count
        return found


MakeScene = Callable[..., Scene]


def _stored(name: str, config: EndpointConfig, plans: tuple[LoadPlan, ...]) -> Endpoint:
    return Endpoint(
        name=EndpointName(name),
        id=f"id-{name}",
        generation=1,
        config=config,
        plans=plans,
        pending=None,
        state=EndpointState(ready=True, config_update="NOT_UPDATING"),
        created_at=NOW,
        updated_at=NOW,
        owner="user:ada",
    )


def body_of(*rows: float) -> bytes:
    """A request's body."""
    return json.dumps({"dataframe_records": [{"x": value} for value in rows]}).encode()


def told(story: Callable[[], Awaitable[object]]) -> None:
    """Run a story on a loop that complains of nothing."""
    complaints: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        await asyncio.wait_for(_awaited(story), 120)

    asyncio.run(run())
    assert complaints == []


async def _awaited(story: Callable[[], Awaitable[object]]) -> None:
    await story()


async def answered(*visitors: Visitor) -> None:
    """Wait until each has an answer."""
    until = time.monotonic() + 60
    while not all(each.responses for each in visitors):
        assert time.monotonic() < until, "somebody waits forever"
        await asyncio.sleep(0.001)


def ids(visitors: Sequence[Visitor]) -> list[str]:
    return [each.heads["databricks-request-id"] for each in visitors]
