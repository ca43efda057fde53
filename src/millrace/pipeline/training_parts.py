"""The training set and the holdout of a run: assembled once, or again, to the same rows, after a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from millrace.core.clock import iso, parse_time, utc
from millrace.core.errors import InvalidInput, LawBroken
from millrace.core.names import TableName
from millrace.features.functions.store import finder
from millrace.features.training_set import TrainingSet, build_training_set
from millrace.lake.types import TableVersion, Version
from millrace.pipeline.context import Pins, RunContext
from millrace.pipeline.declare import Label, LabelTable, Pipeline, Split
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Services
from millrace.pipeline.split import Windows, find_windows, no_label, take

if TYPE_CHECKING:
    import pyarrow as pa

STAGE = "training set"
_MICROSECOND = timedelta(microseconds=1)
_WHOLE = Split(holdout=timedelta(days=36500))  # a holdout table is all holdout


@dataclass(frozen=True, slots=True)
class TrainingParts:
    """Rows to fit and rows to judge, over the same pinned tables.

    Attributes:
        newest: the most recent labelled rows, on which the champion is challenged. The holdout, unless that is a table of its own,
            which may be of long ago; never rows that were trained on.
    """

    train: TrainingSet
    holdout: TrainingSet
    newest: TrainingSet
    windows: Windows
    versions: Mapping[TableName, int]
    as_of: datetime

    def output(self) -> dict[str, object]:
        """What a run keeps of it, enough to assemble it again."""
        return {
            "as_of": iso(self.as_of),
            "versions": {str(name): version for name, version in self.versions.items()},
            "rows": self.train.record.rows,
            "holdout_rows": self.holdout.record.rows,
            "fingerprint": self.train.record.fingerprint,
            "holdout_fingerprint": self.holdout.record.fingerprint,
            "train_from": iso(self.windows.train_from) if self.windows.train_from else None,
            "train_to": iso(self.windows.train_to),
            "holdout_from": iso(self.windows.holdout_from),
            "holdout_to": iso(self.windows.holdout_to),
            "warnings": list(self.train.record.warnings),
        }


def of_run(context: RunContext) -> TrainingParts:
    """The parts of this run: at hand, or assembled again as of the time, and from the versions, that its training stage pinned.

    A retraining that is resumed days later has another due time than the run that began it.

    Raises:
        LawBroken: assembled again they differ, which pinned versions rule out.
    """
    found = context.scratch.get(STAGE)
    if isinstance(found, TrainingParts):
        return found
    kept = context.outputs[STAGE]
    versions = {TableName.parse(name): version for name, version in cast("dict[str, int]", kept["versions"]).items()}
    pins = Pins(parse_time(str(kept["as_of"])), versions)
    parts = assemble(context.services, context.pipeline, pins, doubts_of(context))
    if parts.train.record.fingerprint != kept["fingerprint"]:
        raise LawBroken("the training set differs from the one that this run began with", hint="please report this")
    context.scratch[STAGE] = parts
    return parts


def assemble(services: Services, pipeline: Pipeline, pins: Pins, warnings: Sequence[str] = ()) -> TrainingParts:
    """Label rows known at `pins.as_of`, split, each with the features known at its time; `warnings` go into the record.

    Raises:
        InvalidInput: no label is known, or none is early enough to train on.
    """
    label = pipeline.labels
    if isinstance(pipeline.label, LabelTable) and not services.lake.exists(label.name):
        raise no_label(label, pins.as_of)
    versions = pin_tables(services, pipeline, pins)
    known = read_known(services, label, _version(label.name, versions), pins.as_of)
    train, holdout, windows = _split(services, pipeline, known, pins.as_of, versions)
    if train.num_rows == 0:
        raise InvalidInput(
            f"the training set is empty: no label is known before the holdout starts ({iso(windows.holdout_from)})",
            hint=f"labels known {label.known_after.days} days later must be older: wait, import more history, or shorten split.holdout",
        )
    build = partial(with_features, services, pipeline, Pins(pins.as_of, versions), warnings=warnings)
    judging = build(holdout)
    newest = _newest(pipeline, known, windows)
    return TrainingParts(
        build(train), judging, judging if newest is None else build(newest), windows, versions, pins.as_of
    )


def made_in(context: RunContext) -> dict[TableName, int]:
    """The versions of the pipeline's own tables that the refreshing stages of this run made or found."""
    made = (output for output in context.outputs.values() if "table" in output and "snapshots" in output)
    return {TableName.parse(str(output["table"])): int(str(output["version"])) for output in made}


def doubts_of(context: RunContext) -> tuple[str, ...]:
    """What the refreshing stages of this run accepted with a doubt, for the training record."""
    found = (cast("list[str]", output.get("warnings", [])) for output in context.outputs.values())
    return tuple(dict.fromkeys(text for warnings in found for text in warnings))


def with_features(
    services: Services, pipeline: Pipeline, pins: Pins, rows: pa.Table, *, warnings: Sequence[str] = ()
) -> TrainingSet:
    """Label rows (keys, time, label), each with the features known at its time; `pins` has the versions that `pin_tables` tells."""
    label = pipeline.labels
    return build_training_set(
        services.lake,
        services.asof,
        rows,
        [*pipeline.all_lookups, *pipeline.functions],
        label.column,
        exclude=(*label.keys, label.time, *pipeline.exclude),
        as_of=pins.as_of,
        versions=pins.versions,
        read=(_version(label.name, pins.versions),),
        warnings=warnings,
        functions=finder(services.functions),
        code=_code_of(pipeline),
    )


def _code_of(pipeline: Pipeline) -> dict[str, str]:
    code = {table.name: fingerprint(table.compute) for table in pipeline.features}
    if isinstance(pipeline.label, LabelTable):
        code[pipeline.label.name] = fingerprint(pipeline.label.compute)
    return code


def _split(
    services: Services, pipeline: Pipeline, known: pa.Table, as_of: datetime, versions: Mapping[TableName, int]
) -> tuple[pa.Table, pa.Table, Windows]:
    label = pipeline.labels
    if pipeline.holdout is None:
        windows = find_windows(known.column(label.time), label, pipeline.split, as_of)
        holdout = take(known, label.time, windows.holdout_from, windows.holdout_to)
    else:
        holdout = _holdout_table(services, pipeline.holdout, label, as_of, versions)
        windows = find_windows(holdout.column(label.time), label, _WHOLE, as_of)
    return take(known, label.time, windows.train_from, windows.train_to), holdout, windows


def _newest(pipeline: Pipeline, known: pa.Table, windows: Windows) -> pa.Table | None:
    """The most recent labelled rows where the holdout is a table of its own; None where it is they, or where none is younger."""
    import pyarrow.compute as pc

    if pipeline.holdout is None:
        return None
    time = pipeline.labels.time
    newest = pc.max(known.column(time)).as_py()
    if newest is None:
        return None
    rows = take(known, time, max(utc(newest) - pipeline.split.holdout + _MICROSECOND, windows.holdout_from), None)
    return rows if rows.num_rows else None


def _holdout_table(
    services: Services, name: str, label: Label, as_of: datetime, versions: Mapping[TableName, int]
) -> pa.Table:
    as_label = Label(name, label.column, label.keys, label.time, label.known_after)
    rows = read_known(services, as_label, _version(name, versions), as_of)
    if rows.num_rows == 0:
        raise InvalidInput(
            f"the holdout table {name} has no label known at {iso(as_of)}",
            hint="fill it, or leave holdout out to split in time",
        )
    return rows


def pin_tables(services: Services, pipeline: Pipeline, pins: Pins) -> dict[TableName, int]:
    """The versions of labels, feature tables and holdout that a training reads: the pinned ones, of others the newest."""
    # The pipeline's own tables are functions of their pinned sources, so it does not matter when their versions were
    # committed: those that this run made or found are among the pins, and of others the newest is taken.
    names = [pipeline.labels.name, *(lookup.table_name for lookup in pipeline.all_lookups)]
    names += [pipeline.holdout] if pipeline.holdout else []
    pinned = (services.lake.pin(name, None, pins.versions) for name in names)
    return {pin.name: int(pin.version) for pin in pinned}


def _version(name: str, versions: Mapping[TableName, int]) -> TableVersion:
    parsed = TableName.parse(name)
    return TableVersion(parsed, Version(versions[parsed]))
