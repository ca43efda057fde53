"""What the pages of a Parquet file become when they are unpacked: what the footer says of it may be wrong.

The layout: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from collections.abc import Mapping

from millrace.serving.bodies.flatbuffers import check
from millrace.serving.bodies.parquet_footer import BYTE_ARRAY, FIXED_BYTES, Chunk, Footer
from millrace.serving.bodies.thrift import I32, STRUCT, Compact

_PAGE_BYTES = 256
_ENTRY_BYTES = 16  # of a dictionary: where pyarrow finds its bytes
# Fields of the struct PageHeader by their number, and of what is in it the number of values and the encoding.
_UNPACKED, _PACKED = 2, 3
_DATA, _DICTIONARY, _DATA_2 = 5, 7, 8
_COUNT, _ENCODINGS = 1, {_DATA: 2, _DATA_2: 4}
# What differs from the bytes before, and lengths for themselves, say once more how many they are, in what is packed.
_DELTA_LENGTHS, _DELTA_BYTES = 6, 7


def check_pages(raw: bytes, footer: Footer, most_bytes: int, widths: Mapping[bytes, int]) -> None:
    """See whether the columns that have a width may be unpacked, each for itself.

    Raises:
        ValueError: a page is not where it should be, or in an encoding whose size is not known before.
        TooLarge: it takes more than this.
    """
    pages = Compact(raw, most_bytes)
    try:
        for column, chunk in footer.chunks():
            if column.path in widths:
                _read_chunk(pages, chunk, _ENTRY_BYTES if column.type in (BYTE_ARRAY, FIXED_BYTES) else 0)
    except IndexError as error:
        raise ValueError("it ends within a page") from error


def read_bytes(footer: Footer, widths: Mapping[bytes, int]) -> int:
    """What the values of columns take, by how many bytes each has.

    As many are read as a chunk says that it has, whatever the file and the row group say of their rows.
    """
    return sum(max(0, chunk.values) * widths.get(column.path, 0) for column, chunk in footer.chunks())


def _read_chunk(pages: Compact, chunk: Chunk, entry_bytes: int) -> None:
    start = chunk.start()
    end = start + chunk.size
    check(0 <= start <= end)
    pages.at = start
    while pages.at < end:
        _pass_page(pages, entry_bytes)


def _pass_page(pages: Compact, entry_bytes: int) -> None:
    sizes = {_UNPACKED: 0, _PACKED: 0}
    for field, kind in pages.fields():
        if kind == I32 and field in sizes:
            sizes[field] = pages.number_32()
        elif kind == STRUCT and field in (_DATA, _DATA_2):
            encoding = _number_in(pages, _ENCODINGS[field])
            check(encoding not in (_DELTA_LENGTHS, _DELTA_BYTES))
        elif kind == STRUCT and field == _DICTIONARY:
            pages.take(entry_bytes * max(0, _number_in(pages, _COUNT)))
        else:
            pages.skip(kind)
    unpacked, packed = sizes.values()
    check(packed >= 0 and unpacked >= 0)
    pages.take(_PAGE_BYTES + unpacked)
    pages.at += packed


def _number_in(pages: Compact, wanted: int) -> int:
    """The field of this number of a struct, 0 where it has none."""
    found = 0
    for field, kind in pages.fields():
        if (field, kind) == (wanted, I32):
            found = pages.number_32()
        else:
            pages.skip(kind)
    return found
