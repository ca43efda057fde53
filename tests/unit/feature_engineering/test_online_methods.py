from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, InvalidInput, NotFound
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.feature_engineering.online_methods import OnlineStoreInfo
from millrace.workspace import Workspace
from tests.unit.feature_engineering.customers import NOW

HOUR = timedelta(hours=1)


@pytest.fixture
def table(client: FeatureEngineeringClient, name: str) -> str:
    rows = pa.table({"k": [1, 2], "ts": pa.array([NOW - HOUR, NOW - 2 * HOUR], pa.timestamp("us", "UTC")), "v": [1, 2]})
    client.create_table(name=name, primary_keys="k", timeseries_column="ts", df=rows)
    return name


def test_a_home_has_one_online_store(client: FeatureEngineeringClient, table: str) -> None:
    (store,) = client.list_online_stores()
    assert store == client.get_online_store(name="embedded") == OnlineStoreInfo("embedded", "AVAILABLE")
    assert client.update_online_store(name="embedded") == store
    published = client.publish_table(source_table_name=table, online_store=store, online_table_name=table)
    assert (published.mode, published.why) == ("SNAPSHOT", "it was not published before")
    with pytest.raises(InvalidInput, match="capacity is not supported"):
        client.update_online_store(name="embedded", capacity="CU_2")
    with pytest.raises(NotFound, match=r"no online store 'other'\n.*'embedded'"):
        client.get_online_store(name="other")
    with pytest.raises(AlreadyExists):
        client.create_online_store(name="embedded", capacity="CU_1")
    with pytest.raises(InvalidInput, match=r"can't be made\n.*MILLRACE_ONLINE_URL"):
        client.create_online_store(name="other", capacity="CU_1")
    with pytest.raises(InvalidInput, match=r"can't be deleted\n.*drop_online_table"):
        client.delete_online_store(name="embedded")


def test_a_table_is_dropped_online_only(client: FeatureEngineeringClient, table: str) -> None:
    client.publish_table(source_table_name=table)
    with pytest.raises(InvalidInput, match="no online store 'other'"):
        client.drop_online_table(table, online_store="other")
    client.drop_online_table(name=table, online_store="embedded")
    assert table not in [str(one.name) for one in client.online_freshness()]
    with pytest.raises(NotFound, match="is not online"):
        client.drop_online_table(table)
    assert client.get_table(name=table).name


def test_freshness_of_what_is_online(client: FeatureEngineeringClient, workspace: Workspace, table: str) -> None:
    client.publish_table(source_table_name=table)

    def figure() -> tuple[object, ...]:
        (one,) = (one for one in client.online_freshness() if str(one.name) == table)
        return one.keys, one.newest, one.age, one.published_at, one.behind, one.waiting_since

    assert figure() == (2, NOW - HOUR, HOUR, NOW, 0, None)
    workspace.clock.set(NOW + HOUR)
    try:
        client.write_table(name=table, df=pa.table({"k": [3], "ts": pa.array([NOW], pa.timestamp("us", "UTC"))}))
        assert figure() == (2, NOW - HOUR, 2 * HOUR, NOW, 1, NOW + HOUR)
        done = client.publish_table(source_table_name=table)
        assert (done.mode, done.written, done.removed) == ("TRIGGERED", 1, 0)
        assert figure() == (3, NOW, HOUR, NOW + HOUR, 0, None)
        workspace.lake.drop(table)
        assert figure() == (3, NOW, HOUR, NOW + HOUR, None, None)
        workspace.online.remove(done.table.name)
    finally:
        workspace.clock.set(NOW)
