"""What a stage is given: the services, the run that it belongs to, and what the stages before it left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.names import TableName
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.port import Progress, Services

if TYPE_CHECKING:
    from millrace.targets.port import DeploymentTarget


class Quiet:
    """Progress that nobody watches."""

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """Say nothing."""

    def advance(self, name: str, done: int, total: int) -> None:
        """Say nothing."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What a run reads: everything as of a time, and some tables at versions that were asked for."""

    as_of: datetime
    versions: Mapping[TableName, int] = field(default_factory=dict)


# Opens the place that serves models; a stage that needs it enters it, so that a run that does not never starts a server.
OpenTarget = Callable[[], AbstractContextManager["DeploymentTarget"]]


@dataclass(frozen=True)
class RunContext:
    """What a stage is given.

    Attributes:
        outputs: outputs of the stages before, by stage name, as they are stored (JSON).
        scratch: values that later stages may take instead of making them again; nothing may depend on them.
    """

    services: Services
    pipeline: Pipeline
    pins: Pins
    target: OpenTarget
    progress: Progress
    outputs: dict[str, Mapping[str, object]] = field(default_factory=dict)
    scratch: dict[str, object] = field(default_factory=dict)
