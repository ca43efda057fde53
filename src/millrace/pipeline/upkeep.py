"""What a user writes about a model in production: what is watched, who is told, when it is made again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Literal, cast

from millrace.alerts.condition import Aggregation, Condition, Empty, Operator, Value
from millrace.alerts.evaluate_all import Declared
from millrace.alerts.quiet import parse_quiet
from millrace.alerts.types import INHIBITIONS, KINDS, METRIC, AlertRule, Inhibition
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.monitoring.types import Metric, MonitorSpec
from millrace.monitoring.windows import Granularity, base_of
from millrace.pipeline.schedules import Schedule, check_schedule


@dataclass(frozen=True, slots=True)
class Monitor:
    """What is watched: each day's features and predictions against the training reference, and losses against late labels.

    Attributes:
        granularity: the window that is judged, from `5 minutes` to `1 year`.
        false_alarms_per_year: the budget that all limits follow from.
        effect_floor: the smallest distance (KS, total variation) that is called drift.
        schema: where the tables go.
        granularities: more windows that the metric tables have rows for.
        slices: columns of the log, or SQL expressions over them as `amount > 100`: the metric tables have rows for each value.
        metrics: of your own, in SQL: `mr.Metric("north_spend", "avg(spend) FILTER (region = 'north')")`.
        features: the columns whose distribution is watched; empty: all that the model takes.
        label_coverage: a window counts for performance when at least this share of its rows has a label.
        schedule: when what is new is judged and told by itself: Quartz cron, as `0 30 6 * * ?`; `millrace job apply` puts it into force.
    """

    granularity: str = "1 day"
    false_alarms_per_year: float = 1.0
    effect_floor: float = 0.05
    schema: str = "ml.monitoring"
    granularities: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    features: tuple[str, ...] = ()
    label_coverage: float = 0.5
    schedule: Schedule = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_schedule(self.schedule, "the monitor")
        base_of([Granularity.parse(text) for text in (self.granularity, *self.granularities)])
        self.spec("of.any.log")

    def spec(self, log: str) -> MonitorSpec:
        """As a monitor over a log."""
        return MonitorSpec(
            log,
            self.schema,
            granularity=self.granularity,
            granularities=tuple(self.granularities),
            slices=tuple(self.slices),
            metrics=tuple(self.metrics),
            feature_cols=tuple(self.features),
            false_alarms_per_year=self.false_alarms_per_year,
            effect_floor=self.effect_floor,
            label_coverage=self.label_coverage,
        )


@dataclass(frozen=True, slots=True)
class MetricAlert:
    """An alert over any metric or SQL: bad where `operator` holds between a value and the threshold.

    Attributes:
        name: unique in the pipeline; the rule's name in the workspace is `<pipeline>/<name>`.
        operator: `=`, `!=`, `>`, `>=`, `<`, `<=`, `is null` or `is not null`.
        threshold: number, text or truth; None with `is null`, `is not null`, or where `threshold_column` is compared with.
        sql: one SELECT over tables of the lake, in DuckDB's SQL; or, instead,
        table, window, time, where: the rows of a table whose `time` is within `window` before now, and for which `where` holds.
        column, aggregation: what is compared: of the result's first row, or over all of them (`avg`, `count`, `count_distinct`,
            `max`, `median`, `min`, `stddev`, `sum`).
        empty: what a result without rows means: `ok`, `bad`, `unknown` or `error`.
        breaches, out_of, resolve_after, repeat_after, notify_on_ok: as in `Alert`.
        channels, labels: None: those of the pipeline's `Alert`; labels are added to its.
        every: the least time between two evaluations; None: each run.
    """

    name: str
    operator: Operator
    threshold: Value = None
    sql: str | None = None
    table: str | None = None
    column: str | None = None
    aggregation: Aggregation | None = None
    threshold_column: str | None = None
    window: timedelta | None = None
    time: str | None = None
    where: str | None = None
    empty: Empty = "unknown"
    breaches: int = 1
    out_of: int = 1
    resolve_after: int = 1
    repeat_after: timedelta | None = None
    notify_on_ok: bool = True
    channels: Sequence[str] | None = field(default=None, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    every: timedelta | None = None

    def __post_init__(self) -> None:
        self.rule("pipeline", Alert())

    def rule(self, pipeline: str, alert: Alert) -> AlertRule:
        """As a rule of the workspace."""
        return AlertRule(
            name=f"{pipeline}/{self.name}",
            kinds=(METRIC,),
            breaches=self.breaches,
            out_of=self.out_of,
            resolve_after=self.resolve_after,
            repeat_after=self.repeat_after,
            channels=tuple(alert.channels if self.channels is None else self.channels),
            notify_on_ok=self.notify_on_ok,
            labels={"pipeline": pipeline, **alert.labels, **self.labels},
            inhibitions=(),
            quiet=tuple(alert.quiet),
            condition=Condition(**{each.name: getattr(self, each.name) for each in fields(Condition)}),
            every=self.every,
        )


@dataclass(frozen=True, slots=True)
class Alert:
    """When bad verdicts become an episode, and who is told. Each kind of trouble has episodes of its own.

    An episode ends after `resolve_after` good days in a row: a week, because verdicts look a week back themselves.

    Attributes:
        on: kinds of verdict: `drift`, `quality`, `volume`, `performance`, `estimate`.
        breaches, out_of: an episode opens when `breaches` of the last `out_of` conclusive windows are bad.
        repeat_after: told again after this long while open; None: once.
        channels: names of channels (`millrace alert channel add`), `env:VARIABLE` with a URL in it, or Apprise URLs.
        notify_on_ok: whether the end is told, too.
        critical_at_once: whether a critical verdict (a column that vanished) opens an episode by itself.
        labels: by which silences find its episodes.
        inhibitions: which kinds, while open, make others redundant, so that these are not told: by default trouble with the data's
            quality or volume hides drift and the estimate of the performance, and a measured loss hides them, too.
        quiet: stretches of the week in which nothing is told, as `22:00-06:00` or `Sat-Sun Europe/Berlin`.
        rules: further alerts, over any metric or SQL.
    """

    on: tuple[str, ...] = KINDS
    breaches: int = 2
    out_of: int = 3
    resolve_after: int = 7
    repeat_after: timedelta | None = None
    channels: Sequence[str] = field(default=(), repr=False)  # a URL may hold a secret
    notify_on_ok: bool = True
    critical_at_once: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    inhibitions: tuple[Inhibition, ...] = INHIBITIONS
    quiet: Sequence[str] = ()
    rules: Sequence[MetricAlert] = ()

    def __post_init__(self) -> None:
        for name in ("on", "channels", "quiet"):
            _check_is_list(name, getattr(self, name))
        for kind in self.on:
            if kind not in KINDS:
                raise InvalidInput(f"'{kind}' is no kind of verdict", hint=did_you_mean(kind, KINDS))
        for text in self.quiet:
            parse_quiet(text)
        names = [each.name for each in self.rules]
        if len(set(names)) < len(names):
            raise InvalidInput("two alert rules have one name", hint="give each a name of its own")

    def rule(self, pipeline: str) -> AlertRule:
        """The rule that hears the pipeline's monitor, under the pipeline's name."""
        return AlertRule(
            name=pipeline,
            kinds=tuple(self.on),
            breaches=self.breaches,
            out_of=self.out_of,
            resolve_after=self.resolve_after,
            repeat_after=self.repeat_after,
            channels=tuple(self.channels),
            notify_on_ok=self.notify_on_ok,
            critical_at_once=self.critical_at_once,
            labels={"pipeline": pipeline, **self.labels},
            inhibitions=tuple(self.inhibitions),
            quiet=tuple(self.quiet),
        )

    def declared(self, pipeline: str) -> Declared:
        """All rules of the pipeline."""
        return Declared(pipeline, self.rule(pipeline), tuple(each.rule(pipeline, self) for each in self.rules))


@dataclass(frozen=True, slots=True)
class Retrain:
    """When a model is made again. A person can always ask for it: `millrace run --retrain`.

    Attributes:
        on: what counts as a cause: kinds of verdict, `drift`, `performance` (measured loss), `estimate` (estimated loss), `quality`,
            `volume`; kinds joined by `+` must all be bad: `drift+estimate`. Empty: no episode leads to a retraining.
        breaches, out_of: a kind is bad while `breaches` of its last `out_of` conclusive windows are.
        every: also on a schedule: a distance of ticks, or `month` (the first of each month, UTC).
        cooldown: the least time after a promotion, or after a retraining that was refused.
        per_month: how many retrainings, refused ones too, may begin in a calendar month (UTC); None: any number.
        min_new_labels: how many new labels must be known early enough to train on: of predictions made since the episode began,
            or since what a refused attempt was trained on; for a scheduled retraining, since what the champion was trained on.
        labels: `wait` for those of the time since the episode began; or, while the `estimate` is bad, go by it, and take any that
            the champion was not trained on.
        schedule: when the policy is asked by itself, and what it asks for is done: Quartz cron; `millrace job apply` puts it into force.

    Raises:
        InvalidInput: an unknown kind, or a number that can't be.
    """

    on: tuple[str, ...] = ("performance", "drift+estimate")
    cooldown: timedelta = timedelta(days=14)
    min_new_labels: int = 500
    breaches: int = 1
    out_of: int = 7
    per_month: int | None = None
    labels: Literal["wait", "estimate"] = "wait"
    every: timedelta | Literal["month"] | None = None
    schedule: Schedule = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_schedule(self.schedule, "the retraining")
        _check_causes(self.on)
        if not 1 <= self.breaches <= self.out_of:
            raise InvalidInput(
                f"Retrain asks for {self.breaches} of {self.out_of} windows", hint="give breaches from 1 to out_of"
            )
        if self.labels not in {"wait", "estimate"}:
            raise InvalidInput(f"labels is '{self.labels}'", hint="give labels='wait' or labels='estimate'")
        if isinstance(self.every, str) and self.every != "month":
            raise InvalidInput(f"every is '{self.every}'", hint="give a timedelta, or 'month'")
        if isinstance(self.every, timedelta) and self.every <= timedelta(0):
            raise InvalidInput("every is not positive", hint="give a timedelta, as timedelta(days=30), or 'month'")
        if self.cooldown < timedelta(0) or self.min_new_labels < 0 or (self.per_month or 0) < 0:
            raise InvalidInput(
                "cooldown, min_new_labels or per_month is negative", hint="give 0 or more; per_month=None is any number"
            )

    @property
    def causes(self) -> tuple[frozenset[str], ...]:
        """`on`, with the kinds of each cause apart."""
        return tuple(frozenset(cause.split("+")) for cause in self.on)


def _check_is_list(name: str, given: object) -> None:
    if isinstance(given, str):  # it may hold a secret
        raise InvalidInput(f"{name} is one text", hint=f"give a list: {name}=[...]")


def _check_causes(on: object) -> None:
    if isinstance(on, str):
        raise InvalidInput(f"on is the text '{on}'", hint=f"give a tuple: on=('{on}',)")
    for kind in (kind for cause in cast("Iterable[str]", on) for kind in cause.split("+")):
        if kind not in KINDS:
            raise InvalidInput(f"'{kind}' is no kind of verdict", hint=did_you_mean(kind, KINDS))
