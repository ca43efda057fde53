from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import AlreadyExists
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.endpoints import endpoints
from millrace.serving.endpoints.log_tables import check_log_tables
from millrace.serving.types import Capture, EndpointConfig, EndpointName, Former

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ADA = Principal("user", "ada")
SCHEMA = pa.schema([("x", pa.int64())])
CHURN = Capture("main", "logs", "churn")


@pytest.fixture
def store(tmp_path: Path) -> SqlEndpointStore:
    return SqlEndpointStore(open_database(f"sqlite:///{tmp_path / 'endpoints.db'}"))


def config(capture: Capture | None) -> EndpointConfig:
    return endpoints.endpoint_config(endpoints.served_entity("churn", "1"), capture=capture)


def log(lake: Lake, name: str, endpoint: str) -> None:
    """A table as the drain makes it."""
    lake.create(name, SCHEMA, TableDefinition(role="inference_log", properties={"endpoint": endpoint}))


@pytest.mark.parametrize("table", ["payload", "predictions", "shadow_payload", "shadow_predictions"])
def test_tables_of_another_endpoint_are_refused_also_when_that_one_is_gone(
    lake: Lake, store: SqlEndpointStore, table: str
) -> None:
    log(lake, f"logs.churn_{table}", "churn")
    with pytest.raises(AlreadyExists, match=rf"logs\.churn_{table}") as refused:
        check_log_tables(lake.catalog, store, "mine", CHURN)
    assert "table_name_prefix" in refused.value.hint
    assert "'churn'" not in str(refused.value)  # whoever asks may not see that endpoint
    check_log_tables(lake.catalog, store, "churn", CHURN)
    check_log_tables(lake.catalog, store, "mine", replace(CHURN, schema="other"))


def test_a_prefix_may_not_lead_into_the_middle_of_anothers_tables(lake: Lake, store: SqlEndpointStore) -> None:
    log(lake, "logs.churn_shadow_payload", "churn")
    with pytest.raises(AlreadyExists, match=r"logs\.churn_shadow_payload"):
        check_log_tables(lake.catalog, store, "mine", replace(CHURN, prefix="churn_shadow"))


def test_a_table_that_logs_nothing_is_refused(lake: Lake, store: SqlEndpointStore) -> None:
    lake.create("gold.churn_predictions", SCHEMA, TableDefinition(properties={"endpoint": "mine"}))
    with pytest.raises(AlreadyExists, match=r"gold\.churn_predictions"):
        check_log_tables(lake.catalog, store, "mine", replace(CHURN, schema="gold"))


def test_tables_that_another_endpoint_will_write_are_refused_before_they_are_there(
    lake: Lake, store: SqlEndpointStore
) -> None:
    endpoints.create(store, ManualClock(NOW), ADA, "churn", config(CHURN))
    for capture in (CHURN, replace(CHURN, enabled=False)):  # labels go there all the same
        with pytest.raises(AlreadyExists, match=r"logs\.churn_payload"):
            check_log_tables(lake.catalog, store, "mine", capture)
    check_log_tables(lake.catalog, store, "churn", CHURN)
    check_log_tables(lake.catalog, store, "mine", replace(CHURN, prefix="mine"))


def test_so_are_those_that_it_is_about_to_write_and_those_that_it_may_go_back_to(
    lake: Lake, store: SqlEndpointStore
) -> None:
    made = endpoints.create(store, ManualClock(NOW), ADA, "churn", config(None))
    back = replace(CHURN, prefix="before")
    store.update(replace(made, pending=config(CHURN), previous=Former(config(back), ())), made.generation)
    assert store.get(EndpointName("churn")).config.capture is None
    for capture in (CHURN, back):
        with pytest.raises(AlreadyExists):
            check_log_tables(lake.catalog, store, "mine", capture)
