"""Labels that somebody brings: by request, or by key and time; and what became of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput, InvalidState, NotFound, UsageError
from millrace.core.names import TableName
from millrace.lake.lake import Lake
from millrace.serving.labels.label_columns import LabelValue, check_columns, labels_by_key, labels_by_request
from millrace.serving.labels.labels import Match, check_keys, in_period, label_type, rows_of, store_labels
from millrace.serving.types import Endpoint

if TYPE_CHECKING:
    import pyarrow as pa

_PREDICTION = ["request_id", "row", "timestamp", "actual_label"]
# A label of a prediction: which of the given ones it is, the prediction with it, and the label that the prediction has.
_Found: TypeAlias = tuple[object, Match, LabelValue | None]


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Which columns of late labels say what.

    Attributes:
        label: the label itself.
        keys: named as in the predictions table. Empty: labels are by `request_id`, and `row` (0 where there is none).
        time: of the label, for which the prediction's must be the same or later; read only where there are keys.
        tolerance: by how much later at most.
    """

    label: str = "label"
    keys: tuple[str, ...] = ()
    time: str = "label_time"
    tolerance: timedelta = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """What became of labels.

    Attributes:
        rows: how many rows there were.
        labels: how many different labels, without rows that lack a label, a key or a time, or that are of the future.
        joined: predictions that got their label.
        already: predictions that had this very label before.
        conflicting: predictions that have another label, and keep it.
        unmatched: labels for which no prediction was found.
    """

    rows: int
    labels: int
    joined: int
    already: int
    conflicting: int
    unmatched: int


def predictions_table(endpoint: Endpoint) -> TableName:
    """Where an endpoint's predictions are kept.

    Raises:
        InvalidState: it predicts nothing, or nothing is kept of it.
    """
    capture = endpoint.config.capture
    if endpoint.config.kind == "features":
        raise InvalidState(f"endpoint '{endpoint.name}' serves features and predicts nothing", hint="name another")
    if capture is None:
        raise InvalidState(
            f"nothing is kept of the predictions of endpoint '{endpoint.name}'",
            hint="deploy it with auto_capture_config; predictions from then on can be labelled",
        )
    return TableName.parse(f"{capture.catalog}.{capture.schema}.{capture.prefix}_predictions")


def types_of(lake: Lake, table: TableName, columns: LabelColumns) -> Mapping[str, pa.DataType]:
    """The types that labels are to be read in, as far as the predictions decide them.

    Raises:
        NotFound: there are no predictions yet, or they have no such key.
    """
    import pyarrow as pa

    if not lake.exists(table):
        raise NotFound(
            f"there are no predictions in {table} yet", hint="labels can be joined when the endpoint was asked"
        )
    stored = lake.schema(table)
    missing = [key for key in columns.keys if key not in stored.names]
    if missing:
        raise NotFound(f"{table} has no column '{missing[0]}'", hint=f"its columns are {', '.join(stored.names)}")
    label = label_type(lake, table)
    texts = {columns.label: label} if pa.types.is_string(label) else {}
    return {
        "request_id": pa.string(),
        "row": pa.int32(),
        **texts,
        **{key: stored.field(key).type for key in columns.keys},
    }


def import_labels(
    lake: Lake, table: TableName, labels: pa.Table, columns: LabelColumns, *, as_of: datetime, dry_run: bool = False
) -> LabelSummary:
    """Give predictions their labels, and tell what became of them; a prediction that has a label keeps it.

    By request, `label_time` stays null: such labels say nothing of time. By key, the rule is that of `join_labels`. One
    commit, or none where nothing is joined or in a dry run; the same labels again change nothing.

    Raises:
        InvalidInput: a missing column, a key or a label of another type, or two different labels for the same thing.
        NotFound: no such predictions table.
    """
    if not columns.keys and "request_id" not in labels.column_names:
        raise InvalidInput(
            "the labels have no request_id, and no key was named", hint="name the key's columns, and that of the time"
        )
    given, found = (_by_key if columns.keys else _by_request)(lake, table, labels, columns, utc(as_of))
    used: set[object] = set()
    new: list[Match] = []
    already = conflicting = 0
    for which, match, has in found:
        used.add(which)
        if has is None:
            new.append(match)
        elif has == match[3]:
            already += 1
        else:
            conflicting += 1
    if not dry_run:
        store_labels(lake, table, new)
    return LabelSummary(labels.num_rows, given, len(new), already, conflicting, given - len(used))


def tolerance_of(days: float) -> timedelta:
    """A tolerance in days. Raises UsageError for one that is none."""
    if not 0 <= days < timedelta.max.days:
        raise UsageError(f"a tolerance of {days} days can't be", hint="give a number of days from 0")
    return timedelta(days=days)


def _by_request(
    lake: Lake, table: TableName, labels: pa.Table, columns: LabelColumns, as_of: datetime
) -> tuple[int, Iterator[_Found]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = labels_by_request(labels, columns.label, label_type(lake, table))
    asked = pc.field("request_id").isin(pa.array({request for request, _ in known}, pa.string()))
    until = pc.field("timestamp") <= pa.scalar(as_of, pa.timestamp("us", "UTC"))
    rows = lake.read(table, columns=_PREDICTION, where=asked & until)
    return len(known), (
        ((request, row), (request, row, at, known[request, row], None), has)
        for request, row, at, has in rows_of(rows, _PREDICTION)
        if (request, row) in known
    )


def _by_key(
    lake: Lake, table: TableName, labels: pa.Table, columns: LabelColumns, as_of: datetime
) -> tuple[int, Iterator[_Found]]:
    check_columns(labels, columns.keys)
    kind = label_type(lake, table)
    known = labels_by_key(labels, columns.keys, columns.label, columns.time, kind=kind, as_of=as_of)
    wanted = [*_PREDICTION, *columns.keys]
    rows = lake.read(table, columns=wanted, where=in_period(known, columns.tolerance, as_of))
    check_keys(columns.keys, rows.schema, labels.schema)

    def found() -> Iterator[_Found]:
        for request, row, at, has, *key in rows_of(rows, wanted):
            of_key = known.get(tuple(key))
            newest = None if of_key is None else of_key.newest(at, columns.tolerance)
            if newest is not None:
                time, value = newest
                yield (*key, time), (request, row, at, value, time), has

    return sum(len(of_key.times) for of_key in known.values()), found()
