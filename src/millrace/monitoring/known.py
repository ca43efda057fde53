"""The monitors of a lake: each is kept with its table of counts, so that it can be found and refreshed by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from millrace.core.errors import NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.lake.lake import Lake
from millrace.lake.types import TableEntry
from millrace.monitoring.counts.update import counts_table, ensure_counts
from millrace.monitoring.types import Metric, MonitorSpec

_MONITOR = "monitor"


@dataclass(frozen=True, slots=True)
class KnownMonitor:
    """A monitor that somebody has set up.

    Attributes:
        name: a pipeline's, or the last part of the log's, behind its tables' schema where another monitor has that name.
        spec: what is watched, and how.
        model: the registered model whose production versions have the references; None where a table is the reference.
        baseline: the table that is the reference, with the version that is read, as `ml.churn.holdout@12`.
    """

    name: str
    spec: MonitorSpec
    model: str | None = None
    baseline: str | None = None


def remember(lake: Lake, monitor: KnownMonitor) -> None:
    """Keep a monitor, in the place of an earlier one over the same log. Nothing is written where it is kept already."""
    entry = ensure_counts(lake, monitor.spec)
    kept: dict[str, Any] = {"name": monitor.name, "model": monitor.model, "baseline": monitor.baseline}
    kept["spec"] = _plain(monitor.spec)
    if entry.definition.properties.get(_MONITOR) != kept:
        lake.describe(counts_table(monitor.spec), properties={**entry.definition.properties, _MONITOR: kept})


def monitors(lake: Lake) -> Sequence[KnownMonitor]:
    """All of them, by name."""
    found = [_of(entry) for entry in lake.catalog.list() if _MONITOR in entry.definition.properties]
    return sorted(found, key=lambda monitor: (monitor.name, monitor.spec.table))


def find_monitor(lake: Lake, name: str) -> KnownMonitor:
    """By its name, or by the log's.

    Raises:
        NotFound: there is none; the hint names the nearest one.
    """
    every = monitors(lake)
    for monitor in every:
        if name in {monitor.name, monitor.spec.table, str(TableName.parse(monitor.spec.table))}:
            return monitor
    hint = did_you_mean(name, [monitor.name for monitor in every]) if every else "a pipeline with a monitor makes one"
    raise NotFound(f"there is no monitor '{name}'", hint=hint, monitor=name)


def _plain(spec: MonitorSpec) -> dict[str, Any]:
    """As JSON takes it."""
    plain = asdict(spec)
    lists = {name: list(plain[name]) for name in ("granularities", "slices", "feature_cols")}
    return plain | lists | {"metrics": [asdict(metric) for metric in spec.metrics]}


def _of(entry: TableEntry) -> KnownMonitor:
    kept: Mapping[str, Any] = entry.definition.properties[_MONITOR]  # type: ignore[assignment]
    known = {field.name for field in fields(MonitorSpec)}
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in kept["spec"].items()
        if name in known
    }
    values["metrics"] = tuple(Metric(**metric) for metric in values.get("metrics", ()))
    spec = MonitorSpec(**values)
    return KnownMonitor(kept["name"], spec, kept.get("model"), kept.get("baseline"))
