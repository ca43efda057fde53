from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal, cast

import pytest

from millrace.api.canaries import Canaries
from millrace.core.clock import ManualClock
from millrace.core.errors import Conflict, InvalidState, NotFound
from millrace.core.principal import system
from millrace.lake.lake import Lake
from millrace.serving.canary.types import Verdict
from tests.unit.api.deployed import ADA, NOW, Scene, config, kinds, opened, start_canary

GO, STOP = Verdict("go", "fine"), Verdict("stop", "errors: half")


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with opened(tmp_path) as made:
        yield made


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
    start_canary(scene)
    Canaries(lambda: cast("Lake", Unreadable()), ManualClock(NOW), scene.deployments).look()
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


class Unreadable:
    """A lake whose tables can't be read."""

    def exists(self, name: str) -> bool:
        raise OSError(f"SELECT 1 FROM {name}")


@pytest.mark.parametrize("after_wait", ["stop", "go"])
def test_a_canary_that_can_not_be_looked_at_ends_when_its_wait_is_over(
    scene: Scene, after_wait: Literal["go", "stop"]
) -> None:
    begun = start_canary(scene, after_wait=after_wait)
    assert begun.canary is not None
    wait, clock = begun.canary.canary.settings.wait, ManualClock(NOW)
    canaries = Canaries(lambda: cast("Lake", Unreadable()), clock, scene.deployments)
    for more in (wait - timedelta(seconds=1), timedelta(minutes=4)):  # not yet; and not long enough: it may pass
        clock.advance(more)
        canaries.look()
        waiting = scene.deployments.get("e")
        assert waiting.canary is not None
        assert (waiting.canary.outcome, waiting.config.traffic) == ("running", {"churn-1": 90, "churn-2": 10})
    clock.advance(timedelta(minutes=1))
    canaries.look()
    ended = scene.deployments.get("e")
    assert ended.canary is not None
    assert (ended.canary.outcome, ended.config.traffic) == ("rolled_back", {"churn-1": 100})
    said = f"after a wait of {wait} it could not be looked at (OSError); the server's log has more"
    assert ended.canary.message == said
    assert kinds(scene)[-1] == ("canary.rolled_back", "system:canary")


def test_one_whose_workers_can_not_go_back_is_tried_again_and_the_others_are_looked_at(scene: Scene) -> None:
    begun = start_canary(scene)
    assert begun.canary is not None
    start_canary(scene, "f")
    clock = ManualClock(NOW)
    canaries = Canaries(lambda: cast("Lake", Unreadable()), clock, scene.deployments)
    canaries.look()
    clock.advance(begun.canary.canary.settings.wait + timedelta(minutes=5))
    scene.workers.fails = True
    canaries.look()
    for name in ("e", "f"):
        run = scene.deployments.get(name).canary
        assert run is not None
        assert (run.outcome, run.message[:24]) == ("running", "could not be looked at (")
    scene.workers.fails = False
    canaries.look()
    outcomes = [endpoint.canary and endpoint.canary.outcome for endpoint in scene.deployments.list()]
    assert outcomes == ["rolled_back", "rolled_back"]


def test_one_that_is_gone_when_that_is_to_be_noted_does_not_keep_the_others_waiting(scene: Scene) -> None:
    for name in ("e", "f"):
        assert start_canary(scene, name).canary

    class Leaving(Unreadable):
        def exists(self, name: str) -> bool:
            with suppress(NotFound):
                scene.deployments.delete("e", ADA)
            return super().exists(name)

    Canaries(lambda: cast("Lake", Leaving()), ManualClock(NOW), scene.deployments).look()
    (left,) = scene.deployments.list()
    assert left.canary is not None
    assert "could not be looked at" in left.canary.message
