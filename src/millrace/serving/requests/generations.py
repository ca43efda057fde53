"""Which configurations of which endpoints are in memory, and which of them answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.features.port import OnlineStore
from millrace.serving.models.example import check_example
from millrace.serving.models.predictor import is_proved, load_predictor
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.open import open_predictor, runs_here
from millrace.serving.models.sleeper import Sleeper
from millrace.serving.models.thread import WatchedThreads
from millrace.serving.models.turns import Limits, Turns
from millrace.serving.port import Served
from millrace.serving.requests.bulkhead import Bulkhead
from millrace.serving.requests.routing import Router
from millrace.serving.requests.served import ServedModel
from millrace.serving.requests.served_features import ServedFeatures
from millrace.serving.types import FEATURE_SPEC, Endpoint, LoadPlan

_AT_ONCE = {"onnx", "onnx+xgboost", "xgboost", FEATURE_SPEC}


class ServedEndpoint:
    """One generation of an endpoint, loaded.

    Attributes:
        router: who answers a request.
        shadows: by entity, whether it gets a copy: where its router says so.
        first: the first entity that is no shadow: what is captured of requests that reach none goes to its tables.
        is_undivided: whether one entity gets everything.
        is_strict: whether columns that nobody reads are refused.
        known: the columns that one of the entities reads; who asks does not know which of them answers.
        lookups: where requests are opened that may wait for others; None where none does.
        bodies: where those are read that are read beside the event loop, one after the other.
        answer_s: how long such a request may take, and such a body.
    """

    def __init__(self, endpoint: Endpoint, entities: Mapping[str, Served], limits: Limits) -> None:
        self.id, self.name, self.generation = endpoint.id, str(endpoint.name), endpoint.generation
        self.entities = entities
        self.router = Router(endpoint.config.traffic, list(entities))
        shadow = endpoint.config.shadow
        self.shadows = {name: Router({name: shadow[name], "": 100 - shadow[name]}, ["", name]) for name in shadow}
        self.first = next(served for name, served in entities.items() if name not in shadow)
        self.is_undivided = self.router.only is not None and not shadow
        self.is_strict = endpoint.config.extra_columns == "refuse"
        self.known = frozenset[str]().union(*(served.signature.columns for served in entities.values()))
        may_wait = any(served.may_wait for served in entities.values())
        self.lookups = Bulkhead("look-up", limits.lookups, limits.waiting) if may_wait else None
        self.bodies = Bulkhead("body", 1, limits.waiting)
        self.answer_s = limits.answer_s


class Generations:
    """Loaded endpoints. Loads wait for each other; `active` never waits and always sees a whole generation.

    Args:
        online: feature values by key.
        limits: what is taken on.
        environments: where models get environments of their own whose packages differ; None runs all models here.
        proofs: where is kept which path each model may take; None proves at each load.
        now_s: tells for how long a model has not been asked; only differences count.
    """

    def __init__(
        self,
        online: OnlineStore,
        limits: Limits,
        environments: Environments | None = None,
        proofs: Path | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._online, self._limits, self._environments, self._proofs = online, limits, environments, proofs
        self._now_s = now_s
        self._thread = WatchedThreads(1, "predict")
        self._active: dict[str, ServedEndpoint] = {}
        self._previous: dict[str, ServedEndpoint] = {}
        self._loaded: dict[tuple[str, int], ServedEndpoint] = {}
        self._lock = threading.Lock()

    def active(self, name: str) -> ServedEndpoint | None:
        """The generation that answers; None for an endpoint that is not served here."""
        return self._active.get(name)

    def served(self) -> Mapping[str, int]:
        """Endpoint name to active generation."""
        return {name: endpoint.generation for name, endpoint in list(self._active.items())}

    def waiting(self) -> Mapping[str, Mapping[str, int]]:
        """How many requests wait for each active entity, by endpoint and entity."""
        return {
            name: {entity: served.waiting for entity, served in endpoint.entities.items()}
            for name, endpoint in list(self._active.items())
        }

    def stuck(self, for_s: float) -> WatchedThreads | None:
        """See `HotApp.stuck`."""
        models = (served.model for served in self._in_memory())
        if self._thread.lasts_s >= for_s and any(model and model.waits_for(self._thread) for model in models):
            return self._thread
        lookups = (each.lookups for each in list(self._active.values()) if each.lookups is not None)
        return next((each.threads for each in lookups if each.threads.lasts_s >= for_s and each.are_waited_for), None)

    def paths(self) -> Mapping[str, Mapping[str, str]]:
        """The predict path of each active entity and why, by endpoint and entity."""
        return {
            name: {entity: served.path for entity, served in endpoint.entities.items()}
            for name, endpoint in list(self._active.items())
        }

    def rest(self) -> bool:
        """Let models fall asleep that may and that nobody has asked for long enough; whether one did. On the event loop."""
        return bool([each for served in self._in_memory() if (each := _sleeper(served)) is not None and each.rest()])

    def asleep(self) -> Mapping[str, list[str]]:
        """The active entities whose models are asleep, by endpoint; only of endpoints that have some."""
        names = {
            name: [entity for entity, served in endpoint.entities.items() if _is_asleep(served)]
            for name, endpoint in list(self._active.items())
        }
        return {name: entities for name, entities in names.items() if entities}

    def takes_long(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint may take minutes to load: a model runs in a process of its own, or is not proved yet.

        Proofs are kept, so that is so after libraries have changed, or the folder of proofs was deleted.
        """
        return not all(map(self._is_quick, endpoint.plans))

    def loads_at_once(self) -> bool:
        """Whether all that is in memory is on paths that need nothing of the model's own libraries, and nothing is asleep."""
        return not self._loaded and all(map(self._loads_at_once, self._in_memory()))

    def _loads_at_once(self, served: Served) -> bool:
        by = served.path.partition(":")[0]
        return by in _AT_ONCE and not _is_asleep(served) and self._is_quick(served.plan)

    def _is_quick(self, plan: LoadPlan) -> bool:
        if plan.flavor == FEATURE_SPEC:
            return True
        here = self._environments is None or runs_here(plan)
        return here and (self._proofs is None or is_proved(plan, self._proofs))

    def load(self, endpoint: Endpoint, known: Sequence[LoadPlan] = ()) -> Mapping[str, str]:
        """Load a generation without routing to it; entity name to how it answers and why so. See `HotApp.load`."""
        served = set(map(_model, known))
        with self._lock:
            entities = {
                plan.entity.name: self._entity(endpoint, plan, is_new=_model(plan) not in served)
                for plan in endpoint.plans
            }
            if not entities:
                raise InvalidState(f"endpoint '{endpoint.name}' has nothing to serve", hint="update it with a model")
            self._loaded[endpoint.name, endpoint.generation] = ServedEndpoint(endpoint, entities, self._limits)
        return {name: entity.path for name, entity in entities.items()}

    def activate(self, name: str, generation: int) -> None:
        """Let a loaded generation answer from now on."""
        with self._lock:
            new = self._loaded.pop((name, generation), None)
            if new is None:
                raise InvalidState(
                    f"generation {generation} of endpoint '{name}' is not loaded in this worker", hint="load it first"
                )
            old = self._active.get(name)
            self._active[name] = new
            if old is not None:
                self._previous[name] = old

    def discard(self, name: str, generation: int) -> None:
        """Drop a generation that was loaded and not activated."""
        with self._lock:
            self._loaded.pop((name, generation), None)

    def remove(self, name: str) -> None:
        """Drop all generations of an endpoint."""
        with self._lock:
            self._active.pop(name, None)
            self._previous.pop(name, None)
            for key in [key for key in self._loaded if key[0] == name]:
                del self._loaded[key]

    def _entity(self, endpoint: Endpoint, plan: LoadPlan, *, is_new: bool) -> Served:
        if plan.flavor == FEATURE_SPEC:
            return ServedFeatures(endpoint, plan, self._online)
        return ServedModel(endpoint, plan, self._in_memory_for(plan) or self._load(plan, is_new=is_new), self._online)

    def _load(self, plan: LoadPlan, *, is_new: bool) -> Turns | Sleeper:
        turns = self._turns(plan)
        if is_new:
            check_example(turns.predictor, plan, self._limits.answer_s)
        idle_s = plan.entity.idle_s
        return turns if idle_s is None else Sleeper(turns, lambda: self._turns(plan), idle_s, self._limits, self._now_s)

    def _turns(self, plan: LoadPlan) -> Turns:
        if self._environments is None:
            predictor = load_predictor(plan, self._proofs)
        else:
            predictor = open_predictor(plan, self._environments, self._limits.answer_s, self._proofs)
        # A process of its own needs no turn at this one's thread, and must not hold it up.
        thread = ThreadPoolExecutor(1, thread_name_prefix="ask") if predictor.path == "process" else self._thread
        return Turns(predictor, thread, self._limits, together=_together(plan))

    def _in_memory_for(self, plan: LoadPlan) -> Turns | Sleeper | None:
        """The model of the same files, run in the same way: going back to the previous version loads nothing.

        One that is asleep is woken: what is deployed is ready to answer.
        """
        for served in self._in_memory():
            if isinstance(served, ServedModel) and _model(served.plan) == _model(plan):
                if isinstance(served.model, Sleeper):
                    served.model.wake()
                return served.model
        return None

    def _in_memory(self) -> Iterator[Served]:
        for endpoints in (self._active, self._previous):
            for endpoint in list(endpoints.values()):
                yield from endpoint.entities.values()


def _model(plan: LoadPlan) -> tuple[object, ...]:
    """What makes two entities run one model."""
    settings = plan.entity.settings
    return plan.path, plan.inputs, _together(plan), plan.entity.idle_s, settings.get("own_packages")


def _together(plan: LoadPlan) -> bool:
    return plan.entity.settings.get("batching") is not False


def _sleeper(served: Served) -> Sleeper | None:
    model = served.model
    return model if isinstance(model, Sleeper) else None


def _is_asleep(served: Served) -> bool:
    sleeper = _sleeper(served)
    return sleeper is not None and sleeper.is_asleep
