"""One contender on the benchmark's data, in a process of its own: `features_contenders.py NAME DATA.json [MEMORY_MB]`.

`millrace` makes the training set as a user does, record and fingerprint included; `duckdb` is one SQL statement over the same
files, to Arrow, with as many threads; `small` looks up one row, many times. Prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import features_answer
import features_data
import pyarrow as pa
import pyarrow.parquet as pq

_SMALL_CALLS = 30


def main(name: str, path: str, memory_mb: str | None = None) -> None:
    """Run it. A limit is one of the operating system: what asks for more memory than that fails."""
    if memory_mb is not None:
        limit = int(memory_mb) << 20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    known = json.loads(Path(path).read_text())
    {"millrace": _millrace, "duckdb": _duckdb, "small": _small}[name](known)


def _millrace(known: dict[str, object]) -> None:
    from millrace.feature_engineering import FeatureEngineeringClient
    from millrace.workspace import open_workspace

    labels = pq.read_table(known["labels"])
    workspace = open_workspace(str(known["home"]))
    client = FeatureEngineeringClient(workspace=workspace)
    _ = (
        workspace.lake,
        workspace.asof,
        workspace.spark,
    )  # imports what they are made of; the peers' imports don't count either
    begun = time.perf_counter()
    table = client.create_training_set(df=labels, feature_lookups=_lookups(), label="churned").to_arrow()
    seconds = time.perf_counter() - begun
    workspace.close()
    engine = type(workspace.asof).__name__
    features_answer.report(seconds, lambda: table, configuration={"engine": engine, "threads": _threads()})


def _duckdb(known: dict[str, object]) -> None:
    import duckdb

    files = known["files"]
    assert isinstance(files, list)  # noqa: S101 - written by features_data
    one, two = (f"read_parquet({list(table)})" for table in files)
    query = f"""
        SELECT asked.*, one.* EXCLUDE (customer_id, event_time), two.* EXCLUDE (customer_id, event_time)
        FROM read_parquet('{known["labels"]}') asked
        ASOF LEFT JOIN {one} one ON asked.customer_id = one.customer_id AND asked.label_time >= one.event_time
        ASOF LEFT JOIN {two} two ON asked.customer_id = two.customer_id AND asked.label_time >= two.event_time
    """
    begun = time.perf_counter()
    with duckdb.connect(config={"threads": _threads()}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        table = connection.sql(query).to_arrow_table()
        seconds = time.perf_counter() - begun
        features_answer.report(seconds, lambda: table, configuration={"threads": _threads()})


def _small(known: dict[str, object]) -> None:
    """Median and slowest of many lookups of one row in two tables, in milliseconds."""
    from millrace.feature_engineering import FeatureEngineeringClient
    from millrace.workspace import open_workspace

    labels = pq.read_table(known["labels"])
    workspace = open_workspace(str(known["home"]))
    client = FeatureEngineeringClient(workspace=workspace)
    took_ms = []
    for row in range(_SMALL_CALLS):
        begun = time.perf_counter()
        one: pa.Table = labels.slice(row, 1)
        client.create_training_set(df=one, feature_lookups=_lookups(), label="churned").to_arrow()
        took_ms.append((time.perf_counter() - begun) * 1000)
    workspace.close()
    print(json.dumps({"p50_ms": statistics.median(took_ms), "max_ms": max(took_ms)}))


def _lookups() -> list[object]:
    from millrace.features.types import FeatureLookup

    return [FeatureLookup(name, "customer_id", timestamp_lookup_key="label_time") for name in features_data.TABLES]


def _threads() -> int:
    from millrace.core.settings import Settings

    return Settings.load().threads


if __name__ == "__main__":
    main(*sys.argv[1:])
