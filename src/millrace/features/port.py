"""What features need from the world: an as-of join over files, and a store for lookups inside a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from millrace.core.errors import InvalidState
from millrace.core.names import TableName
from millrace.features.types import OnlineRow, OnlineTable, ResolvedLookup

if TYPE_CHECKING:
    import pyarrow as pa

Key = tuple[object, ...]
EncodedBatch = tuple[Sequence[bytes], Sequence[bytes]]
"""Keys, and for each the rows of that key, as an online store keeps them."""


class PackedRows(NamedTuple):
    """What an online store has for some keys, all as of one publish.

    Attributes:
        table: what is known of their table, the same object until the next publish.
        rows: for each key its rows as they were published; None where it has none.
    """

    table: OnlineTable
    rows: Sequence[bytes | None]


class AsOfJoin(Protocol):
    """Finds features by key and time, after the point-in-time rules. Stateless, thread-safe."""

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """The output columns of one lookup, in the order of `lookup.columns`, one row per request row, in its order.

        Rows without an answer are null (defaults are already filled in). Without `timestamp_key` the question's time
        is `as_of`; with it, rows after `as_of` are not hidden: the request's own time is what counts, but a
        feature row that was not available at `as_of` is never used.
        """
        ...


@runtime_checkable
class SharedAsOfJoin(AsOfJoin, Protocol):
    """An engine that does what several lookups of the same requests have in common once."""

    def lookup_all(self, requests: pa.Table, lookups: Sequence[ResolvedLookup], as_of: datetime) -> Sequence[pa.Table]:
        """For each lookup what `lookup` gives, in their order."""
        ...


class StoreAway(InvalidState):
    """The online store does not answer now, and may later."""


class OnlineStore(Protocol):
    """Per key the newest available feature row and those not yet available.

    Any number of processes read and publish; one publish at a time takes effect, the others wait or raise Conflict. Each
    publish is atomic and durable: reads see the whole of it or nothing of it, never wait for it, and need not be opened
    again to see it. A process that is killed while it publishes leaves what was published before. What `replace` and
    `change` returned from survives a crash of the process; whether it survives a crash of the machine is said by the adapter.

    Rows come as batches of keys and of what each key has, as `features/online/key_bytes.py` and `features/online/codec.py` write
    them, keys unique and ascending. Batches may be asked for more than once, where a store has to begin anew, so
    they can't be a generator. Thread-safe.

    Raises (all methods): InvalidState where the store can't be opened, StoreAway where it can't be reached.
    """

    @property
    def is_local(self) -> bool:
        """Whether reads wait for nobody: then they take microseconds, and an event loop may make them."""
        ...

    def replace(self, table: OnlineTable, batches: Iterable[EncodedBatch]) -> OnlineTable:
        """Publish these keys, dropping all others of the table; returns it with its count of keys."""
        ...

    def change(
        self,
        base: OnlineTable,
        table: OnlineTable,
        batches: Iterable[EncodedBatch],
        removed: Sequence[bytes],
    ) -> OnlineTable:
        """Publish these keys, replacing the rows of each, and drop the removed ones; all other keys stay as they are.

        Raises:
            Conflict: the table is not (any more) as `base` says; nothing was changed.
            InvalidInput: the columns of `table` are not those of `base`.
        """
        ...

    def table(self, name: TableName) -> OnlineTable | None:
        """What is known of a published table, the same object until the next publish; None where it was never published.

        A table that an older millrace published in another format counts as not published.
        """
        ...

    def tables(self) -> Sequence[OnlineTable]:
        """All published tables, by name."""
        ...

    def read(self, name: TableName, codes: Sequence[bytes | None]) -> PackedRows | None:
        """What the store has for these encoded keys (None for one with a null in it), all as of one publish.

        None for a table that is not published.
        """
        ...

    def get(self, name: TableName, keys: Sequence[Key]) -> Sequence[Sequence[OnlineRow]]:
        """The same, unpacked: the stored rows of each key, newest first.

        An empty sequence for an unknown key or one with a null in it, and for all keys of a table that is not published.
        """
        ...

    def remove(self, name: TableName) -> None:
        """Drop a table from the store; nothing where it isn't there."""
        ...

    def close(self) -> None:
        """Let go of it. Idempotent."""
        ...
