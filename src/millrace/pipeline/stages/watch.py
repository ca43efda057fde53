"""Looking at what was served: late labels joined, windows judged, episodes opened and closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.alerts.evaluate_all import evaluate_all, tell_all
from millrace.core.clock import utc
from millrace.monitoring.judge import PAST
from millrace.monitoring.known import KnownMonitor, remember
from millrace.monitoring.refresh import Refreshed, refresh
from millrace.monitoring.tables.schemas import MetricTables
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.windows import Granularity
from millrace.pipeline.context import RunContext
from millrace.pipeline.declare import Pipeline
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.heard import is_taken_back, observation
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Services
from millrace.pipeline.reference import reference_of
from millrace.pipeline.retrain import champion_verdicts, close_left_behind, in_production, subject
from millrace.pipeline.split import take
from millrace.pipeline.stages.stage import Outcome
from millrace.serving.labels.labels import join_labels

if TYPE_CHECKING:
    import pyarrow as pa

_WEEK = timedelta(days=7)
JOIN = "join labels"


@dataclass(frozen=True, slots=True)
class JoinLabels:
    """Give logged predictions the labels that have become known. `log` changes when rows or labels came."""

    today: datetime
    log: str

    @property
    def name(self) -> str:
        """`join labels`."""
        return JOIN

    @property
    def fingerprint(self) -> str:
        """The log and the labels."""
        return fingerprint(self.name, self.log)

    def run(self, context: RunContext) -> Outcome:
        """One merge, or none."""
        services, label = context.services, context.pipeline.labels
        table = context.pipeline.predictions_table
        oldest = _oldest_unlabelled(services, context.pipeline)
        if oldest is None or not services.lake.exists(label.name):
            return Outcome("no prediction waits for a label", {"joined": 0})
        now = services.clock.now()
        known = read_known(services, label, services.lake.pin(label.name), now)
        joined = join_labels(
            services.lake,
            table,
            take(known, label.time, oldest - label.tolerance, None),
            keys=label.keys,
            label_column=label.column,
            label_time=label.time,
            tolerance=label.tolerance,
            as_of=now,
        )
        return Outcome(f"{joined:,} predictions got their label", {"joined": joined})


@dataclass(frozen=True, slots=True)
class Watch:
    """Judge the windows up to today, and let the alert rule hear of it. `log` changes when rows or labels came."""

    today: datetime
    log: str

    @property
    def name(self) -> str:
        """`monitor`."""
        return "monitor"

    @property
    def fingerprint(self) -> str:
        """The day, the log and the labels."""
        return fingerprint(self.name, self.today, self.log)

    def run(self, context: RunContext) -> Outcome:
        """Refresh the metric tables, evaluate the rule, send what is in the outbox."""
        services, pipeline = context.services, context.pipeline
        found = _judge(context, self.today)
        verdicts = found.verdicts
        observations = [
            observation(subject(pipeline, verdict.model_version), verdict)
            for verdict in _heard(services, pipeline, verdicts)
        ]
        sent = evaluate_all(services.alerts, pipeline.alerts.declared(pipeline.name), observations).delivered.sent
        close_left_behind(services, pipeline)
        sent += tell_all(services.alerts).delivered.sent
        bad = [verdict for verdict in verdicts if verdict.trouble]
        are_open = services.episodes.open_now(pipeline.name)
        detail = f"{len(verdicts)} verdicts, {len(bad)} bad" + (
            f"; episode open: {are_open[0].reason}" if are_open else ""
        )
        detail += "".join(f"; {note}" for note in found.notes)
        return Outcome(detail, {"verdicts": len(verdicts), "bad": len(bad), "sent": sent, "open": bool(are_open)})


def _judge(context: RunContext, today: datetime) -> Refreshed:
    services, pipeline = context.services, context.pipeline
    champion = in_production(services, pipeline)
    if champion is None or "run_id" not in champion.verdict:
        return Refreshed([])
    spec = pipeline.monitor_spec
    remember(services.lake, KnownMonitor(pipeline.name, spec, pipeline.model_name))
    since, until = _since(context, spec, today), _finished(spec, today)
    if since >= until:  # the first predictions are of today: no window is over yet
        return Refreshed([])
    references = {str(champion.version): reference_of(services, str(champion.verdict["run_id"]))}
    return refresh(services.lake, spec, references, since=since, until=until)


def _heard(services: Services, pipeline: Pipeline, found: Sequence[WindowVerdict]) -> Sequence[WindowVerdict]:
    """What was found, after the champion's last conclusive verdicts of each kind.

    The rule counts bad ones among several, and labels come late, a window at a time: those before it were found by earlier runs. What a run
    found and died before the rule heard of it is heard here, too.
    """
    champion = in_production(services, pipeline)
    by_kind: dict[str, list[WindowVerdict]] = {}
    for verdict in champion_verdicts(services, pipeline, champion) if champion else ():
        if verdict.bad is not None or is_taken_back(verdict):
            by_kind.setdefault(verdict.kind, []).append(verdict)
    most = PAST + pipeline.alerts.out_of
    return [*(verdict for verdicts in by_kind.values() for verdict in verdicts[-most:]), *found]


def _finished(spec: MonitorSpec, today: datetime) -> datetime:
    """The end of the newest window that is over."""
    granularity = Granularity.parse(spec.granularity)
    return granularity.start(granularity.number(today))


def _since(context: RunContext, spec: MonitorSpec, today: datetime) -> datetime:
    """Where judging starts: the last window that was judged; older ones are judged again where their rows or labels changed."""
    services, pipeline = context.services, context.pipeline
    last = _last_judged(services, spec)
    if last is None:
        return _first_prediction(services, pipeline) or today - _WEEK
    # The rule wants the last `out_of` observations each time.
    return min(last, _finished(spec, today) - pipeline.alerts.out_of * Granularity.parse(spec.granularity).length)


def _last_judged(services: Services, spec: MonitorSpec) -> datetime | None:
    import pyarrow.compute as pc

    table = MetricTables.of(spec).verdicts
    if not services.lake.exists(table):
        return None
    newest = pc.max(services.lake.read(table, columns=["window_start"]).column("window_start")).as_py()
    return None if newest is None else utc(newest)


def _first_prediction(services: Services, pipeline: Pipeline) -> datetime | None:
    import pyarrow.compute as pc

    first = pc.min(services.lake.read(pipeline.predictions_table, columns=["timestamp"]).column("timestamp")).as_py()
    return None if first is None else utc(first)


def _oldest_unlabelled(services: Services, pipeline: Pipeline) -> datetime | None:
    import pyarrow.compute as pc

    rows: pa.Table = services.lake.read(pipeline.predictions_table, columns=["timestamp", "actual_label"])
    oldest = pc.min(rows.filter(pc.is_null(rows.column("actual_label"))).column("timestamp")).as_py()
    return None if oldest is None else utc(oldest)
