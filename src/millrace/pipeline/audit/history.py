"""What the tables' own histories say: rows that were loaded later than the times that they are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import iso, utc
from millrace.core.names import TableName
from millrace.pipeline.audit.alter import known_rows
from millrace.pipeline.audit.compare import Difference, compare
from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.job import Answer
from millrace.pipeline.audit.rerun import computed_tables
from millrace.pipeline.audit.rules import TableRule, declared_sources, table_lookups
from millrace.pipeline.audit.times import Times
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.port import Services
from millrace.pipeline.snapshots import loaded_by

if TYPE_CHECKING:
    import pyarrow as pa

_LATE = timedelta(days=1)
_MOST_VERSIONS = 50


def judge_histories(services: Services, pipeline: Pipeline, rules: Sequence[TableRule], times: Times) -> list[Finding]:
    """Warnings about tables that were loaded after the times that are audited or are filled in later, and about late labels."""
    sources = {TableName.parse(source.name) for source in declared_sources(pipeline)}
    read = [rule for rule in rules if rule.is_timed and TableName.parse(rule.name) in sources]
    found = [*_loaded_later(services, read, times.cuts), *_lookups_loaded_later(services, pipeline, times.samples)]
    return [*found, *_filled_in_later(services, read, times.cuts), *_late_labels(services, pipeline)]


def _filled_in_later(services: Services, rules: Sequence[TableRule], cuts: Sequence[datetime]) -> Iterator[Finding]:
    """Rows that are known at a time and hold later times: what is written into a row afterwards can't be cut."""
    for rule in rules:
        own = {column for view in rule.views for column in (view.time, view.valid_to)}
        schema = services.lake.schema(rule.name)
        others = [field.name for field in schema if field.name not in own and _is_time(field.type)]
        if not others:
            continue
        rows = services.lake.read(rule.name, columns=[*(view.time for view in rule.views), *others])
        for cut in cuts:
            known = rows.filter(known_rows(rows, rule, cut))
            later = [name for name in others if _is_later(known.column(name), cut)]
            if later:
                yield Finding(
                    "history",
                    "warning",
                    rule.name,
                    f"rows of {rule.name} that are known at {iso(cut)} hold later times in {', '.join(later)}: where these are "
                    "filled in afterwards, whatever uses them sees the future",
                    "keep what comes later as a table of its own, with its time; a time that was planned beforehand is fine",
                    as_of=cut,
                    column=later[0],
                )
                break


def _is_time(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_later(values: pa.ChunkedArray, cut: datetime) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    newest = pc.max(values.cast(pa.timestamp("us"))).as_py()
    return newest is not None and utc(newest) > cut


def _loaded_later(services: Services, rules: Sequence[TableRule], cuts: Sequence[datetime]) -> Iterator[Finding]:
    for rule in rules:
        later = [cut for cut in cuts if not loaded_by(services, rule.name, cut)]
        if later:
            yield Finding(
                "history",
                "warning",
                rule.name,
                f"{rule.name} was loaded after {len(later)} of {len(cuts)} audited times: what was known then is told by event "
                "times alone; a row that was corrected before it was loaded can't be told from one that was always so",
                "load it as it comes in; of what is there, make sure that rows were never changed after their time",
            )


def _lookups_loaded_later(services: Services, pipeline: Pipeline, times: Sequence[datetime]) -> Iterator[Finding]:
    own = {TableName.parse(table.name) for table in pipeline.features}
    asked = dict.fromkeys(TableName.parse(lookup.table_name) for lookup in table_lookups(pipeline))
    for name in asked:
        if name in own or not times or loaded_by(services, str(name), times[0]):
            continue
        yield Finding(
            "history",
            "warning",
            str(name),
            f"{name}, which others fill, was loaded after the label time {iso(times[0])}: its rows may have been computed "
            "with what was known when they were loaded",
            "make sure that each row holds only what was known at its time",
        )


def _late_labels(services: Services, pipeline: Pipeline) -> Iterator[Finding]:
    label = pipeline.label
    if isinstance(label, LabelTable) or label.known_after > timedelta(0):
        return
    lags = _lags(services, label.name, label.time)
    if lags and min(lags) > _LATE:
        yield Finding(
            "history",
            "warning",
            label.name,
            f"labels of {label.name} were committed at least {min(lags).days} days after their time, and known_after is zero: "
            "training takes them for known at once",
            "say with known_after how long after its time a label is known",
            evidence={"commits": len(lags)},
        )


def _lags(services: Services, name: str, time: str) -> list[timedelta]:
    """For each commit of rows with a Clock time: how long after the newest label time it was made."""
    import pyarrow as pa
    import pyarrow.compute as pc

    commits = [info for info in services.lake.history(name) if info.at is not None and info.operation == "WRITE"]
    lags = []
    for info in commits[-_MOST_VERSIONS:]:
        newest = pc.max(services.lake.read(name, info.version, [time]).column(time).cast(pa.timestamp("us"))).as_py()
        if newest is not None and info.at is not None:
            lags.append(info.at - utc(newest))
    return lags


def judge_stored(services: Services, pipeline: Pipeline, now: Answer) -> list[Finding]:
    """A warning for each feature table whose stored rows of a time are not what the same time gives now."""
    found = []
    for table in computed_tables(pipeline):
        if not services.lake.exists(table.name):
            continue
        snapshots = {at: rows for (name, at), rows in now.snapshots.items() if name == table.name}
        for at, rows in snapshots.items():
            difference = _stored_difference(services, table, at, rows)
            if difference:
                found.append(_changed_since(table.name, at, difference))
                break
    return found


def _stored_difference(
    services: Services, table: FeatureTable | LabelTable, at: datetime, rows: pa.Table
) -> Difference | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.time not in services.lake.schema(table.name).names:
        return None
    of_then = pc.field(table.time) == pa.scalar(at, pa.timestamp("us", "UTC"))
    stored = services.lake.read(table.name, where=of_then)
    if not len(stored):  # that time is not on the grid, or not computed yet
        return None
    return compare(stored, rows, (*table.keys, table.time))


def _changed_since(name: str, at: datetime, difference: Difference) -> Finding:
    return Finding(
        "history",
        "warning",
        name,
        f"what {name} holds of {iso(at)} is not what the same time gives now: {difference}",
        "its code, or the past in one of its sources, has changed since: a table that is written over, or rows that came late; "
        "run the pipeline again, and keep the history of what is written over",
        as_of=at,
        column=next(iter(difference.columns), None),
    )
