"""What every online store promises, and what the embedded one does besides."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput, InvalidState, NotFound, UsageError
from millrace.core.names import TableName
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.adapters.redis_online import RedisOnlineStore
from millrace.features.online.codec import RowCodec, can_store
from millrace.features.online.key_bytes import encode_key, encode_keys
from millrace.features.port import EncodedBatch, OnlineStore
from millrace.testing.online import NAME, OnlineStoreSuite, encoded, found, online_table, plain
from millrace.testing.redis import RedisServer, temporary_redis
from millrace.workspace import open_workspace


class TestLmdb(OnlineStoreSuite):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], OnlineStore]:
        return lambda: LmdbOnlineStore(tmp_path, map_bytes=1 << 16)

    @pytest.fixture
    def source(self, tmp_path: Path) -> str:
        return f"""
            from millrace.features.adapters.lmdb_online import LmdbOnlineStore
            store = LmdbOnlineStore({str(tmp_path)!r}, map_bytes=1 << 16)
        """


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    try:
        with temporary_redis() as running:
            yield running
    except NotFound as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture
def url(server: RedisServer) -> str:
    return server.new_url()


@pytest.mark.redis
class TestRedis(OnlineStoreSuite):
    @pytest.fixture
    def opened(self, url: str) -> Callable[[], OnlineStore]:
        return lambda: RedisOnlineStore(url)

    @pytest.fixture
    def source(self, url: str) -> str:
        return f"""
            from millrace.features.adapters.redis_online import RedisOnlineStore
            store = RedisOnlineStore({url!r})
        """


@pytest.mark.redis
def test_homes_that_share_a_redis_do_not_see_each_other(server: RedisServer) -> None:
    one, two = RedisOnlineStore(server.new_url()), RedisOnlineStore(server.new_url())
    one.replace(online_table(), encoded(online_table(), plain({1: 1})))
    two.replace(online_table(), encoded(online_table(), plain({1: 2})))
    assert (found(one, 1), found(two, 1)) == ([[1]], [[2]])
    two.remove(NAME)
    assert (found(one, 1), found(two, 1)) == ([[1]], [[]])
    one.close()
    two.close()


@pytest.mark.redis
def test_rows_of_a_publisher_that_died_expire_and_published_ones_stay(url: str) -> None:
    class Dies(list[EncodedBatch]):
        def __iter__(self) -> Iterator[EncodedBatch]:
            yield from encoded(online_table(), plain({1: 1}))
            raise KeyboardInterrupt

    store = RedisOnlineStore(url)
    with pytest.raises(KeyboardInterrupt):
        store.replace(online_table(), Dies())
    left = f"{url.rpartition('=')[2]}:rows:*"
    (place,) = store._redis.keys(left)
    assert 0 < store._redis.ttl(place) <= 3600
    store.replace(online_table(), encoded(online_table(), plain({1: 1})))
    store.replace(online_table(2), encoded(online_table(2), plain({1: 2})))
    others = [other for other in store._redis.keys(left) if other != place]
    assert [store._redis.ttl(other) for other in others] == [-1]
    store.close()


@pytest.mark.redis
def test_rows_that_the_server_threw_out_are_no_missing_keys(url: str) -> None:
    store = RedisOnlineStore(url)
    store.replace(online_table(), encoded(online_table(), plain({1: 1, 2: 2})))
    (place,) = store._redis.keys(f"{url.rpartition('=')[2]}:rows:*")
    store._redis.delete(place)  # as an eviction does
    with pytest.raises(InvalidState, match=r"of 2 keys of ml\.features\.customers that were published, 0 are"):
        store.get(NAME, [(1,)])
    store.replace(online_table(), encoded(online_table(), plain({1: 1})))
    assert found(store, 1) == [[1]]
    store.close()


@pytest.mark.redis
def test_homes_may_share_a_redis_and_its_password_is_nowhere_to_be_seen(
    server: RedisServer, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_ONLINE_URL", url)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")  # the client sets it where it isn't
    one, two = open_workspace(tmp_path / "one"), open_workspace(tmp_path / "two")
    client = FeatureEngineeringClient(workspace=one)
    client.create_table(name="f.t", primary_keys="k", df=pa.table({"k": [1], "v": [0.5]}))
    client.publish_table(source_table_name="f.t", online_store="redis")
    assert [store.name for store in client.list_online_stores()] == ["redis"]
    ((row,),) = two.online.get(TableName.parse("f.t"), [(1,)])
    assert row.values == {"v": 0.5}
    assert server.password not in repr(one.settings) + repr(one)
    one.close()
    two.close()


@pytest.mark.redis
def test_a_redis_that_is_away_says_where_it_was_and_no_password(server: RedisServer) -> None:
    for url in (
        "redis://:topsecret@127.0.0.1:1/0",
        f"redis://:topsecret@127.0.0.1:{server.port}/0",
        "unix:///nowhere/redis.sock?password=topsecret",
    ):
        store = RedisOnlineStore(url)
        acts: list[Callable[[OnlineStore], object]] = [
            lambda store: store.table(NAME),
            lambda store: store.get(NAME, [(1,)]),
            lambda store: store.replace(online_table(), encoded(online_table(), plain({1: 1}))),
        ]
        for act in acts:
            with pytest.raises(InvalidState, match="does not answer") as caught:
                act(store)
            assert "MILLRACE_ONLINE_URL" in caught.value.hint
            assert "topsecret" not in "".join(traceback.format_exception(caught.value))
        store.close()
    with pytest.raises(UsageError, match="not the URL"):
        RedisOnlineStore("http://127.0.0.1")


def test_one_process_may_open_it_more_than_once(tmp_path: Path) -> None:
    one, two = LmdbOnlineStore(tmp_path), LmdbOnlineStore(str(tmp_path))
    one.replace(online_table(), encoded(online_table(), plain({1: 1})))
    one.close()
    one.close()
    assert found(two, 1) == [[1]]
    two.close()


def test_a_folder_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidState, match="can't be opened"):
        LmdbOnlineStore(tmp_path / "file")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(InvalidState, match="can't be opened"):
        LmdbOnlineStore(tmp_path / "damaged")


def test_the_file_grows_while_others_read(tmp_path: Path) -> None:
    store = LmdbOnlineStore(tmp_path, map_bytes=1 << 16)
    store.replace(online_table(), encoded(online_table(), plain({1: 1})))
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(found(store, 1)[0]))
            stop.wait(0.0005)  # LMDB lets the interpreter go at each row: three that never rest would starve the writer

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    texts = online_table(v="string")
    store.replace(texts, encoded(texts, plain(dict.fromkeys(range(5000), "x" * 200))))
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {(1,), ("x" * 200,)}
    assert found(store, 4999) == [["x" * 200]]
    store.close()


def test_what_was_published_in_another_format_counts_as_not_published(tmp_path: Path) -> None:
    store = LmdbOnlineStore(tmp_path)
    table = online_table()
    store.replace(table, encoded(table, plain({1: 1})))
    place = b"m" + NAME.full.encode()

    def as_of_old(txn: Any) -> None:
        body = orjson.loads(txn.get(place))
        del body["format"], body["source"]
        txn.put(place, orjson.dumps(body))

    store._shared.write(as_of_old)
    assert store.table(NAME) is None
    assert (list(store.tables()), list(store.get(NAME, [(1,)]))) == ([], [()])
    store.replace(table, encoded(table, plain({2: 2})))
    assert found(store, 1, 2) == [[], [2]]
    assert store._shared.write(lambda txn: txn.stat()["entries"]) == 3  # its description, the next number, the row
    store.close()


PARTS = st.one_of(
    st.integers(),
    st.text(max_size=4),
    st.booleans(),
    st.dates(),
    st.binary(max_size=4),
    st.datetimes(timezones=st.just(UTC)),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
)


@settings(max_examples=200, deadline=None)
@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_keys_are_injective_and_typed(one: tuple[object, object], two: tuple[object, object]) -> None:
    same = all(type(a) is type(b) and a == b for a, b in zip(one, two, strict=True))
    assert (encode_key(one) == encode_key(two)) is same
    assert encode_key(("1", "11")) != encode_key(("11", "1"))
    assert encode_key((Decimal("1.10"),)) == encode_key((Decimal("1.1000"),))
    assert encode_key((Decimal(100),)) == encode_key((Decimal("1E+2"),))
    assert encode_key((1, None)) is None
    assert encode_key((1,)) != encode_key((True,)) != encode_key(("1",))
    with pytest.raises(InvalidInput, match="float can't be a key"):
        encode_key((1.0,))


STAMP = pa.timestamp("us", "UTC")
COLUMNS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.string(): st.text(st.characters(codec="utf-8"), max_size=3) | st.just("ä" * 500),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(),
    STAMP: st.datetimes(timezones=st.just(UTC)),
    pa.binary(): st.binary(max_size=3),
    pa.decimal128(18, 2): st.decimals(-(10**15), 10**15, places=2),
}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=3), st.integers(0, 5), st.data())
def test_whole_columns_of_keys_are_the_same_bytes_as_single_keys(
    kinds: list[pa.DataType], rows: int, data: st.DataObject
) -> None:
    columns = [data.draw(st.lists(COLUMNS[kind], min_size=rows, max_size=rows)) for kind in kinds]
    made = encode_keys([pa.chunked_array([pa.array(c, k)], k) for c, k in zip(columns, kinds, strict=True)])
    assert made.to_pylist() == [encode_key(key) for key in zip(*columns, strict=True)]


def test_the_bytes_of_whole_numbers_are_in_their_order() -> None:
    numbers = [-(2**63), -300, -1, 0, 1, 255, 256, 2**63 - 1]
    codes = [encode_key((number,)) or b"" for number in numbers]
    assert sorted(codes) == codes


def test_types_that_can_not_be_stored() -> None:
    for kind in ("list<item: double>", "struct<a: int64>", "dictionary<values=string, indices=int32, ordered=0>"):
        assert not can_store(kind)
        with pytest.raises(InvalidInput, match="can't be in the online store"):
            RowCodec({"v": kind})


STEPS = st.lists(
    st.tuples(st.booleans(), st.dictionaries(st.integers(0, 20), st.integers(0, 9)), st.sets(st.integers(0, 20))),
    max_size=5,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_sequence_of_publishes_equals_a_dict(
    tmp_path: Path, steps: list[tuple[bool, dict[int, int], set[int]]]
) -> None:
    store = LmdbOnlineStore(tmp_path)
    store.remove(NAME)
    expected: dict[int, int] = {}
    base = store.replace(online_table(), [])
    for version, (whole, rows, gone) in enumerate(steps, 2):
        table = online_table(version)
        batches, removed = encoded(table, plain(rows)), [encode_key((key,)) or b"" for key in gone - rows.keys()]
        if whole:
            base, expected = store.replace(table, batches), rows
        else:
            kept = {key: value for key, value in expected.items() if key not in gone}
            base, expected = store.change(base, table, batches, removed), kept | rows
        assert found(store, *range(21)) == [[expected[key]] if key in expected else [] for key in range(21)]
        assert base == replace(table, keys=len(expected))
    store.close()
