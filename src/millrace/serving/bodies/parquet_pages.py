"""What the pages of a Parquet file become when they are unpacked: what the footer says of it may be wrong.

The layout: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from collections.abc import Mapping

from millrace.serving.bodies.flatbuffers import check
from millrace.serving.bodies.parquet_footer import Chunk, Footer
from millrace.serving.bodies.thrift import I32, Compact

_PAGE_BYTES = 256
# Fields of the struct PageHeader by their number.
_UNPACKED, _PACKED = 2, 3


def check_pages(raw: bytes, footer: Footer, most_bytes: int) -> None:
    """See whether all columns, each for itself, may be unpacked.

    Raises:
        ValueError: a page is not where it should be.
        TooLarge: it takes more than this.
    """
    pages = Compact(raw, most_bytes)
    try:
        for _, chunk in footer.chunks():
            _read_chunk(pages, chunk)
    except IndexError as error:
        raise ValueError("it ends within a page") from error


def read_bytes(footer: Footer, widths: Mapping[bytes, int]) -> int:
    """What the values of columns take, by how many bytes each has.

    As many are read as a chunk says that it has, whatever the file and the row group say of their rows.
    """
    return sum(max(0, chunk.values) * widths.get(path, 0) for path, chunk in footer.chunks())


def _read_chunk(pages: Compact, chunk: Chunk) -> None:
    start = chunk.start()
    end = start + chunk.size
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
