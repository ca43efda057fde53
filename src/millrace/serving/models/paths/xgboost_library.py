"""XGBoost through its C interface: predictions without importing the package, which brings pandas and scikit-learn along."""

from __future__ import annotations

import ctypes
import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np


class XgboostLibrary:
    """A saved XGBoost model. One thread at a time may use it: the library answers into a buffer of the booster.

    Args:
        file: the model, as JSON or UBJ.

    Raises:
        OSError: there is no XGBoost here.
        RuntimeError: XGBoost can't read the file.
    """

    def __init__(self, file: Path) -> None:
        self._library = _library()
        self._handle = ctypes.c_void_p()
        self._call("XGBoosterCreate", None, ctypes.c_uint64(0), ctypes.byref(self._handle))
        self._call("XGBoosterLoadModel", self._handle, str(file).encode())
        self._call("XGBoosterSetParam", self._handle, b"nthread", b"1")
        best = self.attribute("best_iteration")
        options = {
            "type": 0,
            "training": False,
            "iteration_begin": 0,
            "iteration_end": 0 if best is None else int(best) + 1,
            "strict_shape": True,
            "cache_id": 0,
            "missing": float("nan"),
        }
        self._options = json.dumps(options).encode()
        self._shape, self._dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        self._scores = ctypes.POINTER(ctypes.c_float)()
        self._results = tuple(map(ctypes.byref, (self._shape, self._dimensions, self._scores)))

    def __del__(self) -> None:
        """Give the model's memory back."""
        if getattr(self, "_handle", None):
            self._library.XGBoosterFree(self._handle)

    def attribute(self, name: str) -> str | None:
        """What is noted in the model under a name; None where nothing is."""
        found, there = ctypes.c_char_p(), ctypes.c_int()
        self._call("XGBoosterGetAttr", self._handle, name.encode(), ctypes.byref(found), ctypes.byref(there))
        return found.value.decode() if there.value and found.value is not None else None

    def predict(self, numbers: np.ndarray) -> np.ndarray:
        """Answers (n x w float32) to rows (n x k float64, NaN is missing)."""
        rows = np.ascontiguousarray(numbers)
        address = rows.__array_interface__["data"][0]
        described = f'{{"data":[{address},true],"shape":[{rows.shape[0]},{rows.shape[1]}],"typestr":"<f8","version":3}}'
        self._call("XGBoosterPredictFromDense", self._handle, described.encode(), self._options, None, *self._results)
        shape = self._shape[: self._dimensions.value]
        answered = np.ctypeslib.as_array(self._scores, shape=(int(np.prod(shape)),))
        return answered.reshape(len(rows), -1).copy()

    def _call(self, function: str, *arguments: object) -> None:
        if getattr(self._library, function)(*arguments) != 0:
            raise RuntimeError(f"XGBoost: {self._library.XGBGetLastError().decode(errors='replace')}")


@cache
def _library() -> ctypes.CDLL:
    package = find_spec("xgboost")
    if package is None or package.origin is None:
        raise OSError("XGBoost is not installed")
    library = ctypes.CDLL(str(Path(package.origin).parent / "lib" / "libxgboost.so"))
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library
