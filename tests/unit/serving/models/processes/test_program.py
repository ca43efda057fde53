from __future__ import annotations

import io
import json
import math
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import orjson
import pandas as pd  # noqa: TID253 - a test
import pytest
from sklearn.tree import DecisionTreeClassifier  # noqa: TID253 - a test

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths import program
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.paths.pyfunc import open_pyfunc
from millrace.serving.types import Prediction

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize(
    "numbers", [None, np.zeros((0, 3)), np.array([[1.5, math.nan], [-0.0, math.inf], [2.0**53, 5e-324]])]
)
def test_a_frame_arrives_as_it_was_sent(pair: Pair, numbers: np.ndarray | None) -> None:
    content = {"labels": [1, 1.0, "é\n", None, math.inf], "rows": 3}
    program.send(pair[0], content, numbers)
    program.send(pair[0], {})
    received, raw = program.receive(pair[1])
    assert received == content
    assert [type(label) for label in received["labels"]] == [int, float, str, type(None), float]
    assert raw.tobytes() == (b"" if numbers is None else numbers.tobytes())
    assert program.receive(pair[1])[0] == {}


def test_a_large_frame_arrives_in_parts(pair: Pair) -> None:
    numbers = np.random.default_rng(1).random((1000, 300))
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(program.receive, pair[1])
        program.send(pair[0], {"texts": [["x" * 1000] * 1000]}, numbers)
        content, raw = received.result(10)
    assert len(content["texts"][0]) == 1000
    assert (raw.reshape(1000, 300) == numbers).all()


@pytest.mark.parametrize("sent", [b"", b"\0" * 9, (8).to_bytes(8, "big") + (0).to_bytes(8, "big") + b"{}"])
def test_a_frame_that_is_cut_off_is_the_end(pair: Pair, sent: bytes) -> None:
    pair[0].sendall(sent)
    pair[0].close()
    with pytest.raises(EOFError):
        program.receive(pair[1])


@pytest.mark.parametrize(
    "signature",
    [
        [("a", "double"), ("b", "double")],
        [("t", "string"), ("a", "float"), ("when", "datetime"), ("b", "long")],
        [("a", "integer"), ("b", "boolean"), ("t", "string")],
    ],
)
def test_the_program_makes_the_frames_that_workers_make(signature: list[tuple[str, str]]) -> None:
    texts = {"string": ["x", None], "datetime": ["2024-02-29T12:00:00", None]}
    columns = [texts[kind] for _, kind in signature if kind in texts]
    numbers = np.array([[1.0, 0.0], [7.0, 1.0]])
    ours, theirs = to_frame(Inputs(numbers, tuple(columns)), signature), program.frame(numbers, columns, signature)
    assert list(ours.columns) == list(theirs.columns)
    assert list(ours.dtypes) == list(theirs.dtypes)
    assert ours.equals(theirs)


def test_what_pyfunc_gives_becomes_one_label_a_row() -> None:
    assert program.labels_of(np.array([1, 0])) == [1, 0]
    assert program.labels_of(pd.Series(["a", "b"])) == ["a", "b"]
    assert program.labels_of(pd.DataFrame({"y": [0.5, 1.5]})) == [0.5, 1.5]
    assert program.labels_of(pd.DataFrame({"y": [1], "z": [2]})) == [{"y": 1, "z": 2}]
    assert program.labels_of([1, 2]) == [1, 2]


OWN = """
import datetime
from decimal import Decimal
import numpy as np
import pandas as pd

class Model:
    def predict(self, frame):
        at = pd.Timestamp("2025-03-01T06:00:00.5", tz="UTC")
        return pd.DataFrame({0: [at, pd.NaT], 1: [Decimal("1.50"), None], "day": [datetime.date(2025, 3, 1), None],
            "raw": [b"ab", b""], 2.5: [np.float32(0.5), [np.int64(1), at]], "n": pd.array([1, None], "Int64"), "large": [2**70, 1]})

def _load_pyfunc(path):
    return Model()
"""


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
def test_a_worker_and_the_program_give_the_same_labels(
    write_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "loads_rich.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    flavor = {"loader_module": "loads_rich", "env": {}, "python_version": "3.11.0"}
    signature = [("a", "double")]
    folder, numbers = write_model("own", {"python_function": flavor}, signature), np.zeros((2, 1))
    theirs, probabilities = program.load(str(folder), signature)(numbers, [])
    assert probabilities is None
    assert open_pyfunc(folder, signature)(Inputs(numbers)) == Prediction(theirs, None)
    assert theirs == [
        {
            "0": "2025-03-01T06:00:00.500000+00:00",
            "1": "1.50",
            "day": "2025-03-01",
            "raw": "YWI=\n",
            "2.5": 0.5,
            "n": 1,
            "large": str(2**70),
        },
        {
            "0": None,
            "1": None,
            "day": None,
            "raw": "",
            "2.5": [1, "2025-03-01T06:00:00.500000+00:00"],
            "n": None,
            "large": 1,
        },
    ]
    assert json.loads(orjson.dumps(theirs)) == theirs


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_worker_and_the_program_give_the_same_probabilities(write_model: Callable[..., Path], classes: int) -> None:
    x, signature = np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0], [3.0]]), [("a", "double")]
    model = DecisionTreeClassifier(max_depth=2).fit(x, np.arange(6) % classes)
    pyfunc = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"}
    details = {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}
    folder = write_model("tree", {"sklearn": details, "python_function": pyfunc}, signature)
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
    ours = open_pyfunc(folder, signature)(Inputs(x))
    labels, probabilities = program.load(str(folder), signature)(x, [])
    expected = {1: None, 2: model.predict_proba(x)[:, -1].tolist(), 3: model.predict_proba(x).tolist()}[classes]
    assert (ours.labels, ours.probabilities) == (labels, expected)
    assert (None if probabilities is None else probabilities.tolist()) == expected


@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
def test_labels_are_what_mlflows_own_server_writes() -> None:
    from mlflow.pyfunc.scoring_server import predictions_to_json

    at = pd.Timestamp("2025-03-01T06:00:00", tz="UTC")
    for result in (
        pd.DataFrame({0: [at, at], 1: [b"ab", "c"]}),
        pd.DataFrame({3: [1, 2], 4: [0.5, 1.5], "five": [True, None]}),
        np.array([[1, 2], [3, 4]]),
        np.array(["a", "b"]),
        np.array(["2025-03-01", "2025-03-02"], dtype="datetime64[D]"),
        [at, at],
        [np.float32(0.1), 5],
    ):
        written = io.StringIO()
        predictions_to_json(result, written)
        assert json.loads(orjson.dumps(program.labels_of(result))) == json.loads(written.getvalue())["predictions"]
