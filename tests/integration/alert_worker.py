"""Lives through days of trouble with alerts, from where the one before it was killed; forked for each line that it reads."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta

import duckdb  # noqa: F401, TID253 - imported once, before the forks
import httpx  # noqa: F401

from millrace.alerts.condition import Condition
from millrace.alerts.evaluate_all import Declared, evaluate_all, tell_all
from millrace.alerts.types import METRIC, AlertRule, Observation
from millrace.lake.adapters.duckdb_sql import DuckDbSql  # noqa: F401
from millrace.workspace import open_workspace

START = datetime(2025, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS = 40
KINDS = {"drift": "xx....x.x...", "quality": "....X......", "performance": ".......xxx...."}


def days_until(now: datetime) -> list[Observation]:
    """Each kind's marks, again and again: x bad, X critical."""
    found = []
    for kind, marks in KINDS.items():
        for day in range((now - START).days + 1):
            mark = marks[day % len(marks)]
            data = {"severity": "critical" if mark == "X" else "warning"}
            found.append(Observation("churn v1", kind, START + day * DAY, mark in "xX", f"{kind} {day}", data))
    return found


def live(home: str, url: str) -> None:
    """A day at a time; where the clock stands is how far it is. Then days on which only the outbox is emptied."""
    workspace = open_workspace(home)
    desk = workspace.alerts
    if not workspace.clock.is_virtual:
        workspace.clock.set(START)
    odd = AlertRule("odd", (METRIC,), breaches=1, out_of=1, resolve_after=1, channels=(url,), condition=Condition(">", 4, sql="SELECT day(now()) % 7 AS d"))  # fmt: skip
    rule = AlertRule("churn", channels=(url,), resolve_after=2, repeat_after=3 * DAY, inhibitions=())
    while (now := workspace.clock.now()) <= START + DAYS * DAY:
        evaluate_all(desk, Declared("churn", rule, (odd,)), days_until(now))
        workspace.clock.set(now + DAY)
    while desk.outbox.waiting():
        tell_all(desk)
        workspace.clock.set(workspace.clock.now() + DAY)
    workspace.close()


if __name__ == "__main__":
    for _line in sys.stdin:
        child = os.fork()
        if child == 0:
            live(sys.argv[1], sys.argv[2])
            os._exit(0)
        print(child, flush=True)  # noqa: T201 - its owner reads it
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        sys.stdin.readline()  # until then its number stays its own
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
