"""Which labels train, and which judge."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us, iso, utc
from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import Label, Split

if TYPE_CHECKING:
    import pyarrow as pa

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Windows:
    """Label times of training and holdout, all inclusive. `train_from` is None where training goes back to the first label."""

    train_from: datetime | None
    train_to: datetime
    holdout_from: datetime
    holdout_to: datetime

    def __str__(self) -> str:
        """Both windows by day."""
        start = f"{self.train_from:%Y-%m-%d}" if self.train_from else "the first label"
        return (
            f"training {start} to {self.train_to:%Y-%m-%d}, "
            f"holdout {self.holdout_from:%Y-%m-%d} to {self.holdout_to:%Y-%m-%d}"
        )


def windows(newest_known: datetime, first_in_holdout: datetime, label: Label, split: Split) -> Windows:
    """The windows that follow from the newest known label time and the first label time in the holdout.

    A training label is known before the holdout starts: its time is at most `first_in_holdout - known_after`, and
    always before the holdout, so that with labels known at once the two still do not overlap.
    """
    train_to = first_in_holdout - max(label.known_after, _MICROSECOND)
    return Windows(train_to - split.train if split.train else None, train_to, first_in_holdout, newest_known)


def find_windows(times: pa.ChunkedArray, label: Label, split: Split, as_of: datetime) -> Windows:
    """The windows over the label times of a table (timestamps, not null), as of a time.

    Raises:
        InvalidInput: no label is known yet.
    """
    import pyarrow.compute as pc

    known = _between(times, None, as_of - label.known_after)
    newest = pc.max(known).as_py()
    if newest is None:
        raise no_label(label, as_of)
    first = pc.min(_between(known, utc(newest) - split.holdout + _MICROSECOND, None)).as_py()
    return windows(utc(newest), utc(first), label, split)


def no_label(label: Label, as_of: datetime) -> InvalidInput:
    """The error of labels that are all too young."""
    return InvalidInput(
        f"no label of {label.name} is known at {iso(as_of)}",
        hint=f"labels are known {label.known_after.days} days after their time: wait, or import more history",
    )


def take(labels: pa.Table, column: str, start: datetime | None, end: datetime | None) -> pa.Table:
    """The rows whose time is in `[start, end]`."""
    return labels.filter(_mask(labels.column(column), start, end))


def _between(times: pa.ChunkedArray, start: datetime | None, end: datetime | None) -> pa.ChunkedArray:
    return times.filter(_mask(times, start, end))


def _mask(times: pa.ChunkedArray, start: datetime | None, end: datetime | None) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    us = times.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    mask = pc.is_valid(us)
    if start is not None:
        mask = pc.and_(mask, pc.greater_equal(us, epoch_us(start)))
    if end is not None:
        mask = pc.and_(mask, pc.less_equal(us, epoch_us(end)))
    return mask
