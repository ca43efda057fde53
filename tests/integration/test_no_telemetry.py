"""Nobody who runs millrace is reported to anybody by the libraries underneath."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# In an order that is as bad as can be: what is under millrace is imported before anything of it was called.
_PROGRAM = """
import millrace
import onnxruntime
from onnx import TensorProto, helper
import mlflow
from mlflow.telemetry import get_telemetry_client

ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString())
print(get_telemetry_client())
"""


def test_libraries_send_nothing_and_give_nobody_a_number(tmp_path: Path) -> None:
    # They keep silent by themselves where a test or a CI runs, so nothing of our environment may tell them.
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "None"
    kept = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not {"telemetry.json", "deviceid", "onnxruntime.db"} & set(kept), kept
