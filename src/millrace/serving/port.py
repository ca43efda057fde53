"""What serving needs from the world: a store of endpoints, and something that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from millrace.core.events import Event
from millrace.serving.bodies.body import Body
from millrace.serving.inputs import Inputs
from millrace.serving.request_keys import RequestKeys
from millrace.serving.request_log import Name
from millrace.serving.types import CallSignature, Description, Endpoint, EndpointName, LoadPlan, Prediction


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class Captured:
    """What is kept of an answer. Kept as it is: rows are made of it when it is drained.

    Attributes:
        keys: a row's lookup keys, in the description's order.
        sources: where a row's looked-up features came from: (feature table, event time in microseconds, Delta version)
            each.
        inputs: what the model was given; None where there is no model.
        prediction: what it said.
    """

    keys: Sequence[Sequence[object]] = ()
    sources: Sequence[Sequence[Any]] = ()
    inputs: Inputs | None = None
    prediction: Prediction | None = None


class EndpointReader(Protocol):
    """Endpoints, read. Process-safe: what a store has written is seen by every reader that begins afterwards.

    Raises: NotFound for an unknown name with the nearest as hint.
    """

    def get(self, name: EndpointName) -> Endpoint: ...

    def list(self) -> Sequence[Endpoint]:
        """Sorted by name."""
        ...


class EndpointStore(EndpointReader, Protocol):
    """Endpoints by name. Process-safe; what returned is durable, with the events that tell of it.

    Raises: NotFound for an unknown name with the nearest as hint; AlreadyExists from `add`; Conflict from `update`
    when the stored generation is not the one expected (somebody else was first).
    """

    def add(self, endpoint: Endpoint, *events: Event) -> None: ...

    def update(self, endpoint: Endpoint, expected_generation: int, *events: Event) -> None: ...

    def remove(self, name: EndpointName, *events: Event) -> None: ...


class Predictor(Protocol):
    """A loaded model behind one predict path. Used by one thread at a time; deterministic, keeps nothing of a call."""

    @property
    def path(self) -> str:
        """The path's name: `xgboost`, `lightgbm`, `sklearn`, `pyfunc` or `process`."""
        ...

    @property
    def why(self) -> str:
        """Why this path, in a sentence: what was checked, or what ruled the faster one out."""
        ...

    @property
    def quick_rows(self) -> int:
        """Up to how many rows are predicted in about two milliseconds; 0 for a model that always takes longer."""
        ...

    def predict(self, inputs: Inputs) -> Prediction:
        """Predict the rows of the inputs."""
        ...


class Model(Protocol):
    """A model that requests are put to. Used by one event loop."""

    @property
    def path(self) -> str:
        """The predict path and why."""
        ...

    @property
    def waiting(self) -> int:
        """How many requests wait for it."""
        ...

    def waits_for(self, thread: Executor) -> bool:
        """Whether somebody who has not given up waits for a call on a thread: to end, or to begin."""
        ...

    def is_quick(self, rows: int) -> bool:
        """Whether so many rows may be predicted at once, on the loop, by `predict_all`."""
        ...

    def predict_all(self, asked: Sequence[Inputs], names: Sequence[Name]) -> Sequence[Prediction | Exception]:
        """Predict several requests that are quick each, now; what went wrong in place of what could not be predicted.

        In as few calls as may be, where the model looks at each row alone. `names` tells whose they are: what a model
        logs is about the requests of that call.
        """
        ...

    async def predict(self, inputs: Inputs) -> Prediction:
        """Predict some rows.

        Raises:
            Busy: too many requests wait already.
            TooSlow: it took longer than it may.
            Unavailable: it can't be asked now, and may be later.
            InvalidInput: it can't predict from these values.
        """
        ...


class Answer(Protocol):
    """What a served entity says to a request."""

    @property
    def predict_s(self) -> float | None:
        """How long the model took, with the wait for its turn; None where no model was asked."""
        ...

    def __len__(self) -> int:
        """How many rows it answers."""
        ...

    def content(self, body: Body) -> Mapping[str, object]:
        """The response, as JSON. Raises InvalidInput where it can't be given in the way that the body asks for."""
        ...

    def captured(self) -> Captured:
        """What is kept of it."""
        ...


class Call(NamedTuple):
    """A request to a served entity, and when it is asked."""

    body: Body
    now: datetime


class Opened(Protocol):
    """A request that was checked and looked up, and lacks the prediction."""

    @property
    def inputs(self) -> Inputs | None:
        """What is to be predicted; None where no model is asked."""
        ...

    def answered(self, prediction: Prediction | None, predict_s: float) -> Answer:
        """The answer with the prediction of the inputs, which took so many seconds; None where there are none."""
        ...


class Served(Protocol):
    """A served entity in memory."""

    @property
    def plan(self) -> LoadPlan:
        """What it was loaded from."""
        ...

    @property
    def description(self) -> Description | None:
        """What its captured records have in common; None where nothing is captured."""
        ...

    @property
    def signature(self) -> CallSignature:
        """What it is asked with and answers with."""
        ...

    @property
    def path(self) -> str:
        """How it answers, and why so: shown in the endpoint's state."""
        ...

    @property
    def keys(self) -> RequestKeys:
        """The lookup keys in a request's rows."""
        ...

    @property
    def waiting(self) -> int:
        """How many requests wait for it."""
        ...

    @property
    def model(self) -> Model | None:
        """Who predicts; None where no model is asked."""
        ...

    @property
    def looks_up(self) -> bool:
        """Whether `open` looks anything up: then it is better asked for several requests at once."""
        ...

    @property
    def may_wait(self) -> bool:
        """Whether `open` waits for others: for a store that is elsewhere, or for somebody's functions."""
        ...

    def open(self, calls: Sequence[Call]) -> Sequence[Opened]:
        """Check requests, one at least, and look their features up together.

        Raises:
            InvalidInput: a request is wrong; the message names columns only.
            NotFound: one asks for a key that is not there; the message names columns only.
            InvalidState: a table of features is not there.
        """
        ...


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True, eq=False)
class Reply:
    """What goes back, and what it came from.

    Attributes:
        served: who answered, or, for a request that reached no entity, the endpoint's first (for its log table).
        reached: whether `served` was chosen for this request.
        answered: None where there is no answer but an error.
        key: what keeps the caller with who answered; None where nothing does, or where nothing has to be chosen.
    """

    status: int
    body: bytes
    served: Served
    reached: bool
    client_request_id: str | None = None
    answered: Answer | None = None
    key: bytes | None = None
