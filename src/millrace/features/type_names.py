"""What the names of Arrow's flat types say, without Arrow: a worker that looks features up need not have it in memory."""

from __future__ import annotations

from collections.abc import Mapping

_FAMILIES: Mapping[str, str] = {
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), "integer"),
    **dict.fromkeys(("halffloat", "float", "double"), "float"),
    **dict.fromkeys(("decimal32", "decimal64", "decimal128", "decimal256"), "decimal"),
    **dict.fromkeys(("string", "large_string", "string_view"), "text"),
    **dict.fromkeys(("binary", "large_binary", "fixed_size_binary"), "binary"),
    **dict.fromkeys(("date32", "date64"), "date"),
    "timestamp": "timestamp",
    "bool": "boolean",
    "null": "null",
}
_FLOAT_BITS: Mapping[str, int] = {"halffloat": 16, "float": 32, "double": 64}


def type_family(name: str) -> str | None:
    """What a type of this name (as `str()` of an Arrow type writes it) has values of; None for any other type.

    One of integer, float, decimal, text, binary, date, timestamp, boolean, null.
    """
    return _FAMILIES.get(name.partition("[")[0].partition("(")[0])


def decimal_scale(name: str) -> int:
    """The digits after the point of a decimal type, `decimal128(38, 18)`."""
    return int(name.rpartition(",")[2].rstrip(")"))


def float_bits(name: str) -> int:
    """The size of a float type."""
    return _FLOAT_BITS[name]
