"""Rules, how they stand, and silences in the workspace database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, Select, delete, insert, select, update

from millrace.alerts.documents import mute_document, mute_of, rule_document, rule_of, state_document, state_of
from millrace.alerts.types import METRIC, AlertRule, KeptRule, Matcher, Mute, RuleState, Silence
from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.core.names import did_you_mean
from millrace.database.schema import alert_rules, silences
from millrace.database.writes import insert_new


class SqlRuleStore:
    """A `RuleStore` in the `alert_rules` and `silences` tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, rule: AlertRule, owner: str, at: datetime, pipeline: str | None = None) -> KeptRule:
        """Write a rule, or replace its definition."""
        changes: dict[str, object] = {
            "definition": rule_document(rule),
            "owner": owner,
            "pipeline": pipeline,
            "updated_us": epoch_us(at),
        }
        with self._engine.begin() as connection:
            new = insert_new(connection, alert_rules, {"name": rule.name, "created_us": epoch_us(at), **changes})
            if new is None:
                connection.execute(update(alert_rules).where(alert_rules.c.name == rule.name).values(changes))
        return self.get(rule.name)

    def get(self, name: str) -> KeptRule:
        """The rule of that name."""
        found = self.find(name)
        if found is None:
            raise self._unknown(name)
        return found

    def find(self, name: str) -> KeptRule | None:
        """The rule of that name, or None."""
        found = self._read(select(alert_rules).where(alert_rules.c.name == name))
        return _kept(found[0]) if found else None

    def list(self) -> Sequence[KeptRule]:
        """By name."""
        return [_kept(row) for row in self._read(select(alert_rules).order_by(alert_rules.c.name))]

    def remove(self, name: str) -> None:
        """Delete the rule."""
        with self._engine.begin() as connection:
            gone = connection.execute(delete(alert_rules).where(alert_rules.c.name == name)).rowcount
        if not gone:
            raise self._unknown(name)

    def set_mute(self, name: str, mute: Mute | None) -> None:
        """Mute the rule, or let it speak again."""
        self._change(name, {"mute": mute_document(mute)})

    def set_state(self, name: str, state: RuleState | None) -> None:
        """Keep how the rule stands."""
        self._change(name, {"state": state_document(state)})

    def add_silence(self, silence: Silence) -> Silence:
        """Write it, with the number that the store gives."""
        row = {
            "matchers": [asdict(each) for each in silence.matchers],
            "starts_us": epoch_us(silence.starts_at),
            "ends_us": epoch_us(silence.ends_at),
            "reason": silence.reason,
            "by": silence.by,
            "created_us": epoch_us(silence.created_at),
        }
        with self._engine.begin() as connection:
            number = connection.execute(insert(silences).values(row).returning(silences.c.id)).scalar_one()
        return replace(silence, id=int(number))

    def silences(self, ending_after: datetime | None = None) -> Sequence[Silence]:
        """Oldest first."""
        query = select(silences).order_by(silences.c.id)
        if ending_after is not None:
            query = query.where(silences.c.ends_us > epoch_us(ending_after))
        return [_silence(row) for row in self._read(query)]

    def end_silence(self, silence: int, at: datetime) -> Silence:
        """End it at that time, where it would last longer."""
        longer = (silences.c.id == silence) & (silences.c.ends_us > epoch_us(at))
        with self._engine.begin() as connection:
            connection.execute(update(silences).where(longer).values(ends_us=epoch_us(at)))
        found = self._read(select(silences).where(silences.c.id == silence))
        if not found:
            raise NotFound(f"silence {silence} does not exist", hint="see `millrace alert silences`")
        return _silence(found[0])

    def _change(self, name: str, changes: dict[str, object]) -> None:
        with self._engine.begin() as connection:
            changed = connection.execute(update(alert_rules).where(alert_rules.c.name == name).values(changes))
        if not changed.rowcount:
            raise self._unknown(name)

    def _unknown(self, name: str) -> NotFound:
        known = [row.name for row in self._read(select(alert_rules.c.name))]
        return NotFound(f"there is no alert rule '{name}'", hint=did_you_mean(name, known), rule=name)

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


def _kept(row: Row[Any]) -> KeptRule:
    return KeptRule(
        rule=rule_of(row.definition),
        owner=row.owner,
        created_at=from_epoch_us(row.created_us),
        updated_at=from_epoch_us(row.updated_us),
        pipeline=row.pipeline,
        mute=mute_of(row.mute),
        state=state_of(row.state, row.name, METRIC),
    )


def _silence(row: Row[Any]) -> Silence:
    return Silence(
        id=row.id,
        matchers=tuple(Matcher(**each) for each in row.matchers),
        starts_at=from_epoch_us(row.starts_us),
        ends_at=from_epoch_us(row.ends_us),
        reason=row.reason,
        by=row.by,
        created_at=from_epoch_us(row.created_us),
    )
