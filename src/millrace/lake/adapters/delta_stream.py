"""A table's rows, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

_READ_AHEAD = 1 << 20  # bytes of each column


def batches_of(
    dataset: pyarrow.dataset.Dataset, columns: Sequence[str], where: object, batch_rows: int, *, is_local: bool
) -> Iterator[pa.RecordBatch]:
    """The rows for which a pyarrow compute expression holds (None: all), in the dataset's types; a column that a file lacks is null.

    All rows of local files take memory for some of them. `dataset.to_batches` decodes a whole row group, a million rows as a rule, before it hands
    out the first of them, and the next one ahead; it skips row groups by their statistics, and asks an object store for much at once.
    """
    if where is None and is_local and columns:
        yield from _stream(dataset, columns, batch_rows)
    else:
        yield from dataset.to_batches(
            columns=list(columns), filter=where, batch_size=batch_rows, batch_readahead=1, fragment_readahead=1
        )


def _stream(dataset: pyarrow.dataset.Dataset, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([dataset.schema.field(name) for name in columns])
    for fragment in dataset.get_fragments():
        partition = pyarrow.dataset.get_partition_keys(fragment.partition_expression)
        with (
            fragment.filesystem.open_input_file(fragment.path) as file,
            pq.ParquetFile(file, pre_buffer=False, buffer_size=_READ_AHEAD) as opened,
        ):
            names = set(opened.schema_arrow.names)
            present = [name for name in columns if name in names]
            for batch in opened.iter_batches(batch_size=batch_rows, columns=present):
                yield _conformed(batch, schema, partition)


def _conformed(batch: pa.RecordBatch, schema: pa.Schema, partition: Mapping[str, Any]) -> pa.RecordBatch:
    arrays = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.repeat(pa.scalar(partition.get(field.name), field.type), batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
