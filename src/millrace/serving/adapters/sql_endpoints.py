"""Endpoints in the workspace database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, select, update

from millrace.core.errors import AlreadyExists, Conflict, NotFound
from millrace.core.events import Event
from millrace.database.events import append_event
from millrace.database.schema import endpoints
from millrace.database.writes import insert_new
from millrace.serving.adapters.endpoint_rows import endpoint_of, row_of, unknown
from millrace.serving.types import Endpoint, EndpointName


class SqlEndpointStore:
    """An `EndpointStore` in the `endpoints` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, endpoint: Endpoint, *events: Event) -> None:
        """Enter a new endpoint."""
        with self._engine.begin() as connection:
            if insert_new(connection, endpoints, row_of(endpoint)) is None:
                raise AlreadyExists(
                    f"endpoint {endpoint.name} exists",
                    hint="update its configuration, or delete it first",
                    endpoint=endpoint.name,
                )
            _tell(connection, events)

    def get(self, name: EndpointName) -> Endpoint:
        """The endpoint of that name."""
        found = self._read(select(endpoints).where(endpoints.c.name == name))
        if not found:
            raise self._unknown(name)
        return found[0]

    def list(self) -> Sequence[Endpoint]:
        """Sorted by name."""
        # Sorted here: databases disagree on where an underscore comes.
        return sorted(self._read(select(endpoints)), key=lambda endpoint: endpoint.name)

    def update(self, endpoint: Endpoint, expected_generation: int, *events: Event) -> None:
        """Replace the endpoint where its stored generation is the expected one."""
        same = (endpoints.c.name == endpoint.name) & (endpoints.c.generation == expected_generation)
        with self._engine.begin() as connection:
            changed = connection.execute(update(endpoints).where(same).values(row_of(endpoint)))
            if changed.rowcount:
                _tell(connection, events)
        if not changed.rowcount:
            found = self.get(endpoint.name).generation
            raise Conflict(
                f"endpoint {endpoint.name} was changed by somebody else: it is at generation {found}, not {expected_generation}",
                hint="read it again, then repeat the change",
                endpoint=endpoint.name,
                found=found,
                expected=expected_generation,
            )

    def remove(self, name: EndpointName, *events: Event) -> None:
        """Forget the endpoint."""
        with self._engine.begin() as connection:
            removed = connection.execute(delete(endpoints).where(endpoints.c.name == name))
            if removed.rowcount:
                _tell(connection, events)
        if not removed.rowcount:
            raise self._unknown(name)

    def _read(self, query: Select[Any]) -> Sequence[Endpoint]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [endpoint_of(row._asdict()) for row in connection.execute(query)]

    def _unknown(self, name: EndpointName) -> NotFound:
        return unknown(name, self.list())


def _tell(connection: Connection, events: Sequence[Event]) -> None:
    for event in events:
        append_event(connection, event)
