"""What serving needs from the world: a store of endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from millrace.serving.types import Endpoint, EndpointName


class EndpointStore(Protocol):
    """Endpoints by name. Process-safe; what returned is durable.

    Raises: NotFound for an unknown name with the nearest as hint; AlreadyExists from `add`; Conflict from `update`
    when the stored generation is not the one expected (somebody else was first).
    """

    def add(self, endpoint: Endpoint) -> None: ...

    def get(self, name: EndpointName) -> Endpoint: ...

    def list(self) -> Sequence[Endpoint]:
        """Sorted by name."""
        ...

    def update(self, endpoint: Endpoint, expected_generation: int) -> None: ...

    def remove(self, name: EndpointName) -> None: ...
