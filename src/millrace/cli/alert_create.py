"""`millrace alert create`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.alert_options import Asked, Telling
from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say
from millrace.core.errors import AlreadyExists, InvalidInput, UsageError

if TYPE_CHECKING:
    from millrace.alerts.port import AlertDesk
    from millrace.alerts.types import AlertRule


def create(
    name: str,
    *,
    asked: Asked,
    telling: Telling | None = None,
    replace: Annotated[bool, Parameter(negative="", help="Change the rule of that name.")] = False,
    unchecked: Annotated[bool, Parameter(negative="", help="Make it although its query can't be run yet.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Make a rule over a metric table or any SQL. Its query is tried once; `millrace run` and `alert evaluate` evaluate it."""
    from millrace.workspace import require_home

    telling = telling or Telling()
    rule = telling.rule(name, asked.condition())
    with closing(require_home(home)) as workspace:
        return _made(workspace.alerts, rule, list(telling.channel), replace=replace, unchecked=unchecked, json=json)


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
