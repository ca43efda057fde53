"""What features need from the world: an as-of join over files, and a store for lookups inside a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from millrace.core.names import TableName
from millrace.features.types import OnlineRow, OnlineTable, ResolvedLookup

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[object, ...]


class AsOfJoin(Protocol):
    """Finds features by key and time, after the point-in-time rules. Stateless, thread-safe."""

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """The output columns of one lookup, in the order of `lookup.columns`, one row per request row, in its order.

        Rows without an answer are null (defaults are already filled in). Without `timestamp_key` the question's time
        is `as_of`; with it, rows after `as_of` are not hidden: the request's own time is what counts, but a
        feature row that was not available at `as_of` is never used.
        """
        ...


class OnlineStore(Protocol):
    """Per key the newest available feature row and those not yet available. Any number of reading processes, one writer.

    Reads never wait for a writer and see whole publishes. What `publish` returned from is durable.
    """

    def publish(self, table: OnlineTable, rows: Iterable[tuple[Key, Sequence[OnlineRow]]], *, replace: bool) -> None:
        """Write the rows of each given key (replacing that key's), newest first; with `replace`, drop all other keys."""
        ...

    def table(self, name: TableName) -> OnlineTable | None:
        """What is known of a published table; None where it was never published."""
        ...

    def tables(self) -> Sequence[OnlineTable]: ...

    def get(self, name: TableName, keys: Sequence[Key]) -> Sequence[Sequence[OnlineRow]]:
        """The stored rows of each key, newest first; an empty sequence for an unknown key or one with a null in it."""
        ...

    def remove(self, name: TableName) -> None:
        """Drop a table from the store; nothing where it isn't there."""
        ...

    def close(self) -> None: ...
