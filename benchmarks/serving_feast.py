"""Feast's store for the serving benchmark, made by the Python of its own environment: `serving_feast.py ROWS.parquet FOLDER`.

The rows have a key `k`, an event time `ts` and the features. They are written to Feast's own SQLite online store, as a
feature view and a feature service named `customers`; `feast -c FOLDER serve` answers from it.
"""

from __future__ import annotations

import sys
import warnings
from datetime import timedelta
from pathlib import Path


def main(rows: str, folder: str) -> None:
    """Declare the view and put all rows online."""
    import pandas as pd
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    frame, place = pd.read_parquet(rows), Path(folder)
    place.mkdir()
    (place / "feature_store.yaml").write_text(
        "project: bench\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
        "offline_store: {type: file}\nonline_store: {type: sqlite, path: online.db}\n"
    )
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    view = FeatureView(
        name="customers",
        entities=[key],
        ttl=timedelta(days=365),
        schema=[Field(name=name, dtype=Float64) for name in frame.columns if name not in ("k", "ts")],
        source=FileSource(name="rows", path=rows, timestamp_field="ts"),
    )
    store = FeatureStore(repo_path=folder)
    store.apply([key, view, FeatureService(name="customers", features=[view])])
    store.write_to_online_store("customers", frame)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
