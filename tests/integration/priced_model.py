"""A model whose answers are those of the version of its package, and a folder of that package's wheels."""

from __future__ import annotations

import json
import os
import platform
import signal
import zipfile
from pathlib import Path

import cloudpickle  # type: ignore[import-untyped,unused-ignore]

MODULE = """
import os, signal, time

FACTOR = {factor}


class Priced:
    def predict(self, frame):
        amounts = frame["amount"].tolist()
        if -1.0 in amounts:
            os.kill(os.getpid(), signal.SIGKILL)
        if -2.0 in amounts:
            raise ValueError("no such amounts: " + str(amounts))
        if -3.0 in amounts:
            time.sleep(600)
        if -4.0 in amounts:
            1 / 0
        return [amount * FACTOR for amount in amounts]


def _load_pyfunc(path):
    return Priced()
"""
FACTORS = {"1.0": 10, "2.0": 20}
KILLS, REFUSED, HANGS, BROKEN = -1.0, -2.0, -3.0, -4.0


def write_wheels(folder: Path) -> Path:
    """The wheels of `pricing` 1.0 and 2.0."""
    folder.mkdir()
    for version, factor in FACTORS.items():
        info = f"pricing-{version}.dist-info"
        files = {
            "pricing/__init__.py": MODULE.format(factor=factor),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: pricing\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
        with zipfile.ZipFile(folder / f"pricing-{version}-py3-none-any.whl", "w") as wheel:
            for name, text in files.items():
                wheel.writestr(name, text)
    return folder


def write_priced(
    folder: Path, version: str, *, python: str = platform.python_version(), example: float | None = None
) -> Path:
    """A model folder as MLflow's `pyfunc.save_model(loader_module="pricing")` writes it."""
    folder.mkdir()
    signature = json.dumps([{"type": "double", "name": "amount", "required": True}])
    content: dict[str, object] = {
        "flavors": {"python_function": {"loader_module": "pricing", "python_version": python}},
        "signature": {"inputs": signature},
    }
    if example is not None:
        info = {"type": "dataframe", "pandas_orient": "split", "artifact_path": "input_example.json"}
        content["saved_input_example_info"] = info
        (folder / "input_example.json").write_text(json.dumps({"columns": ["amount"], "data": [[example]]}))
    (folder / "MLmodel").write_text(json.dumps(content))  # JSON is YAML
    (folder / "requirements.txt").write_text(f"mlflow\npricing=={version}\n")
    return folder


def write_classifier(folder: Path, model: object, column: str, version: str) -> Path:
    """A fitted scikit-learn model as MLflow writes it, of one column, that asks for a version of the package."""
    folder.mkdir()
    flavors = {
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
        "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"},
    }
    signature = json.dumps([{"type": "double", "name": column, "required": True}])
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavors, "signature": {"inputs": signature}}))
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
    (folder / "requirements.txt").write_text(f"pricing=={version}\n")
    return folder


def kill(pid: int) -> None:
    """End a process as the kernel would."""
    os.kill(pid, signal.SIGKILL)
