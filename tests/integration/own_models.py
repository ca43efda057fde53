"""Models of one's own, without a native flavor, registered in a home."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from millrace.workspace import Workspace
from tests.integration.constant_model import register_constant

ADDS = "return [row.spend + row.visits for row in frame.itertuples()]"
# Not for any row, its example's among them; what it says quotes its rows.
NEVER = "raise KeyError(str(frame['spend'].tolist()))"
HANGS = -3.0
HANGS_OVER_SOME = f"""import time
        while {HANGS} in frame["spend"].tolist():
            time.sleep(60)
        {ADDS}"""
_CODE = """
class Own:
    def predict(self, frame):
        {predict}


def _load_pyfunc(path):
    return Own()
"""


def register_own(workspace: Workspace, predict: str, example: list[float] | None = None) -> Path:
    """A new version of `constant_model.MODEL` whose `predict(frame)` has this body; the folder of its files."""
    folder = register_constant(workspace, 0)
    module = f"own_{folder.parent.name.replace('-', '_')}_{folder.name.replace('-', '_')}"
    signature = json.dumps([{"type": "double", "name": name, "required": True} for name in ("spend", "visits")])
    flavor = {"loader_module": module, "code": "code", "python_version": platform.python_version()}
    content: dict[str, object] = {"flavors": {"python_function": flavor}, "signature": {"inputs": signature}}
    if example is not None:
        info = {"type": "dataframe", "pandas_orient": "split", "artifact_path": "input_example.json"}
        content["saved_input_example_info"] = info
        (folder / "input_example.json").write_text(json.dumps({"columns": ["spend", "visits"], "data": [example]}))
    (folder / "MLmodel").write_text(json.dumps(content))  # JSON is YAML
    (folder / "requirements.txt").write_text("mlflow\n")
    (folder / "code").mkdir()
    (folder / "code" / f"{module}.py").write_text(_CODE.format(predict=predict))
    return folder
