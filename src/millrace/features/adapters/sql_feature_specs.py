"""Named feature specs in the workspace database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, select, update

from millrace.core.clock import Clock, epoch_us, from_epoch_us
from millrace.core.errors import AlreadyExists, NotFound
from millrace.core.events import Event
from millrace.core.names import did_you_mean
from millrace.core.principal import Principal
from millrace.database.events import append_event
from millrace.database.schema import feature_specs as table
from millrace.database.writes import insert_new
from millrace.features.spec import from_json, to_json
from millrace.features.types import FeatureSpec, NamedFeatureSpec


class SqlFeatureSpecStore:
    """A `FeatureSpecStore` in the `feature_specs` table."""

    def __init__(self, engine: Engine, clock: Clock, principal: Principal) -> None:
        self._engine, self._clock, self._principal = engine, clock, principal

    def add(self, name: str, spec: FeatureSpec, description: str) -> NamedFeatureSpec:
        """Keep a new spec."""
        now = self._clock.now()
        made = NamedFeatureSpec(name, spec, description, str(self._principal), now, now)
        row = {
            "name": name,
            "spec": to_json(spec),
            "description": description,
            "owner": made.owner,
            "created_us": epoch_us(now),
            "updated_us": epoch_us(now),
        }
        with self._engine.begin() as connection:
            if insert_new(connection, table, row) is None:
                raise AlreadyExists(
                    f"feature spec {name} exists",
                    hint="choose another name, or update it: update_feature_spec",
                    spec=name,
                )
            self._tell(connection, "feature_spec.created", name)
        return made

    def update(
        self, name: str, *, spec: FeatureSpec | None = None, description: str | None = None, owner: str | None = None
    ) -> NamedFeatureSpec:
        """Replace what is given."""
        given = {"spec": None if spec is None else to_json(spec), "description": description, "owner": owner}
        changes: dict[str, object] = {key: value for key, value in given.items() if value is not None}
        changes["updated_us"] = epoch_us(self._clock.now())
        with self._engine.begin() as connection:
            if connection.execute(update(table).where(table.c.name == name).values(changes)).rowcount:
                self._tell(connection, "feature_spec.updated", name)
        return self.get(name)

    def get(self, name: str) -> NamedFeatureSpec:
        """The spec of that name."""
        found = self._read(select(table).where(table.c.name == name))
        if not found:
            raise self._unknown(name)
        return found[0]

    def list(self) -> Sequence[NamedFeatureSpec]:
        """All, by name."""
        return sorted(self._read(select(table)), key=lambda each: each.name)

    def delete(self, name: str) -> None:
        """Forget a spec."""
        with self._engine.begin() as connection:
            gone = connection.execute(delete(table).where(table.c.name == name)).rowcount
            if gone:
                self._tell(connection, "feature_spec.deleted", name)
        if not gone:
            raise self._unknown(name)

    def _read(self, query: Select[Any]) -> Sequence[NamedFeatureSpec]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_spec(row) for row in connection.execute(query)]

    def _tell(self, connection: Connection, kind: str, name: str) -> None:
        append_event(connection, Event(kind, name, self._clock.now(), self._principal))

    def _unknown(self, name: str) -> NotFound:
        known = [each.name for each in self.list()]
        hint = did_you_mean(name, known) if known else "make it: client.create_feature_spec(name=..., features=[...])"
        return NotFound(f"feature spec {name} does not exist", hint=hint, spec=name)


def _spec(row: Row[Any]) -> NamedFeatureSpec:
    return NamedFeatureSpec(
        row.name,
        from_json(row.spec),
        row.description,
        row.owner,
        from_epoch_us(row.created_us),
        from_epoch_us(row.updated_us),
    )
