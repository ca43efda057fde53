from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from millrace.api.canaries import Canaries
from millrace.api.deployments import Deployments
from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, InvalidState, NotFound
from millrace.core.principal import Principal, system
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.adapters.sql_feature_specs import SqlFeatureSpecStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.registry.port import Registry
from millrace.registry.types import ModelName, ModelVersion, VersionEntry
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.canary.types import Canary, CanarySettings, Verdict
from millrace.serving.endpoints import endpoints
from millrace.serving.endpoints.prepare import Sources
from millrace.serving.models.processes.environments import Environments
from millrace.serving.types import Capture, Endpoint, EndpointConfig, EndpointName

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


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
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


def test_all_load_before_any_routes(scene: Scene) -> None:
    made = scene.create("e", config("1"))
    assert (made.generation, made.state.ready, made.state.paths) == (1, True, {"churn-1": "native: equal"})
    assert scene.workers.told == [("load", "e", 1), ("activate", "e", 1)]


def test_a_failed_load_keeps_what_serves_and_says_why(scene: Scene) -> None:
    scene.create("e", config("1"))
    scene.workers.fails = True
    after = scene.update("e", config("2"))
    assert (after.generation, after.config, after.pending) == (1, config("1"), None)
    assert after.state.config_update == "UPDATE_FAILED"
    assert after.state.message == "worker-0 can't load it (look at the log)"
    assert after.state.ready
    assert scene.workers.told[-1] == ("discard", "e", 2)
    scene.workers.fails = False
    assert scene.update("e", config("2")).generation == 2


def test_one_change_at_a_time(scene: Scene) -> None:
    scene.create("e", config("1"))
    scene.workers.may_load.clear()
    assert scene.begin_update("e", config("2")).state.config_update == "IN_PROGRESS"
    for change in (lambda: scene.update("e", config("1")), lambda: scene.deployments.delete("e", ADA)):
        with pytest.raises(Conflict):
            change()
    scene.workers.may_load.set()
    assert scene.settled("e").config.served[0].entity_version == "2"
    scene.deployments.delete("e", ADA)
    assert scene.workers.told[-1] == ("remove", "e")


def test_an_update_is_over_when_every_worker_routes_to_it(scene: Scene) -> None:
    scene.create("e", config("1"))
    scene.workers.may_activate.clear()
    assert scene.begin_update("e", config("2")).state.config_update == "IN_PROGRESS"
    assert scene.deployments.list()[0].state.config_update == "IN_PROGRESS"
    scene.workers.may_activate.set()
    assert scene.settled("e").state.config_update == "NOT_UPDATING"


def test_what_can_not_be_found_changes_nothing(scene: Scene) -> None:
    unknown = endpoints.endpoint_config(endpoints.served_entity("chrun", "1"))
    with pytest.raises(NotFound, match="chrun"):
        scene.create("e", unknown)
    with pytest.raises(NotFound, match="endpoint e"):
        scene.update("e", config("1"))
    with pytest.raises(NotFound):
        scene.deployments.delete("e", ADA)
    assert scene.deployments.list() == []
    assert scene.create("e", config("1")).state.ready  # the name was not left claimed


def test_an_update_keeps_what_extra_columns_do_where_it_does_not_say(scene: Scene) -> None:
    scene.create("e", replace(config("1"), extra_columns="refuse"))
    assert scene.update("e", config("2")).config.extra_columns == "refuse"
    assert scene.update("e", replace(config("1"), extra_columns="ignore")).config.extra_columns == "ignore"


def test_an_update_keeps_the_capture_and_the_missing_keys_that_it_does_not_name(scene: Scene) -> None:
    capture = Capture("main", "logs", "p")
    scene.create("e", replace(config("1", capture), missing_keys="404"))
    kept = scene.update("e", config("2")).config
    assert (kept.capture, kept.missing_keys) == (capture, "404")
    assert scene.update("e", replace(config("2"), missing_keys="null")).config.missing_keys == "null"


def test_an_endpoint_is_ready_when_every_worker_that_is_up_answers(scene: Scene) -> None:
    scene.create("e", config("1"))
    assert scene.deployments.get("e").state.ready
    scene.workers.serving = [{"e": 1}, {}]
    seen = scene.deployments.get("e").state
    assert (seen.ready, seen.message) == (False, "a worker does not serve it yet")
    scene.workers.waiting = {"e": "the online store does not answer"}
    (listed,) = scene.deployments.list()
    assert (listed.state.ready, listed.state.message) == (False, "the online store does not answer")
    scene.workers.serving = []
    assert scene.deployments.get("e").state.message == "no worker is up"
    assert scene.store.get(EndpointName("e")).state.ready
    scene.workers.serving = [{"e": 1}, {"e": 1}]
    assert scene.deployments.get("e").state == scene.store.get(EndpointName("e")).state


def test_an_update_that_died_with_its_process_is_ended(scene: Scene) -> None:
    scene.create("e", config("1"))
    endpoints.update(scene.store, ManualClock(NOW), "e", config("2"))
    scene.deployments.recover()
    found = scene.deployments.get("e")
    assert (found.state.config_update, found.state.ready, found.pending) == ("UPDATE_FAILED", True, None)
    assert "stopped during the update" in found.state.message


def test_workers_that_were_not_told_are_told(scene: Scene) -> None:
    scene.create("a", config("1"))
    scene.create("b", config("1"))
    scene.workers.told.clear()
    scene.workers.serving = [{"a": 1, "b": 1}]
    scene.deployments.agree()
    assert ("remove", "gone") not in scene.workers.told
    scene.workers.serving = [{"a": 1, "b": 0, "gone": 3}]
    scene.deployments.agree()
    assert {("activate", "b", 1), ("remove", "gone")} <= set(scene.workers.told)
    scene.workers.told.clear()
    scene.workers.serving, scene.workers.waiting = [{"a": 1}], {"b": "the online store does not answer"}
    scene.deployments.agree()  # the worker tries that again by itself
    assert scene.workers.told == []
    scene.workers.waiting = {}
    assert scene.update("b", config("2")).generation == 2


def test_a_worker_that_did_not_hear_is_told_again_while_control_runs(scene: Scene) -> None:
    scene.create("e", config("1"))
    scene.workers.told.clear()
    stop = threading.Event()
    thread = threading.Thread(target=scene.deployments.keep_agreed, args=(stop, 0.01))
    thread.start()
    try:
        scene.workers.serving[0]["e"] = 0
        deadline = time.monotonic() + 60
        while scene.workers.serving[0]["e"] != 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    # The first is what an earlier control process may have had loaded and not activated.
    assert scene.workers.told[0] == ("discard", "e", 2)


def test_a_database_that_is_away_does_not_end_the_looks(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does an endpoint that is deleted before its turn comes: without the looks control would never be at rest."""
    scene.create("deleted", config("1"))
    scene.deployments.equip()
    listed = scene.store.list()
    scene.store.remove(EndpointName("deleted"))
    answers: list[Exception | Sequence[Endpoint]] = [OSError("away"), listed]

    def next_answer() -> Sequence[Endpoint]:
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(scene.store, "list", next_answer)
    monkeypatch.setattr(scene.workers, "status", list)
    stop = threading.Event()
    thread = threading.Thread(target=scene.deployments.keep_agreed, args=(stop, 0.01))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not scene.deployments.is_at_rest:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join()
    assert answers == []
    assert ("discard", "deleted", 2) not in scene.workers.told


def test_foreign_texts_are_not_in_the_state(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> Mapping[str, str]:
        raise OSError("/var/secret.db")

    monkeypatch.setattr(scene.workers, "load", fail)
    assert scene.create("e", config("1")).state.message == "OSError; the server's log has more"


LOGGED = Capture("main", "logs", "p")
GO, STOP = Verdict("go", "fine"), Verdict("stop", "errors: half")


def start_canary(scene: Scene) -> Endpoint:
    scene.create("e", config("1", LOGGED))
    one, two = endpoints.served_entity("churn", "1"), endpoints.served_entity("churn", "2")
    canary = Canary("churn-1", "churn-2", CanarySettings((10, 100)))
    return scene.update("e", endpoints.endpoint_config(one, two, canary=canary))


def kinds(scene: Scene) -> list[tuple[str, str]]:
    return [(event.kind, str(event.by)) for event in scene.events.read(subject="endpoint/e")]


def test_a_canary_that_ends_well_is_told(scene: Scene) -> None:
    begun = start_canary(scene)
    assert begun.config.traffic == {"churn-1": 90, "churn-2": 10}
    done = scene.deployments.follow(begun, GO, system("canary"))
    assert (done.config.traffic, done.generation, done.state.config_update) == ({"churn-2": 100}, 3, "NOT_UPDATING")
    assert scene.workers.told[-2:] == [("load", "e", 3), ("activate", "e", 3)]
    assert kinds(scene) == [
        ("endpoint.created", "user:ada"),
        ("endpoint.updated", "user:ada"),
        ("endpoint.updated", "user:ada"),
        ("canary.started", "user:ada"),
        ("endpoint.updated", "system:canary"),
        ("canary.finished", "system:canary"),
    ]
    last = scene.events.read(kind="canary.finished")[0].data
    assert (last["version"], last["share"], last["why"], last["traffic"]) == ("2", 100, "fine", {"churn-2": 100})


def test_a_look_that_fails_says_what_kind_of_failure_it_was(scene: Scene) -> None:
    class Broken:
        def exists(self, name: str) -> bool:
            raise OSError(f"SELECT 1 FROM {name}")

    start_canary(scene)
    Canaries(lambda: cast("Lake", Broken()), ManualClock(NOW), scene.deployments).look()
    run = scene.deployments.get("e").canary
    assert run is not None
    assert run.message == "could not be looked at (OSError); the server's log has more"


def test_a_drain_that_lacks_a_stalled_worker_does_not_keep_a_canary_from_being_looked_at(scene: Scene) -> None:
    def drain() -> None:
        raise InvalidState("not all was drained")

    start_canary(scene)
    canaries = Canaries(lambda: cast("Lake", None), ManualClock(NOW), scene.deployments)
    with pytest.raises(InvalidState, match="not all was drained"):
        canaries.look_after(drain)
    run = scene.deployments.get("e").canary
    assert run is not None
    assert "could not be looked at" in run.message


def test_a_canary_keeps_control_only_where_it_goes_on_by_itself(scene: Scene) -> None:
    ways = [
        Canaries(lambda: cast("Lake", None), ManualClock(NOW), scene.deployments, by_itself=by_itself)
        for by_itself in (True, False)
    ]
    assert [each.are_under_way for each in ways] == [False, False]
    start_canary(scene)
    assert [each.are_under_way for each in ways] == [True, False]


def test_a_verdict_on_what_has_changed_since_is_not_followed(scene: Scene) -> None:
    looked_at = start_canary(scene)
    scene.update("e", config("1"))
    with pytest.raises(Conflict, match="changed meanwhile"):
        scene.deployments.follow(looked_at, STOP, system("canary"))
    scene.deployments.note(looked_at, "too late")
    after = scene.deployments.get("e").canary
    assert after is not None
    assert (after.outcome, after.message) == ("cancelled", "the endpoint was updated otherwise")
    assert kinds(scene)[-1] == ("canary.cancelled", "user:ada")


def test_a_step_that_the_workers_can_not_take_leaves_the_canary_where_it_is(scene: Scene) -> None:
    begun = start_canary(scene)
    scene.workers.fails = True
    with pytest.raises(InvalidState, match="worker-0"):
        scene.deployments.follow(begun, STOP, system("canary"))
    assert scene.workers.told[-1] == ("discard", "e", 3)
    assert scene.deployments.get("e") == begun
    scene.deployments.note(begun, "it waits")
    noted = scene.deployments.get("e")
    assert noted.canary is not None
    assert (noted.canary.message, noted.generation) == ("it waits", 2)
    scene.workers.fails = False
    assert scene.deployments.follow(noted, STOP, system("canary")).config.traffic == {"churn-1": 100}
    assert kinds(scene)[-1] == ("canary.rolled_back", "system:canary")


def test_a_rollback_by_hand_needs_somewhere_to_go(scene: Scene) -> None:
    scene.create("e", config("1", LOGGED))
    with pytest.raises(InvalidState, match="nothing to go back to"):
        scene.deployments.roll_back("e", "", ADA)
    scene.update("e", config("2"))
    back = scene.deployments.roll_back("e", "slow", ADA)
    assert [entity.entity_version for entity in back.config.served] == ["1"]
    assert scene.events.read(kind="endpoint.updated")[-1].data["why"] == "slow"


def test_failures_and_deletions_are_told(scene: Scene) -> None:
    scene.create("e", config("1"))
    scene.workers.fails = True
    scene.update("e", config("2"))
    scene.deployments.delete("e", ADA)
    (failed,) = scene.events.read(kind="endpoint.failed")
    assert failed.data["why"] == "worker-0 can't load it (look at the log)"
    assert kinds(scene)[-1] == ("endpoint.deleted", "user:ada")
