"""What a stage is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from millrace.pipeline.context import RunContext


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended. `refused` stops the run with a result; `detail` is a line for people; `output` is JSON for later stages."""

    detail: str = ""
    output: Mapping[str, object] = field(default_factory=dict)
    status: Literal["done", "refused"] = "done"


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
