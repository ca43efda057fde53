"""The online store on a Redis server, for endpoints on several hosts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from millrace.core.errors import Conflict, InvalidInput, InvalidState, UsageError
from millrace.core.names import TableName
from millrace.features.online.key_bytes import encode_key
from millrace.features.online.table import KnownTable, feature_types, read_known, unpacked, write_known
from millrace.features.port import EncodedBatch, Key, PackedRows, StoreAway
from millrace.features.types import OnlineRow, OnlineTable

try:
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.retry import Retry
except ModuleNotFoundError as missing:
    raise InvalidState(
        "an online store on Redis needs its client, which is not installed", hint="pip install 'millrace[redis]'"
    ) from missing

_Made = TypeVar("_Made")
_TIMEOUT_S = 10.0
_PORT = 6379
_RETRIES = 2
_UNFINISHED_S = 3600  # how long rows stay that a killed publisher left behind
_CHUNK = 1000  # rows per command: Redis does nothing else meanwhile


class RedisOnlineStore:
    """OnlineStore on one Redis server (not a cluster). Thread-safe.

    The rows of a table are one hash, its description one text that says which. A replacing publish writes a new hash
    that would expire by itself, and then switches to it in one transaction; changes are one transaction. Whether
    a publish survives a crash of the server is as the server is configured (`appendonly`).

    Args:
        url: `redis://`, `rediss://` or `unix://`, with password and database number where needed. Its parameter `prefix`
            (default `millrace`) begins all keys: homes that share a server need different ones.

    Raises:
        UsageError: it is not such a URL.
    """

    is_local = False

    def __init__(self, url: str) -> None:
        plain, self._prefix = _without_prefix(url)
        retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), _RETRIES)
        try:
            # The address only: what else is in a URL (a password) is never shown.
            at = urlsplit(url)
            self._shown = f"{at.hostname}:{at.port or _PORT}" if at.hostname else at.path
            self._redis: Any = redis.Redis.from_url(
                plain, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=retry
            )
        except ValueError:
            raise UsageError(
                "MILLRACE_ONLINE_URL is not the URL of a Redis server", hint="write redis://host:6379/0"
            ) from None  # its message may quote what should have been the port
        self._known: dict[TableName, KnownTable] = {}

    def replace(self, table: OnlineTable, batches: Iterable[EncodedBatch]) -> OnlineTable:
        """See `OnlineStore.replace`."""
        place = f"{self._prefix}:rows:{uuid.uuid4().hex}".encode()
        with self._reaching():
            table = changed(table, keys=self._fill(place, batches))
            self._switch(table, place)
        return table

    def change(
        self, base: OnlineTable, table: OnlineTable, batches: Iterable[EncodedBatch], removed: Sequence[bytes]
    ) -> OnlineTable:
        """See `OnlineStore.change`."""
        if feature_types(base) != feature_types(table):
            raise InvalidInput(f"the columns of {table.name} are others", hint="publish the whole table")
        rows = list(batches)

        def act(pipe: Any, known: KnownTable | None) -> OnlineTable:
            if known is None or known.codec is None or known.table != base:
                raise Conflict(f"{table.name} was published by somebody else meanwhile", hint="publish it again")
            made = changed(table, keys=base.keys + self._difference(known.place, rows, removed))
            pipe.multi()
            for codes, packed in rows:
                _put(pipe, known.place, codes, packed)
            if removed:
                pipe.hdel(known.place, *removed)
            self._describe(pipe, made, known.place)
            return made

        with self._reaching():
            return self._transact(table.name, act)

    def table(self, name: TableName) -> OnlineTable | None:
        """See `OnlineStore.table`."""
        with self._reaching():
            known = self._remember(name, self._redis.get(self._place(name)))
        return known.table if known else None

    def tables(self) -> Sequence[OnlineTable]:
        """See `OnlineStore.tables`."""
        with self._reaching():
            names = self._redis.smembers(f"{self._prefix}:names")
            places = [self._place(TableName.parse(name.decode())) for name in names]
            found = [read_known(raw) for raw in (self._redis.mget(places) if places else []) if raw is not None]
        return sorted((known.table for known in found if known.codec), key=lambda table: table.name)

    def read(self, name: TableName, codes: Sequence[bytes | None]) -> PackedRows | None:
        """See `OnlineStore.read`. One round trip where nothing was published since the last.

        Raises InvalidState, too, where the server has not all keys of the table any more, as after an eviction.
        """
        with self._reaching():
            known, packed = self._fetch(name, [code for code in codes if code is not None])
        if known is None or known.codec is None:
            return None
        found = iter(packed)
        return PackedRows(known.table, [None if code is None else next(found) for code in codes])

    def get(self, name: TableName, keys: Sequence[Key]) -> Sequence[Sequence[OnlineRow]]:
        """See `OnlineStore.get`."""
        return unpacked(self.read(name, [encode_key(key) for key in keys]), len(keys))

    def remove(self, name: TableName) -> None:
        """See `OnlineStore.remove`."""

        def drop(pipe: Any, known: KnownTable | None) -> None:
            pipe.multi()
            pipe.delete(self._place(name))
            pipe.srem(f"{self._prefix}:names", name.full)
            if known:
                pipe.unlink(known.place)

        with self._reaching():
            self._transact(name, drop)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._redis.close()

    def _place(self, name: TableName) -> str:
        return f"{self._prefix}:table:{name.full}"

    def _remember(self, name: TableName, raw: bytes | None) -> KnownTable | None:
        if raw is None:
            return None
        known = self._known.get(name)
        if known is None or known.raw != raw:
            known = self._known[name] = read_known(raw)
        return known if known.codec else None

    def _fetch(self, name: TableName, codes: Sequence[bytes]) -> tuple[KnownTable | None, Sequence[bytes | None]]:
        known = self._known.get(name) or self._remember(name, self._redis.get(self._place(name)))
        while known is not None:
            with self._redis.pipeline(transaction=True) as pipe:
                pipe.get(self._place(name))
                pipe.hlen(known.place)
                if codes:
                    pipe.hmget(known.place, codes)
                raw, there, *found = pipe.execute()
            if raw == known.raw:
                _check_whole(known, there)
                return known, found[0] if found else ()
            known = self._remember(name, raw)  # published meanwhile: the rows are of neither, read again
        return None, ()

    def _fill(self, place: bytes, batches: Iterable[EncodedBatch]) -> int:
        """Write the rows under a new name; how many keys there are."""
        sent = 0
        for codes, packed in batches:
            with self._redis.pipeline(transaction=False) as pipe:
                _put(pipe, place, codes, packed)
                pipe.expire(place, _UNFINISHED_S)
                pipe.execute()
            sent += len(codes)
        arrived = int(self._redis.hlen(place))
        if arrived != sent:
            raise InvalidState(
                f"of {sent} keys that were sent to Redis, {arrived} are there",
                hint="does it have enough memory? publish again",
            )
        return sent

    def _switch(self, table: OnlineTable, place: bytes) -> None:
        def switch(pipe: Any, known: KnownTable | None) -> None:
            if known and known.place == place:
                return  # the answer was lost, not the transaction
            pipe.multi()
            self._describe(pipe, table, place)
            pipe.persist(place)
            if known:
                pipe.unlink(known.place)

        self._redis.expire(place, _UNFINISHED_S)
        self._transact(table.name, switch)

    def _difference(self, place: bytes, rows: Sequence[EncodedBatch], removed: Sequence[bytes]) -> int:
        """How many keys more there will be."""
        new = sum(len(codes) - self._present(place, codes) for codes, _ in rows)
        return new - self._present(place, removed)

    def _present(self, place: bytes, codes: Sequence[bytes]) -> int:
        with self._redis.pipeline(transaction=False) as pipe:
            for code in codes:
                pipe.hexists(place, code)
            return sum(pipe.execute()) if codes else 0

    def _describe(self, pipe: Any, table: OnlineTable, place: bytes) -> None:
        pipe.set(self._place(table.name), write_known(table, place))
        pipe.sadd(f"{self._prefix}:names", table.name.full)

    def _transact(self, name: TableName, act: Callable[[Any, KnownTable | None], _Made]) -> _Made:
        """One transaction that takes effect only if the table's description was what `act` saw; tried until it does."""
        while True:
            with self._redis.pipeline(transaction=True) as pipe:
                try:
                    pipe.watch(self._place(name))
                    raw = pipe.get(self._place(name))
                    made = act(pipe, None if raw is None else read_known(raw))
                    pipe.execute()
                except redis.WatchError:
                    continue
                return made

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as error:
            raise StoreAway(
                f"the online store on Redis at {self._shown} does not answer: {type(error).__name__}",
                hint="is the server running, and MILLRACE_ONLINE_URL right (host, port, password, database)?",
                host=self._shown,
            ) from error


def _check_whole(known: KnownTable, there: int) -> None:
    """Rows that the server threw out must not read as keys that have none."""
    if known.codec and there != known.table.keys:
        raise InvalidState(
            f"of {known.table.keys} keys of {known.table.name} that were published, {there} are on the Redis server",
            hint="set its maxmemory-policy to noeviction, give it enough memory, and publish the whole table",
            table=str(known.table.name),
        )


def _put(pipe: Any, place: bytes, codes: Sequence[bytes], packed: Sequence[bytes]) -> None:
    for at in range(0, len(codes), _CHUNK):
        pairs = zip(codes[at : at + _CHUNK], packed[at : at + _CHUNK], strict=True)
        pipe.hset(place, items=[part for pair in pairs for part in pair])


def _without_prefix(url: str) -> tuple[str, str]:
    """The URL without our own parameter, and that."""
    address, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    prefix = options.pop("prefix", "millrace")
    return f"{address}?{urlencode(options)}" if options else address, prefix
