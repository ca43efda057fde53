"""A published table in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from millrace.core.names import TableName
from millrace.features.port import PackedRows
from millrace.features.types import OnlineTable


@dataclass
class Shelf:
    """An online store of one table, to be read.

    Attributes:
        reads: how many keys each read asked for.
    """

    known: OnlineTable
    packed: Mapping[bytes | None, bytes]
    is_local: bool = True
    reads: list[int] = field(default_factory=list)

    def table(self, name: TableName) -> OnlineTable:  # noqa: ARG002 - there is one
        return self.known

    def read(self, name: TableName, codes: Sequence[bytes | None]) -> PackedRows:  # noqa: ARG002
        self.reads.append(len(codes))
        return PackedRows(self.known, [self.packed.get(code) for code in codes])
