from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from xgboost import XGBClassifier  # noqa: TID253 - a test of it

from millrace.serving.models.paths.xgboost_library import XgboostLibrary

RANDOM = np.random.default_rng(4)
ROWS = RANDOM.normal(size=(500, 3))
ROWS[RANDOM.random(ROWS.shape) < 0.1] = math.nan
THREE = RANDOM.integers(3, size=500)


@pytest.mark.parametrize("ending", ["ubj", "json"])
@pytest.mark.parametrize("labels", [THREE > 0, THREE])
def test_it_answers_as_the_package_does(tmp_path: Path, ending: str, labels: np.ndarray) -> None:
    model = XGBClassifier(n_estimators=20, n_jobs=1).fit(ROWS, labels.astype(int))
    model.save_model(tmp_path / f"model.{ending}")
    library = XgboostLibrary(tmp_path / f"model.{ending}")
    expected = model.predict_proba(ROWS)
    assert (library.predict(ROWS) == (expected[:, 1:] if expected.shape[1] == 2 else expected)).all()
    columns_first = np.asfortranarray(ROWS)
    assert (library.predict(columns_first) == library.predict(ROWS)).all()


def test_models_beside_each_other_do_not_mix_their_answers(tmp_path: Path) -> None:
    libraries, expected = [], []
    for seed in range(4):
        model = XGBClassifier(n_estimators=5, n_jobs=1).fit(ROWS, RANDOM.integers(2, size=500))
        model.save_model(tmp_path / f"{seed}.ubj")
        libraries.append(XgboostLibrary(tmp_path / f"{seed}.ubj"))
        expected.append(model.predict_proba(ROWS)[:, 1:])
    with ThreadPoolExecutor(4) as threads:
        # Each has a thread of its own: one model is asked by one thread at a time.
        answers = list(threads.map(lambda library: [library.predict(ROWS) for _ in range(20)], libraries))
    assert all((one == right).all() for each, right in zip(answers, expected, strict=True) for one in each)


def test_a_file_that_is_no_model_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match="XGBoost: "):
        XgboostLibrary(tmp_path / "model.ubj")
