"""Deployments over a real store, with workers that only note what they are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from millrace.api.deployments import Deployments
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.adapters.sql_feature_specs import SqlFeatureSpecStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.registry.port import Registry
from millrace.registry.types import ModelName, ModelVersion, VersionEntry
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.canary.types import Canary, CanarySettings
from millrace.serving.endpoints import endpoints
from millrace.serving.endpoints.prepare import Sources
from millrace.serving.models.processes.environments import Environments
from millrace.serving.types import Capture, Endpoint, EndpointConfig

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ADA = Principal("user", "ada")
MLMODEL = """
flavors:
  python_function: {loader_module: mlflow.sklearn}
  sklearn: {pickled_model: model.pkl}
signature:
  inputs: '[{"name": "spend", "type": "double", "required": true}]'
  outputs: '[{"type": "long"}]'
"""


@dataclass
class RecordingWorkers:
    """Workers that note what they are told, load slowly when held, and fail when told to."""

    told: list[tuple[object, ...]] = field(default_factory=list)
    may_load: threading.Event = field(default_factory=threading.Event)
    may_activate: threading.Event = field(default_factory=threading.Event)
    fails: bool = False
    serving: list[dict[str, int]] = field(default_factory=lambda: [{}])
    waiting: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.may_load.set()
        self.may_activate.set()

    def load(self, endpoint: Endpoint) -> Mapping[str, str]:
        assert self.may_load.wait(60)
        self.told.append(("load", endpoint.name, endpoint.generation))
        if self.fails:
            raise InvalidState("worker-0 can't load it", hint="look at the log")
        return {entity.name: "native: equal" for entity in endpoint.config.served}

    def activate(self, name: str, generation: int) -> None:
        assert self.may_activate.wait(60)
        self.told.append(("activate", name, generation))
        for served in self.serving:
            served[name] = generation

    def discard(self, name: str, generation: int) -> None:
        self.told.append(("discard", name, generation))

    def remove(self, name: str) -> None:
        self.told.append(("remove", name))

    def status(self) -> list[dict[str, object]]:
        up = [{"ready": True, "served": served, "waiting": self.waiting} for served in self.serving]
        return [*up, {"ready": False}]


@dataclass
class FolderRegistry:
    """A registry of one model with two versions, both in one folder."""

    folder: Path

    def versions(self, model: ModelName) -> Sequence[VersionEntry]:
        if model != "churn":
            return []
        return [VersionEntry(model, ModelVersion(number), "", None, NOW) for number in ("1", "2")]

    def models(self) -> Sequence[ModelName]:
        return [ModelName("churn")]

    def download(self, _model: ModelName, _version: ModelVersion) -> Path:
        return self.folder


@dataclass
class Scene:
    deployments: Deployments
    workers: RecordingWorkers
    store: SqlEndpointStore
    sources: Sources
    events: SqlEventLog

    def create(self, name: str, config: EndpointConfig) -> Endpoint:
        self.deployments.create(self.sources, name, config, ADA)
        return self.settled(name)

    def update(self, name: str, config: EndpointConfig) -> Endpoint:
        self.begin_update(name, config)
        return self.settled(name)

    def begin_update(self, name: str, config: EndpointConfig) -> Endpoint:
        """As it is answered: after a second, where the workers are held."""
        return self.deployments.update(self.sources, name, config, ADA)

    def settled(self, name: str) -> Endpoint:
        """As it stands when nothing changes it any more."""
        deadline = time.monotonic() + 60
        while name in self.deployments._claims:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self.deployments.get(name)


@contextmanager
def opened(tmp_path: Path) -> Iterator[Scene]:
    (tmp_path / "MLmodel").write_text(MLMODEL)
    engine, clock, ada = open_database(f"sqlite:///{tmp_path / 'm.db'}"), ManualClock(NOW), Principal("user", "ada")
    store, workers = SqlEndpointStore(engine), RecordingWorkers()
    environments, catalog = Environments.of(tmp_path), SqlCatalog(engine)
    deployments = Deployments(store, catalog, clock, workers, environments)  # type: ignore[arg-type]  # same methods
    registry, online = cast("Registry", FolderRegistry(tmp_path)), LmdbOnlineStore(tmp_path / "online")
    sources = Sources(lambda: registry, SqlFeatureSpecStore(engine, clock, ada), online)
    yield Scene(deployments, workers, store, sources, SqlEventLog(engine))
    online.close()


def config(version: str, capture: Capture | None = None) -> EndpointConfig:
    return endpoints.endpoint_config(endpoints.served_entity("churn", version), capture=capture)


LOGGED = Capture("main", "logs", "p")


def start_canary(scene: Scene, name: str = "e", after_wait: Literal["go", "stop"] = "stop") -> Endpoint:
    scene.create(name, config("1", replace(LOGGED, prefix=name)))
    one, two = endpoints.served_entity("churn", "1"), endpoints.served_entity("churn", "2")
    canary = Canary("churn-1", "churn-2", CanarySettings((10, 100), after_wait=after_wait))
    return scene.update(name, endpoints.endpoint_config(one, two, canary=canary))


def kinds(scene: Scene) -> list[tuple[str, str]]:
    return [(event.kind, str(event.by)) for event in scene.events.read(subject="endpoint/e")]
