"""What is needed from a place that serves models and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from millrace.targets.types import (
    Answers,
    DeploymentSpec,
    DeploymentStatus,
    FeatureAnswers,
    FeatureDeployment,
    FeatureStatus,
)


class DeploymentTarget(Protocol):
    """Deploys plain specs. Idempotent: deploying what is already served changes nothing.

    Raises (all methods): InvalidState where the target can't be reached, with a hint how to start it.
    """

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Make or update the endpoint, and wait until it serves the version or has failed (the old version then still serves).

        With a canary, where another version serves: begin it, unless it is under way; the status says how it goes.
        """
        ...

    def split(self, endpoint: str, traffic: Mapping[str, int]) -> DeploymentStatus:
        """Split the traffic otherwise: served entity to percent. Ends a canary."""
        ...

    def shadow(self, endpoint: str, model: str, version: str, percent: int) -> DeploymentStatus:
        """Copy a percent of the requests to a version, whose answers are only logged; 0: no longer."""
        ...

    def roll_back(self, endpoint: str, why: str) -> DeploymentStatus:
        """Serve what was served before, at once; a canary that is under way is rolled back.

        Raises:
            InvalidState: there is nothing to go back to.
        """
        ...

    def status(self, endpoint: str) -> DeploymentStatus | None:
        """None for an unknown endpoint."""
        ...

    def query(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> Answers:
        """Ask for predictions, with probabilities."""
        ...

    def remove(self, endpoint: str) -> None: ...


class FeatureTarget(Protocol):
    """Endpoints that serve features.

    Raises (all methods): InvalidState where the target can't be reached, with a hint how to start it; NotFound for an
    unknown endpoint; InvalidInput where it serves models.
    """

    def create(self, endpoint: str, wanted: FeatureDeployment) -> FeatureStatus:
        """Make an endpoint, and wait until it serves or has failed.

        Raises:
            AlreadyExists: there is one of that name.
            NotFound: no such spec.
            InvalidInput: the name, or the traffic, is wrong.
            InvalidState: a feature table is not online.
        """
        ...

    def update(self, endpoint: str, wanted: FeatureDeployment) -> FeatureStatus:
        """Change what an endpoint serves, with specs as they are now; wait until it does, or has failed."""
        ...

    def status(self, endpoint: str) -> FeatureStatus: ...

    def ask(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> FeatureAnswers:
        """The features of each record, in their order."""
        ...

    def delete(self, endpoint: str) -> None: ...


class PromotionTarget(Protocol):
    """Receives versions that were packed elsewhere. Idempotent: one that came before is found again.

    Raises (all methods): InvalidState where the target can't be reached; PermissionDenied where the token is not the owner's.
    """

    def missing(self, document: str) -> Sequence[str]:
        """What a version, told by its bundle's document, needs and the target lacks."""
        ...

    def accept(self, archive: Path, terms: Mapping[str, object]) -> Mapping[str, Any]:
        """Send a bundle as a tar file; what became of it: `version`, `status`, `checks`."""
        ...
