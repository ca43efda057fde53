"""Evaluate a rule over a metric or SQL: ask the lake, compare, and let the rule hear of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from millrace.alerts.condition import Condition, Value, is_bad, plain, quoted
from millrace.alerts.evaluate import evaluate
from millrace.alerts.port import AlertDesk
from millrace.alerts.types import ERROR, METRIC, AlertRule, KeptRule, Observation, RuleState, State
from millrace.core.errors import InvalidInput, MillraceError, first_line
from millrace.core.names import did_you_mean
from millrace.lake.port import SqlReader

_KEPT = 20  # observations that a rule remembers at least
_FUNCTIONS: Mapping[str, str] = {
    "avg": "avg({})",
    "count": "count({})",
    "count_distinct": "count(DISTINCT {})",
    "max": "max({})",
    "median": "median({})",
    "min": "min({})",
    "stddev": "stddev_samp({})",
    "sum": "sum({})",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a condition came to: its state, the value that was compared, and a sentence."""

    state: State
    value: Value
    reason: str


def ask(sql: SqlReader, condition: Condition, now: datetime) -> Answer:
    """Evaluate a condition at a time. What can't be evaluated is an answer too: the state `error`."""
    try:
        found = _found(sql, condition, now)
        return _empty(condition) if found is None else _answer(condition, *found)
    except MillraceError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Answer("error", None, f"{first_line(error)}{hint}")


def ask_rule(desk: AlertDesk, kept: KeptRule, *, at_once: bool = False) -> RuleState:
    """Evaluate a rule's condition, keep how it stands, and open, go on with or resolve its episodes.

    Where `every` has not passed since the last evaluation, and not `at_once`, nothing is done. A query that fails is an
    episode of its own, which opens at once and ends when the query can be run again; of the condition nothing is known meanwhile.
    """
    rule, now = kept.rule, desk.clock.now()
    if kept.state is not None and not at_once and rule.every is not None and now - kept.state.at < rule.every:
        return kept.state
    answer = ask(desk.sql, cast("Condition", rule.condition), now)
    known = kept.state.recent if kept.state else ()
    observation = Observation(rule.name, METRIC, now, _BAD[answer.state], answer.reason, {"value": answer.value})
    recent = tuple(one for one in known if one.at < now)
    if observation.bad is not None:
        recent = (*recent, observation)[-max(rule.out_of, _KEPT) :]
    state = RuleState(answer.state, answer.value, answer.reason, now, recent)
    desk.rules.set_state(rule.name, state)
    evaluate(desk.episodes, desk.events, desk.clock, replace(rule, kinds=(METRIC,)), recent)
    failed = Observation(rule.name, ERROR, now, answer.state == "error", answer.reason)
    evaluate(desk.episodes, desk.events, desk.clock, _of_errors(rule), [failed])
    return state


_BAD: Mapping[State, bool | None] = {"ok": False, "bad": True, "unknown": None, "error": None}


def _of_errors(rule: AlertRule) -> AlertRule:
    return replace(rule, kinds=(ERROR,), breaches=1, out_of=1, resolve_after=1)


def _found(sql: SqlReader, condition: Condition, now: datetime) -> tuple[str, object, object] | None:
    """The column's name, its value and what it is compared with; None where the result has no rows."""
    first = sql.read(condition.query(), now, limit=1)
    column = condition.column or first.column_names[0]
    for name in (column, condition.threshold_column):
        if name is not None and name not in first.column_names:
            raise InvalidInput(f"the result has no column '{name}'", hint=did_you_mean(name, first.column_names))
    if not len(first):
        return None
    other = condition.threshold_column
    if condition.aggregation is None:
        row = first.to_pylist()[0]
        return column, row[column], row[other] if other else condition.threshold
    by = _FUNCTIONS[condition.aggregation]
    wanted = [f"{by.format(quoted(name))} AS {alias}" for name, alias in ((column, "a"), (other, "b")) if name]
    row = sql.read(f"SELECT {', '.join(wanted)} FROM ({condition.query()}\n)", now, limit=1).to_pylist()[0]
    return f"{condition.aggregation} of {column}", row["a"], row["b"] if other else condition.threshold


def _answer(condition: Condition, name: str, value: object, threshold: object) -> Answer:
    bad = is_bad(condition, value, threshold)
    compared = plain(value)
    if bad is None:
        return Answer("unknown", compared, f"{name} is {_said(compared)}, so there is nothing to compare")
    against = "" if condition.operator.startswith("is ") else f" {_said(plain(threshold))}"
    verdict = f"{name} is {_said(compared)}: the rule is{'' if bad else ' not'} met ({condition.operator}{against})"
    return Answer("bad" if bad else "ok", compared, verdict)


def _empty(condition: Condition) -> Answer:
    return Answer(condition.empty, None, "the result has no rows")


def _said(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "null" if value is None else str(value)
