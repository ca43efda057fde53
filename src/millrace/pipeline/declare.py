"""What a user writes: a pipeline as data, on one page."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.features.table_definition import check_freshness
from millrace.features.types import FeatureFunction, FeatureLookup, parted
from millrace.monitoring.types import MonitorSpec
from millrace.pipeline.rollout import Rollout
from millrace.pipeline.schedules import Schedule, check_schedule
from millrace.pipeline.source import Source
from millrace.pipeline.upkeep import Alert, MetricAlert, Monitor, Retrain
from millrace.pipeline.windows import OnlyWindows, Windows
from millrace.training.types import Candidate
from millrace.validation.defaults import check_skipped
from millrace.validation.types import AnyGate

Compute = Callable[..., object]
_NO_TIME = timedelta(0)
__all__ = [
    "Alert",
    "Compute",
    "Deployment",
    "FeatureTable",
    "Label",
    "LabelTable",
    "MetricAlert",
    "Monitor",
    "OnlyWindows",
    "Pipeline",
    "Retrain",
    "Rollout",
    "Source",
    "Split",
    "Windows",
    "feature_table",
    "label_table",
    "window_table",
]


@dataclass(frozen=True)
class FeatureTable:
    """A feature table computed by a PySpark function, as a time series of snapshots on a grid of times.

    Attributes:
        compute: `f(as_of, **frames)`; each parameter whose default is a Source gets that table's rows up to `as_of`,
            one whose default is Windows gets these features as of `as_of`.
        every: distance of the snapshots.
        start: the first snapshot; None: the first tick of the grid after the sources' earliest event.
        time: name of the event time column that millrace adds.
        freshness: how old its newest snapshot may be before the table counts as late; None: twice `every`. This, the
            description and the tags are those of the table when it is made; `update_table` changes them later.
        schedule: when it is brought up to date by itself: Quartz cron, as `0 0 6 * * ?`; `millrace job apply` puts it into force.
    """

    name: str
    compute: Compute
    keys: tuple[str, ...]
    every: timedelta
    start: datetime | None = None
    time: str = "feature_time"
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    freshness: timedelta | None = None
    schedule: Schedule = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.name)
        check_freshness(self.freshness)
        _check_grid(self.name, self.keys, self.every)

    @property
    def sources(self) -> Mapping[str, Source]:
        """Parameter name to source, read off the function's signature; of windows, the source that they are over."""
        return _sources(self.compute)

    @property
    def windows(self) -> Mapping[str, Windows]:
        """Parameter name to window features, of those parameters that are not sources themselves."""
        return _windows(self.compute)


@dataclass(frozen=True)
class LabelTable:
    """A label table computed by a PySpark function: what became of each key in the `horizon` after a time.

    Attributes:
        compute: `f(time, end, **frames)` with `end = time + horizon`; frames hold rows up to `end`. A label is known,
            and can be read, from `end` on.
        column: the label column.
        schedule: as a feature table's.
    """

    name: str
    compute: Compute
    keys: tuple[str, ...]
    column: str
    horizon: timedelta
    every: timedelta
    start: datetime | None = None
    time: str = "label_time"
    description: str = ""
    schedule: Schedule = field(default=None, compare=False)

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.name)
        _check_grid(self.name, self.keys, self.every)
        if self.horizon <= _NO_TIME:
            raise InvalidInput(
                f"{self.name}: horizon is not positive", hint="say how long after its time a label is known"
            )

    @property
    def sources(self) -> Mapping[str, Source]:
        """Parameter name to source, read off the function's signature; of windows, the source that they are over."""
        return _sources(self.compute)

    @property
    def windows(self) -> Mapping[str, Windows]:
        """Parameter name to window features, as of the end of the horizon."""
        return _windows(self.compute)

    @property
    def label(self) -> Label:
        """The same labels, as a table that is just there."""
        # Less than a whole step: a prediction on a tick waits for that tick's own label.
        return Label(self.name, self.column, self.keys, self.time, self.horizon, self.every - timedelta(microseconds=1))


@dataclass(frozen=True, slots=True)
class Label:
    """Labels in a table that somebody else fills.

    Attributes:
        keys: columns that identify whom the label is about.
        time: column with the time that the label is about.
        known_after: how long after that time the label is known.
        tolerance: a prediction's label is the newest one not after it, and at most this much before it.
    """

    name: str
    column: str
    keys: tuple[str, ...]
    time: str
    known_after: timedelta = _NO_TIME
    tolerance: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Split:
    """Where training ends and the holdout begins, counted back from the newest known label.

    Training labels are known before the first holdout label's time, so that the holdout is as far from training as
    production is.

    Attributes:
        holdout: length of the holdout window.
        train: length of the training window; None: all labels before.
    """

    holdout: timedelta = timedelta(days=28)
    train: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the model is served, and where its traffic is logged.

    Attributes:
        endpoint: production endpoint; None: the pipeline's name with dashes.
        staging: staging endpoint; None: the production endpoint's name and `-staging`.
        inference_schema: `catalog.schema` of the payload and predictions tables.
        prefix: of those tables' names; None: the pipeline's name.
        smoke_rows: how many holdout rows are asked of the staging endpoint before promotion.
    """

    endpoint: str | None = None
    staging: str | None = None
    inference_schema: str = "ml.inference_logs"
    prefix: str | None = None
    smoke_rows: int = 20


@dataclass(frozen=True)
class Pipeline:
    """The whole loop for one model.

    Attributes:
        name: letters, digits and `_`.
        features: feature tables that the pipeline computes.
        label: labels that it computes (LabelTable) or finds (Label).
        lookups: what to look up, and functions over it. Where it has no lookup: all features of each feature table, by its
            keys, at the label's time.
        candidates: what is trained; the best that passes the gates goes on.
        gates: what the best must hold, beside the default gates; one of a default gate's name stands for it.
        skip_gates: default gates that are not asked, by name; `("all",)` for all of them.
        holdout: a table (keys, time, label) instead of a split in time.
        choose_by: the holdout metric that ranks candidates.
        model: registered model name; None: `ml.models.<name>`.
        rollout: how a new version takes over from the one in production; None: at once.
    """

    name: str
    label: LabelTable | Label
    candidates: Sequence[Candidate]
    gates: Sequence[AnyGate] = ()
    features: Sequence[FeatureTable] = ()
    lookups: Sequence[FeatureLookup | FeatureFunction] | None = None
    split: Split = field(default_factory=Split)
    holdout: str | None = None
    exclude: Sequence[str] = ()
    choose_by: str = "log_loss"
    skip_gates: Sequence[str] = ()
    model: str | None = None
    deployment: Deployment = field(default_factory=Deployment)
    rollout: Rollout | None = None
    monitor: Monitor | None = field(default_factory=Monitor)
    alerts: Alert = field(default_factory=Alert)
    retrain: Retrain | None = field(default_factory=Retrain)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").isalnum():
            raise InvalidInput(f"'{self.name}' is not a pipeline name", hint="use letters, digits and _")
        names = [candidate.name for candidate in self.candidates]
        if not names or len(set(names)) < len(names):
            raise InvalidInput(
                "candidates need distinct names, and there must be one",
                hint="give a second one of a kind a name of its own",
            )
        if all(candidate.is_baseline for candidate in self.candidates):
            raise InvalidInput(
                "all candidates are baselines", hint="add one that may go into production, as Linear() or XGBoost()"
            )
        if not self.features and not self.lookups:
            raise InvalidInput("the pipeline has no features", hint="give features=[...], lookups=[...], or both")
        parted(self.lookups or ())
        check_skipped(self.skip_gates)

    def candidate(self, name: str) -> Candidate:
        """The candidate of that name, which is there."""
        return next(each for each in self.candidates if each.name == name)

    @property
    def labels(self) -> Label:
        """The labels as a table, however they come to be."""
        return self.label.label if isinstance(self.label, LabelTable) else self.label

    @property
    def all_lookups(self) -> tuple[FeatureLookup, ...]:
        """The lookups as given, or one per feature table."""
        given = tuple(parted(self.lookups or ())[0])
        if given or (self.lookups is not None and not self.functions):
            return given
        time = self.labels.time
        return tuple(FeatureLookup(table.name, table.keys, timestamp_lookup_key=time) for table in self.features)

    @property
    def functions(self) -> tuple[FeatureFunction, ...]:
        """The functions among the lookups, in order."""
        return tuple(parted(self.lookups or ())[1])

    @property
    def model_name(self) -> str:
        """Registered model name."""
        return self.model or f"ml.models.{self.name}"

    @property
    def endpoint(self) -> str:
        """Production endpoint."""
        return self.deployment.endpoint or self.name.replace("_", "-")

    @property
    def staging_endpoint(self) -> str:
        """Staging endpoint."""
        return self.deployment.staging or f"{self.endpoint}-staging"

    @property
    def prefix(self) -> str:
        """Prefix of the inference tables."""
        return self.deployment.prefix or self.name

    @property
    def predictions_table(self) -> TableName:
        """The unpacked inference log."""
        return TableName.parse(f"{self.deployment.inference_schema}.{self.prefix}_predictions")

    @property
    def monitor_spec(self) -> MonitorSpec:
        """The monitor over the inference log; where there is none, the one that there would be by default."""
        return (self.monitor or Monitor()).spec(str(self.predictions_table))


def feature_table(
    name: str,
    *,
    keys: Sequence[str],
    every: timedelta,
    start: datetime | None = None,
    time: str = "feature_time",
    description: str = "",
    tags: Mapping[str, str] | None = None,
    freshness: timedelta | None = None,
    schedule: Schedule = None,
) -> Callable[[Compute], FeatureTable]:
    """Make a feature table of a function `f(as_of, **frames)` that returns a PySpark frame with the keys and the features."""
    begin = utc(start) if start else None
    return lambda compute: FeatureTable(
        name,
        compute,
        tuple(keys),
        every,
        begin,
        time,
        description or _summary(compute),
        tags or {},
        freshness,
        schedule,
    )


def label_table(
    name: str,
    *,
    keys: Sequence[str],
    column: str,
    horizon: timedelta,
    every: timedelta,
    start: datetime | None = None,
    time: str = "label_time",
    description: str = "",
    schedule: Schedule = None,
) -> Callable[[Compute], LabelTable]:
    """Make a label table of a function `f(time, end, **frames)` that returns a PySpark frame with the keys and the label."""
    begin = utc(start) if start else None
    return lambda compute: LabelTable(
        name, compute, tuple(keys), column, horizon, every, begin, time, description or _summary(compute), schedule
    )


def window_table(
    name: str,
    windows: Windows,
    *,
    every: timedelta,
    start: datetime | None = None,
    time: str = "feature_time",
    description: str = "",
    tags: Mapping[str, str] | None = None,
    freshness: timedelta | None = None,
    schedule: Schedule = None,
) -> FeatureTable:
    """A feature table of window features, without a function."""
    begin = utc(start) if start else None
    described = description or f"Window features over {windows.source.name}"
    return FeatureTable(
        name, OnlyWindows(windows), windows.keys, every, begin, time, described, tags or {}, freshness, schedule
    )


def _sources(compute: Compute) -> Mapping[str, Source]:
    found = {name: given.source if isinstance(given, Windows) else given for name, given in _given(compute).items()}
    return {name: given for name, given in found.items() if isinstance(given, Source)}


def _windows(compute: Compute) -> Mapping[str, Windows]:
    return {name: given for name, given in _given(compute).items() if isinstance(given, Windows)}


def _given(compute: Compute) -> Mapping[str, object]:
    if isinstance(compute, OnlyWindows):
        return {"rows": compute.windows}
    return {parameter.name: parameter.default for parameter in inspect.signature(compute).parameters.values()}


def _summary(compute: Compute) -> str:
    return (inspect.getdoc(compute) or "").split("\n")[0]


def _check_grid(name: str, keys: tuple[str, ...], every: timedelta) -> None:
    TableName.parse(name)
    if not keys:
        raise InvalidInput(f"{name} has no keys", hint="name the columns that identify whom a row is about")
    if every <= _NO_TIME:
        raise InvalidInput(f"{name}: every is not positive", hint="give a timedelta, as timedelta(days=7)")
