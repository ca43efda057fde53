"""What happened is a log: every change of state is an event, in order, behind a cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from millrace.core.principal import Principal


@dataclass(frozen=True, slots=True)
class Event:
    """One change of state.

    Attributes:
        kind: what happened, as `version.registered`, `alias.moved`, `episode.opened`, `run.finished`.
        subject: the thing it happened to, by name, as `ml.models.churn` or `endpoint/churn`.
        at: Clock time.
        by: who did it.
        data: JSON-compatible details.
        cursor: position in the log, set by the log; 0 before.
    """

    kind: str
    subject: str
    at: datetime
    by: Principal
    data: Mapping[str, object] = field(default_factory=dict)
    cursor: int = 0


class EventLog(Protocol):
    """An append-only log. Thread- and process-safe; an append is durable when it returns."""

    def append(self, event: Event) -> int:
        """Write the event at the end and return its cursor; cursors grow, gaps are allowed."""
        ...

    def read(
        self, *, after: int = 0, kind: str | None = None, subject: str | None = None, limit: int = 1000
    ) -> Sequence[Event]:
        """Events with a cursor greater than `after`, oldest first; `kind` and `subject` match exactly."""
        ...

    def newest(self) -> int:
        """The cursor of the last event, 0 where there is none; cheap enough to be asked for each second."""
        ...
