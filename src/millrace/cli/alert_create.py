"""`millrace alert create`."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say
from millrace.core.errors import AlreadyExists, InvalidInput, UsageError

if TYPE_CHECKING:
    from millrace.alerts.port import AlertDesk
    from millrace.alerts.types import AlertRule


def create(
    name: str,
    *,
    operator: Annotated[str, Parameter(help="=, !=, >, >=, <, <=, 'is null' or 'is not null'; bad where it holds.")],
    threshold: Annotated[
        str | None, Parameter(help="What it is compared with: a number, a text, true or false.")
    ] = None,
    sql: Annotated[str | None, Parameter(help="One SELECT over tables of the lake.")] = None,
    table: Annotated[str | None, Parameter(help="A metric table, instead of SQL.")] = None,
    column: Annotated[str | None, Parameter(help="What is compared; the result's first column by default.")] = None,
    aggregation: Annotated[
        Literal["avg", "count", "count_distinct", "max", "median", "min", "stddev", "sum"] | None,
        Parameter(help="Over all rows of the result; without it the first row counts."),
    ] = None,
    threshold_column: Annotated[str | None, Parameter(help="Compare with this column instead.")] = None,
    window: Annotated[str | None, Parameter(help="Of the table: only its last 7d, 12h, ...")] = None,
    time: Annotated[str | None, Parameter(help="The table's time column, for --window.")] = None,
    where: Annotated[str | None, Parameter(help="A condition on the table's rows, as SQL.")] = None,
    empty: Annotated[
        Literal["ok", "bad", "unknown", "error"], Parameter(help="What a result without rows means.")
    ] = "unknown",
    breaches: Annotated[str, Parameter(name="--for", help="Opens at so many bad of the last, as 2/3.")] = "1/1",
    resolve_after: Annotated[int, Parameter(help="Ends after so many good evaluations in a row.")] = 1,
    repeat: Annotated[str | None, Parameter(help="Tell again after 1d, 6h, ... while it is open.")] = None,
    every: Annotated[str | None, Parameter(help="Evaluate at most once in 1h, 1d, ...")] = None,
    channel: Annotated[
        list[str] | None, Parameter(negative="", help="A channel's name, or env:VARIABLE; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, Parameter(negative="", help="A label for silences, as team=risk; may be repeated.")
    ] = None,
    quiet: Annotated[
        list[str] | None, Parameter(negative="", help="Tell nothing then: 22:00-06:00, Sat-Sun; may be repeated.")
    ] = None,
    notify_on_ok: Annotated[bool, Parameter(help="Tell of the end, too.")] = True,
    replace: Annotated[bool, Parameter(negative="", help="Change the rule of that name.")] = False,
    unchecked: Annotated[bool, Parameter(negative="", help="Make it although its query can't be run yet.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Make a rule over a metric table or any SQL. Its query is tried once; `millrace run` and `alert evaluate` evaluate it."""
    from millrace.alerts.condition import Condition, parse_operator, parse_threshold
    from millrace.alerts.quiet import parse_quiet
    from millrace.alerts.types import METRIC, AlertRule
    from millrace.workspace import require_home

    condition = Condition(
        parse_operator(operator),
        None if threshold is None else parse_threshold(threshold),
        sql=sql,
        table=table,
        column=column,
        aggregation=aggregation,
        threshold_column=threshold_column,
        window=_span("--window", window),
        time=time,
        where=where,
        empty=empty,
    )
    bad, of = _share(breaches)
    for text in quiet or []:
        parse_quiet(text)
    rule = AlertRule(
        name,
        kinds=(METRIC,),
        breaches=bad,
        out_of=of,
        resolve_after=resolve_after,
        repeat_after=_span("--repeat", repeat),
        notify_on_ok=notify_on_ok,
        labels=_labels(label or []),
        inhibitions=(),
        quiet=tuple(quiet or ()),
        condition=condition,
        every=_span("--every", every),
    )
    with closing(require_home(home)) as workspace:
        return _made(workspace.alerts, rule, channel or [], replace=replace, unchecked=unchecked, json=json)


def _made(desk: AlertDesk, rule: AlertRule, channels: list[str], *, replace: bool, unchecked: bool, json: bool) -> int:
    from dataclasses import replace as changed

    from millrace.alerts.ask import ask
    from millrace.alerts.channel_names import named
    from millrace.alerts.evaluate_all import change
    from millrace.alerts.show import rule_json

    _check_name(desk, rule.name, replace=replace)
    answer = ask(desk.sql, rule.condition, desk.clock.now())  # type: ignore[arg-type]
    if answer.state == "error" and not unchecked and rule.condition and rule.condition.empty != "error":
        raise InvalidInput(
            f"the rule can't be evaluated: {answer.reason}", hint="mend it, or make it so with --unchecked"
        )
    rule = changed(rule, channels=named(desk, channels, strict=True))
    kept = change(desk, rule)
    if json:
        print_json({**rule_json(kept), "would_be": answer.state, "value": answer.value})
    else:
        say(f"rule {rule.name} is {'changed' if replace else 'made'}; now it is {answer.state}: {answer.reason}")
    return 0


def _check_name(desk: AlertDesk, name: str, *, replace: bool) -> None:
    import re

    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}", name) or name.isdecimal():
        raise UsageError(f"'{name}' can't name a rule", hint="use letters, digits, _, . - and /, not a number")
    found = desk.rules.find(name)
    if found is not None and found.pipeline is not None:
        raise AlreadyExists(
            f"rule '{name}' is declared by pipeline {found.pipeline}", hint="change the pipeline's file"
        )
    if found is not None and not replace:
        raise AlreadyExists(f"a rule '{name}' exists", hint="--replace changes it")


def _share(text: str) -> tuple[int, int]:
    bad, _, of = text.partition("/")
    if not (bad.isdecimal() and of.isdecimal()):
        raise UsageError(f"--for {text} is not so many of so many", hint="write --for 2/3")
    return int(bad), int(of)


def _span(option: str, text: str | None) -> timedelta | None:
    from millrace.core.clock import parse_span

    if text is None:
        return None
    try:
        return parse_span(text)
    except InvalidInput as error:
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error


def _labels(texts: list[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise UsageError(f"--label {text} is not NAME=VALUE", hint="write --label team=risk")
        labels[key] = value
    return labels
