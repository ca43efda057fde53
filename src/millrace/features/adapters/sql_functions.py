"""Feature functions in the workspace database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, update

from millrace.core.clock import Clock, epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.core.events import Event
from millrace.core.names import did_you_mean
from millrace.core.principal import Principal
from millrace.database.events import append_event
from millrace.database.schema import feature_functions as table
from millrace.database.writes import insert_new
from millrace.features.functions.entries import definition_in, definition_out
from millrace.features.types import FunctionDefinition, FunctionVersion


class SqlFunctionStore:
    """A `FunctionStore` in the `feature_functions` table."""

    def __init__(self, engine: Engine, clock: Clock, principal: Principal) -> None:
        self._engine, self._clock, self._principal = engine, clock, principal

    def save(self, definition: FunctionDefinition, description: str = "") -> FunctionVersion:
        """The newest version where it has this code, else a new one."""
        while True:
            newest = self.find(definition.name)
            if newest is not None and newest.definition == definition:
                return self._described(newest, description)
            made = FunctionVersion(
                definition,
                1 if newest is None else newest.version + 1,
                description,
                str(self._principal),
                self._clock.now(),
            )
            with self._engine.begin() as connection:
                if insert_new(connection, table, _row(made)) is not None:
                    self._tell(connection, "function.registered", made)
                    return made
            # Somebody else was quicker: what they wrote is the newest now.

    def find(self, name: str) -> FunctionVersion | None:
        """The newest version, or None."""
        found = self._read(select(table).where(table.c.name == name).order_by(table.c.version.desc()).limit(1))
        return found[0] if found else None

    def get(self, name: str, version: int | None = None) -> FunctionVersion:
        """One version."""
        if version is None:
            found = self.find(name)
            if found is None:
                raise self._unknown(name)
            return found
        exact = self._read(select(table).where(table.c.name == name, table.c.version == version))
        if not exact:
            newest = self.get(name).version
            raise NotFound(f"function {name} has no version {version}", hint=f"its newest is {newest}", function=name)
        return exact[0]

    def list(self) -> Sequence[FunctionVersion]:
        """The newest of each, by name."""
        newest = select(table.c.name, func.max(table.c.version).label("version")).group_by(table.c.name).subquery()
        query = select(table).join(newest, (table.c.name == newest.c.name) & (table.c.version == newest.c.version))
        return sorted(self._read(query), key=lambda each: each.definition.name)

    def versions(self, name: str) -> Sequence[FunctionVersion]:
        """All of one, oldest first."""
        found = self._read(select(table).where(table.c.name == name).order_by(table.c.version))
        if not found:
            raise self._unknown(name)
        return found

    def delete(self, name: str) -> None:
        """Forget all versions."""
        known = self.get(name)
        with self._engine.begin() as connection:
            connection.execute(delete(table).where(table.c.name == name))
            self._tell(connection, "function.deleted", known)

    def _described(self, newest: FunctionVersion, description: str) -> FunctionVersion:
        if not description or description == newest.description:
            return newest
        with self._engine.begin() as connection:
            where = (table.c.name == newest.definition.name) & (table.c.version == newest.version)
            connection.execute(update(table).where(where).values(description=description))
        return self.get(newest.definition.name, newest.version)

    def _read(self, query: Select[Any]) -> Sequence[FunctionVersion]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_version(row) for row in connection.execute(query)]

    def _tell(self, connection: Connection, kind: str, changed: FunctionVersion) -> None:
        data = {"version": changed.version, "code_hash": changed.definition.code_hash}
        append_event(connection, Event(kind, changed.definition.name, self._clock.now(), self._principal, data))

    def _unknown(self, name: str) -> NotFound:
        known = [each.definition.name for each in self.list()]
        hint = did_you_mean(name, known) if known else "register it: client.create_function(name=..., function=...)"
        return NotFound(f"function {name} does not exist", hint=hint, function=name)


def _row(made: FunctionVersion) -> dict[str, object]:
    return {
        "name": made.definition.name,
        "version": made.version,
        "definition": definition_out(made.definition),
        "description": made.description,
        "owner": made.owner,
        "created_us": epoch_us(made.created_at),
    }


def _version(row: Row[Any]) -> FunctionVersion:
    return FunctionVersion(
        definition_in(row.definition), row.version, row.description, row.owner, from_epoch_us(row.created_us)
    )
