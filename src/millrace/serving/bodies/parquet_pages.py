"""What the pages of a Parquet file become when they are unpacked: what the footer says of it may be wrong.

The layout: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.serving.bodies.flatbuffers import check
from millrace.serving.bodies.thrift import I32, Compact

if TYPE_CHECKING:
    import pyarrow.parquet as pq

_PAGE_BYTES = 256
# Fields of the struct PageHeader by their number.
_UNPACKED, _PACKED = 2, 3


def check_pages(raw: bytes, facts: pq.FileMetaData, most_bytes: int) -> None:
    """See whether all columns, each for itself, may be unpacked.

    Raises:
        ValueError: a page is not where it should be.
        TooLarge: it takes more than this.
    """
    pages = Compact(raw, most_bytes)
    try:
        for number in range(facts.num_row_groups):
            group = facts.row_group(number)
            for place in range(group.num_columns):
                _read_chunk(pages, group.column(place))
    except IndexError as error:
        raise ValueError("it ends within a page") from error


def _read_chunk(pages: Compact, chunk: pq.ColumnChunkMetaData) -> None:
    # As pyarrow finds the first.
    start, dictionary = chunk.data_page_offset, chunk.dictionary_page_offset
    if dictionary and 0 < dictionary < start:
        start = dictionary
    end = start + chunk.total_compressed_size
    check(0 <= start <= end)
    pages.at = start
    while pages.at < end:
        _pass_page(pages)


def _pass_page(pages: Compact) -> None:
    sizes = {_UNPACKED: 0, _PACKED: 0}
    for field, kind in pages.fields():
        if kind == I32 and field in sizes:
            sizes[field] = pages.number()
        else:
            pages.skip(kind)
    unpacked, packed = sizes.values()
    check(0 <= packed < 1 << 31 and 0 <= unpacked < 1 << 31)
    pages.take(_PAGE_BYTES + unpacked)
    pages.at += packed
