"""`millrace alert evaluate` and `millrace alert outbox`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, print_table, say


def evaluate(
    rule: Annotated[str | None, Parameter(help="Only this one, also before its time.")] = None,
    *,
    home: Home = None,
    json: Json = False,
) -> int:
    """Evaluate the rules over metrics and SQL now, tell what is owed, and deliver what waits.

    A pipeline's own rule hears its monitor's verdicts in `millrace run`.
    """
    from millrace.alerts.documents import state_document
    from millrace.alerts.evaluate_all import evaluate_all
    from millrace.alerts.show import episode_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        report = evaluate_all(workspace.alerts, only=rule)
    if json:
        states = {name: state_document(state) for name, state in report.states.items()}
        are_open = [episode_json(one) for one in report.are_open]
        print_json({"states": states, "open": are_open, "posted": report.posted, **asdict(report.delivered)})
        return 0
    if report.states:
        rows = [[name, state.state, state.value, state.reason, state.at] for name, state in report.states.items()]
        print_table(["rule", "state", "value", "reason", "evaluated"], rows)
    else:
        say("no rule over a metric or SQL")
    if report.are_open:
        rows = [[one.id, one.rule, one.subject, one.kind, one.opened_at, one.reason] for one in report.are_open]
        print_table(["episode", "rule", "about", "kind", "opened", "reason"], rows, title="open")
    done = report.delivered
    say(f"{report.posted} told; {done.sent} sent, {done.failed} failed and will be tried again, {done.dead} given up")
    return 0


def outbox(
    *,
    retry: Annotated[bool, Parameter(negative="", help="Try again what was given up, at the next evaluation.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """List what waits to be sent and what was given up, with the last error."""
    from millrace.alerts.show import delivery_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.alerts
        revived = desk.outbox.revive(desk.clock.now()) if retry else 0
        found = [delivery_json(each) for each in (*desk.outbox.waiting(1000), *desk.outbox.dead())]
    if json:
        print_json({"deliveries": found, "revived": revived})
        return 0
    if retry:
        say(f"{revived} that were given up will be tried again")
    if found:
        columns = ["episode", "key", "channel", "status", "attempts", "next_at", "error"]
        print_table(columns, [[each[name] for name in columns] for each in found])
    else:
        say("nothing waits to be sent")
    return 0
