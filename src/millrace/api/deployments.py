"""Changing what endpoints serve, in two phases: every worker loads it, then all of them route to it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from millrace.api.claims import Claims
from millrace.api.readiness import as_served, disagreed
from millrace.api.workers import Workers
from millrace.core.clock import Clock
from millrace.core.errors import Conflict, MillraceError, NotFound
from millrace.core.principal import Principal, system
from millrace.lake.port import Catalog
from millrace.serving.canary.types import Verdict
from millrace.serving.endpoints import endpoints
from millrace.serving.endpoints.events import changes, told
from millrace.serving.endpoints.log_tables import check_log_tables
from millrace.serving.endpoints.prepare import Sources, prepare
from millrace.serving.endpoints.transitions import followed, gone_back
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.open import make_environments
from millrace.serving.port import EndpointStore
from millrace.serving.types import Capture, Endpoint, EndpointConfig, EndpointName, LoadPlan

_log = logging.getLogger(__name__)
# Clients ask again after a second at the earliest: an update that is quicker is answered as done.
_ANSWER_S = 0.9


class Deployments:
    """Creates, updates and deletes endpoints. Thread-safe; one change of an endpoint at a time.

    The environments that models need are made here, before workers load them.
    """

    def __init__(
        self, store: EndpointStore, catalog: Catalog, clock: Clock, workers: Workers, environments: Environments
    ) -> None:
        self._store, self._catalog, self._clock = store, catalog, clock
        self._workers, self._environments = workers, environments
        self._storing = threading.Lock()  # of two that name the same tables, the second sees the first
        self._claims = Claims()
        self._agreed = self._equipped = False

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is being changed, and nothing has to be."""
        return self._agreed and self._equipped and not len(self._claims)

    def create(self, sources: Sources, name: str, config: EndpointConfig, by: Principal) -> Endpoint:
        """Make an endpoint, owned by `by`, and begin to load it; as it stands when it is done, or after a second.

        Raises:
            MillraceError: name, configuration or model is wrong, or the name or a table of its log is taken: nothing is
                stored then.
        """
        with self._claims.claim(name):
            plans = prepare(sources, config)
            with self._storing:
                self._check_log(name, config, None)
                created = endpoints.create(self._store, self._clock, by, name, config)
            return self._deploy(created, plans, by)

    def update(self, sources: Sources, name: str, config: EndpointConfig, by: Principal) -> Endpoint:
        """Begin to change what an endpoint serves; as it stands when it is done, or after a second.

        A configuration that does not say what is captured, or what missing keys get, keeps what there is.

        Raises:
            NotFound: no such endpoint, model, version or feature spec.
            Conflict: an update of it is in progress.
            AlreadyExists: a table that its traffic would be logged in is another's.
        """
        return self.change(sources, name, lambda _: config, by)

    def change(
        self, sources: Sources, name: str, wanted: Callable[[Endpoint], EndpointConfig], by: Principal
    ) -> Endpoint:
        """Begin to change what an endpoint serves to what is wanted of it as it is now; else as `update`."""
        with self._claims.claim(name):
            current = self._store.get(EndpointName(name))
            config = wanted(current)
            plans = prepare(sources, config)
            wished = replace(
                config,
                capture=config.capture or current.config.capture,
                missing_keys=config.missing_keys or current.config.missing_keys,
                extra_columns=config.extra_columns or current.config.extra_columns,
            )
            with self._storing:
                self._check_log(name, wished, current.config.capture)
                updated = endpoints.update(self._store, self._clock, name, wished)
            return self._deploy(updated, plans, by)

    def roll_back(self, name: str, why: str, by: Principal) -> Endpoint:
        """Serve again what was served before, from memory; a canary that is under way is rolled back.

        Raises:
            NotFound: no such endpoint.
            Conflict: an update of it is in progress.
            InvalidState: there is nothing to go back to.
        """
        return self._step(name, lambda endpoint: gone_back(endpoint, why, self._clock.now()), by, why)

    def follow(self, looked_at: Endpoint, verdict: Verdict, by: Principal) -> Endpoint:
        """Do what a verdict on an endpoint's canary says: go on, or go back.

        Raises:
            Conflict: the endpoint was changed since it was looked at, or is being changed.
            InvalidState: a worker can't route to it; what served goes on serving.
        """

        def step(endpoint: Endpoint) -> Endpoint:
            if endpoint.generation != looked_at.generation:
                raise Conflict(f"endpoint '{endpoint.name}' was changed meanwhile", endpoint=endpoint.name)
            return followed(endpoint, verdict, self._clock.now())

        return self._step(looked_at.name, step, by, verdict.reason)

    def note(self, looked_at: Endpoint, message: str) -> None:
        """Write down what a look at a canary found; nothing where the endpoint was changed meanwhile."""
        with suppress(Conflict), self._claims.claim(looked_at.name):
            endpoint = self._store.get(looked_at.name)
            if endpoint.generation == looked_at.generation and endpoint.canary is not None:
                noted = replace(endpoint, canary=replace(endpoint.canary, message=message))
                self._store.update(noted, endpoint.generation)
            self._claims.release(looked_at.name)

    def get(self, name: str) -> Endpoint:
        """The endpoint as its callers see it: ready when every worker answers, updated when every worker routes to it.

        Raises:
            NotFound: no such endpoint.
        """
        return as_served(self._updating(self._store.get(EndpointName(name))), self._workers.status())

    def list(self) -> Sequence[Endpoint]:
        """All endpoints as their callers see them, sorted by name."""
        workers = self._workers.status()
        return [as_served(self._updating(endpoint), workers) for endpoint in self._store.list()]

    def delete(self, name: str, by: Principal) -> None:
        """Take an endpoint away.

        Raises:
            NotFound: no such endpoint.
            Conflict: an update of it is in progress.
        """
        with self._claims.claim(name):
            endpoint = self._store.get(EndpointName(name))
            endpoints.delete(self._store, name, told("endpoint.deleted", endpoint, self._clock.now(), by))
            self._workers.remove(name)
            self._claims.release(name)

    def recover(self) -> None:
        """End the updates that an earlier control process did not finish: what served before still serves."""
        for endpoint in self._store.list():
            if endpoint.state.config_update == "IN_PROGRESS":
                self._fail(endpoint, "the server stopped during the update; update it again", system("control"))

    def keep_agreed(self, stop: threading.Event, every_s: float = 5.0) -> None:
        """Let go of what an earlier control process has left; then have the workers agree with the store, until told to stop."""
        is_left = True
        while True:
            try:
                if is_left:
                    self.discard_left()
                    is_left = False
                self.agree()
            except Exception:  # noqa: BLE001 - the boundary of the loop: the next look may see more
                self._agreed = False
                _log.exception(
                    "whether the workers agree with the store is not known; it is looked again in %s s", every_s
                )
            if stop.wait(every_s):
                return

    def discard_left(self) -> None:
        """Have the workers drop what an earlier control process had them load and did not activate."""
        for endpoint in self._store.list():
            with suppress(Conflict, NotFound), self._claims.claim(endpoint.name):  # being changed, or deleted meanwhile
                self._workers.discard(endpoint.name, self._store.get(endpoint.name).generation + 1)
                self._claims.release(endpoint.name)

    def agree(self) -> None:
        """Have the workers that are up serve what the store says, as one that did not hear when it was told.

        What a worker waits for it tries again by itself.
        """
        stored = {endpoint.name: endpoint.generation for endpoint in self._store.list() if endpoint.state.ready}
        wrong: set[str] = set()
        workers = self._workers.status()
        for worker in workers:
            if worker["ready"]:
                served, waiting = worker["served"], worker["waiting"]
                assert isinstance(served, dict)  # noqa: S101 - both ends are ours
                assert isinstance(waiting, dict)  # noqa: S101 - as above
                wrong |= disagreed(served, waiting, stored)
        self._agreed = not wrong and all(worker["ready"] for worker in workers)
        for name in sorted(wrong):
            self._correct(name)

    def equip(self) -> None:
        """Make the environments that stored endpoints need and that are not there, as after an update of millrace.

        Workers try again by themselves to load what waits for one.
        """
        try:
            for endpoint in self._store.list():
                self._equip(endpoint)
        finally:
            self._equipped = True

    def _equip(self, endpoint: Endpoint) -> None:
        try:
            make_environments(endpoint.plans, self._environments)
        except MillraceError as error:
            _log.warning("endpoint %s may wait for its models: %s", endpoint.name, error.message)

    def _correct(self, name: str) -> None:
        try:
            with self._claims.claim(name):
                stored = next((found for found in self._store.list() if found.name == name and found.state.ready), None)
                if stored is None:
                    self._workers.remove(name)
                else:
                    self._workers.activate(name, stored.generation)
                self._claims.release(name)
        except Conflict:
            return  # an update has begun meanwhile, and tells the workers itself

    def _step(self, name: str, step: Callable[[Endpoint], Endpoint], by: Principal, why: str) -> Endpoint:
        """Switch to what is in memory: nothing is pending meanwhile, and it is done when this returns."""
        with self._claims.claim(name):
            current = self._store.get(EndpointName(name))
            if current.state.config_update == "IN_PROGRESS":
                raise Conflict(f"endpoint '{name}' is being updated", hint="wait until that update has ended")
            ready = step(current)
            try:
                self._switch(ready, by, why)
            except MillraceError:
                self._workers.discard(name, ready.generation)
                raise
            self._claims.release(name)
        return self.get(name)

    def _switch(self, ready: Endpoint, by: Principal, why: str = "") -> None:
        """Have every worker load a candidate, make it the active one, and have all of them route to it."""
        before = self._store.get(ready.name).canary
        paths = self._workers.load(ready)
        events = changes(before, ready, self._clock.now(), by, why)
        endpoints.activate(self._store, self._clock, ready, paths, *events)
        self._workers.activate(ready.name, ready.generation)

    def _deploy(self, endpoint: Endpoint, plans: tuple[LoadPlan, ...], by: Principal) -> Endpoint:
        # A daemon: a slow load must not hold up the end of the process.
        thread = threading.Thread(target=self._load_and_switch, args=(endpoint, plans, by), daemon=True)
        thread.start()
        thread.join(_ANSWER_S)
        return self.get(endpoint.name)

    def _check_log(self, name: str, config: EndpointConfig, before: Capture | None) -> None:
        if config.capture is not None and (before is None or before.tables != config.capture.tables):
            check_log_tables(self._catalog, self._store, name, config.capture)

    def _updating(self, endpoint: Endpoint) -> Endpoint:
        switching = endpoint.name in self._claims and endpoint.state.config_update == "NOT_UPDATING"
        return replace(endpoint, state=replace(endpoint.state, config_update="IN_PROGRESS")) if switching else endpoint

    def _load_and_switch(self, endpoint: Endpoint, plans: tuple[LoadPlan, ...], by: Principal) -> None:
        try:
            make_environments(plans, self._environments)
            self._switch(endpoints.candidate(endpoint, plans), by)
        except MillraceError as error:
            self._give_up(endpoint, f"{error.message} ({error.hint})" if error.hint else error.message, by)
        except Exception as error:  # noqa: BLE001 - the boundary of a background job: it must leave a state that can be read
            _log.exception("the deployment of %s failed", endpoint.name)
            # The text is foreign: it may have paths and SQL, and who may query reads this.
            self._give_up(endpoint, f"{type(error).__name__}; the server's log has more", by)
        finally:
            self._claims.release(endpoint.name)

    def _give_up(self, endpoint: Endpoint, message: str, by: Principal) -> None:
        self._workers.discard(endpoint.name, endpoint.generation + 1)
        self._fail(endpoint, message, by)

    def _fail(self, endpoint: Endpoint, message: str, by: Principal) -> None:
        event = told("endpoint.failed", endpoint, self._clock.now(), by, why=message)
        endpoints.fail(self._store, self._clock, endpoint.name, message, event)
