"""What may be asked of a pipeline: a time that has come, and versions of tables that it reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline


def admit(pipeline: Pipeline, now: datetime, as_of: datetime | None, pinned: Iterable[TableName]) -> None:
    """Refuse what would say nothing, or something untrue.

    At a time to come every customer has left: nobody has bought yet. A pin of a table that is not read pins nothing.

    Raises:
        InvalidInput: `as_of` is later than `now`.
        NotFound: the pipeline does not read a pinned table.
    """
    if as_of is not None and as_of > now:
        raise InvalidInput(f"{iso(as_of)} is in the future", hint=f"it is {iso(now)} now; give an earlier time")
    read = set(tables_read(pipeline))
    for name in pinned:
        if name not in read:
            raise NotFound(
                f"pipeline {pipeline.name} does not read table {name}", hint=did_you_mean(str(name), map(str, read))
            )


def tables_read(pipeline: Pipeline) -> Iterator[TableName]:
    """Every table that a run reads: sources, looked-up features, labels, the holdout; some may come twice."""
    for table in [*pipeline.features, pipeline.label]:
        if isinstance(table, FeatureTable | LabelTable):
            yield from (TableName.parse(source.name) for source in table.sources.values())
    yield from (TableName.parse(lookup.table_name) for lookup in pipeline.all_lookups)
    yield TableName.parse(pipeline.labels.name)
    if pipeline.holdout is not None:
        yield TableName.parse(pipeline.holdout)
