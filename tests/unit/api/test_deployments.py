from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, InvalidState, NotFound
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, Endpoint, EndpointName
from tests.unit.api.deployed import ADA, LOGGED, NOW, Scene, config, kinds, opened


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with opened(tmp_path) as made:
        yield made


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
