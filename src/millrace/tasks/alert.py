"""Evaluating alert rules, and telling what they found."""

from __future__ import annotations

from millrace.jobs.job import AlertTask
from millrace.jobs.job_run import TaskOutcome
from millrace.tasks.given import Given


def evaluate_rules(given: Given, work: AlertTask) -> TaskOutcome:
    """Evaluate, tell, deliver. A rule that is bad is a result, not a failure: its state is in the output.

    Raises:
        NotFound: there is no rule of that name.
    """
    from millrace.alerts.documents import state_document
    from millrace.alerts.evaluate_all import evaluate_all

    desk = given.workspace.alerts
    reports = [evaluate_all(desk, only=rule) for rule in work.rules or (None,)]
    states = {name: state for report in reports for name, state in report.states.items()}
    for name, state in states.items():
        print(f"{name}: {state.state}" + (f": {state.reason}" if state.reason else ""), flush=True)  # noqa: T201 - the task's log
    bad = [name for name, state in states.items() if state.state == "bad"]
    are_open = len(reports[-1].are_open)
    output: dict[str, object] = {
        "states": {name: state_document(state) for name, state in states.items()},
        "alert_state": "TRIGGERED" if bad else "OK",
        "open": are_open,
        "sent": sum(report.delivered.sent for report in reports),
        "failed": sum(report.delivered.failed for report in reports),
    }
    named = f": {', '.join(bad)}" if bad else ""
    message = f"{len(bad)} of {len(states)} rules bad{named}; {are_open} episodes open"
    return TaskOutcome(output, message)
