"""What runs in a model's own process, under the Python of the model's own environment.

Millrace is not installed there: this file stands alone, with MLflow, numpy and pandas. The server's side takes the form of the
frames, of the labels and of the probabilities from here. A frame is the lengths of its two parts, then JSON, then raw little-endian float64.

The first frame names the model, and is answered when it is loaded. Each one after it has rows: `numbers` of them a row in
the raw part, `texts` by column. The answer has their labels, and in the raw part the probabilities, with their shape; null where there are none.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import select
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Content = dict[str, Any]
Signature = Sequence[tuple[str, str]]
Predict = Callable[[np.ndarray, Sequence[Sequence[Any]]], tuple[list[Any], "np.ndarray | None"]]

_LENGTHS = struct.Struct(">QQ")
_DTYPES = {"float": "float32", "integer": "int32", "long": "int64", "boolean": "bool"}
_TEXTS = {"string", "datetime"}
_JSON = {bool, int, float, str}
_BITS = 63  # of a whole number, beside its sign


def send(connection: socket.socket, content: Content, numbers: np.ndarray | None = None) -> None:
    """Write a frame."""
    text = json.dumps(content, default=str).encode()
    raw = b"" if numbers is None else np.ascontiguousarray(numbers, dtype="<f8").tobytes()
    connection.sendall(_LENGTHS.pack(len(text), len(raw)) + text + raw)


def receive(connection: socket.socket) -> tuple[Content, np.ndarray]:
    """Read a frame: its JSON, and its numbers in one row. Raises EOFError where the other side is gone."""
    text, raw = _LENGTHS.unpack(_read(connection, _LENGTHS.size))
    content: Content = json.loads(_read(connection, text))
    return content, np.frombuffer(_read(connection, raw), dtype="<f8")


def _read(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def main(descriptor: int) -> None:
    """Load the model that the first frame names, and answer until the other side is gone."""
    connection = socket.socket(fileno=descriptor)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    asked, _ = receive(connection)
    try:
        predict = load(asked["model"], asked["signature"])
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        traceback.print_exc()
        send(connection, {"error": type(error).__name__})
        return
    send(connection, {})
    while True:
        try:
            asked, numbers = receive(connection)
        except EOFError:
            return
        _answer(connection, predict, asked, numbers)


def _answer(connection: socket.socket, predict: Predict, asked: Content, numbers: np.ndarray) -> None:
    try:
        labels, probabilities = predict(numbers.reshape(asked["rows"], asked["numbers"]), asked["texts"])
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        sys.stderr.write(f"{type(error).__name__}, without its text, which may quote the request, at:\n")
        traceback.print_tb(error.__traceback__)
        # So scikit-learn and others refuse inputs: a missing value where they take none, a number too large.
        send(connection, {"refused" if isinstance(error, ValueError) else "error": type(error).__name__})
    else:
        shape = None if probabilities is None else probabilities.shape
        send(connection, {"labels": labels, "probabilities": shape}, probabilities)


def _end_with(connection: socket.socket) -> None:
    """End this process when the other end of the socket is gone, whatever the model is doing."""
    waiting = select.poll()
    waiting.register(connection, 0)  # a hang-up is always told
    waiting.poll()
    os._exit(0)


def load(model: str, signature: Signature) -> Predict:
    """A model folder as MLflow's python_function; probabilities come from a native model that has them."""
    import mlflow.pyfunc

    loaded = mlflow.pyfunc.load_model(model)
    native = native_of(loaded)

    def predict(numbers: np.ndarray, texts: Sequence[Sequence[Any]]) -> tuple[list[Any], np.ndarray | None]:
        rows = frame(numbers, texts, signature)
        return labels_of(loaded.predict(rows)), probabilities_of(native, rows)

    return predict


def frame(numbers: np.ndarray, texts: Sequence[Sequence[Any]], signature: Signature) -> Any:
    """One column per input, in order, as `serving.paths.frames` makes them."""
    import pandas as pd

    names = [name for name, _ in signature]
    if all(kind == "double" for _, kind in signature):
        return pd.DataFrame(numbers, columns=names)
    number_columns, text_columns = iter(numbers.T), iter(texts)
    columns = {}
    for name, kind in signature:
        if kind == "datetime":
            columns[name] = pd.Series(pd.to_datetime(list(next(text_columns)), utc=True).tz_localize(None))
        elif kind in _TEXTS:
            columns[name] = pd.Series(next(text_columns), dtype=object)
        else:
            with np.errstate(over="ignore"):  # beyond float32 is infinite, as it is to MLflow
                columns[name] = pd.Series(next(number_columns).astype(_DTYPES.get(kind, "float64")))
    return pd.DataFrame(columns, columns=names)


def native_of(model: Any) -> Any:
    """The model that MLflow's python_function stands before; None where there is none."""
    try:
        return model.get_raw_model()
    except (AttributeError, NotImplementedError):
        return None


def probabilities_of(native: Any, rows: Any) -> np.ndarray | None:
    """`predict_proba` of a model with one output: n of the second of two classes, n x k of more; None where it has none."""
    if not hasattr(native, "predict_proba"):
        return None
    scores = np.asarray(native.predict_proba(rows))
    if scores.ndim != 2 or scores.shape[1] < 2:  # noqa: PLR2004 - several outputs, or a single class
        return None
    return scores[:, 1] if scores.shape[1] == 2 else scores  # noqa: PLR2004 - the second says it all


def labels_of(result: Any) -> list[Any]:
    """One label a row out of what a model gives, of what JSON has.

    Times are ISO 8601 text and bytes base64, as MLflow's own server writes them, and what is missing is null; what it can't write
    (decimals, lengths of time) is text.
    """
    if hasattr(result, "columns"):
        result = result.iloc[:, 0] if len(result.columns) == 1 else result.to_dict("records")
    values = list(result.tolist() if hasattr(result, "tolist") else result)
    dtype = getattr(result, "dtype", None)
    return values if isinstance(dtype, np.dtype) and dtype.kind in "fiub" else [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, np.longdouble):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return base64.encodebytes(value).decode()
    return value if type(value) in _JSON and not (type(value) is int and value.bit_length() > _BITS) else str(value)


if __name__ == "__main__":
    main(int(sys.argv[1]))
