"""The data of the monitoring benchmark: a reference and later rows of 20 numbers and 5 texts, seeded, as Parquet under .bench/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 20_261_127
NUMBERS = [f"n{at:02}" for at in range(20)]
TEXTS = {f"c{categories}": categories for categories in (2, 5, 12, 50, 200)}
LARGE = 10  # so many times as many rows
_WITH_NULLS = 5
_NULLS = 0.02
_CHUNK = 1_000_000
_SHIFTED, _WIDER, _OTHER_MIX = "n05", "n10", "c12"


@dataclass(frozen=True)
class Data:
    """Where the files of one size are.

    Attributes:
        rows: of the reference, and of the current rows.
        reference, current, large: Parquet files, zstd; the last one with ten times as many rows.
    """

    rows: int
    reference: str
    current: str
    large: str


def data(folder: Path, rows: int) -> Data:
    """The files, made where they are not there yet."""
    place = folder / f"monitoring-{rows}"
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{name}.parquet" for name in ("reference", "current", "large")]
    for number, (path, count) in enumerate(zip(paths, (rows, rows, LARGE * rows), strict=True)):
        if not path.exists():
            print(f"making {count:,} rows", flush=True)
            _write(path, count, seed=SEED + 1000 * number, drifted=number > 0)
    return Data(rows, *map(str, paths))


def _write(path: Path, rows: int, *, seed: int, drifted: bool) -> None:
    part = path.with_suffix(".part")
    writer: pq.ParquetWriter | None = None
    for at in range(0, rows, _CHUNK):
        table = _table(np.random.default_rng(seed + at // _CHUNK), min(_CHUNK, rows - at), drifted=drifted)
        writer = writer or pq.ParquetWriter(part, table.schema, compression="zstd")
        writer.write_table(table)
    if writer:
        writer.close()
    part.rename(path)


def _table(rng: np.random.Generator, rows: int, *, drifted: bool) -> pa.Table:
    columns: dict[str, object] = {}
    for at, name in enumerate(NUMBERS):
        values = _numbers(rng, at, rows)
        if drifted and name in (_SHIFTED, _WIDER):
            values = values + 0.3 if name == _SHIFTED else values * 1.2
        columns[name] = pa.array(values, mask=rng.random(rows) < _NULLS if at < _WITH_NULLS else None)
    for name, categories in TEXTS.items():
        shares = 1 / np.arange(1, categories + 1) ** (0.7 if drifted and name == _OTHER_MIX else 1.0)  # Zipf
        codes = rng.choice(categories, rows, p=shares / shares.sum()).astype(np.int32)
        texts = pa.array([f"{name} value {value}" for value in range(categories)])
        columns[name] = pa.DictionaryArray.from_arrays(codes, texts).cast(pa.string())
    return pa.table(columns)


def _numbers(rng: np.random.Generator, at: int, rows: int) -> npt.NDArray[np.float64] | npt.NDArray[np.int64]:
    """Mostly bell curves; amounts with a long tail, amounts in cents, and counts among them."""
    if at % 5 == 1:
        return rng.lognormal(3.0, 1.2, rows)
    if at % 10 == 2:  # noqa: PLR2004 - two of them
        return np.round(rng.gamma(2.0, 50.0, rows), 2)
    if at % 10 == 7:  # noqa: PLR2004 - two of them
        return rng.poisson(3.0, rows)
    return rng.normal(float(at), 1.0 + at / 10, rows)
