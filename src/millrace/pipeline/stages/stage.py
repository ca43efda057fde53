"""What a stage is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from millrace.pipeline.context import RunContext


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended.

    Attributes:
        detail: a line for people.
        output: JSON for later stages.
        status: `refused` stops the run with a result; `waiting` is for what goes on by itself: the stage runs again the next time.
    """

    detail: str = ""
    output: Mapping[str, object] = field(default_factory=dict)
    status: Literal["done", "refused", "waiting"] = "done"


class Stage(Protocol):
    """One step of a plan. Running it again after a crash, with the same fingerprint, must be safe."""

    @property
    def name(self) -> str:
        """Unique in the plan, as `features ml.features.churn`."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that the outcome depends on."""
        ...

    def run(self, context: RunContext) -> Outcome:
        """Do it. Raises MillraceError for what can't be done."""
        ...
