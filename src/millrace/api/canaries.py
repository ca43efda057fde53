"""Looks at the canaries that are under way: what is in the inference tables is judged, and the verdict is followed.

All that a canary is lies in the workspace database, so a server that stops in its middle goes on with it when it starts again.
In a home in virtual time nothing is looked at by itself, but after each drain that somebody asks for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from millrace.api.deployments import Deployments
from millrace.core.clock import Clock
from millrace.core.errors import Conflict, MillraceError
from millrace.core.principal import system
from millrace.lake.lake import Lake
from millrace.serving.canary.types import CanaryRun, Verdict
from millrace.serving.canary.verdict import judge
from millrace.serving.types import Endpoint

_T = TypeVar("_T")
EVERY_S = 10.0
_CONTROLLER = system("canary")
# A look may fail once: the database is locked, a file is just being replaced.
_FAILING = timedelta(minutes=5)
_log = logging.getLogger(__name__)


class Canaries:
    """The controller of all canaries of a home. Thread-safe: one look at a time.

    Args:
        lake: gives the lake that has the inference tables, which takes a while at first.
        clock: measures how long a step has waited.
        deployments: changes the traffic.
        by_itself: whether they are looked at every few seconds; else only when somebody asks for a drain.
    """

    def __init__(
        self, lake: Callable[[], Lake], clock: Clock, deployments: Deployments, *, by_itself: bool = True
    ) -> None:
        self._lake, self._clock, self._deployments, self._by_itself = lake, clock, deployments, by_itself
        self._looking = threading.Lock()
        self._failing = dict[str, datetime]()  # by endpoint id, since when looks at it fail

    def run(self, drain: Callable[[], object], stop: threading.Event, every_s: float = EVERY_S) -> None:
        """Drain and look every few seconds while a canary is under way, until told to stop."""
        while not stop.wait(every_s):
            try:
                if self._under_way():
                    self.look_after(drain)
            except Exception:  # noqa: BLE001 - the boundary of the loop: the next look may see more
                _log.exception("the canaries could not be looked at; it is tried again in %s seconds", every_s)

    def look_after(self, drain: Callable[[], _T]) -> _T:
        """Drain, then look, also where not all could be drained: a stalled worker must not keep a bad version in the traffic."""
        try:
            return drain()
        finally:
            self.look()

    def look(self) -> None:
        """Judge each canary that is under way by what has been drained, and do what the verdict says."""
        with self._looking:
            for endpoint, run in self._under_way():
                try:
                    self._look_at(endpoint, run)
                    self._failing.pop(endpoint.id, None)
                except Conflict:
                    _log.info("endpoint %s was changed while its canary was looked at", endpoint.name)
                except Exception as error:  # noqa: BLE001 - the boundary of one look: the others are looked at too
                    _log.exception("the canary of %s could not be looked at", endpoint.name)
                    self._tell_failure(endpoint, run, type(error).__name__)

    def _tell_failure(self, endpoint: Endpoint, run: CanaryRun, kind: str) -> None:
        # The text of an error may have paths and SQL, and who may query reads this.
        said = f"could not be looked at ({kind}); the server's log has more"
        try:
            if not self._is_given_up(endpoint, run, said):
                self._deployments.note(endpoint, said)
        except Exception:  # noqa: BLE001 - the same boundary: the endpoint may be gone, or the database away
            _log.exception("that could not be noted")

    @property
    def are_under_way(self) -> bool:
        """Whether one has to be looked at by itself."""
        return self._by_itself and bool(self._under_way())

    def _under_way(self) -> Sequence[tuple[Endpoint, CanaryRun]]:
        found = self._deployments.list()
        return [(endpoint, endpoint.canary) for endpoint in found if endpoint.canary and endpoint.canary.is_running]

    def _is_given_up(self, endpoint: Endpoint, run: CanaryRun, said: str) -> bool:
        """Whether a step whose wait is over is rolled back: what nobody can look at for some time takes no more of the traffic."""
        wait, now = run.canary.settings.wait, self._clock.now()
        first = self._failing.setdefault(endpoint.id, now)
        if now - run.since < wait or now - first < _FAILING:
            return False
        verdict = Verdict("stop", f"after a wait of {wait} it {said}")
        try:
            self._deployments.follow(endpoint, verdict, _CONTROLLER)
        except MillraceError as error:
            _log.warning("the canary of %s could not be rolled back: %s", endpoint.name, error.message)
            return False
        return True

    def _look_at(self, endpoint: Endpoint, run: CanaryRun) -> None:
        capture = endpoint.config.capture
        assert capture is not None  # noqa: S101 - without capture there is no canary
        from millrace.serving.evidence.step_evidence import (
            read_evidence,  # Arrow with it, for which most homes have no use
        )

        evidence = read_evidence(self._lake(), capture, endpoint.generation, run)
        verdict = judge(evidence, run.canary.settings, self._clock.now() - run.since, seed=run.step)
        if verdict.decision == "wait":
            self._deployments.note(endpoint, verdict.reason)
        else:
            self._deployments.follow(endpoint, verdict, _CONTROLLER)
