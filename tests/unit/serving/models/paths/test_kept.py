from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from xgboost import XGBClassifier  # noqa: TID253 - a test of it

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths import kept
from millrace.serving.models.paths.kept import KeptProofs, key_of
from millrace.serving.models.paths.outcome import Outcome
from millrace.serving.models.predictor import load_predictor
from millrace.serving.types import LoadPlan

Logged = Callable[[Any, list[tuple[str, str]]], LoadPlan]
RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(300, 2))
MODEL = XGBClassifier(n_estimators=5, n_jobs=1).fit(ROWS, (ROWS[:, 0] > 0).astype(int))
SIGNATURE = [("a", "double"), ("b", "double")]


@pytest.fixture
def plan(logged: Logged) -> LoadPlan:
    return logged(MODEL, SIGNATURE)


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


@pytest.mark.slow
def test_a_model_is_proved_once_and_loaded_without_its_libraries(plan: LoadPlan, tmp_path: Path) -> None:
    root, key = tmp_path / "proofs", key_of(Path(plan.path))
    first = load_predictor(plan, root)
    assert first.path in {"onnx", "onnx+xgboost"}
    assert names(root) == [f"{key}.json", f"{key}.onnx", "proof.lock"]
    written = (root / f"{key}.json").stat().st_mtime_ns
    answers = [float(value) for value in MODEL.predict_proba(ROWS)[:, 1]]
    program = (
        "import json, sys; from pathlib import Path; from millrace.serving.bodies.arrow_body import read_arrow_stream\n"
        "from millrace.serving.endpoints.endpoints import served_entity; from millrace.serving.inputs import InputReader\n"
        "from millrace.serving.models.predictor import load_predictor; from millrace.serving.types import LoadPlan\n"
        "path, root = sys.argv[1:]\n"
        "plan = LoadPlan(served_entity('ml.models.churn', '1'), path, 'xgboost', (('a', 'double'), ('b', 'double')), None)\n"
        "inputs = InputReader(plan.inputs).read(read_arrow_stream(sys.stdin.buffer.read()).rows)\n"
        "said = load_predictor(plan, Path(root)).predict(inputs)\n"
        "heavy = [name for name in ('pandas', 'xgboost', 'sklearn', 'scipy', 'onnx', 'mlflow', 'pyarrow') if name in sys.modules]\n"
        "print(json.dumps([list(said.probabilities), heavy]))\n"
    )
    table, body = pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]}), io.BytesIO()
    with pa.ipc.new_stream(body, table.schema) as writer:
        writer.write_table(table)
    command = [sys.executable, "-c", program, plan.path, str(root)]
    done = subprocess.run(command, input=body.getvalue(), capture_output=True, check=True)
    said, heavy = json.loads(done.stdout)
    assert said == pytest.approx(answers, abs=1e-6)
    assert heavy == []
    assert (root / f"{key}.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_two_that_load_at_once_prove_once(plan: LoadPlan, tmp_path: Path) -> None:
    root = tmp_path / "proofs"
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: load_predictor(plan, root), range(2))
    assert (one.why, one.quick_rows) == (other.why, other.quick_rows)  # times are never measured alike twice
    assert not [name for name in names(root) if name.startswith(".")]
    assert one.predict(Inputs(ROWS)) == other.predict(Inputs(ROWS))


@pytest.mark.slow
def test_what_a_killed_proof_leaves_behind_harms_nobody(
    plan: LoadPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, key = tmp_path / "proofs", key_of(Path(plan.path))
    root.mkdir()
    (root / f".{key}.onnx.77").write_bytes(b"half of a graph")
    (root / f"{key}.onnx").write_bytes(b"a graph whose outcome was not written")
    monkeypatch.setattr(kept, "_LONGEST_S", 0.05)
    assert KeptProofs(root).outcome(Path(plan.path))[0].why == "its paths could not be proved in 0 s"
    assert KeptProofs(root).read(key) is None
    monkeypatch.undo()
    assert load_predictor(plan, root).path in {"onnx", "onnx+xgboost"}
    assert not [name for name in names(root) if name.startswith(".")]


@pytest.mark.slow
def test_a_proof_ends_with_the_process_that_asked_for_it(plan: LoadPlan, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "millrace.serving.models.paths.prove", plan.path, str(tmp_path), "key"]
    asked = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert asked.stdin is not None
    asked.stdin.close()
    assert asked.wait(300) == 1
    assert not (tmp_path / "key.json").exists()


@pytest.mark.slow
def test_what_a_failed_proof_says_is_one_record_of_this_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome, _ = KeptProofs(tmp_path / "proofs").outcome(tmp_path)
    assert outcome == Outcome("pyfunc", "its paths could not be proved (exit code 1)", lasting=False)
    assert capfd.readouterr().err == ""  # a line that is no JSON would be in the worker's log
    (record,) = caplog.records
    assert "holds no MLflow model" in record.getMessage()


def test_the_key_follows_files_and_libraries(plan: LoadPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(plan.path)
    before = key_of(folder)
    assert key_of(folder) == before
    os.utime(folder / "model.ubj", (0, 0))
    assert key_of(folder) == before
    monkeypatch.setattr(kept, "_version", lambda name: "99" if name == "onnxruntime" else "1")
    other = key_of(folder)
    assert other != before
    monkeypatch.undo()
    (folder / "model.ubj").write_bytes(b"another model")
    assert key_of(folder) not in {before, other}


def test_an_outcome_that_is_not_to_last_is_proved_again(
    plan: LoadPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs, key = KeptProofs(tmp_path), key_of(Path(plan.path))
    proofs.write(key, Outcome("pyfunc", "a library was missing", lasting=False), None)

    def proved(_folder: Path, _root: Path, key: str) -> None:
        proofs.write(key, Outcome("onnx", "equal"), b"graph")

    monkeypatch.setattr(kept, "_prove_apart", proved)
    assert proofs.outcome(Path(plan.path)) == (Outcome("onnx", "equal"), tmp_path / f"{key}.onnx")
    monkeypatch.setattr(kept, "_prove_apart", lambda *_: pytest.fail("it is known"))
    assert proofs.outcome(Path(plan.path))[0].path == "onnx"
