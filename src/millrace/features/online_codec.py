"""Keys and rows as bytes: keys injective and typed, rows compact and restored exactly."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.port import Key
from millrace.features.types import OnlineRow
from millrace.lake.types import Version

_LONGEST = 400  # bytes of a key that is stored as it is; the store takes 511 with its prefix
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a column without a zone
_DAY_ZERO = date(1970, 1, 1).toordinal()


def encode_key(key: Key) -> bytes | None:
    """Bytes that are equal exactly for equal keys of equal types; None where a part is null.

    Each part is a type mark, its length and its content, so that ('1', '11') and ('11', '1') differ. A very long key
    is stored as its SHA-256.
    """
    parts = []
    for value in key:
        if value is None:
            return None
        mark, content = _key_part(value)
        parts.append(mark + len(content).to_bytes(4, "big") + content)
    encoded = b"".join(parts)
    return encoded if len(encoded) <= _LONGEST else b"#" + hashlib.sha256(encoded).digest()


def _key_part(value: object) -> tuple[bytes, bytes]:
    # In this order: a boolean is an int to Python, a datetime is a date.
    for kind, (mark, write) in _KEY_PARTS.items():
        if isinstance(value, kind):
            return mark, write(value)
    raise InvalidInput(
        f"a {type(value).__name__} can't be a key",
        hint="use whole numbers, text, booleans, dates, times, decimals or bytes",
    )


def _plain(value: Decimal) -> str:
    """The same text for equal decimals of different scales."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


_KEY_PARTS: dict[type, tuple[bytes, Callable[[Any], bytes]]] = {
    str: (b"s", lambda value: value.encode("utf-8", "surrogatepass")),
    bool: (b"b", lambda value: b"1" if value else b"0"),
    int: (b"i", lambda value: str(value).encode()),
    datetime: (b"t", lambda value: str(epoch_us(value)).encode()),
    date: (b"d", lambda value: str(value.toordinal()).encode()),
    Decimal: (b"n", lambda value: _plain(value).encode()),
    bytes: (b"y", bytes),
}


class RowCodec:
    """Packs the rows of one key as JSON, with what JSON can't hold written after the column's type.

    Args:
        types: column to Arrow type name, in storage order; without keys and time.

    Raises:
        InvalidInput: a type that can't be stored (nested ones).
    """

    def __init__(self, types: Mapping[str, str]) -> None:
        self.columns = tuple(types)
        codecs = [(name, _value_codec(kind)) for name, kind in types.items()]
        self._write = [(name, codec[0]) for name, codec in codecs]
        self._read = [(place, codec[1]) for place, (_, codec) in enumerate(codecs) if codec[1] is not None]

    def pack(self, rows: Sequence[OnlineRow]) -> bytes:
        """The rows of one key."""
        packed = orjson.dumps(
            [[row.ts_us, row.version, [write(row.values.get(name)) for name, write in self._write]] for row in rows]
        )
        # orjson's bytes keep the kilobytes that it wrote into; a copy is as small as it looks.
        return bytes(memoryview(packed))

    def unpack(self, packed: bytes) -> list[OnlineRow]:
        """What `pack` was given, with the types of the columns."""
        rows = []
        for ts_us, version, values in orjson.loads(packed):
            for place, read in self._read:
                if (value := values[place]) is not None:
                    values[place] = read(value)
            rows.append(OnlineRow(ts_us, dict(zip(self.columns, values, strict=True)), Version(version)))
        return rows


def can_store(kind: str) -> bool:
    """Whether columns of this Arrow type can be in the online store."""
    return any(kind.startswith(name) for name in _CODECS) and "<" not in kind


_Codec = tuple[Callable[[object], object], Callable[..., object] | None]


def _value_codec(kind: str) -> _Codec:
    if not can_store(kind):
        raise InvalidInput(f"columns of type {kind} can't be in the online store", hint="leave the column out")
    if kind.startswith("timestamp") and "tz=" in kind:
        return _time_out, _time_in
    return next(codec for name, codec in _CODECS.items() if kind.startswith(name))


def _same(value: object) -> object:
    return value


def _float_out(value: object) -> object:
    # JSON has no NaN and no infinity: they go as text.
    return value if value is None or math.isfinite(value) else repr(value)  # type: ignore[arg-type]


def _float_in(value: float | str) -> float:
    return value if type(value) is float else float(value)


def _text_out(value: object) -> object:
    return None if value is None else str(value)


def _time_out(value: object) -> object:
    return None if value is None else epoch_us(value)  # type: ignore[arg-type]


def _time_in(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _naive_in(microseconds: int) -> datetime:
    return _NAIVE_EPOCH + timedelta(microseconds=microseconds)


def _date_out(value: object) -> object:
    return None if value is None else value.toordinal() - _DAY_ZERO  # type: ignore[attr-defined]


def _date_in(days: int) -> date:
    return date.fromordinal(days + _DAY_ZERO)


def _bytes_out(value: object) -> object:
    return None if value is None else base64.b64encode(value).decode()  # type: ignore[arg-type]


_CODECS: dict[str, _Codec] = {
    "float": (_float_out, _float_in),
    "halffloat": (_float_out, _float_in),
    "double": (_float_out, _float_in),
    "int": (_same, None),
    "uint": (_same, None),
    "bool": (_same, None),
    "string": (_same, None),
    "large_string": (_same, None),
    "decimal": (_text_out, Decimal),
    "date32": (_date_out, _date_in),
    "timestamp": (_time_out, _naive_in),
    "binary": (_bytes_out, base64.b64decode),
    "large_binary": (_bytes_out, base64.b64decode),
    "null": (lambda _: None, None),
}
