"""What a store knows of a published table, as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.names import TableName
from millrace.features.identity import MICROSECOND
from millrace.features.online.codec import RowCodec
from millrace.features.port import PackedRows
from millrace.features.types import OnlineRow, OnlineTable
from millrace.lake.types import Version

FORMAT = 2
"""How keys and rows are written. What was published in another format counts as not published: the next publish replaces it."""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """A published table, read back.

    Attributes:
        raw: the bytes that it was read from; other bytes are another publish.
        place: where the store has its rows.
        codec: how they are written; None where that is another format.
    """

    raw: bytes
    table: OnlineTable
    place: bytes
    codec: RowCodec | None


def feature_types(table: OnlineTable) -> dict[str, str]:
    """The columns whose values are stored, without keys and time."""
    identity = {*table.primary_keys, table.timeseries_column}
    return {name: kind for name, kind in table.types.items() if name not in identity}


def unpacked(found: PackedRows | None, keys: int) -> Sequence[Sequence[OnlineRow]]:
    """The rows of each of so many keys, newest first; none where the table is not published."""
    if found is None:
        return [()] * keys
    unpack, version = RowCodec(feature_types(found.table)).unpack, found.table.version
    return [() if packed is None else unpack(packed, version) for packed in found.rows]


def write_known(table: OnlineTable, place: bytes) -> bytes:
    """The bytes that `read_known` reads."""
    return orjson.dumps(
        {
            "format": FORMAT,
            "name": table.name.full,
            "primary_keys": table.primary_keys,
            "timeseries_column": table.timeseries_column,
            "available_after_us": table.available_after // MICROSECOND,
            "types": dict(table.types),
            "version": table.version,
            "published_us": epoch_us(table.published_at),
            "keys": table.keys,
            "newest_us": table.newest_us,
            "source": table.source,
            "prefix": place.hex(),
        }
    )


def read_known(raw: bytes) -> KnownTable:
    """A table's description, of this format or an older one."""
    body: Mapping[str, Any] = orjson.loads(raw)
    table = OnlineTable(
        name=TableName.parse(body["name"]),
        primary_keys=tuple(body["primary_keys"]),
        timeseries_column=body["timeseries_column"],
        available_after=body["available_after_us"] * MICROSECOND,
        types=body["types"],
        version=Version(body["version"]),
        published_at=from_epoch_us(body["published_us"]),
        keys=body["keys"],
        newest_us=body["newest_us"],
        source=body.get("source", ""),
    )
    codec = RowCodec(feature_types(table)) if body.get("format") == FORMAT else None
    return KnownTable(raw, table, bytes.fromhex(body["prefix"]), codec)
