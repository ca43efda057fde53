"""`millrace monitor`: list, show, verdicts, refresh, create."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_facts, print_json, print_table, say

if TYPE_CHECKING:
    from millrace.lake.lake import Lake
    from millrace.monitoring.known import KnownMonitor
    from millrace.monitoring.types import WindowVerdict

app = App(name="monitor", help="Monitors: what is watched, what they say, refreshing one.")
REFUSED = 3
_SHOWN_WINDOWS = 7
_COLUMNS = 10
Name = Annotated[str, Parameter(help="A monitor: its pipeline's name, or its log's.")]


@app.command(name="list")
def list_(*, home: Home = None, json: Json = False) -> int:
    """List the monitors, each with its newest verdicts."""
    from millrace.monitoring.known import monitors
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        found = [(monitor, _newest(_verdicts(workspace.lake, monitor))) for monitor in monitors(workspace.lake)]
    if json:
        listed = [_facts(monitor) | {"newest": [_json(one) for one in newest]} for monitor, newest in found]
        print_json({"monitors": listed})
        return 0
    if not found:
        say(
            "there are no monitors yet; `millrace run` makes a pipeline's own, `millrace monitor create` one over any log"
        )
        return 0
    rows = [
        [monitor.name, monitor.spec.table, monitor.spec.granularity, newest[0].end if newest else None, _states(newest)]
        for monitor, newest in found
    ]
    print_table(["monitor", "log", "window", "judged up to", "newest verdicts"], rows)
    return 0


@app.command
def show(
    name: Name,
    *,
    check: Annotated[bool, Parameter(negative="", help="Exit with 3 where a newest verdict is bad.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Show what is watched, the newest windows' verdicts with their reasons, and the worst columns."""
    from millrace.monitoring.known import find_monitor
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        monitor = find_monitor(workspace.lake, name)
        verdicts = _verdicts(workspace.lake, monitor)
    telling = [one for one in verdicts if one.status != "insufficient_data"] or verdicts
    starts = sorted({one.start for one in telling})[-_SHOWN_WINDOWS:]
    recent, newest = [one for one in verdicts if one.start in starts], _newest(verdicts)
    if json:
        worst = [{"column": column, "windows": windows} for column, windows in _worst(recent)]
        shown = [_json(one) for one in recent]
        print_json(_facts(monitor) | {"newest": [_json(one) for one in newest], "verdicts": shown, "worst": worst})
    else:
        _show(monitor, recent, newest)
    return REFUSED if check and any(one.bad for one in newest) else 0


@app.command
def verdicts(
    name: Name,
    *,
    since: Annotated[str | None, Parameter(help="An ISO time: windows that begin from there on.")] = None,
    home: Home = None,
    json: Json = False,
) -> int:
    """List the verdicts, oldest first."""
    from millrace.core.clock import parse_time
    from millrace.monitoring.known import find_monitor
    from millrace.workspace import require_home

    start = None if since is None else parse_time(since)
    with closing(require_home(home)) as workspace:
        found = _verdicts(workspace.lake, find_monitor(workspace.lake, name))
    chosen = [one for one in found if start is None or one.start >= start]
    if json:
        print_json({"verdicts": [_json(one) for one in chosen]})
    elif chosen:
        _table(chosen)
    else:
        say("no verdicts")
    return 0


@app.command
def refresh(name: Name, *, home: Home = None, json: Json = False) -> int:
    """Count and judge what is new in the log. Alerts hear of it when `millrace run` runs."""
    from millrace.monitoring.known import find_monitor
    from millrace.pipeline.monitors import refresh_monitor
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        found = refresh_monitor(workspace, find_monitor(workspace.lake, name))
    newest = _newest(found.verdicts)
    if json:
        print_json({"verdicts": [_json(one) for one in found.verdicts], "notes": list(found.notes)})
        return 0
    say(f"{len(found.verdicts)} verdicts, {sum(bool(one.bad) for one in found.verdicts)} bad")
    for note in found.notes:
        say(f"note: {note}")
    if newest:
        _table(newest)
    return 0


@app.command
def create(
    log: Annotated[str, Parameter(help="The inference log: a row a prediction, with a time and the model's version.")],
    *,
    baseline: Annotated[str, Parameter(help="A table with the columns of the log, that stands for normal.")],
    granularity: Annotated[str, Parameter(help="The window that is judged.")] = "1 day",
    schema: Annotated[str, Parameter(help="Where its tables go.")] = "ml.monitoring",
    slices: Annotated[
        list[str] | None,
        Parameter(name="--slice", negative="", help="A column, or an expression as 'amount > 100'; may be repeated."),
    ] = None,
    false_alarms_per_year: Annotated[float, Parameter(help="The budget that limits follow from.")] = 1.0,
    timestamp: Annotated[str, Parameter(help="The log's column with the time.")] = "timestamp",
    model_version: Annotated[str, Parameter(help="Its column with the model's version.")] = "model_version",
    prediction: Annotated[str, Parameter(help="Its column with the prediction.")] = "prediction",
    probability: Annotated[str, Parameter(help="Its column with the probability.")] = "probability",
    label: Annotated[str, Parameter(help="Its column with the label, once that is known.")] = "actual_label",
    home: Home = None,
    json: Json = False,
) -> int:
    """Watch any inference log, with a table as the reference. Refresh it when rows have come."""
    from millrace.monitoring.types import MonitorSpec
    from millrace.pipeline.monitors import create_monitor
    from millrace.workspace import require_home

    spec = MonitorSpec(
        log,
        schema,
        granularity=granularity,
        slices=tuple(slices or ()),
        timestamp_col=timestamp,
        prediction_col=prediction,
        model_id_col=model_version,
        label_col=label,
        proba_col=probability,
        false_alarms_per_year=false_alarms_per_year,
    )
    with closing(require_home(home)) as workspace:
        monitor = create_monitor(workspace, spec, baseline)
    if json:
        print_json(_facts(monitor))
    else:
        say(f"monitor {monitor.name} is there; `millrace monitor refresh {monitor.name}` judges what the log has")
    return 0


def _verdicts(lake: Lake, monitor: KnownMonitor) -> Sequence[WindowVerdict]:
    from datetime import UTC, datetime

    from millrace.monitoring.tables.verdict_table import read_verdicts

    first, last = datetime.min.replace(tzinfo=UTC) + timedelta(days=1), datetime.max.replace(tzinfo=UTC)
    return read_verdicts(lake, monitor.spec, since=first, until=last)


def _newest(found: Sequence[WindowVerdict]) -> Sequence[WindowVerdict]:
    """The newest verdict of each kind, of the version that was judged last."""
    version = max(found, key=lambda one: one.start).model_version if found else None
    by_kind = {one.kind: one for one in sorted(found, key=lambda one: one.start) if one.model_version == version}
    return [by_kind[kind] for kind in sorted(by_kind)]


def _worst(found: Sequence[WindowVerdict]) -> Sequence[tuple[str, int]]:
    """Columns by how many bad verdicts name them, each window once."""
    named = {(one.start, column) for one in found if one.trouble for column in one.columns}
    return Counter(column for _, column in sorted(named)).most_common(_COLUMNS)


def _states(found: Sequence[WindowVerdict]) -> str:
    return ", ".join(f"{one.kind} {_plain(one.status)}" for one in found) or "none yet"


def _plain(status: str) -> str:
    return status.replace("_", " ")


def _show(monitor: KnownMonitor, recent: Sequence[WindowVerdict], newest: Sequence[WindowVerdict]) -> None:
    facts = {name: value for name, value in _facts(monitor).items() if value not in (None, [])}
    print_facts({name: ", ".join(value) if isinstance(value, list) else value for name, value in facts.items()})
    if not recent:
        say("no verdicts yet")
        return
    _table(recent)
    worst = _worst(recent)
    if worst:
        print_table(["column", "bad windows"], worst, title="worst columns")
    say("newest: " + _states(newest))


def _table(found: Sequence[WindowVerdict]) -> None:
    rows = []
    for one in found:
        how = one.severity if one.trouble else ""
        rows.append([f"{one.start:%Y-%m-%d %H:%M}", one.model_version, one.kind, _plain(one.status), how, one.reason])
    print_table(["window", "version", "kind", "status", "severity", "reason"], rows)


def _facts(monitor: KnownMonitor) -> dict[str, object]:
    spec = monitor.spec
    return {
        "name": monitor.name,
        "log": spec.table,
        "reference": monitor.baseline or f"training set and holdout of {monitor.model}",
        "window": spec.granularity,
        "more windows": list(spec.granularities),
        "slices": list(spec.slices),
        "metrics": [metric.name for metric in spec.metrics],
        "features": list(spec.feature_cols),
        "false alarms a year": spec.false_alarms_per_year,
        "tables": f"{spec.output_schema}.*",
    }


def _json(one: WindowVerdict) -> dict[str, object]:
    return {
        "start": one.start,
        "end": one.end,
        "model_version": one.model_version,
        "kind": one.kind,
        "status": one.status,
        "severity": one.severity,
        "score": one.score,
        "columns": list(one.columns),
        "reason": one.reason,
        "figures": dict(one.figures),
    }
