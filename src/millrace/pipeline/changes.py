"""What changed between two versions of a source: from which time on a snapshot may differ."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from millrace.core.clock import from_epoch_us
from millrace.core.names import TableName
from millrace.features.identity import MICROSECOND, event_us
from millrace.lake.types import TableDefinition, TableVersion
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.port import Services
from millrace.pipeline.source import Source

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EVER = datetime.min.replace(tzinfo=UTC)  # all of the past may differ
_APPENDS = {"WRITE", "OPTIMIZE"}
_NEVER_US = 2**63 - 1
_SIGN, _SEEN, _ENDED = "__sign", "__seen_us", "__ended_us"


def changed_from(
    services: Services, source: Source, old: int | None, new: TableVersion, until: datetime
) -> datetime | None:
    """The first time at which the source, cut as of it, may differ between two versions of its table.

    Args:
        services: where the tables are.
        source: what is read, and how it keeps history.
        old: the version that was read; None: none was.
        new: the version to read; it may be older than `old`.
        until: later times don't count.

    Returns:
        The time at which the first row that was added, removed or altered became available; `EVER` where that can't be
        told; None where nothing up to `until` changed.
    """
    if old is None:
        return EVER
    if old == new.version:
        return None
    if source.history == "none" or source.event_time is None or not still_there(services, new.name, old):
        return EVER
    low, high = sorted((old, int(new.version)))
    operations = {info.operation for info in services.lake.history(new.name) if low < info.version <= high}
    first_us = (
        _first_added(services, source, new, old)
        if operations <= _APPENDS
        else _first_differing(services, source, new, old, until)
    )
    if first_us is None:
        return EVER
    return None if first_us == _NEVER_US or from_epoch_us(first_us) > until else from_epoch_us(first_us)


def identities(services: Services, names: Iterable[str]) -> dict[str, str]:
    """What a version's number is a number of, by table: the table itself, and when its rows can be seen.

    A table that was dropped and made anew counts its versions from 0 again, and a delay that is changed makes no version.
    """
    entries = (services.lake.catalog.find(TableName.parse(name)) for name in names)
    return {
        str(entry.name): fingerprint(
            entry.id,
            entry.definition.timeseries_column,
            entry.definition.available_after,
            entry.definition.date_stands_for,
        )
        for entry in entries
        if entry is not None
    }


def still_there(services: Services, name: TableName, version: int) -> bool:
    """Whether a version can still be read: the table may have been dropped, and made anew with fewer."""
    return services.lake.exists(name) and version <= services.lake.pin(name).version


def _first_added(services: Services, source: Source, new: TableVersion, old: int) -> int | None:
    """Rows were only added: of the sorted times of both versions, the first that only one has."""
    import numpy as np

    a, b = (_times(services, source, new, version) for version in (old, int(new.version)))
    common = min(len(a), len(b))
    different = np.flatnonzero(a[:common] != b[:common])
    if len(different):
        return int(min(a[different[0]], b[different[0]]))
    longer = a if len(a) > len(b) else b
    return int(longer[common]) if len(longer) > common else _NEVER_US


def _times(services: Services, source: Source, pin: TableVersion, version: int) -> np.ndarray:
    import numpy as np

    rows = services.lake.read(pin.name, version, [str(source.event_time)])
    definition = services.lake.entry(pin.name).definition
    times: np.ndarray = np.sort(_seen_us(rows, str(source.event_time), source, definition).drop_null().to_numpy())
    return times


def _first_differing(services: Services, source: Source, new: TableVersion, old: int, until: datetime) -> int | None:
    """Rows were altered or removed: the first time of a row that only one version has; None where rows can't be compared."""
    import pyarrow as pa
    import pyarrow.compute as pc

    read = [_rows(services, source, new, version, until) for version in (old, int(new.version))]
    signed = [
        rows.append_column(_SIGN, pa.repeat(pa.scalar(sign, pa.int64()), rows.num_rows))
        for rows, sign in zip(read, (-1, 1), strict=True)
    ]
    try:
        both = pa.concat_tables(signed, promote_options="default")
        net = both.group_by([name for name in both.column_names if name != _SIGN]).aggregate([(_SIGN, "sum")])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None  # a column changed its type, or is nested
    differing = net.filter(pc.not_equal(net.column(f"{_SIGN}_sum"), 0)).rename_columns([*net.column_names[:-1], _SIGN])
    if not differing.num_rows:
        return _NEVER_US
    return _first_effect(differing, source, services.lake.entry(new.name).definition)


def _first_effect(differing: pa.Table, source: Source, definition: TableDefinition) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    time, ended = str(source.event_time), source.valid_to
    differing = differing.append_column(_SEEN, _seen_us(differing, time, source, definition))
    if ended is None:
        first = pc.min(differing.column(_SEEN)).as_py()
        return _NEVER_US if first is None else int(first)
    # Of a row that only got another end, nothing changed before the earlier of its two ends.
    ends = pc.fill_null(_seen_us(differing, ended, source, definition), _NEVER_US)
    differing = differing.drop_columns([ended]).append_column(_ENDED, ends)
    rest = [name for name in differing.column_names if name not in {_SIGN, _ENDED}]
    groups = differing.group_by(rest).aggregate([(_SIGN, "sum"), (_ENDED, "min")])
    only_ended = pc.equal(groups.column(f"{_SIGN}_sum"), 0)
    effect = pc.if_else(only_ended, groups.column(f"{_ENDED}_min"), groups.column(_SEEN))
    found = pc.min(effect).as_py()
    return int(found) if isinstance(found, int) else int(pa.scalar(_NEVER_US).as_py())


def _rows(services: Services, source: Source, pin: TableVersion, version: int, until: datetime) -> pa.Table:
    """The rows of a version whose event time is not after `until`, which no available row can be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = services.lake.schema(pin.name, version).field(str(source.event_time)).type
    last: date | datetime = until.date() if pa.types.is_date(kind) else until
    return services.lake.read(pin.name, version, where=pc.field(str(source.event_time)) <= pa.scalar(last, kind))


def _seen_us(rows: pa.Table, column: str, source: Source, definition: TableDefinition) -> pa.Array:
    import pyarrow.compute as pc

    after = max(source.available_after, definition.available_after) // MICROSECOND
    return pc.add(event_us(rows.column(column), column, definition.date_stands_for), after)
