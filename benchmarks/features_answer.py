"""What each contender says of itself: seconds, peak memory, and sums over its answer that tell whether it is the same one.

Needs NumPy and pyarrow only, because peers run in their own environments.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable

import numpy as np
import pyarrow as pa

_WEIGHTS = 997


def report(seconds: float, table: Callable[[], pa.Table], **facts: object) -> None:
    """Print a line of JSON: the last one on standard output is read by the benchmark."""
    peak_kb = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "peak_mb": peak_kb / 1024, **_answer(table()), **facts}))


def _answer(table: pa.Table) -> dict[str, object]:
    """Rows, and for each feature the count and a sum in which each row has a weight of its own: in whatever order they come."""
    keys = table.column("customer_id").to_numpy().astype(np.int64)
    times = table.column("label_time").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    weights = (keys * 31 + times) % _WEIGHTS
    sums, counts = {}, {}
    for name in sorted(name for name in table.column_names if name[0] in "ab" and name[1:].isdigit()):
        values = table.column(name).cast(pa.float64())
        counts[name] = len(values) - values.null_count
        sums[name] = float(np.nansum(np.asarray(values.fill_null(0).to_numpy()) * weights))
    return {"rows": len(table), "counts": counts, "sums": sums}
