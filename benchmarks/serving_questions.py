"""What the servers of the serving benchmark are asked: bodies of one and of a hundred rows, written once to folders for wrk."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from serving_model import FEATURES, Served

JSON, ARROW, PARQUET = "application/json", "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
KEY, FEATURES_OF = "{} key", "features of {} key"
BODIES = {1: 200, 100: 20}  # rows of a body to how many different bodies


@dataclass(frozen=True)
class Question:
    """One kind of request.

    Attributes:
        name: such as `100 rows, Parquet`.
        rows: in each body.
        path: where it is sent.
        folder: `headers`, and bodies 0, 1, 2, ...: body k asks about rows k * rows and those that follow.
        read: the values in an answer, one for each row; None where it is a constant.
        expected: what they are to be, for all rows that there are.
        optional: a server may not know it yet.
        client: what asks it in place of wrk: a command that takes `answer BODY`, and `load FOLDER COUNT CONNECTIONS SECONDS`.
    """

    name: str
    rows: int
    path: str
    folder: Path
    read: Callable[[bytes], Sequence[float]] | None
    expected: Sequence[float]
    optional: bool = False
    client: Sequence[str] = ()

    @property
    def headers(self) -> Mapping[str, str]:
        """As they are sent."""
        lines = (self.folder / "headers").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines)


class Questions:
    """Writes the bodies of one server.

    Args:
        folder: where; made.
        served: has the rows to ask about.
        token: sent with each request.
    """

    def __init__(self, folder: Path, served: Served, token: str | None = None) -> None:
        self._folder, self._served, self._token = folder, served, token

    def make(
        self,
        rows: int,
        path: str,
        write: Callable[[int, np.ndarray], bytes],
        read: Callable[[bytes], Sequence[float]] | None,
        *,
        what: str = "{} row",
        form: str = "",
        content_type: str = JSON,
        optional: bool = False,
        client: Sequence[str] = (),
    ) -> Question:
        """One kind of request. `write` is given the number of the first row, which is its key, and the rows."""
        name = what.format(rows) + ("s" if rows > 1 else "") + (f", {form}" if form else "")
        folder = self._folder / name.replace(", ", "-").replace(" ", "-")
        folder.mkdir(parents=True)
        for number in range(BODIES[rows]):
            first = number * rows
            (folder / str(number)).write_bytes(write(first, self._served.rows[first : first + rows]))
        headers = [f"content-type: {content_type}"] + ([f"authorization: Bearer {self._token}"] if self._token else [])
        (folder / "headers").write_text("\n".join(headers) + "\n")
        expected = self._served.rows[:, 0] if what == FEATURES_OF else self._served.labels
        return Question(name, rows, path, folder, read, expected.tolist(), optional, client)


def split(_first: int, rows: np.ndarray) -> bytes:
    """MLflow's `dataframe_split`."""
    return json.dumps({"dataframe_split": {"columns": FEATURES, "data": rows.tolist()}}).encode()


def keys(first: int, rows: np.ndarray) -> bytes:
    """`dataframe_split` of keys."""
    return json.dumps({"dataframe_split": {"columns": ["k"], "data": [[first + n] for n in range(len(rows))]}}).encode()


def tensor(_first: int, rows: np.ndarray) -> bytes:
    """The Open Inference Protocol's."""
    flat = rows.ravel().tolist()
    return json.dumps({"inputs": [{"name": "x", "shape": rows.shape, "datatype": "FP64", "data": flat}]}).encode()


def doubles(_first: int, rows: np.ndarray) -> bytes:
    """The rows as they are in memory."""
    return rows.tobytes()


def data(_first: int, rows: np.ndarray) -> bytes:
    """A list of lists under the argument's name."""
    return json.dumps({"data": rows.tolist()}).encode()


def lists(_first: int, rows: np.ndarray) -> bytes:
    """A list of lists."""
    return json.dumps(rows.tolist()).encode()


def arrow(_first: int, rows: np.ndarray) -> bytes:
    """An Arrow IPC stream of one batch."""
    table, sink = _table(rows), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def parquet(_first: int, rows: np.ndarray) -> bytes:
    """A Parquet file as it is written by default."""
    sink = io.BytesIO()
    pq.write_table(_table(rows), sink)
    return sink.getvalue()


def _table(rows: np.ndarray) -> pa.Table:
    return pa.table({name: rows[:, number].copy() for number, name in enumerate(FEATURES)})


def predictions(answer: bytes) -> Sequence[float]:
    """Of MLflow's answer, and ours."""
    found: list[float] = json.loads(answer)["predictions"]
    return found


def outputs(answer: bytes) -> Sequence[float]:
    """Of the Open Inference Protocol's answer."""
    found: list[float] = json.loads(answer)["outputs"][0]["data"]
    return found


def plain(answer: bytes) -> Sequence[float]:
    """Of an answer that is a list."""
    found: list[float] = json.loads(answer)
    return found


def service(first: int, rows: np.ndarray) -> bytes:
    """Feast's `get-online-features`."""
    wanted = [first + number for number in range(len(rows))]
    return json.dumps({"feature_service": "customers", "entities": {"k": wanted}}).encode()


def first_features(answer: bytes) -> Sequence[float]:
    """The first feature of each row, of our answer with features."""
    return [row[FEATURES[0]] for row in json.loads(answer)["outputs"]]


def first_column(answer: bytes) -> Sequence[float]:
    """The same, of Feast's answer."""
    told = json.loads(answer)
    values: list[float] = told["results"][told["metadata"]["feature_names"].index(FEATURES[0])]["values"]
    return values
