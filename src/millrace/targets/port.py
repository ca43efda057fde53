"""What the loop needs from a place that serves models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from millrace.targets.types import Answers, DeploymentSpec, DeploymentStatus


class DeploymentTarget(Protocol):
    """Deploys plain specs. Idempotent: deploying what is already served changes nothing.

    Raises (all methods): InvalidState where the target can't be reached, with a hint how to start it.
    """

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Make or update the endpoint, and wait until it serves the version or has failed (the old version then still serves)."""
        ...

    def status(self, endpoint: str) -> DeploymentStatus | None:
        """None for an unknown endpoint."""
        ...

    def query(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> Answers:
        """Ask for predictions, with probabilities."""
        ...

    def remove(self, endpoint: str) -> None: ...
