"""What the footer of a Parquet file takes in memory, before pyarrow reads it.

A list takes its room by what it says of its length, a column all names that it is below, and the Arrow schema that the
footer may have is another format, whose parts may stand for many: few bytes may ask for any amount. The layout:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from millrace.serving.bodies.arrow_messages import first_metadata
from millrace.serving.bodies.arrow_metadata import MOST_DEPTH, metadata_bytes
from millrace.serving.bodies.flatbuffers import check
from millrace.serving.bodies.thrift import BINARY, I32, I64, LIST, STRUCT, Compact, Items

_MAGIC = b"PAR1"
_LENGTH_BYTES = 4
_ARROW_SCHEMA = b"ARROW:schema"
_PATH_COPIES = 3
_NAME_BYTES = 32
INT96, BYTE_ARRAY, FIXED_BYTES = 3, 6, 7
_LEAST_BYTES, _INT96_BYTES = 8, 12
# A writer in Java before 1.3: it said too little, so pyarrow looks for pages in the hundred bytes after them too.
_OLD_WRITER = re.compile(rb"parquet-mr(?! version (1\.([3-9]|[1-9]\d)|[2-9])\.\d)", re.IGNORECASE)
# Fields by their number in the structs FileMetaData, SchemaElement, RowGroup, ColumnChunk, ColumnMetaData and KeyValue.
_SCHEMA, _GROUPS, _PAIRS, _WRITER = 2, 4, 5, 6
_ELEMENT = {1: "type", 2: "length", 5: "children"}
_NAME = 4
_COLUMNS, _COLUMN_METADATA = 1, 3
_PLACES = {5: "values", 7: "size", 9: "page", 11: "dictionary"}
_KEY, _VALUE = 1, 2
# Each list in a footer: its items are read as what they ought to be, whatever it says of their kind.
_ELEMENTS = Items(STRUCT, size=512)
_KEY_VALUES = Items(STRUCT, size=128)
_SIZES = Items(STRUCT, {2: Items(I64), 3: Items(I64)})
_COLUMN = Items(
    STRUCT,
    {
        2: Items(I32),
        3: Items(BINARY),
        8: _KEY_VALUES,
        13: Items(STRUCT),
        16: _SIZES,
        17: Items(STRUCT, {2: Items(I32)}),
    },
)
_ENCRYPTION = Items(STRUCT, {2: Items(STRUCT, {1: Items(BINARY)})})
_CHUNKS = Items(STRUCT, {3: _COLUMN, 8: _ENCRYPTION}, 256)
_ROW_GROUPS = Items(STRUCT, {1: _CHUNKS, 4: Items(STRUCT)})
_FILE = {4: _ROW_GROUPS, 7: Items(STRUCT)}


@dataclass(frozen=True, slots=True)
class Footer:
    """What a footer says of where values are. pyarrow's own objects for it end the process where some of it does not fit.

    Attributes:
        elements: each column, and each group of columns.
        groups: what each row group has of each column.
    """

    elements: list[Element]
    groups: list[list[Chunk]]

    def columns(self) -> dict[bytes, Element]:
        """Columns by their path, where it is of nothing else: by a path pyarrow reads all that have it, or are below it."""
        counts = Counter(each.path for each in self.elements)
        return {each.path: each for each in self.elements if each.type is not None and counts[each.path] == 1}

    def chunks(self) -> Iterator[tuple[Element, Chunk]]:
        """Each chunk with the column that it is of, which is the one in the same place."""
        columns = [each for each in self.elements if each.type is not None]
        for group in self.groups:
            yield from zip(columns, group, strict=True)


@dataclass(slots=True)
class Element:
    """A column or a group of columns.

    Attributes:
        path: names, from the outermost group on, with points between them.
        type: how a column's values are stored, whatever they are called; a group has none.
        length: of values of a fixed length.
        children: how many a group has.
    """

    path: bytes = b""
    type: int | None = None
    length: int = 0
    children: int = 0

    def width(self) -> int:
        """Bytes that a value takes while it is read, at the least; short ones are read as longer ones, and places are kept."""
        own = {INT96: _INT96_BYTES, FIXED_BYTES: self.length}
        return max(_LEAST_BYTES, own.get(self.type or 0, 0))


@dataclass(slots=True)
class Chunk:
    """The values of a column: how many they are, and from where to where their pages are."""

    values: int = 0
    size: int = 0
    page: int = 0
    dictionary: int = 0

    def start(self) -> int:
        """Where the first page is, as pyarrow finds it."""
        return self.dictionary if 0 < self.dictionary < self.page else self.page


def read_footer(raw: bytes, most_bytes: int) -> Footer:
    """Read what is needed to see whether pyarrow may read the file, once it may read this footer.

    Raises:
        ValueError: no Parquet file, or one with groups in groups in groups, which pyarrow follows until its stack ends.
        TooLarge: it takes more than this.
    """
    end = len(raw) - _LENGTH_BYTES - len(_MAGIC)
    size = int.from_bytes(raw[end : end + _LENGTH_BYTES], "little") if end > 0 else 0
    check(raw.endswith(_MAGIC) and 0 < size <= end)
    try:
        return _read_file(Compact(raw[end - size : end], most_bytes))
    except IndexError as error:
        raise ValueError("it ends within its footer") from error


def _read_file(footer: Compact) -> Footer:
    elements: list[Element] = []
    groups: list[list[Chunk]] = []
    for field, kind in footer.fields():
        if (field, kind) == (_SCHEMA, LIST):
            elements = list(_read_elements(footer))
        elif (field, kind) == (_GROUPS, LIST):
            groups = [_read_group(footer) for _ in footer.items(_ROW_GROUPS)]
        elif (field, kind) == (_PAIRS, LIST):
            for _ in footer.items(_KEY_VALUES):
                _read_pair(footer)
        elif (field, kind) == (_WRITER, BINARY):
            check(not _OLD_WRITER.search(footer.binary()))
        else:
            footer.skip(kind, _FILE.get(field, Items(0)))
    return Footer(elements, groups)


def _read_elements(footer: Compact) -> Iterator[Element]:
    """A tree, each group followed by what is in it. A column's path is kept in more than one form."""
    groups: list[tuple[int, bytes]] = []  # how many are still to come, and the path
    for number, _ in enumerate(footer.items(_ELEMENTS)):
        found = _read_element(footer)
        while groups and not groups[-1][0]:
            groups.pop()
        check(bool(groups) == (number > 0) and found.children >= 0)
        if groups:
            left, above = groups[-1]
            groups[-1] = left - 1, above
            found.path = above + b"." + found.path if len(groups) > 1 else found.path
        footer.take(_PATH_COPIES * (len(found.path) + _NAME_BYTES * len(groups)))
        if found.children or not number:
            found.type = None
            groups.append((found.children, found.path))
            check(len(groups) <= MOST_DEPTH)
        else:
            check(found.type is not None)  # or it is a group of none, and no column to pyarrow
        if number:
            yield found


def _read_element(footer: Compact) -> Element:
    found = Element()
    for field, kind in footer.fields():
        if (field, kind) == (_NAME, BINARY):
            found.path = footer.binary()
        elif kind == I32 and field in _ELEMENT:
            setattr(found, _ELEMENT[field], footer.number_32())
        else:
            footer.skip(kind)
    return found


def _read_group(footer: Compact) -> list[Chunk]:
    found: list[Chunk] = []
    for field, kind in footer.fields():
        if (field, kind) == (_COLUMNS, LIST):
            found = [_read_chunk(footer) for _ in footer.items(_CHUNKS)]
        else:
            footer.skip(kind, _ROW_GROUPS.parts.get(field, Items(0)))
    return found


def _read_chunk(footer: Compact) -> Chunk:
    found = Chunk()
    for field, kind in footer.fields():
        if (field, kind) == (_COLUMN_METADATA, STRUCT):
            _read_column(footer, found)
        else:
            footer.skip(kind, _CHUNKS.parts.get(field, Items(0)))
    return found


def _read_column(footer: Compact, found: Chunk) -> None:
    for field, kind in footer.fields():
        if kind == I64 and field in _PLACES:
            setattr(found, _PLACES[field], footer.number())
        else:
            footer.skip(kind, _COLUMN.parts.get(field, Items(0)))


def _read_pair(footer: Compact) -> None:
    texts = {_KEY: b"", _VALUE: b""}
    for field, kind in footer.fields():
        if kind == BINARY and field in texts:
            texts[field] = footer.binary()
        else:
            footer.skip(kind)
    if texts[_KEY] == _ARROW_SCHEMA:
        # Strict: whatever another decoder makes of what is none would be unseen.
        stream = base64.b64decode(texts[_VALUE], validate=True)
        footer.take(metadata_bytes(first_metadata(stream)))
