"""What runs in an engine's own environment, as a file: `program.py fit FOLDER`, and `program.py answer FOLDER`.

It imports nothing of ours, which is not installed there. `fit` reads `task.json` and `train.parquet` (and `judge.parquet`, where rows to judge on are
given) and leaves `result/` and `found.json`. `answer` loads `result/` and answers frames on standard input until that ends.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import pandas as pd

_TARGET, _WEIGHT = "__target__", "__weight__"
_LENGTH = struct.Struct("<q")
_FLAML = {"roc_auc_many": "roc_auc_ovr", "f1_many": "macro_f1"}
_AUTOGLUON = {
    "roc_auc_many": "roc_auc_ovr",
    "f1_many": "f1_macro",
    "precision_many": "precision_macro",
    "recall_many": "recall_macro",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
}
_LOSS = ("log_loss", "rmse", "mae")


def main(step: str, folder: Path) -> None:
    """Do one of the two. What engines print is for nobody's eyes: standard output is the answers'."""
    warnings.filterwarnings("ignore")
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        task = json.loads((folder / "task.json").read_text())
        os.environ.setdefault("OMP_NUM_THREADS", str(task["threads"]))
        if step == "fit":
            # Whoever started it holds the other end: when that is gone, nobody waits for what is found.
            threading.Thread(target=lambda: os.read(0, 1) or os._exit(1), daemon=True).start()
            found = (_fit_flaml if task["engine"] == "flaml" else _fit_autogluon)(task, folder)
            (folder / "found.json").write_text(json.dumps(found))
        else:
            _answer(_loaded(task, folder), sys.stdin.buffer, out)


def _fit_flaml(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    from flaml import AutoML

    train, judge = _rows(folder)
    texts = {name: sorted(set(train[name].dropna())) for name in task["texts"]}
    more: dict[str, Any] = {}
    if judge is not None:
        more = {"X_val": _plain(judge, task, texts), "y_val": judge[_TARGET].to_numpy()}
    if _WEIGHT in train:
        more["sample_weight"] = train[_WEIGHT].to_numpy()
        more |= {} if judge is None else {"sample_weight_val": judge[_WEIGHT].to_numpy()}
    searched, begun = AutoML(), time.perf_counter()
    searched.fit(
        X_train=_plain(train, task, texts),
        y_train=train[_TARGET].to_numpy(),
        task=task["task"],
        metric=_FLAML.get(_metric(task), task["metric"]),
        time_budget=_left_s(task),
        n_jobs=task["threads"],
        seed=task["seed"],
        verbose=0,
        **more,
    )
    seconds = time.perf_counter() - begun
    if searched.best_estimator is None:
        raise RuntimeError("not one of FLAML's models was fitted in that time")
    result = folder / "result"
    result.mkdir()
    (result / "flaml.pickle").write_bytes(pickle.dumps({"searched": searched, "texts": texts}))
    loss = float(searched.best_loss)
    models = [
        {
            "name": name,
            "score": None if value is None else _score(task, float(value)),
            "params": _simple(searched.best_config_per_estimator[name]),
        }
        for name, value in searched.best_loss_per_estimator.items()
        if searched.best_config_per_estimator.get(name)
    ]
    return {"score": _score(task, loss), "best": searched.best_estimator, "models": models, "seconds": seconds}


def _fit_autogluon(task: dict[str, Any], folder: Path) -> dict[str, Any]:
    from autogluon.tabular import TabularPredictor

    train, judge = _rows(folder)
    weight = {"sample_weight": _WEIGHT, "weight_evaluation": True} if _WEIGHT in train else {}
    kind = task["task"] if task["task"] == "regression" else ("binary" if task["classes"] == 2 else "multiclass")  # noqa: PLR2004
    predictor = TabularPredictor(
        label=_TARGET,
        problem_type=kind,
        eval_metric=_AUTOGLUON.get(_metric(task), task["metric"]),
        path=str(folder / "all"),
        verbosity=0,
        **weight,
    )
    more = {} if judge is None else {"tuning_data": judge, "use_bag_holdout": task["preset"] != "medium_quality"}
    begun = time.perf_counter()
    predictor.fit(train, presets=task["preset"], time_limit=_left_s(task), num_cpus=task["threads"], num_gpus=0, **more)
    seconds = time.perf_counter() - begun
    predictor.clone_for_deployment(str(folder / "result"))
    board = predictor.leaderboard(silent=True)
    sign = -1.0 if task["metric"] in _LOSS else 1.0
    models = [
        {
            "name": str(line["model"]),
            "score": sign * float(line["score_val"]),
            "params": {},
            "seconds": float(line["fit_time"]),
        }
        for _, line in board.iterrows()
    ]
    best = predictor.model_best
    score = next(each["score"] for each in models if each["name"] == best)
    return {"score": score, "best": best, "models": models, "seconds": seconds}


def _left_s(task: dict[str, Any]) -> float:
    ends_at: float = task["ends_at"]
    return max(ends_at - time.monotonic(), 1.0)


def _metric(task: dict[str, Any]) -> str:
    return f"{task['metric']}_many" if task["classes"] > 2 else task["metric"]  # noqa: PLR2004


def _score(task: dict[str, Any], loss: float) -> float:
    """FLAML makes a loss of each metric."""
    return loss if task["metric"] in _LOSS else 1.0 - loss


def _rows(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    import pandas as pd

    judge = folder / "judge.parquet"
    return pd.read_parquet(folder / "train.parquet"), pd.read_parquet(judge) if judge.exists() else None


def _plain(rows: pd.DataFrame, task: dict[str, Any], texts: dict[str, list[str]]) -> pd.DataFrame:
    """For FLAML: texts as categories, times as numbers."""
    import pandas as pd

    found: dict[str, Any] = {}
    for name in task["inputs"]:
        if name in texts:
            found[name] = pd.Categorical(rows[name], categories=texts[name])
        elif name in task["times"]:
            days = (rows[name] - pd.Timestamp(0)) / pd.Timedelta(days=1)
            found |= {
                f"{name} days": days,
                f"{name} weekday": rows[name].dt.day_of_week,
                f"{name} hour": rows[name].dt.hour,
            }
        else:
            found[name] = rows[name]
    return pd.DataFrame(found, index=rows.index)


def _simple(config: Any) -> dict[str, Any]:
    return {
        str(key): value if isinstance(value, int | float | str | bool) else str(value)
        for key, value in dict(config).items()
    }


def _loaded(task: dict[str, Any], folder: Path) -> Callable[[pd.DataFrame], np.ndarray]:
    """From a frame of inputs to n x k probabilities, or n numbers."""
    import numpy as np

    is_class = task["task"] == "classification"
    if task["engine"] == "flaml":
        # Written by this program, a moment ago or by whoever logged the model.
        kept = pickle.loads((folder / "result" / "flaml.pickle").read_bytes())  # noqa: S301
        searched = kept["searched"]
        ask = searched.predict_proba if is_class else searched.predict
        return lambda rows: np.asarray(ask(_plain(rows, task, kept["texts"])), dtype=np.float64)
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor.load(str(folder / "result"), verbosity=0)
    predictor.persist()
    if is_class:
        return lambda rows: predictor.predict_proba(rows)[list(range(task["classes"]))].to_numpy(dtype=np.float64)
    return lambda rows: predictor.predict(rows).to_numpy(dtype=np.float64)


def _answer(ask: Callable[[pd.DataFrame], np.ndarray], asked: Any, out: Any) -> None:
    import numpy as np
    import pandas as pd

    for body in _messages(asked):
        try:
            answer = io.BytesIO()
            np.save(answer, ask(pd.read_parquet(io.BytesIO(body))))
            _send(out, answer.getvalue(), 1)
        except Exception:  # noqa: BLE001 - whatever a model says about rows is told to who asked
            _send(out, traceback.format_exc().encode(), -1)


def _messages(asked: Any) -> Iterator[bytes]:
    while len(head := asked.read(_LENGTH.size)) == _LENGTH.size:
        yield asked.read(_LENGTH.unpack(head)[0])


def _send(out: Any, body: bytes, sign: int) -> None:
    out.write(_LENGTH.pack(sign * len(body)) + body)
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
