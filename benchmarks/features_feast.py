"""Feast on the benchmark's data, run by the Python of its own virtual environment: `features_feast.py STORE DATA.json FOLDER`.

It is given the same Parquet files and the same labels. Prints one line of JSON. Imports nothing of millrace.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

import features_answer

_TTL = timedelta(days=3)  # the rows are daily: no answer is older than two days


def main(store: str, data: str, folder: str) -> None:
    """One training set."""
    import pandas as pd

    known = json.loads(Path(data).read_text())
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    config = {
        "project": "bench",
        "provider": "local",
        "registry": str(place / "registry.db"),
        "offline_store": {"type": store},
        "online_store": {"type": "sqlite", "path": str(place / "online.db")},
        "entity_key_serialization_version": 3,
    }
    feast, views = _declared(config, known["files"])
    labels = pd.read_parquet(known["labels"]).rename(columns={"label_time": "event_timestamp"})
    features = [f"{view.name}:{field.name}" for view in views for field in view.features]
    begun = time.perf_counter()
    table = feast.get_historical_features(entity_df=labels, features=features).to_arrow()
    seconds = time.perf_counter() - begun
    features_answer.report(
        seconds,
        lambda: table.rename_columns(["label_time" if n == "event_timestamp" else n for n in table.column_names]),
        configuration={**config, "ttl": f"{_TTL.days} days", "registry": "file", "online_store": "not used"},
    )


def _declared(config: dict[str, object], files: list[list[str]]) -> tuple[object, list[object]]:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float32

    customer = Entity(name="customer_id", join_keys=["customer_id"], value_type=ValueType.INT64)
    views = []
    for table, prefix in enumerate("ab"):
        source = FileSource(
            name=f"source_{prefix}",
            path=str(Path(files[table][0]).parent / "*.parquet"),
            file_format=ParquetFormat(),
            timestamp_field="event_time",
        )
        schema = [Field(name=f"{prefix}{number}", dtype=Float32) for number in range(20)]
        views.append(FeatureView(name=f"view_{prefix}", entities=[customer], ttl=_TTL, schema=schema, source=source))
    store = FeatureStore(config=RepoConfig(**config))
    store.apply([customer, *views])
    return store, views


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
