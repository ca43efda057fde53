"""What the footer of a Parquet file takes in memory, before pyarrow reads it.

A list takes its room by what it says of its length, a column all names that it is below, and the Arrow schema that the
footer may have is another format, whose parts may stand for many: few bytes may ask for any amount. The layout:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import base64

from millrace.serving.bodies.arrow_messages import first_metadata
from millrace.serving.bodies.arrow_metadata import MOST_DEPTH, metadata_bytes
from millrace.serving.bodies.flatbuffers import check
from millrace.serving.bodies.thrift import BINARY, I32, I64, LIST, STRUCT, Compact, Items

_MAGIC = b"PAR1"
_LENGTH_BYTES = 4
_ARROW_SCHEMA = b"ARROW:schema"
_PATH_COPIES = 3
_NAME_BYTES = 32
# Fields by their number in the structs FileMetaData, SchemaElement and KeyValue.
_SCHEMA, _PAIRS = 2, 5
_NAME, _CHILDREN = 4, 5
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
_GROUPS = Items(STRUCT, {1: _CHUNKS, 4: Items(STRUCT)})
_FILE = {4: _GROUPS, 7: Items(STRUCT)}


def check_footer(raw: bytes, most_bytes: int) -> None:
    """See whether pyarrow may read the footer of this file.

    Raises:
        ValueError: no Parquet file, or one with groups in groups in groups, which pyarrow follows until its stack ends.
        TooLarge: it takes more than this.
    """
    end = len(raw) - _LENGTH_BYTES - len(_MAGIC)
    size = int.from_bytes(raw[end : end + _LENGTH_BYTES], "little") if end > 0 else 0
    check(raw.endswith(_MAGIC) and 0 < size <= end)
    try:
        _read_file(Compact(raw[end - size : end], most_bytes))
    except IndexError as error:
        raise ValueError("it ends within its footer") from error


def _read_file(footer: Compact) -> None:
    for field, kind in footer.fields():
        if (field, kind) == (_SCHEMA, LIST):
            _read_elements(footer)
        elif (field, kind) == (_PAIRS, LIST):
            for _ in footer.items(_KEY_VALUES):
                _read_pair(footer)
        else:
            footer.skip(kind, _FILE.get(field, Items(0)))


def _read_elements(footer: Compact) -> None:
    """A tree, each group followed by what is in it. A column's path is kept in more than one form."""
    groups = [[0, 0]]  # how many are still to come, and the length of the path
    for _ in footer.items(_ELEMENTS):
        name, children = _read_element(footer)
        while len(groups) > 1 and not groups[-1][0]:
            groups.pop()
        groups[-1][0] -= 1
        path = groups[-1][1] + name + _NAME_BYTES
        footer.take(_PATH_COPIES * path)
        if children > 0:
            groups.append([children, path])
            check(len(groups) <= MOST_DEPTH)


def _read_element(footer: Compact) -> tuple[int, int]:
    name = children = 0
    for field, kind in footer.fields():
        if (field, kind) == (_NAME, BINARY):
            name = len(footer.binary())
        elif (field, kind) == (_CHILDREN, I32):
            children = footer.number()
            check(abs(children) < 1 << 31)  # others would be cut to 32 bits
        else:
            footer.skip(kind)
    return name, children


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
