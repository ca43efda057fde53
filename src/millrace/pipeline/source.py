"""A table of the lake that feature code reads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.lake.types import History


@dataclass(frozen=True, slots=True)
class Source:
    """A table of the lake that feature code reads, and how it keeps history.

    Attributes:
        name: the table, one to three levels.
        event_time: column that says when a row happened (`append`), when its copy was taken (`snapshot`), or since when it
            holds (`scd2`). A DATE means the end of that day.
        history: `append`: rows are events; `snapshot`: a full copy per time, the newest counts; `scd2`: rows hold from
            `event_time` until `valid_to`; `none`: rows are overwritten, so the past can't be known: used with a warning.
        valid_to: the end column of `scd2`, null while a row still holds.
        available_after: how long after its event a row arrives; that a row of `scd2` has ended is learned as late.
    """

    name: str
    event_time: str | None = None
    history: History = "append"
    valid_to: str | None = None
    available_after: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        TableName.parse(self.name)
        if self.event_time is None and self.history != "none":
            raise InvalidInput(
                f"source {self.name} has no event_time",
                hint='name the column that says when a row happened, or say history="none" for a table without history',
            )
        if (self.history == "scd2") != (self.valid_to is not None):
            raise InvalidInput(f"source {self.name}: valid_to goes with history='scd2'", hint="give both, or neither")
